//! What a message with an idempotency key was asked to be, kept to be compared and no more.
//!
//! The key alone makes the id, so the same key may come again with other content. The record keeps a digest of each part
//! for the window; a difference is named by the part, never by a value. Digests are HMAC-SHA256 under a secret of the
//! deployment, cut to 8 bytes: who reads Redis without the secret can't try out addresses. The key is derived per
//! (tenant, user id), so that equal values of two users don't show either. Names of fields are kept as they are.
//!
//! The first [`DIGESTED_FIELDS_MAX`] fields of the payload by name have a digest each; longer names and further fields
//! share one. Only fields that count for the identity are compared: a retry may carry a new trace id.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::envelope::{Attachment, Person, headers};
use super::{Content, SCHEME};
use crate::canonical::{NormalObject, NormalValue, nfc, to_canonical_json};

/// The fields of a payload with a digest of their own.
pub const DIGESTED_FIELDS_MAX: usize = 64;
/// The bytes of a field's name that is kept.
const NAME_BYTES_MAX: usize = 64;
/// The form of [`Digests::to_bytes`], and the rules by which the parts became bytes.
const FORMAT: u8 = SCHEME;
/// No packed form is longer.
pub const DIGESTS_BYTES_MAX: usize = 1
    + PARTS.len() * DIGEST_BYTES
    + 1
    + DIGESTED_FIELDS_MAX * (1 + NAME_BYTES_MAX + DIGEST_BYTES)
    + DIGEST_BYTES;

const DIGEST_BYTES: usize = 8;
type Digest = [u8; DIGEST_BYTES];

/// The parts beside the payload, in the order of the packed form; the names are those of the request's fields.
const PARTS: [&str; 6] = [
    "template",
    "recipient",
    "from",
    "reply_to",
    "headers",
    "attachments",
];

/// Packed digests that this release can't read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not digests of this release's form")]
pub struct InvalidDigests;

/// Digests of the parts of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    parts: [Digest; PARTS.len()],
    fields: BTreeMap<String, Digest>,
    /// Of all fields that have none of their own, if there are such.
    rest: Option<Digest>,
}

/// Digests what `content` asks for. `secret` must be the same in every process that compares.
#[must_use]
pub fn digests(content: &Content<'_>, secret: &[u8]) -> Digests {
    let mac = Keyed::new(content, secret);
    let attachments: Vec<_> = content.attachments.iter().map(Attachment::of).collect();
    let parts = [
        mac.digest(PARTS[0], &nfc(content.template)),
        mac.digest(PARTS[1], &Person::of(content.recipient)),
        mac.digest(PARTS[2], &content.from.map(Person::of)),
        mac.digest(PARTS[3], &content.reply_to.map(Person::of)),
        mac.digest(PARTS[4], &headers(content.headers)),
        mac.digest(PARTS[5], &attachments),
    ];
    let counting: BTreeMap<_, _> = content
        .data
        .iter()
        .filter(|(name, _)| content.identity_fields.counts(name))
        .map(|(name, value)| (nfc(name), (name, value)))
        .collect();
    let mut fields = BTreeMap::new();
    let mut rest = Vec::new();
    for (normal, (name, value)) in counting {
        if fields.len() < DIGESTED_FIELDS_MAX && normal.len() <= NAME_BYTES_MAX {
            let digest = mac.field(&normal, value);
            fields.insert(normal.into_owned(), digest);
        } else {
            rest.push((name, value));
        }
    }
    let rest = (!rest.is_empty()).then(|| mac.digest("data", &NormalObject(rest)));
    Digests { parts, fields, rest }
}

impl Digests {
    /// The parts in which two requests differ, such as `recipient` and `data.total`; fields that share one digest are
    /// `data`. Empty if the requests are the same.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let parts = PARTS
            .iter()
            .zip(self.parts.iter().zip(&other.parts))
            .filter(|(_, (mine, theirs))| mine != theirs)
            .map(|(part, _)| (*part).to_owned());
        let rest_differs = self.rest != other.rest;
        let names: BTreeSet<_> = self.fields.keys().chain(other.fields.keys()).collect();
        let fields = names
            .into_iter()
            .filter(|name| match (self.fields.get(*name), other.fields.get(*name)) {
                (Some(mine), Some(theirs)) => mine != theirs,
                // One more field may have moved this one in among the rest, whose digest then tells.
                _ => !rest_differs,
            })
            .map(|name| format!("data.{name}"));
        let rest = rest_differs.then(|| "data".to_owned());
        parts.chain(fields).chain(rest).collect()
    }

    /// The packed form: format, the parts' digests, a count, per field the length of its name, the name and the digest,
    /// and at the end, if there is one, the digest of the rest.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.parts.iter().flatten());
        bytes.push(self.fields.len() as u8);
        for (name, digest) in &self.fields {
            bytes.push(name.len() as u8);
            bytes.extend(name.as_bytes());
            bytes.extend(digest);
        }
        bytes.extend(self.rest.iter().flatten());
        bytes
    }

    /// Reads the packed form. The form of another release is refused: its digests could not be compared.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidDigests> {
        let mut reader = Reader(bytes);
        if reader.byte()? != FORMAT {
            return Err(InvalidDigests);
        }
        let mut parts = [Digest::default(); PARTS.len()];
        for part in &mut parts {
            *part = reader.digest()?;
        }
        let mut fields = BTreeMap::new();
        for _ in 0..reader.byte()? {
            let length = reader.byte()?.into();
            let name = std::str::from_utf8(reader.take(length)?).map_err(|_| InvalidDigests)?;
            fields.insert(name.to_owned(), reader.digest()?);
        }
        let rest = if reader.0.is_empty() {
            None
        } else {
            Some(reader.digest()?)
        };
        if !reader.0.is_empty() {
            return Err(InvalidDigests);
        }
        Ok(Self { parts, fields, rest })
    }
}

/// HMAC under the key of one (tenant, user id). Cloned for each digest: the key's two blocks are hashed once.
struct Keyed(Hmac<Sha256>);

impl Keyed {
    fn new(content: &Content<'_>, secret: &[u8]) -> Self {
        let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
        let mut derive = mac(secret);
        derive.update(&to_canonical_json(&json!({
            "scheme": SCHEME,
            "of": "digests",
            "tenant": nfc(content.tenant),
            "user_id": nfc(content.user_id),
        })));
        Self(mac(&derive.finalize().into_bytes()))
    }

    /// Of a part: two elements, so that none is ever a field, which has three.
    fn digest<T: Serialize + ?Sized>(&self, part: &str, value: &T) -> Digest {
        self.of_bytes(&to_canonical_json(&(part, value)))
    }

    fn field(&self, name: &str, value: &Value) -> Digest {
        self.of_bytes(&to_canonical_json(&("data", name, NormalValue(value))))
    }

    fn of_bytes(&self, bytes: &[u8]) -> Digest {
        let mut mac = self.0.clone();
        mac.update(bytes);
        let mut digest = Digest::default();
        digest.copy_from_slice(&mac.finalize().into_bytes()[..DIGEST_BYTES]);
        digest
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], InvalidDigests> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(InvalidDigests)?;
        self.0 = left;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, InvalidDigests> {
        self.take(1).map(|byte| byte[0])
    }

    fn digest(&mut self) -> Result<Digest, InvalidDigests> {
        let bytes = self.take(DIGEST_BYTES)?;
        bytes.try_into().map_err(|_| InvalidDigests)
    }
}

#[cfg(test)]
mod tests;
