//! Links by which people unsubscribe: what one says, and who signed it.
//!
//! A token is a packed link with its signature, in base64url without padding:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format: 1 |
//! | 1 + n | the key's id: its length, then the id |
//! | 1 + n | tenant |
//! | 1 + n | category |
//! | 16 | keyed hash of the address |
//! | 16, 6 | the message's id, and when it was accepted (ms, big-endian) |
//! | 32 | HMAC-SHA-256 under the key, over a fixed text and all that stands before |
//!
//! The address itself is never in it: mail is forwarded, and links come into logs. A link has no end, since people unsubscribe from old
//! mail; it holds for as long as its key is among the keys. Each link has one spelling, so that no other text passes for it.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::id::MessageId;
use crate::keyed::AddressHash;
use crate::suppression::{CATEGORY_BYTES_MAX, check_category};
use crate::time::Millis;

/// The keys that count at one time: the one that signs, and those of old mail.
pub const KEYS_MAX: usize = 8;
/// The bytes that a key's secret has at the least.
pub const SECRET_BYTES_MIN: usize = 32;
/// The bytes of a key's id.
pub const KEY_ID_BYTES_MAX: usize = 16;
/// No token is longer.
pub const TOKEN_BYTES_MAX: usize = 291;

const FORMAT: u8 = 1;
const TENANT_BYTES_MAX: usize = 64;
const SIGNATURE_BYTES: usize = 32;
/// What a signature is for: a secret that is used elsewhere, too, signs no link there.
const PURPOSE: &[u8] = b"paceline unsubscribe link\n";

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeLink {
    pub tenant: String,
    /// What is unsubscribed from.
    pub category: String,
    pub address: AddressHash,
    /// The message that has the link.
    pub message_id: MessageId,
    pub accepted_at: Millis,
}

/// A key by which links are signed.
#[derive(Clone)]
pub struct SigningKey {
    /// `[a-z0-9_-]`, at most 16 characters. It stands in every link, so that its key is found.
    pub id: String,
    pub secret: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, redacted)", self.id)
    }
}

/// Keys that can't be used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("must be 1 to {KEYS_MAX} keys")]
    Count,
    #[error("an id must be 1 to {KEY_ID_BYTES_MAX} of [a-z0-9_-]")]
    Id,
    #[error("an id is there twice")]
    Twice,
    #[error("a secret must be at least {SECRET_BYTES_MIN} bytes; make one with `openssl rand -hex 32`")]
    Secret,
}

/// A link that can't be signed: no message that was accepted has such names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tenant or the category is no name that a link can hold")]
pub struct InvalidLink;

/// Why a token is no link of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("is no token")]
    Malformed,
    #[error("is signed by a key that is not known")]
    UnknownKey,
    #[error("has a signature that does not hold")]
    Forged,
}

/// The keys: the first signs, all verify.
#[derive(Clone, Debug)]
pub struct UnsubscribeKeys(Vec<SigningKey>);

impl UnsubscribeKeys {
    /// # Errors
    /// If there is none or are too many, or one has no good id or a short secret.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, InvalidKeys> {
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(InvalidKeys::Count);
        }
        for (index, key) in keys.iter().enumerate() {
            if !is_id(&key.id) {
                return Err(InvalidKeys::Id);
            }
            if keys[..index].iter().any(|other| other.id == key.id) {
                return Err(InvalidKeys::Twice);
            }
            if key.secret.len() < SECRET_BYTES_MIN {
                return Err(InvalidKeys::Secret);
            }
        }
        Ok(Self(keys))
    }

    /// The link's token, signed by the first key: at most [`TOKEN_BYTES_MAX`] characters that a URL holds as they are.
    ///
    /// # Errors
    /// If a name is empty, too long, or the category none.
    pub fn sign(&self, link: &UnsubscribeLink) -> Result<String, InvalidLink> {
        let tenant = (1..=TENANT_BYTES_MAX).contains(&link.tenant.len());
        if !tenant || check_category(&link.category).is_err() {
            return Err(InvalidLink);
        }
        let key = &self.0[0];
        let mut bytes = vec![FORMAT];
        for text in [&key.id, &link.tenant, &link.category] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
        bytes.extend(link.address.0);
        bytes.extend(link.message_id.0);
        bytes.extend(&link.accepted_at.0.min(Millis::MAX.0).to_be_bytes()[2..]);
        let signature = mac(key, &bytes).finalize().into_bytes();
        bytes.extend(signature);
        Ok(BASE64URL_NOPAD.encode(&bytes))
    }

    /// The link of a token that one of the keys signed. The signature is compared in constant time, before anything but the key's
    /// id is believed.
    ///
    /// # Errors
    /// What is wrong with it. Callers should not tell strangers.
    pub fn verify(&self, token: &str) -> Result<UnsubscribeLink, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes());
        let bytes = bytes.map_err(|_| TokenError::Malformed)?;
        let unsigned = bytes
            .len()
            .checked_sub(SIGNATURE_BYTES)
            .ok_or(TokenError::Malformed)?;
        let (signed, signature) = bytes.split_at(unsigned);
        let mut reader = Reader(signed);
        if reader.array()? != [FORMAT] {
            return Err(TokenError::Malformed);
        }
        let id = reader.text(KEY_ID_BYTES_MAX)?;
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or(TokenError::UnknownKey)?;
        let checked = mac(key, signed).verify_slice(signature);
        checked.map_err(|_| TokenError::Forged)?;
        reader.link()
    }
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn mac(key: &SigningKey, signed: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(&key.secret)
        .expect("HMAC takes a key of any length")
        .chain_update(PURPOSE)
        .chain_update(signed)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TokenError> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(TokenError::Malformed)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        self.take(N)?.try_into().map_err(|_| TokenError::Malformed)
    }

    fn text(&mut self, bytes_max: usize) -> Result<&'a str, TokenError> {
        let [length] = self.array()?;
        if !(1..=bytes_max).contains(&usize::from(length)) {
            return Err(TokenError::Malformed);
        }
        std::str::from_utf8(self.take(length.into())?).map_err(|_| TokenError::Malformed)
    }

    /// What follows the key's id, to the end.
    fn link(mut self) -> Result<UnsubscribeLink, TokenError> {
        let tenant = self.text(TENANT_BYTES_MAX)?.to_owned();
        let category = self.text(CATEGORY_BYTES_MAX)?.to_owned();
        let address = AddressHash(self.array()?);
        let message_id = MessageId(self.array()?);
        let mut accepted_at = [0; 8];
        accepted_at[2..].copy_from_slice(self.take(6)?);
        if !self.0.is_empty() {
            return Err(TokenError::Malformed);
        }
        Ok(UnsubscribeLink {
            tenant,
            category,
            address,
            message_id,
            accepted_at: Millis(u64::from_be_bytes(accepted_at)),
        })
    }
}

#[cfg(test)]
mod tests;
