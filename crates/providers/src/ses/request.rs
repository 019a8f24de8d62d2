//! A message as a `SendEmail` request.

use aws_sdk_sesv2::error::BuildError;
use aws_sdk_sesv2::operation::send_email::builders::SendEmailFluentBuilder;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{
    self, AttachmentContentDisposition, AttachmentContentTransferEncoding, Body, ConfigurationOverrides,
    Content, Destination, EmailContent, FeatureStatus, MessageHeader, MessageTag,
    TrackingConfigurationOverrides,
};

use crate::header_text::{self, HeaderError};
use crate::message::{Attachment, OutgoingMessage};
use crate::ses::texts::Texts;

/// SES's limit on custom headers (`MessageHeaderList`); three are ours.
const HEADERS_MAX: usize = 15;
/// SES documents no bound on tags. Six are ours, and `Enqueue` takes at most six.
const TAGS_MAX: usize = 12;
/// SES's limit on a tag's name and on its value.
const TAG_CHARS_MAX: usize = 256;

/// A message that no request can express. Names no content.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("more headers than SES takes")]
    TooManyHeaders,
    #[error("more tags than SES takes")]
    TooManyTags,
    #[error("a part is incomplete")]
    Incomplete(#[from] BuildError),
    #[error("a body is no JSON")]
    Text(#[from] serde_json::Error),
}

/// A request without its bodies, and these.
pub(super) struct Request {
    pub(super) form: SendEmailFluentBuilder,
    pub(super) texts: Texts,
}

pub(super) fn build(
    request: SendEmailFluentBuilder,
    message: &OutgoingMessage<'_>,
) -> Result<Request, RequestError> {
    Ok(Request {
        form: form(request, message, |_| "")?,
        texts: Texts::new(message.html, message.text)?,
    })
}

/// The request with what `body` makes of each body.
fn form(
    request: SendEmailFluentBuilder,
    message: &OutgoingMessage<'_>,
    body: fn(&str) -> &str,
) -> Result<SendEmailFluentBuilder, RequestError> {
    let to = header_text::mailbox(message.to)?;
    let reply_to = message.reply_to.map(header_text::mailbox).transpose()?;
    let simple = types::Message::builder()
        .subject(utf8(header_text::subject(message.subject)?)?)
        .body(bodies(message, body)?)
        .set_headers(Some(headers(message)?))
        .set_attachments(attachments(message)?)
        .build();
    Ok(request
        .from_email_address(header_text::mailbox(message.from)?)
        .destination(Destination::builder().to_addresses(to).build())
        .set_reply_to_addresses(reply_to.map(|address| vec![address]))
        .content(EmailContent::builder().simple(simple).build())
        .set_email_tags(Some(tags(message)?))
        .configuration_set_name(message.configuration_set)
        .set_configuration_overrides(message.tracking.map(tracking))
        .set_tenant_name(message.tenant_name.map(str::to_owned)))
}

/// Both ways, whatever account and configuration set say.
fn tracking(wanted: bool) -> ConfigurationOverrides {
    let status = if wanted {
        FeatureStatus::Enabled
    } else {
        FeatureStatus::Disabled
    };
    let tracking = TrackingConfigurationOverrides::builder()
        .open_tracking_enabled(status.clone())
        .click_tracking_enabled(status)
        .build();
    ConfigurationOverrides::builder().tracking(tracking).build()
}

fn utf8(text: &str) -> Result<Content, BuildError> {
    Content::builder().data(text).charset("UTF-8").build()
}

fn bodies(message: &OutgoingMessage<'_>, body: fn(&str) -> &str) -> Result<Body, BuildError> {
    let part = |text: &str| (!text.is_empty()).then(|| utf8(body(text))).transpose();
    Ok(Body::builder()
        .set_html(part(message.html)?)
        .set_text(part(message.text)?)
        .build())
}

/// The caller's headers, then ours: events carry headers, so a message is found by them even where tags are lost.
fn headers(message: &OutgoingMessage<'_>) -> Result<Vec<MessageHeader>, RequestError> {
    let ours = [
        ("X-Paceline-Id", message.message_id.to_string()),
        ("X-Paceline-Accepted", message.accepted_at.0.to_string()),
        ("X-Paceline-Attempt", message.attempt.to_string()),
    ];
    if message.headers.len() + ours.len() > HEADERS_MAX {
        return Err(RequestError::TooManyHeaders);
    }
    let theirs = message.headers.iter().map(|&(name, value)| {
        let value = header_text::field_value(value)?;
        Ok(MessageHeader::builder()
            .name(header_text::field_name(name)?)
            .value(value)
            .build()?)
    });
    let ours = ours
        .into_iter()
        .map(|(name, value)| Ok(MessageHeader::builder().name(name).value(value).build()?));
    theirs.chain(ours).collect()
}

/// What the provider's events say of a message: enough to find it, and to count by template and tenant.
fn tags(message: &OutgoingMessage<'_>) -> Result<Vec<MessageTag>, RequestError> {
    let ours = [
        ("paceline_id", message.message_id.to_string()),
        ("paceline_accepted", message.accepted_at.0.to_string()),
        ("paceline_attempt", message.attempt.to_string()),
        ("paceline_template", tag_text(message.template)),
        ("paceline_tenant", tag_text(message.tenant)),
        ("paceline_via", tag_text(message.via)),
    ];
    if message.tags.len() + ours.len() > TAGS_MAX {
        return Err(RequestError::TooManyTags);
    }
    let theirs = message.tags.iter().map(|&(name, value)| (name, value.to_owned()));
    let tags = ours
        .into_iter()
        .chain(theirs)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| MessageTag::builder().name(name).value(value).build());
    Ok(tags.collect::<Result<_, _>>()?)
}

/// `text` in the characters that a tag may have: the others become `_`.
fn tag_text(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.chars()
        .take(TAG_CHARS_MAX)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

fn attachments(message: &OutgoingMessage<'_>) -> Result<Option<Vec<types::Attachment>>, RequestError> {
    if message.attachments.is_empty() {
        return Ok(None);
    }
    let parts: Result<Vec<_>, _> = message.attachments.iter().map(attachment).collect();
    Ok(Some(parts?))
}

fn attachment(part: &Attachment<'_>) -> Result<types::Attachment, BuildError> {
    let inline = !part.content_id.is_empty();
    types::Attachment::builder()
        .file_name(part.file_name)
        .content_type(part.content_type)
        .raw_content(Blob::new(part.content.to_vec()))
        .content_disposition(if inline {
            AttachmentContentDisposition::Inline
        } else {
            AttachmentContentDisposition::Attachment
        })
        .content_transfer_encoding(AttachmentContentTransferEncoding::Base64)
        .set_content_id(inline.then(|| part.content_id.to_owned()))
        .build()
}

#[cfg(test)]
mod tests;
