//! From a stored request to the parts that a sender reads: no Redis here.

use paceline_domain::canonical;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::time::Millis;
use paceline_store::Addressee;
use paceline_templates::{Manifest, RenderError, RenderInput, Template};
use paceline_wire::{convert, v1};

use crate::inline_parts;
use crate::people::{self, NoLink, People};

/// What senders are handed.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) parts: v1::RenderedMessage,
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
    #[error("the data does not fit the fallback {template}: {field}")]
    Unfit { template: String, field: String },
    #[error("neither request nor template has a From")]
    NoFrom,
    #[error("the request has no recipient")]
    NoRecipient,
    #[error("image number {0} that the html shows by cid: is no attachment of the message")]
    NoInlinePart(usize),
    #[error("{0}")]
    NoLink(#[from] NoLink),
    #[error("the parts can't be compressed: {0}")]
    Compress(#[from] std::io::Error),
}

/// The message's lane, and what people unsubscribe from by its link; `None` for mail without one.
fn category<'t>(request: &v1::StoredRequest, template: &'t Template) -> (Lane, Option<&'t str>) {
    let manifest = template.manifest();
    let lane = convert::lane(request.lane)
        .ok()
        .flatten()
        .unwrap_or(manifest.lane);
    (lane, manifest.category_in(lane))
}

/// True if the message must have a link to unsubscribe and the settings do not say how one is made.
pub(crate) fn lacks_link(request: &v1::StoredRequest, template: &Template, people: &People) -> bool {
    !people.have_links() && category(request, template).1.is_some()
}

/// Renders one message, accepted at the given time.
///
/// # Errors
/// If the template, the data or the request don't make an email.
pub(crate) fn render(
    (id, accepted_at): (MessageId, Millis),
    request: v1::StoredRequest,
    template: &Template,
    people: &People,
) -> Result<Rendered, RenderFailure> {
    let manifest = template.manifest();
    let (lane, category) = category(&request, template);
    let recipient = request.recipient.ok_or(RenderFailure::NoRecipient)?;
    let to = people.addressee(&recipient.address, manifest, category);
    let link = category.map(|_| people.link((id, accepted_at), &request.tenant, to.as_ref()));
    let unsubscribe_url = link.transpose()?;
    let data = canonical::parse_data(&request.data)?.into_inner();
    let headers = headers(manifest, request.headers, unsubscribe_url.as_deref());
    let parts = template.render(RenderInput {
        data,
        message_id: id,
        lane,
        unsubscribe_url,
    })?;
    if let Some(number) = inline_parts::missing(&parts.html, &request.attachments) {
        return Err(RenderFailure::NoInlinePart(number));
    }
    let from = request
        .from
        .or_else(|| manifest.from.as_ref().map(v1::Mailbox::from));
    let reply_to = request
        .reply_to
        .or_else(|| manifest.reply_to.as_ref().map(v1::Mailbox::from));
    let parts = v1::RenderedMessage {
        recipient: Some(recipient),
        from: Some(from.ok_or(RenderFailure::NoFrom)?),
        reply_to,
        subject: parts.subject,
        html: parts.html,
        text: parts.text,
        headers,
        tags: request.tags,
        attachments: request.attachments,
        traceparent: request.traceparent,
        tenant: request.tenant,
        template: request.template,
        tracking: Some(manifest.tracking),
    };
    Ok(Rendered { parts, to })
}

/// The template's headers, but for those that the request has its own of, and the request's; and those of the link, which take the
/// place of both.
fn headers(manifest: &Manifest, own: Vec<v1::Header>, link: Option<&str>) -> Vec<v1::Header> {
    let overridden = |name: &str| own.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let template = manifest.headers.iter().filter(|(name, _)| !overridden(name));
    let mut headers: Vec<_> = template
        .map(|(name, value)| v1::Header {
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    headers.extend(own);
    if let Some(url) = link {
        headers.retain(|header| !people::is_header(&header.name));
        headers.extend(people::headers(url));
    }
    headers
}
