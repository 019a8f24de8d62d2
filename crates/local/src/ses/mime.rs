//! A mail as the message that would travel: RFC 5322 and MIME.

use std::io;

use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use super::SentEmail;
use super::store::Mail;

/// The source of `mail`, with the headers that SES writes.
pub(crate) fn source(mail: &Mail) -> io::Result<Vec<u8>> {
    let email: &SentEmail = &mail.email;
    let mut message = MessageBuilder::new()
        .header("From", Raw::new(email.from_email_address.as_str()))
        .header("To", Raw::new(email.destination.to_addresses.join(", ")))
        .subject(email.subject())
        .date(mail.received_at.as_second())
        .message_id(format!("{}@look-alike.invalid", mail.id));
    if !email.destination.cc_addresses.is_empty() {
        message = message.header("Cc", Raw::new(email.destination.cc_addresses.join(", ")));
    }
    if !email.reply_to_addresses.is_empty() {
        message = message.header("Reply-To", Raw::new(email.reply_to_addresses.join(", ")));
    }
    let simple = email.simple();
    for header in simple.iter().flat_map(|simple| &simple.headers) {
        message = message.header(header.name.as_str(), Raw::new(header.value.as_str()));
    }
    if !email.text().is_empty() {
        message = message.text_body(email.text());
    }
    if !email.html().is_empty() {
        message = message.html_body(email.html());
    }
    for part in simple.iter().flat_map(|simple| &simple.attachments) {
        let bytes = part.bytes().unwrap_or_default();
        message = match part.content_id.as_deref().filter(|_| part.inline()) {
            Some(id) => message.inline(part.media_type(), id, bytes),
            None => message.attachment(part.media_type(), part.file_name.as_str(), bytes),
        };
    }
    message.write_to_vec()
}
