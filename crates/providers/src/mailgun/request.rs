//! A message as a form of `POST /v3/<domain>/messages`.

use paceline_domain::reason::Reason;

use super::form::Form;
use super::settings::MailgunSettings;
use crate::header_text::{self, HeaderError};
use crate::message::{Attachment, OutgoingMessage};

/// Mailgun's bound on all `o:`, `h:` and `v:` parameters together, said as 16 kB. Names and values are counted.
const OPTIONS_BYTES_MAX: usize = 16_000;
/// Mailgun's bound on a message, said as 25 MB. Whether it counts before or after base64 is not documented; the content
/// is counted as it is, so that nothing is refused here that Mailgun would take.
const MESSAGE_BYTES_MAX: usize = 25_000_000;
/// Mailgun's bounds on `o:tag`.
const TAGS_MAX: usize = 3;
const TAG_CHARS_MAX: usize = 128;
/// Headers that Mailgun takes as orders, among them variables of one's own.
const RESERVED_PREFIX: &str = "x-mailgun-";

/// A message that no request can express. Names no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("a header is one that Mailgun takes as an order")]
    ReservedHeader,
    #[error("headers and tags are longer than the {OPTIONS_BYTES_MAX} bytes that Mailgun takes")]
    OptionsTooLong,
    #[error("the message is longer than the {MESSAGE_BYTES_MAX} bytes that Mailgun takes")]
    TooLong,
}

impl RequestError {
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Header(_) | Self::ReservedHeader => Reason::MessageRefused,
            Self::OptionsTooLong | Self::TooLong => Reason::MessageTooLarge,
        }
    }
}

/// Fields that Mailgun calls options, headers and variables, with their prefix.
type Options = Vec<(String, String)>;

pub(super) fn build(message: &OutgoingMessage<'_>, settings: &MailgunSettings) -> Result<Form, RequestError> {
    let options = options(message, settings)?;
    let options_bytes: usize = options.iter().map(|(name, value)| name.len() + value.len()).sum();
    if options_bytes > OPTIONS_BYTES_MAX {
        return Err(RequestError::OptionsTooLong);
    }
    let attached: usize = message.attachments.iter().map(|part| part.content.len()).sum();
    let bytes = options_bytes + message.subject.len() + message.html.len() + message.text.len() + attached;
    if bytes > MESSAGE_BYTES_MAX {
        return Err(RequestError::TooLong);
    }
    let mut form = Form::with_capacity(5 + options.len() + message.attachments.len(), bytes);
    form.text("from", &header_text::mailbox(message.from)?);
    form.text("to", &header_text::mailbox(message.to)?);
    form.text("subject", header_text::subject(message.subject)?);
    for (name, part) in [("text", message.text), ("html", message.html)] {
        if !part.is_empty() {
            form.text(name, part);
        }
    }
    for (name, value) in &options {
        form.text(name, value);
    }
    for part in &message.attachments {
        attach(&mut form, part)?;
    }
    Ok(form)
}

fn options(message: &OutgoingMessage<'_>, settings: &MailgunSettings) -> Result<Options, RequestError> {
    let mut options = Options::new();
    let mut add = |prefix: char, name: &str, value: String| options.push((format!("{prefix}:{name}"), value));
    // Otherwise the domain's own settings count, for each of the two on its own.
    let tracking = settings.tracking && message.tracking.unwrap_or(false);
    for what in ["tracking", "tracking-opens", "tracking-clicks"] {
        add('o', what, if tracking { "yes" } else { "no" }.to_owned());
    }
    if settings.test_mode {
        add('o', "testmode", "yes".to_owned());
    }
    for tag in tags(message) {
        add('o', "tag", tag);
    }
    if let Some(reply_to) = message.reply_to {
        add('h', "Reply-To", header_text::mailbox(reply_to)?);
    }
    for &(name, value) in &message.headers {
        let name = header_text::field_name(name)?;
        if name.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
            return Err(RequestError::ReservedHeader);
        }
        add('h', name, header_text::field_value(value)?);
    }
    let ours = [
        ("Id", message.message_id.to_string()),
        ("Accepted", message.accepted_at.0.to_string()),
        ("Attempt", message.attempt.to_string()),
    ];
    // In both, as with SES: events carry the variables, and a stored message its headers.
    for (name, value) in ours {
        add('h', &format!("X-Paceline-{name}"), value.clone());
        add('v', &format!("paceline_{}", name.to_ascii_lowercase()), value);
    }
    add('v', "paceline_template", message.template.to_owned());
    add('v', "paceline_tenant", message.tenant.to_owned());
    if !message.via.is_empty() {
        add('v', "paceline_via", message.via.to_owned());
    }
    for &(name, value) in &message.tags {
        add('v', name, value.to_owned());
    }
    Ok(options)
}

/// What Mailgun counts by: the template, then the caller's own tags as far as there is room. All of them are variables, too.
fn tags(message: &OutgoingMessage<'_>) -> impl Iterator<Item = String> {
    let theirs = message.tags.iter().map(|(name, value)| format!("{name}:{value}"));
    std::iter::once(message.template.to_owned())
        .chain(theirs)
        .filter(|tag| !tag.is_empty())
        .map(|tag| tag_text(&tag))
        .take(TAGS_MAX)
}

/// `text` in the characters that a tag may have: the others become `_`.
fn tag_text(text: &str) -> String {
    text.chars()
        .take(TAG_CHARS_MAX)
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '_' })
        .collect()
}

/// Mailgun makes the Content-ID of an inline part from its file name, so that is what the name must be.
fn attach(form: &mut Form, part: &Attachment<'_>) -> Result<(), RequestError> {
    let (field, name) = if part.content_id.is_empty() {
        ("attachment", part.file_name)
    } else {
        ("inline", part.content_id)
    };
    let name = header_text::file_name(name)?;
    let content_type = header_text::content_type(part.content_type)?;
    form.file(field, name, content_type, &part.content);
    Ok(())
}
