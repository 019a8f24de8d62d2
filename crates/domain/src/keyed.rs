//! Keyed hashes of people: what the ledger and the suppressions know them by.
//!
//! HMAC-SHA-256 under the deployment's `address_key`, cut to 16 bytes: whoever reads a database or a Redis without the key can't
//! try out addresses. The key must stay the same for as long as anything that was hashed with it is kept: under another one a
//! suppressed address is not found any more. A hash is the same for every tenant, so that a person's data is found by address alone.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::address::Address;
use crate::canonical::nfc;

/// The bytes that a key has at the least.
pub const ADDRESS_KEY_BYTES_MIN: usize = 32;

const HASH_BYTES: usize = 16;

/// A keyed hash of an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressHash(pub [u8; HASH_BYTES]);

/// A keyed hash of a user id, within its tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserHash(pub [u8; HASH_BYTES]);

impl fmt::Debug for AddressHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressHash(redacted)")
    }
}

impl fmt::Debug for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserHash(redacted)")
    }
}

/// The hash of an address, in whatever case its local part is written: mailboxes that differ in it alone are one person's.
#[must_use]
pub fn address_hash(key: &[u8], address: &Address) -> AddressHash {
    let address = address.as_str().to_ascii_lowercase();
    AddressHash(hash(key, &[b"address", address.as_bytes()]))
}

/// The hash of a caller's user id.
#[must_use]
pub fn user_hash(key: &[u8], tenant: &str, user_id: &str) -> UserHash {
    UserHash(hash(
        key,
        &[b"user", nfc(tenant).as_bytes(), nfc(user_id).as_bytes()],
    ))
}

/// Tells keys apart and nothing else of them: what processes compare that must have the same one.
#[must_use]
pub fn key_fingerprint(key: &[u8]) -> String {
    let hash = hash(key, &[b"fingerprint"]);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each part with its length, so that no two lists of parts are the same bytes.
fn hash(key: &[u8], parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut cut = [0; HASH_BYTES];
    cut.copy_from_slice(&full[..HASH_BYTES]);
    cut
}

#[cfg(test)]
mod tests {
    use super::{address_hash, key_fingerprint, user_hash};
    use crate::address::Address;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn of(address: &str) -> [u8; 16] {
        address_hash(KEY, &Address::parse(address).expect("an address")).0
    }

    #[test]
    fn an_address_has_one_hash_in_every_case_and_another_under_another_key() {
        // printf '\0\0\0\0\0\0\0\007address\0\0\0\0\0\0\0\020jane@example.com' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        assert_eq!(hex(&of("jane@example.com")), KNOWN);
        assert_eq!(of("Jane@EXAMPLE.com"), of("jane@example.com"));
        assert_ne!(of("jane@example.org"), of("jane@example.com"));
        let jane = Address::parse("jane@example.com").expect("an address");
        assert_ne!(address_hash(b"another", &jane).0, of("jane@example.com"));
        assert!(!format!("{:?}", address_hash(KEY, &jane)).contains(KNOWN));
    }

    #[test]
    fn a_user_is_one_of_its_tenant() {
        let check = |tenant: &str, user: &str| user_hash(KEY, tenant, user);
        assert_eq!(check("shop", "7"), check("shop", "7"));
        assert_ne!(check("shop", "7"), check("shop2", "7"));
        assert_ne!(check("shop", "27"), check("shop2", "7"));
        // Composed and decomposed are one.
        assert_eq!(check("shop", "\u{e9}"), check("shop", "e\u{301}"));
    }

    #[test]
    fn a_fingerprint_is_the_keys_own() {
        assert_eq!(key_fingerprint(KEY), key_fingerprint(KEY));
        assert_ne!(key_fingerprint(KEY), key_fingerprint(b"another"));
        assert_eq!(key_fingerprint(KEY).len(), 32);
    }

    const KNOWN: &str = "95ba253a95d99d12fee76eb0683bdbaa";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
