//! The people that suppressions are about: known by keyed hash, and kept sealed, so that whoever moves to another system can take
//! their list along. Both need the deployment's `address_key`; a database or a Redis alone tells no address.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use hmac::{Hmac, KeyInit, Mac};
use paceline_domain::address::Address;
use paceline_domain::keyed::AddressHash;
use paceline_kit::address_key::AddressKey;
use sha2::Sha256;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The deployment's key, and the one for sealing that is made of it.
pub(crate) struct People {
    key: AddressKey,
    seal: RandomizedNonceKey,
}

impl People {
    pub(crate) fn new(key: AddressKey) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("any length is a key");
        mac.update(b"paceline sealed addresses 1");
        let sealing: [u8; 32] = mac.finalize().into_bytes().into();
        let seal = RandomizedNonceKey::new(&AES_256_GCM_SIV, &sealing).expect("32 bytes are a key");
        Self { key, seal }
    }

    pub(crate) fn hash(&self, address: &Address) -> AddressHash {
        self.key.hash(address)
    }

    /// Format, nonce, ciphertext with its tag; bound to the address's hash. Empty if the cipher fails, which it has no cause for:
    /// better a list that says less than an address that is written to.
    pub(crate) fn seal(&self, address: &Address, hash: AddressHash) -> Vec<u8> {
        let mut text = address.as_str().as_bytes().to_vec();
        let Ok(nonce) = self.seal.seal_in_place_append_tag(Aad::from(hash.0), &mut text) else {
            return Vec::new();
        };
        [&[FORMAT], nonce.as_ref().as_slice(), &text].concat()
    }

    /// The address that was sealed; `None` where there is none, or another key sealed it.
    pub(crate) fn open(&self, sealed: &[u8], hash: AddressHash) -> Option<String> {
        let (&FORMAT, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, text) = rest.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self
            .seal
            .open_in_place(nonce, Aad::from(hash.0), &mut text)
            .ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::address::Address;
    use paceline_domain::keyed::AddressHash;
    use paceline_kit::address_key::AddressKey;
    use paceline_kit::secret::Secret;

    use super::People;

    fn key(text: &str) -> People {
        let key = AddressKey::read(&Secret::new(text)).expect("long enough");
        People::new(key.expect("not empty"))
    }

    #[test]
    fn an_address_is_opened_by_its_key_and_under_its_hash_alone() {
        let ours = key("0123456789abcdef0123456789abcdef");
        let jane = Address::parse("Jane@example.com").expect("an address");
        let hash = ours.hash(&jane);
        let sealed = ours.seal(&jane, hash);
        assert_eq!(ours.open(&sealed, hash).as_deref(), Some("Jane@example.com"));
        assert!(!String::from_utf8_lossy(&sealed).contains("example"));
        assert_ne!(ours.seal(&jane, hash), sealed, "a fresh nonce each time");

        assert_eq!(ours.open(&sealed, AddressHash([0; 16])), None);
        assert_eq!(key("another key of 32 bytes, or more").open(&sealed, hash), None);
        for broken in [&sealed[..sealed.len() - 1], &sealed[..5], b"", b"\x02"] {
            assert_eq!(ours.open(broken, hash), None);
        }
    }
}
