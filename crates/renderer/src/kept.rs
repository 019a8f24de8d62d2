//! A rendered message on its way: compressed for the senders, and once more for the ledger where its template keeps it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::record::Ticket;
use paceline_store::Addressee;
use paceline_wire::convert;
use paceline_wire::rendered as packing;
use paceline_wire::v1::{KeptParts, RenderedMessage};
use prost::Message as _;

use crate::render::Rendered;

/// What Redis is handed.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) parts: Bytes,
    pub(crate) to: Option<Addressee>,
    /// `KeptParts` for the log; empty where nothing is kept.
    pub(crate) kept: Bytes,
}

/// Packs a message of whose parts the ledger keeps a copy for so long; zero: none.
///
/// # Errors
/// If zstd has no memory.
pub(crate) fn pack(id: MessageId, ticket: Ticket, rendered: Rendered, keep: Duration) -> io::Result<Packed> {
    let Rendered { parts, to } = rendered;
    Ok(Packed {
        parts: packing::pack(&parts)?,
        to,
        kept: log(id, ticket, &parts, keep)?,
    })
}

/// Nothing unless the template says for how long, and never what is attached.
///
/// # Errors
/// If zstd has no memory.
fn log(id: MessageId, ticket: Ticket, parts: &RenderedMessage, keep: Duration) -> io::Result<Bytes> {
    if keep.is_zero() {
        return Ok(Bytes::new());
    }
    let mut shown = parts.clone();
    for attachment in &mut shown.attachments {
        attachment.content.clear();
    }
    let kept = KeptParts {
        message_id: Bytes::copy_from_slice(&id.0),
        accepted_at: Some(convert::timestamp(ticket.accepted_at)),
        generation: ticket.generation,
        keep_s: u32::try_from(keep.as_secs()).unwrap_or(u32::MAX),
        rendered: packing::pack(&shown)?,
    };
    Ok(kept.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use paceline_domain::time::Millis;
    use paceline_wire::v1;

    use super::*;

    #[test]
    fn what_is_attached_is_named_and_not_kept() {
        let ticket = Ticket {
            accepted_at: Millis(1_800_000_000_000),
            generation: 3,
        };
        let parts = RenderedMessage {
            subject: "Order 7".to_owned(),
            html: "<p>7</p>".to_owned(),
            attachments: vec![v1::Attachment {
                file_name: "a.pdf".to_owned(),
                content: Bytes::from_static(b"%PDF"),
                ..v1::Attachment::default()
            }],
            ..RenderedMessage::default()
        };
        let id = MessageId([1; 16]);
        assert!(
            log(id, ticket, &parts, Duration::ZERO)
                .expect("nothing to do")
                .is_empty()
        );
        let kept = log(id, ticket, &parts, Duration::from_secs(86_400)).expect("packed");
        let kept = KeptParts::decode(kept).expect("our own");
        assert_eq!(
            (kept.message_id.as_ref(), kept.generation, kept.keep_s),
            (&id.0[..], 3, 86_400)
        );
        let shown = packing::unpack(&kept.rendered).expect("our own");
        assert_eq!(
            (shown.subject.as_str(), shown.html.as_str()),
            ("Order 7", "<p>7</p>")
        );
        assert_eq!(shown.attachments[0].file_name, "a.pdf");
        assert!(shown.attachments[0].content.is_empty());
    }
}
