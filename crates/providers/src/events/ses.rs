//! Events of SES: event publishing (`eventType`) and the older notifications of an identity (`notificationType`), one object each.
//!
//! A bounce or a complaint has an id of its own, its `feedbackId`. The others are told apart by message, kind and time, which also
//! makes one of the same event that both kinds of notification, or two messages of SNS, bring.

use paceline_domain::address::Address;
use paceline_domain::delivery::EventKind;
use paceline_domain::record::Provider;

use super::fields::{EventError, Field, document};
use super::{
    AttemptTags, PROVIDER_ID_CHARS_MAX, ProviderEvent, RECIPIENTS_MAX, WORD_CHARS_MAX, attempt_tags,
    by_machine, word, words,
};

/// SES gives all headers of a message; ours stand among them.
const HEADERS_MAX: usize = 1_000;
/// What SES takes as a tag's value.
const TAG_CHARS_MAX: usize = 256;
/// The user agent by which Apple's Mail Privacy Protection fetches images, which no browser says.
const APPLE_PRIVACY_AGENT: &str = "Mozilla/5.0";

/// The object that SES publishes, as SNS, SQS or Firehose hand it on.
///
/// # Errors
/// What is no event of SES; names the field.
pub fn parse(json: &[u8]) -> Result<ProviderEvent, EventError> {
    let document = document(json, "event")?;
    read(&Field::root(&document))
}

/// True for what SES writes once to a new destination of events, to see whether it takes them.
#[must_use]
pub fn is_greeting(message: &str) -> bool {
    message
        .trim_start()
        .starts_with("Successfully validated SNS topic for Amazon SES event publishing")
}

fn read(event: &Field<'_>) -> Result<ProviderEvent, EventError> {
    let name = match event.get("eventType") {
        named if named.is_there() => named.text(WORD_CHARS_MAX)?,
        _ => event
            .get("notificationType")
            .optional_text(WORD_CHARS_MAX)?
            .ok_or_else(|| EventError::new("eventType", "is missing"))?,
    };
    let mail = event.get("mail");
    let provider_id = mail.get("messageId").id(PROVIDER_ID_CHARS_MAX)?;
    let (part, kind) = part_of(event, name)?;
    let kind = if is_machine(&part) { by_machine(kind) } else { kind };
    let time = part.get("timestamp");
    let at = if time.is_there() {
        time.iso_time()?
    } else {
        mail.get("timestamp").iso_time()?
    };
    let event_id = match name {
        "Bounce" | "Complaint" => format!("{name}:{}", part.get("feedbackId").id(PROVIDER_ID_CHARS_MAX)?),
        _ => format!("{}:{provider_id}:{}", word(name).replace(' ', ""), at.0),
    };
    Ok(ProviderEvent {
        provider: Provider::Ses,
        event_id,
        attempt: tags(&mail)?,
        provider_id: provider_id.to_owned(),
        kind,
        kind_name: word(name),
        at,
        detail: detail(&part, kind),
        recipients: recipients(&part)?,
    })
}

/// The object that says what happened, and what that is.
fn part_of<'a>(event: &Field<'a>, name: &str) -> Result<(Field<'a>, EventKind), EventError> {
    let (part, kind) = match name {
        "Send" => ("send", EventKind::Sent),
        "Delivery" => ("delivery", EventKind::Delivered),
        "DeliveryDelay" => ("deliveryDelay", EventKind::Delayed),
        "Bounce" => ("bounce", EventKind::BouncedSoft),
        "Complaint" => ("complaint", EventKind::Complained),
        "Reject" => ("reject", EventKind::Rejected),
        "Rendering Failure" => ("failure", EventKind::RenderingFailed),
        "Open" => ("open", EventKind::Opened),
        "Click" => ("click", EventKind::Clicked),
        // A topic of a list: what its recipient wants is told by `Subscription` only for SES's own lists.
        "Subscription" => ("subscription", EventKind::Unsubscribed),
        _ => ("", EventKind::Other),
    };
    let part = event.get(part);
    if kind != EventKind::BouncedSoft {
        return Ok((part, kind));
    }
    // "Undetermined" is treated as what may pass: it must not end all mail to an address.
    let is_hard = part.get("bounceType").text(WORD_CHARS_MAX)? == "Permanent";
    let kind = if is_hard { EventKind::BouncedHard } else { kind };
    Ok((part, kind))
}

fn detail(part: &Field<'_>, kind: EventKind) -> String {
    let text = |name| part.get(name).text_or_empty();
    let code = |list| {
        let recipients = part.get(list).list(RECIPIENTS_MAX).unwrap_or_default();
        recipients
            .first()
            .map_or("", |first| first.get("status").text_or_empty())
    };
    match kind {
        EventKind::BouncedSoft | EventKind::BouncedHard => {
            let class = format!("{}/{}", word(text("bounceType")), word(text("bounceSubType")));
            words(&[&class, code("bouncedRecipients")])
        }
        EventKind::Complained => words(&[text("complaintFeedbackType"), text("complaintSubType")]),
        EventKind::Delayed => words(&[text("delayType"), code("delayedRecipients")]),
        EventKind::Rejected => word(text("reason")),
        _ => String::new(),
    }
}

fn is_machine(part: &Field<'_>) -> bool {
    part.get("isBotEvent").text_or_empty() == "Likely"
        || part.get("userAgent").text_or_empty() == APPLE_PRIVACY_AGENT
}

/// Whose bounce or complaint it is. An address that is none of ours by its form is left out.
fn recipients(part: &Field<'_>) -> Result<Vec<Address>, EventError> {
    let mut recipients = Vec::new();
    for list in ["bouncedRecipients", "complainedRecipients"] {
        for recipient in part.get(list).list(RECIPIENTS_MAX)? {
            recipients.extend(Address::parse(bare(recipient.get("emailAddress").text_or_empty())).ok());
        }
    }
    Ok(recipients)
}

/// `a@example.com` of `Name <a@example.com>`, which some bounces name.
fn bare(text: &str) -> &str {
    match text.rsplit_once('<') {
        Some((_, address)) => address.trim_end().trim_end_matches('>'),
        None => text.trim(),
    }
}

/// By the message's tags; notifications of an identity have none, and may have the headers.
fn tags(mail: &Field<'_>) -> Result<Option<AttemptTags>, EventError> {
    let tags = mail.get("tags");
    let by_tags = attempt_tags("mail.tags", |name| {
        let values = tags.get(&format!("paceline_{name}")).list(1)?;
        values.first().map(|value| value.text(TAG_CHARS_MAX)).transpose()
    })?;
    if by_tags.is_some() {
        return Ok(by_tags);
    }
    let headers = mail.get("headers").list(HEADERS_MAX)?;
    attempt_tags("mail.headers", |name| {
        let ours = format!("X-Paceline-{name}");
        let header = headers
            .iter()
            .find(|header| header.get("name").text_or_empty().eq_ignore_ascii_case(&ours));
        header
            .map(|header| header.get("value").text(TAG_CHARS_MAX))
            .transpose()
    })
}
