//! Links read back, and nothing else does.

use proptest::prelude::*;

use super::{InvalidKeys, SigningKey, TOKEN_BYTES_MAX, TokenError, UnsubscribeKeys, UnsubscribeLink};
use crate::id::MessageId;
use crate::keyed::AddressHash;
use crate::time::Millis;

fn key(id: &str, secret: &str) -> SigningKey {
    SigningKey {
        id: id.to_owned(),
        secret: secret.as_bytes().to_vec(),
    }
}

fn keys(keys: &[(&str, &str)]) -> UnsubscribeKeys {
    let keys = keys.iter().map(|(id, secret)| key(id, secret)).collect();
    UnsubscribeKeys::new(keys).expect("good keys")
}

const OLD: (&str, &str) = ("2026a", "0123456789abcdef0123456789abcdef");
const NEW: (&str, &str) = ("2027a", "fedcba9876543210fedcba9876543210");

fn link() -> UnsubscribeLink {
    UnsubscribeLink {
        tenant: "shop".to_owned(),
        category: "news".to_owned(),
        address: AddressHash(std::array::from_fn(|index| index as u8)),
        message_id: MessageId(std::array::from_fn(|index| 16 + index as u8)),
        accepted_at: Millis(1_790_000_000_000),
    }
}

/// python3: b = b"\1" + b"\5" b"2026a" + b"\4shop" + b"\4news" + bytes(range(32)) + (1790000000000).to_bytes(6, "big");
/// s = hmac.new(b"0123456789abcdef" * 2, b"paceline unsubscribe link\n" + b, "sha256").digest();
/// base64.urlsafe_b64encode(b + s).rstrip(b"=")
const KNOWN: &str = "AQUyMDI2YQRzaG9wBG5ld3MAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwGgxFBsAP9Pwyv_7_NnHXA5zFoHfx2xngoOih6PHR1NKpAc8_RE";

#[test]
fn a_token_is_what_another_program_computes() {
    let token = keys(&[OLD]).sign(&link()).expect("good names");
    assert_eq!(token, KNOWN);
    assert_eq!(keys(&[OLD]).verify(KNOWN), Ok(link()));
}

#[test]
fn the_first_key_signs_and_all_verify() {
    let both = keys(&[NEW, OLD]);
    assert_eq!(both.verify(KNOWN), Ok(link()));
    let token = both.sign(&link()).expect("good names");
    assert_eq!(keys(&[NEW]).verify(&token), Ok(link()));
    assert_eq!(keys(&[OLD]).verify(&token), Err(TokenError::UnknownKey));
    // The same id with another secret is another key.
    assert_eq!(keys(&[(OLD.0, NEW.1)]).verify(KNOWN), Err(TokenError::Forged));
}

#[test]
fn no_token_is_longer_than_the_bound() {
    let name = "x".repeat(64);
    let longest = UnsubscribeLink {
        tenant: name.clone(),
        category: name,
        accepted_at: Millis::MAX,
        ..link()
    };
    let key_id = "k".repeat(16);
    let token = keys(&[(&key_id, OLD.1)]).sign(&longest).expect("good names");
    assert_eq!(token.len(), TOKEN_BYTES_MAX);
    assert_eq!(keys(&[(&key_id, OLD.1)]).verify(&token), Ok(longest));
}

#[test]
fn names_that_no_message_has_are_not_signed() {
    let long = "x".repeat(65);
    for (tenant, category) in [
        ("", "news"),
        (&long, "news"),
        ("shop", ""),
        ("shop", &long),
        ("shop", "No"),
    ] {
        let bad = UnsubscribeLink {
            tenant: tenant.to_owned(),
            category: category.to_owned(),
            ..link()
        };
        keys(&[OLD]).sign(&bad).expect_err("a bad name");
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let of = |list: Vec<SigningKey>| UnsubscribeKeys::new(list).expect_err("bad keys");
    assert_eq!(of(vec![]), InvalidKeys::Count);
    let many = (0..9).map(|number| key(&format!("k{number}"), OLD.1)).collect();
    assert_eq!(of(many), InvalidKeys::Count);
    assert_eq!(of(vec![key("", OLD.1)]), InvalidKeys::Id);
    assert_eq!(of(vec![key("K", OLD.1)]), InvalidKeys::Id);
    assert_eq!(of(vec![key(&"k".repeat(17), OLD.1)]), InvalidKeys::Id);
    assert_eq!(of(vec![key("k", OLD.1), key("k", NEW.1)]), InvalidKeys::Twice);
    assert_eq!(of(vec![key("k", &OLD.1[1..])]), InvalidKeys::Secret);
}

#[test]
fn a_key_does_not_print() {
    assert!(!format!("{:?}", keys(&[OLD])).contains("49, 50"));
}

#[test]
fn a_token_has_one_spelling() {
    // The last character of 118 bytes in base64 has four unused bits.
    let (head, last) = KNOWN.split_at(KNOWN.len() - 1);
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if !last.contains(other) {
            keys(&[OLD])
                .verify(&format!("{head}{other}"))
                .expect_err("another spelling");
        }
    }
    for other in [
        format!("{KNOWN}="),
        format!(" {KNOWN}"),
        format!("{KNOWN}\n"),
        String::new(),
    ] {
        assert_eq!(
            keys(&[OLD]).verify(&other),
            Err(TokenError::Malformed),
            "{other:?}"
        );
    }
}

prop_compose! {
    fn any_link()(
        tenant in "[a-z0-9_-]{1,64}",
        category in "[a-z0-9_-]{1,64}",
        address: [u8; 16],
        id: [u8; 16],
        at in 0..=Millis::MAX.0,
    ) -> UnsubscribeLink {
        UnsubscribeLink {
            tenant,
            category,
            address: AddressHash(address),
            message_id: MessageId(id),
            accepted_at: Millis(at),
        }
    }
}

proptest! {
    #[test]
    fn every_link_reads_back(link in any_link()) {
        let token = keys(&[OLD, NEW]).sign(&link).expect("good names");
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(keys(&[NEW, OLD]).verify(&token), Ok(link));
    }

    #[test]
    fn a_token_that_was_changed_or_cut_is_refused(link in any_link(), place: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let token = keys(&[OLD]).sign(&link).expect("good names");
        let place = place.index(token.len());
        prop_assert!(keys(&[OLD]).verify(&token[..place]).is_err());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &with);
        prop_assert_eq!(keys(&[OLD]).verify(&changed).is_ok(), changed == token);
    }

    #[test]
    fn nothing_that_was_not_signed_is_a_link(text in "\\PC{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(keys(&[OLD]).verify(&text).is_err());
        prop_assert!(keys(&[OLD]).verify(&data_encoding::BASE64URL_NOPAD.encode(&bytes)).is_err());
    }
}
