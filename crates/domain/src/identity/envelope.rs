//! The JSON object that is hashed, and its parts, which the digests of keyed messages share. Its form is described in
//! [`super`]; another form is another [`SCHEME`].

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{AttachmentRef, Content, SCHEME};
use crate::address::Mailbox;
use crate::canonical::{NormalObject, Text};

/// The field order does not matter: the canonical form sorts.
#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    scheme: u8,
    of: &'static str,
    tenant: Text<'a>,
    user_id: Text<'a>,
    template: Text<'a>,
    recipient: Person<'a>,
    from: Option<Person<'a>>,
    reply_to: Option<Person<'a>>,
    headers: Vec<(String, Text<'a>)>,
    attachments: Vec<Attachment<'a>>,
    data: NormalObject<'a>,
}

impl<'a> Envelope<'a> {
    pub(super) fn of(content: &Content<'a>) -> Self {
        let counts = |name: &str| content.identity_fields.counts(name);
        Self {
            scheme: SCHEME,
            of: "content",
            tenant: Text(content.tenant),
            user_id: Text(content.user_id),
            template: Text(content.template),
            recipient: Person::of(content.recipient),
            from: content.from.map(Person::of),
            reply_to: content.reply_to.map(Person::of),
            headers: headers(content.headers),
            attachments: content.attachments.iter().map(Attachment::of).collect(),
            data: NormalObject(content.data.iter().filter(|(name, _)| counts(name)).collect()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Person<'a> {
    address: &'a str,
    name: Option<Text<'a>>,
}

impl<'a> Person<'a> {
    pub(super) fn of(mailbox: &'a Mailbox) -> Self {
        Self {
            address: mailbox.address().as_str(),
            name: mailbox.display_name().map(Text),
        }
    }
}

/// Names in lower case and sorted: neither their case nor the order of different fields has a meaning (RFC 5322, 3.6).
/// The sort is stable, since that of equal ones may.
pub(super) fn headers<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(String, Text<'a>)> {
    let mut list: Vec<_> = headers
        .iter()
        .map(|&(name, value)| (name.to_ascii_lowercase(), Text(value)))
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

#[derive(Serialize)]
pub(super) struct Attachment<'a> {
    file_name: Text<'a>,
    content_type: Text<'a>,
    content_id: Text<'a>,
    sha256: String,
}

impl<'a> Attachment<'a> {
    pub(super) fn of(attachment: &AttachmentRef<'a>) -> Self {
        Self {
            file_name: Text(attachment.file_name),
            content_type: Text(attachment.content_type),
            content_id: Text(attachment.content_id),
            sha256: HEXLOWER.encode(&attachment.digest),
        }
    }
}
