//! What makes a message the same message: its content-addressed id.
//!
//! An id is two bytes of `SHA-256(["<tenant>","<user id>"])` and then fourteen of `SHA-256(envelope)`. The envelope is a
//! JSON object in canonical form (RFC 8785) with all strings in NFC, so that any language can compute the id. By content,
//! what the recipient will get:
//!
//! ```json
//! {"scheme": 1, "of": "content",
//!  "tenant": "shop", "user_id": "42", "template": "receipt",
//!  "recipient": {"address": "ada@example.com", "name": "Ada"},
//!  "from": null, "reply_to": {"address": "help@example.com", "name": null},
//!  "headers": [["x-campaign", "spring"]],
//!  "attachments": [{"file_name": "a.pdf", "content_type": "application/pdf", "content_id": "", "sha256": "<64 hex>"}],
//!  "data": {"total": 12.5}}
//! ```
//!
//! By key: `{"scheme": 1, "of": "key", "tenant": "shop", "user_id": "42", "key": "order-7"}`.
//!
//! - `data` has only the top-level fields that count ([`IdentityFields`]). Addresses are normalised ([`crate::address`]).
//! - Header names are in lower case and sorted, headers of one name in the order given; attachments in the order given.
//! - `scheme` is raised whenever the rules change, so that an id of old rules never passes for one of new rules. It is not
//!   in the first two bytes: a user's messages stay together.
//! - A JSON array as input of the first hash keeps (`ab`, `c`) and (`a`, `bc`) apart.
//!
//! Not part of it: lane, tags, times, the template's version. `tests/known_answers` computes ids by a script of its own.

mod digests;
mod envelope;
mod fields;
pub mod near;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::address::Mailbox;
use crate::canonical::{Data, nfc, to_canonical_json};
use crate::id::MessageId;

pub use digests::{DIGESTED_FIELDS_MAX, DIGESTS_BYTES_MAX, Digests, InvalidDigests, digests};
pub use fields::{FieldRule, IdentityFields, volatile_by_default};

/// The version of the rules, part of every hash.
pub const SCHEME: u8 = 1;

/// What a recipient will get, as far as it is known when the message is accepted.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    pub tenant: &'a str,
    /// The recipient's id in the caller's system.
    pub user_id: &'a str,
    /// The template's name, without its version.
    pub template: &'a str,
    pub recipient: &'a Mailbox,
    pub data: &'a Data,
    /// The template's choice of the fields of `data` that count.
    pub identity_fields: &'a IdentityFields,
    /// Overrides of the template's own; `None` for none.
    pub from: Option<&'a Mailbox>,
    pub reply_to: Option<&'a Mailbox>,
    /// Name and value.
    pub headers: &'a [(&'a str, &'a str)],
    pub attachments: &'a [AttachmentRef<'a>],
}

/// An attachment, its content as a digest.
#[derive(Clone, Copy)]
pub struct AttachmentRef<'a> {
    pub file_name: &'a str,
    pub content_type: &'a str,
    /// Empty for an attachment proper.
    pub content_id: &'a str,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
}

impl Content<'_> {
    /// The very bytes that are hashed. They hold the payload: never log them.
    #[must_use]
    pub fn envelope(&self) -> Vec<u8> {
        to_canonical_json(&envelope::Envelope::of(self))
    }
}

/// The id of a message without an idempotency key.
#[must_use]
pub fn content_id(content: &Content<'_>) -> MessageId {
    place(content.tenant, content.user_id, &content.envelope())
}

/// The id of a message with an idempotency key: content has no part in it. What else was asked for is compared by
/// [`Digests`].
#[must_use]
pub fn keyed_id(tenant: &str, user_id: &str, key: &str) -> MessageId {
    let envelope = to_canonical_json(&json!({
        "scheme": SCHEME,
        "of": "key",
        "tenant": nfc(tenant),
        "user_id": nfc(user_id),
        "key": nfc(key),
    }));
    place(tenant, user_id, &envelope)
}

fn place(tenant: &str, user_id: &str, envelope: &[u8]) -> MessageId {
    let partition = Sha256::digest(to_canonical_json(&[nfc(tenant), nfc(user_id)]));
    let content = Sha256::digest(envelope);
    let mut id = [0; 16];
    id[..2].copy_from_slice(&partition[..2]);
    id[2..].copy_from_slice(&content[..14]);
    MessageId(id)
}
