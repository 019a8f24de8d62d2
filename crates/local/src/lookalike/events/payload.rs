//! Events in the providers' own words.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::super::store::Mail;
use super::EventKind;

const SIMULATOR: &str = "@simulator.amazonses.com";

/// What becomes of a mail, by the simulator's address or not.
pub(super) fn fate(mail: &Mail) -> &'static [EventKind] {
    let recipient = mail.email.recipients().next().unwrap_or_default();
    let local = recipient.strip_suffix(SIMULATOR).unwrap_or_default();
    match local.split('+').next().unwrap_or_default() {
        "bounce" | "suppressionlist" => &[EventKind::Send, EventKind::Bounce],
        "complaint" => &[EventKind::Send, EventKind::Delivery, EventKind::Complaint],
        _ => &[EventKind::Send, EventKind::Delivery],
    }
}

/// The object that SES publishes.
pub(super) fn ses(mail: &Mail, kind: EventKind, number: u64, at: Timestamp) -> Value {
    let recipients: Vec<&str> = mail.email.recipients().collect();
    let addresses: Vec<Value> = recipients
        .iter()
        .map(|recipient| json!({ "emailAddress": recipient }))
        .collect();
    let at = at.to_string();
    let feedback_id = format!("{}-{number}", mail.id);
    let (name, part, content) = match kind {
        EventKind::Send => ("Send", "send", json!({})),
        EventKind::Delivery => (
            "Delivery",
            "delivery",
            json!({
                "timestamp": at, "processingTimeMillis": 1, "recipients": recipients, "smtpResponse": "250 ok",
                "reportingMTA": "look-alike",
            }),
        ),
        EventKind::Bounce => (
            "Bounce",
            "bounce",
            json!({
                "timestamp": at, "feedbackId": feedback_id, "bounceType": "Permanent", "bounceSubType": "General",
                "bouncedRecipients": addresses,
            }),
        ),
        EventKind::Complaint => (
            "Complaint",
            "complaint",
            json!({
                "timestamp": at, "feedbackId": feedback_id, "complaintFeedbackType": "abuse",
                "complainedRecipients": addresses,
            }),
        ),
        EventKind::Open => (
            "Open",
            "open",
            json!({"timestamp": at, "userAgent": "look-alike"}),
        ),
        EventKind::Click => (
            "Click",
            "click",
            json!({"timestamp": at, "userAgent": "look-alike", "link": "https://example.com/"}),
        ),
    };
    let tags: Value = mail
        .email
        .tags
        .iter()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    let mut event = json!({
        "eventType": name,
        "mail": {
            "timestamp": mail.received_at.to_string(), "messageId": mail.id, "source": mail.email.from,
            "destination": recipients, "headersTruncated": false, "tags": tags,
        },
    });
    event[part] = content;
    event
}

/// The body of Mailgun's webhook.
pub(super) fn mailgun(mail: &Mail, kind: EventKind, number: u64, at: Timestamp, key: &str) -> Value {
    let (name, severity, reason) = match kind {
        EventKind::Send => ("accepted", "", ""),
        EventKind::Delivery => ("delivered", "", ""),
        EventKind::Bounce => ("failed", "permanent", "bounce"),
        EventKind::Complaint => ("complained", "", ""),
        EventKind::Open => ("opened", "", ""),
        EventKind::Click => ("clicked", "", ""),
    };
    let timestamp = at.as_second().to_string();
    let token = format!("{number:050}");
    let signature = Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .expect("a key of any length will do")
        .chain_update(&timestamp)
        .chain_update(&token)
        .finalize()
        .into_bytes();
    let variables: Value = mail
        .email
        .tags
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let domain = mail.email.option("domain").unwrap_or_default();
    json!({
        "signature": {"timestamp": timestamp, "token": token, "signature": data_encoding::HEXLOWER.encode(&signature)},
        "event-data": {
            "event": name, "severity": severity, "reason": reason, "id": format!("{}-{number}", mail.id),
            "timestamp": at.as_millisecond() as f64 / 1_000.0,
            "recipient": mail.email.recipients().next().unwrap_or_default(),
            "message": {"headers": {"message-id": format!("{}@{domain}", mail.id)}},
            "user-variables": variables,
        },
    })
}
