//! From a ready entry's compressed bytes to what a provider is handed.

use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_kit::identity::SesIdentity;
use paceline_providers::{Attachment, Mailbox, OutgoingMessage, WriteGate};
use paceline_wire::v1;
use prost::Message as _;

/// The most that rendered parts may unpack to: attachments, html and text are far smaller, and a bomb is refused.
const RENDERED_BYTES_MAX: usize = 32 << 20;

/// Rendered parts that can't be read. They are this message's own fault: the entry was made by a renderer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("can't be unpacked")]
    Unpack(#[from] std::io::Error),
    #[error("is no rendered message")]
    Decode(#[from] prost::DecodeError),
    #[error("has no {0}")]
    Missing(&'static str),
}

/// Unpacks the parts, and checks that those are there without which nothing can be sent.
pub(crate) fn unpack(compressed: &[u8]) -> Result<v1::RenderedMessage, Unreadable> {
    let bytes = zstd::bulk::decompress(compressed, RENDERED_BYTES_MAX)?;
    let rendered = v1::RenderedMessage::decode(bytes.as_slice())?;
    if rendered.recipient.is_none() {
        return Err(Unreadable::Missing("recipient"));
    }
    if rendered.from.is_none() {
        return Err(Unreadable::Missing("from"));
    }
    Ok(rendered)
}

/// The message as the provider takes it; `None` only for parts that [`unpack`] has not checked.
pub(crate) fn outgoing<'a>(
    rendered: &'a v1::RenderedMessage,
    (id, record): (MessageId, &Record),
    ses: &'a SesIdentity,
    traceparent: &'a str,
    gate: WriteGate,
) -> Option<OutgoingMessage<'a>> {
    Some(OutgoingMessage {
        message_id: id,
        accepted_at: record.accepted_at,
        attempt: record.attempt,
        tenant: &rendered.tenant,
        template: &rendered.template,
        from: mailbox(rendered.from.as_ref()?),
        reply_to: rendered.reply_to.as_ref().map(mailbox),
        to: mailbox(rendered.recipient.as_ref()?),
        subject: &rendered.subject,
        html: &rendered.html,
        text: &rendered.text,
        headers: rendered
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_str()))
            .collect(),
        tags: rendered
            .tags
            .iter()
            .map(|tag| (tag.name.as_str(), tag.value.as_str()))
            .collect(),
        attachments: rendered.attachments.iter().map(attachment).collect(),
        configuration_set: &ses.configuration_set,
        tenant_name: ses.tenant_name.as_deref(),
        traceparent,
        gate,
    })
}

fn mailbox(mailbox: &v1::Mailbox) -> Mailbox<'_> {
    Mailbox {
        address: &mailbox.address,
        display_name: &mailbox.display_name,
    }
}

fn attachment(attachment: &v1::Attachment) -> Attachment<'_> {
    Attachment {
        file_name: &attachment.file_name,
        content_type: &attachment.content_type,
        content: attachment.content.clone(),
        content_id: &attachment.content_id,
    }
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1;
    use prost::Message as _;

    use super::{RENDERED_BYTES_MAX, Unreadable, unpack};

    fn packed(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).expect("compressible")
    }

    #[test]
    fn parts_read_back_or_say_what_is_missing() {
        let mailbox = v1::Mailbox {
            address: "ada@example.com".to_owned(),
            ..v1::Mailbox::default()
        };
        let mut rendered = v1::RenderedMessage {
            recipient: Some(mailbox.clone()),
            from: Some(mailbox),
            subject: "Hello".to_owned(),
            ..v1::RenderedMessage::default()
        };
        assert_eq!(
            unpack(&packed(&rendered.encode_to_vec())).expect("whole"),
            rendered
        );
        rendered.from = None;
        let refused = unpack(&packed(&rendered.encode_to_vec()));
        assert!(matches!(refused, Err(Unreadable::Missing("from"))));
        assert!(matches!(unpack(b"not zstd"), Err(Unreadable::Unpack(_))));
        assert!(matches!(unpack(&packed(&[0xff; 9])), Err(Unreadable::Decode(_))));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = packed(&vec![0; RENDERED_BYTES_MAX + 1]);
        assert!(bomb.len() < 8_192);
        assert!(matches!(unpack(&bomb), Err(Unreadable::Unpack(_))));
    }
}
