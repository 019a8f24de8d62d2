//! A mail as the message that would travel: RFC 5322 and MIME.

use std::io;

use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

use super::email::{Attachment, Email};
use super::store::Mail;

/// The source of `mail`, with the headers that the provider writes.
pub(crate) fn source(mail: &Mail) -> io::Result<Vec<u8>> {
    let email = &mail.email;
    let mut message = MessageBuilder::new()
        .header("From", Raw::new(email.from.as_str()))
        .header("To", Raw::new(email.to.join(", ")))
        .subject(email.subject.as_str())
        .date(mail.received_at.as_second())
        .message_id(format!("{}@look-alike.invalid", mail.id));
    if !email.cc.is_empty() {
        message = message.header("Cc", Raw::new(email.cc.join(", ")));
    }
    if !email.reply_to.is_empty() {
        message = message.header("Reply-To", Raw::new(email.reply_to.join(", ")));
    }
    for (name, value) in &email.headers {
        message = message.header(name.as_str(), Raw::new(value.as_str()));
    }
    message.body(body(email)).write_to_vec()
}

/// `multipart/mixed` of the attachments and, within `multipart/related` with what it shows, the `multipart/alternative` of the texts; a level
/// that would have one part only is left out.
fn body(email: &Email) -> MimePart<'_> {
    let mut texts = Vec::new();
    if !email.text.is_empty() {
        texts.push(MimePart::new("text/plain", email.text.as_str()));
    }
    if !email.html.is_empty() {
        texts.push(MimePart::new("text/html", email.html.as_str()));
    }
    let (inline, attached) = email
        .attachments
        .iter()
        .partition::<Vec<_>, _>(|part| part.is_inline());
    let mut related = level("multipart/alternative", texts);
    related.extend(inline.into_iter().map(part));
    let mut mixed = level("multipart/related", related);
    mixed.extend(attached.into_iter().map(part));
    let whole = level("multipart/mixed", mixed).pop();
    whole.unwrap_or_else(|| MimePart::new("text/plain", ""))
}

/// The parts as one, unless they are one.
fn level<'a>(kind: &'static str, parts: Vec<MimePart<'a>>) -> Vec<MimePart<'a>> {
    if parts.len() < 2 {
        return parts;
    }
    vec![MimePart::new(kind, parts)]
}

fn part(attachment: &Attachment) -> MimePart<'_> {
    let inline_id = attachment.content_id.as_deref().filter(|_| attachment.inline);
    let kind = if attachment.inline { "inline" } else { "attachment" };
    let disposition = ContentType::new(kind).attribute("filename", attachment.file_name.as_str());
    let part = MimePart::new(attachment.media_type.as_str(), attachment.content.to_vec());
    let part = part.header("Content-Disposition", disposition);
    match inline_id {
        Some(id) => part.cid(id),
        None => part,
    }
}
