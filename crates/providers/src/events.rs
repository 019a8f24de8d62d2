//! What providers tell of mail that they took: one typed event, whoever says it.
//!
//! Pure: bytes in, an event or the name of the field at fault out. Nothing that an event says of people (addresses apart, which the
//! caller hashes and drops; IP addresses, user agents, links, the words of mailbox servers) is kept. What is read is bounded in
//! length, number and depth, and whatever is not looked at is not judged: providers add fields as they like.

pub mod fields;
pub mod mailgun;
pub mod ses;

use paceline_domain::address::Address;
use paceline_domain::delivery::EventKind;
use paceline_domain::id::MessageId;
use paceline_domain::record::Provider;
use paceline_domain::time::Millis;

pub use fields::EventError;

/// A provider's id of a message, or of an event, is not longer.
const PROVIDER_ID_CHARS_MAX: usize = 200;
/// What names a kind, a class or a code.
const WORD_CHARS_MAX: usize = 64;
/// SES takes 50 recipients for a message, we write to one.
const RECIPIENTS_MAX: usize = 50;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEvent {
    pub provider: Provider,
    /// The same for each delivery of the event, and for no other of its provider's; at most 300 characters of ASCII.
    pub event_id: String,
    /// Which of our attempts it is about; `None` for mail that is not ours, or that carries no tags.
    pub attempt: Option<AttemptTags>,
    /// The provider's id of the message, as it answered the call to send.
    pub provider_id: String,
    pub kind: EventKind,
    /// The provider's own name of the kind, such as `Bounce` or `failed`; at most 64 characters of `[A-Za-z0-9 _-]`.
    pub kind_name: String,
    /// When it happened, by the provider's clock.
    pub at: Millis,
    /// The class or the code of a bounce, a delay or a complaint, such as `Permanent/General 5.1.1`; at most 200 characters, never
    /// with words of a mailbox server. Empty where there is none.
    pub detail: String,
    /// Whose bounce, complaint or unsubscription it is. `Debug` shows none of it.
    pub recipients: Vec<Address>,
}

/// What every send carries, and so every event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptTags {
    pub message_id: MessageId,
    /// With the id it names one acceptance.
    pub accepted_at: Millis,
    pub attempt: u32,
    /// Empty where the event does not say; so is `template`.
    pub tenant: String,
    pub template: String,
    /// The identity that it went as, where that was not its own; else empty.
    pub via: String,
}

/// Our tags, each by its name after `paceline_`.
///
/// # Errors
/// An id without the rest, or what is no id or number.
fn attempt_tags<'a>(
    place: &str,
    tag: impl Fn(&'static str) -> Result<Option<&'a str>, EventError>,
) -> Result<Option<AttemptTags>, EventError> {
    let Some(id) = tag("id")? else {
        return Ok(None);
    };
    let invalid = |name: &str, problem: &str| EventError::new(format!("{place}.paceline_{name}"), problem);
    let number = |name: &'static str| -> Result<u64, EventError> {
        let text = tag(name)?.ok_or_else(|| invalid(name, "is missing"))?;
        text.parse().map_err(|_| invalid(name, "is no number"))
    };
    let accepted_at = Millis(number("accepted")?);
    if accepted_at > Millis::MAX {
        return Err(invalid("accepted", "is no time in milliseconds"));
    }
    let text = |name| Ok::<_, EventError>(tag(name)?.unwrap_or_default().to_owned());
    Ok(Some(AttemptTags {
        message_id: id.parse().map_err(|_| invalid("id", "is no message id"))?,
        accepted_at,
        attempt: u32::try_from(number("attempt")?)
            .map_err(|_| invalid("attempt", "is no number of an attempt"))?,
        tenant: text("tenant")?,
        template: text("template")?,
        via: text("via")?,
    }))
}

/// What a machine did, where one did what `kind` says.
const fn by_machine(kind: EventKind) -> EventKind {
    match kind {
        EventKind::Opened => EventKind::MachineOpened,
        EventKind::Clicked => EventKind::MachineClicked,
        other => other,
    }
}

/// `text` where it is made of the characters of a code; what else a provider may have put there is dropped.
fn word(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '/');
    if text.chars().count() <= WORD_CHARS_MAX && text.chars().all(allowed) {
        text.to_owned()
    } else {
        String::new()
    }
}

/// Words that are not empty, with blanks between them.
fn words(texts: &[&str]) -> String {
    let words: Vec<String> = texts
        .iter()
        .map(|text| word(text))
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
