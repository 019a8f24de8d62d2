//! Whom a message is for: the keyed hash by which suppressions are looked up, and the link by which its recipient unsubscribes.

use paceline_domain::address::Address;
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_domain::unsubscribe::UnsubscribeLink;
use paceline_kit::address_key::AddressKey;
use paceline_kit::unsubscribe::UnsubscribeLinks;
use paceline_store::Addressee;
use paceline_templates::{Manifest, UNSUBSCRIBE_HEADERS};
use paceline_wire::v1;

/// What makes a button of the header's link (RFC 8058).
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// A link that can't be made, for good: what is stored is no message that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no link to unsubscribe can be made for its tenant, category or recipient")]
pub(crate) struct NoLink;

/// The key by which people are known, and what makes links, as far as the settings have them.
pub(crate) struct People {
    key: Option<AddressKey>,
    links: Option<UnsubscribeLinks>,
}

impl People {
    pub(crate) const fn new(key: Option<AddressKey>, links: Option<UnsubscribeLinks>) -> Self {
        Self { key, links }
    }

    /// True if mail that has a category has a link.
    pub(crate) const fn have_links(&self) -> bool {
        self.key.is_some() && self.links.is_some()
    }

    /// As the suppressed are looked up; `None` without a key for that.
    pub(crate) fn addressee(
        &self,
        address: &str,
        manifest: &Manifest,
        category: Option<&str>,
    ) -> Option<Addressee> {
        Some(Addressee {
            address: self.key.as_ref()?.hash(&Address::parse(address).ok()?),
            category: category.unwrap_or_default().to_owned(),
            despite_complaint: manifest.despite_complaint,
        })
    }

    /// The URL of the link by which `to` unsubscribes from the message's category.
    ///
    /// # Errors
    /// If the names are none that a message has, there is no addressee, or no settings say how.
    pub(crate) fn link(
        &self,
        (message_id, accepted_at): (MessageId, Millis),
        tenant: &str,
        to: Option<&Addressee>,
    ) -> Result<String, NoLink> {
        let (links, to) = self.links.as_ref().zip(to).ok_or(NoLink)?;
        let link = UnsubscribeLink {
            tenant: tenant.to_owned(),
            category: to.category.clone(),
            address: to.address,
            message_id,
            accepted_at,
        };
        links.url(&link).map_err(|_| NoLink)
    }
}

/// True of a header that nobody else writes where a message has a link.
pub(crate) fn is_header(name: &str) -> bool {
    UNSUBSCRIBE_HEADERS
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name))
}

/// The headers of a link.
pub(crate) fn headers(url: &str) -> [v1::Header; 2] {
    let [link, post] = UNSUBSCRIBE_HEADERS;
    let header = |name: &str, value: String| v1::Header {
        name: name.to_owned(),
        value,
    };
    [
        header(link, format!("<{url}>")),
        header(post, ONE_CLICK.to_owned()),
    ]
}
