//! From a ready entry's compressed bytes to what a provider is handed.

use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_kit::identity::SesIdentity;
use paceline_providers::{Attachment, Mailbox, OutgoingMessage, WriteGate};
use paceline_wire::rendered::{self, UnpackError};
use paceline_wire::v1;

/// Rendered parts that can't be read. They are this message's own fault: the entry was made by a renderer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("has no {0}")]
    Missing(&'static str),
}

/// Unpacks the parts, and checks that those are there without which nothing can be sent.
pub(crate) fn unpack(compressed: &[u8]) -> Result<v1::RenderedMessage, Unreadable> {
    let rendered = rendered::unpack(compressed)?;
    if rendered.recipient.is_none() {
        return Err(Unreadable::Missing("recipient"));
    }
    if rendered.from.is_none() {
        return Err(Unreadable::Missing("from"));
    }
    Ok(rendered)
}

/// The message as the provider takes it, as the identity `via` unless that is empty; `None` only for parts that [`unpack`] has not checked.
pub(crate) fn outgoing<'a>(
    rendered: &'a v1::RenderedMessage,
    (id, record): (MessageId, &Record),
    (ses, via): (&'a SesIdentity, &'a str),
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
        tracking: rendered.tracking,
        configuration_set: &ses.configuration_set,
        tenant_name: ses.tenant_name.as_deref(),
        via,
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
    use paceline_wire::{rendered, v1};

    use super::{Unreadable, unpack};

    #[test]
    fn parts_read_back_or_say_what_is_missing() {
        let mailbox = v1::Mailbox {
            address: "ada@example.com".to_owned(),
            ..v1::Mailbox::default()
        };
        let mut parts = v1::RenderedMessage {
            recipient: Some(mailbox.clone()),
            from: Some(mailbox),
            subject: "Hello".to_owned(),
            ..v1::RenderedMessage::default()
        };
        let pack = |parts: &_| rendered::pack(parts).expect("compressible");
        assert_eq!(unpack(&pack(&parts)).expect("whole"), parts);
        parts.from = None;
        assert!(matches!(unpack(&pack(&parts)), Err(Unreadable::Missing("from"))));
        assert!(matches!(unpack(b"not zstd"), Err(Unreadable::Unpack(_))));
    }
}
