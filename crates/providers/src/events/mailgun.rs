//! Events of Mailgun: the webhook's `signature` and `event-data`.
//!
//! The signature is over its own timestamp and token, not over the event, so whoever takes events must look at both
//! ([`Signature`]) before anything here means something.

use std::fmt;

use paceline_domain::address::Address;
use paceline_domain::delivery::EventKind;
use paceline_domain::record::Provider;

use super::fields::{EventError, Field, document};
use super::{PROVIDER_ID_CHARS_MAX, ProviderEvent, WORD_CHARS_MAX, attempt_tags, by_machine, word, words};

/// Mailgun's tokens have 50 characters.
const TOKEN_CHARS_MAX: usize = 100;
/// Hex of a SHA-256.
const SIGNATURE_CHARS_MAX: usize = 64;
/// Ten digits until the year 2286.
const TIMESTAMP_CHARS_MAX: usize = 16;
/// `v:` parameters have 16 kB in all.
const VARIABLE_CHARS_MAX: usize = 512;

/// What Mailgun signs, and the signature: hex of HMAC-SHA-256 over timestamp and token.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// Seconds since 1970, as text: it is signed as it stands.
    pub timestamp: String,
    pub token: String,
    pub signature: String,
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

/// A call of the webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub signature: Signature,
    pub event: ProviderEvent,
}

/// The body of a call.
///
/// # Errors
/// What is no call of Mailgun's; names the field.
pub fn parse(json: &[u8]) -> Result<Webhook, EventError> {
    let document = document(json, "body")?;
    let root = Field::root(&document);
    let signature = root.get("signature");
    let signature = Signature {
        timestamp: signature.get("timestamp").id(TIMESTAMP_CHARS_MAX)?.to_owned(),
        token: signature.get("token").id(TOKEN_CHARS_MAX)?.to_owned(),
        signature: signature.get("signature").id(SIGNATURE_CHARS_MAX)?.to_owned(),
    };
    let event = read(&root.get("event-data"))?;
    Ok(Webhook { signature, event })
}

fn read(data: &Field<'_>) -> Result<ProviderEvent, EventError> {
    let name = data.get("event").text(WORD_CHARS_MAX)?;
    let kind = kind(data, name)?;
    let is_machine = !data.get("client-info").get("bot").text_or_empty().is_empty();
    let kind = if is_machine { by_machine(kind) } else { kind };
    let status = data.get("delivery-status");
    let code = status.get("code").whole_number().map(|code| code.to_string());
    let enhanced_code = status.get("enhanced-code").text_or_empty();
    let detail = match kind {
        EventKind::BouncedSoft | EventKind::BouncedHard | EventKind::Delayed => words(&[
            data.get("severity").text_or_empty(),
            data.get("reason").text_or_empty(),
            code.as_deref().unwrap_or_default(),
            enhanced_code,
        ]),
        _ => String::new(),
    };
    let variables = data.get("user-variables");
    // Which Mailgun gives without its angle brackets, and answers with them.
    let message_id = data.get("message").get("headers").get("message-id");
    let provider_id = match message_id.is_there() {
        true => format!("<{}>", message_id.id(PROVIDER_ID_CHARS_MAX)?),
        false => String::new(),
    };
    Ok(ProviderEvent {
        provider: Provider::Mailgun,
        event_id: data.get("id").id(PROVIDER_ID_CHARS_MAX)?.to_owned(),
        attempt: attempt_tags("event-data.user-variables", |tag| {
            variables
                .get(&format!("paceline_{tag}"))
                .optional_text(VARIABLE_CHARS_MAX)
        })?,
        provider_id,
        kind,
        kind_name: word(name),
        at: data.get("timestamp").unix_time()?,
        detail,
        recipients: Address::parse(data.get("recipient").text_or_empty())
            .into_iter()
            .collect(),
    })
}

fn kind(data: &Field<'_>, name: &str) -> Result<EventKind, EventError> {
    Ok(match name {
        "accepted" => EventKind::Sent,
        "delivered" => EventKind::Delivered,
        "failed" => match data.get("severity").text(WORD_CHARS_MAX)? {
            "temporary" => EventKind::Delayed,
            // There is no such mailbox, now or when it was tried before. Mailgun also calls it permanent when it gave up.
            _ if matches!(data.get("reason").text_or_empty(), "bounce" | "suppress-bounce") => {
                EventKind::BouncedHard
            }
            _ => EventKind::BouncedSoft,
        },
        "complained" => EventKind::Complained,
        "rejected" => EventKind::Rejected,
        "opened" => EventKind::Opened,
        "clicked" => EventKind::Clicked,
        "unsubscribed" => EventKind::Unsubscribed,
        _ => EventKind::Other,
    })
}
