//! From a stored request to the compressed parts that a sender reads: no Redis here.

use bytes::Bytes;
use paceline_domain::address::Address;
use paceline_domain::canonical;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::suppression::BULK_CATEGORY;
use paceline_domain::time::Millis;
use paceline_kit::address_key::AddressKey;
use paceline_store::Addressee;
use paceline_templates::{Manifest, RenderError, RenderInput, Template};
use paceline_wire::{convert, rendered, v1};

/// What senders are handed.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// Compressed.
    pub(crate) parts: Bytes,
    /// Whom it is for, as the suppressed are looked up; `None` without a key for that.
    pub(crate) to: Option<Addressee>,
}

/// A message that can't be rendered, for good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderFailure {
    #[error("{0}")]
    Template(#[from] RenderError),
    #[error("the data can't be read: {0}")]
    Data(#[from] canonical::DataError),
    #[error("neither request nor template has a From")]
    NoFrom,
    #[error("the request has no recipient")]
    NoRecipient,
    #[error("the parts can't be compressed: {0}")]
    Compress(#[from] std::io::Error),
}

/// Renders one message.
///
/// # Errors
/// If the template, the data or the request don't make an email.
pub(crate) fn render(
    id: MessageId,
    request: v1::StoredRequest,
    template: &Template,
    now: Millis,
    key: Option<&AddressKey>,
) -> Result<Rendered, RenderFailure> {
    let lane = convert::lane(request.lane)
        .ok()
        .flatten()
        .unwrap_or_else(|| template.manifest().lane);
    let data = canonical::parse_data(&request.data)?.into_inner();
    let parts = template.render(RenderInput {
        data,
        message_id: id,
        lane,
    })?;
    let manifest = template.manifest();
    let from = request
        .from
        .or_else(|| manifest.from.as_ref().map(v1::Mailbox::from));
    let reply_to = request
        .reply_to
        .or_else(|| manifest.reply_to.as_ref().map(v1::Mailbox::from));
    let recipient = request.recipient.ok_or(RenderFailure::NoRecipient)?;
    let to = key.and_then(|key| addressee(key, &recipient.address, manifest, lane));
    let parts = v1::RenderedMessage {
        recipient: Some(recipient),
        from: Some(from.ok_or(RenderFailure::NoFrom)?),
        reply_to,
        subject: parts.subject,
        html: parts.html,
        text: parts.text,
        headers: headers(manifest, request.headers),
        tags: request.tags,
        attachments: request.attachments,
        traceparent: request.traceparent,
        tenant: request.tenant,
        template: request.template,
        rendered_at: Some(convert::timestamp(now)),
    };
    Ok(Rendered {
        parts: rendered::pack(&parts)?,
        to,
    })
}

/// Bulk mail is of a category in any case, also where only its request says that it is bulk.
fn addressee(key: &AddressKey, address: &str, manifest: &Manifest, lane: Lane) -> Option<Addressee> {
    let of_lane = if lane == Lane::Bulk { BULK_CATEGORY } else { "" };
    Some(Addressee {
        address: key.hash(&Address::parse(address).ok()?),
        category: manifest.category.as_deref().unwrap_or(of_lane).to_owned(),
        despite_complaint: manifest.despite_complaint,
    })
}

/// The template's headers, but for those that the request has its own of, and the request's.
fn headers(manifest: &Manifest, own: Vec<v1::Header>) -> Vec<v1::Header> {
    let overridden = |name: &str| own.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let template = manifest.headers.iter().filter(|(name, _)| !overridden(name));
    let mut headers: Vec<_> = template
        .map(|(name, value)| v1::Header {
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    headers.extend(own);
    headers
}
