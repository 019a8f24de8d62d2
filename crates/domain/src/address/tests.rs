//! One spelling per mailbox, and a name for each rule.

use super::{ADDRESS_BYTES_MAX, Address, AddressError, Mailbox};
use proptest::prelude::*;

fn check(text: &str, expect: Result<&str, AddressError>) {
    let got = Address::parse(text);
    let got = got.as_ref().map(Address::as_str).map_err(|error| *error);
    assert_eq!(got, expect, "{text:?}");
}

#[test]
fn the_domain_has_one_spelling_and_the_local_part_is_left_alone() {
    check("Ada.Lovelace@Example.COM", Ok("Ada.Lovelace@example.com"));
    check("ada@BÜCHER.example", Ok("ada@xn--bcher-kva.example"));
    check("ada@bu\u{308}cher.example", Ok("ada@xn--bcher-kva.example"));
    check("ada@xn--bcher-kva.example", Ok("ada@xn--bcher-kva.example"));
    check("ada@例え。jp", Ok("ada@xn--r8jz45g.jp"));
    check("o'hara+tag/x=1@example.com", Ok("o'hara+tag/x=1@example.com"));
    check("ada@ab--cd.example", Ok("ada@ab--cd.example"));
    check("root@localhost", Ok("root@localhost"));
    assert_eq!(
        Address::parse("a@B.example").expect("valid").domain(),
        "b.example"
    );
}

#[test]
fn each_rule_has_its_name() {
    use AddressError as E;
    check("", Err(E::NoAt));
    check("ada.example.com", Err(E::NoAt));
    check("@example.com", Err(E::LocalPartEmpty));
    check("ada@", Err(E::DomainEmpty));
    check("adä@example.com", Err(E::LocalPartNotAscii));
    check("\"ada lovelace\"@example.com", Err(E::LocalPartQuoted));
    check("ada@[127.0.0.1]", Err(E::DomainLiteral));
    for local in [
        "ada lovelace",
        ".ada",
        "ada.",
        "a..b",
        "a@b",
        "a\r\nbcc:x",
        "<ada",
        "a,b",
        "ada\0",
        "Ada <ada",
    ] {
        check(&format!("{local}@example.com"), Err(E::LocalPartInvalid));
    }
    for domain in [
        "example.com.",
        ".example.com",
        "exa mple.com",
        "ex_ample.com",
        "-a.example",
        "a-.example",
        "a..b",
        "example.com>",
        "a\r\n.example",
        "xn--zz-.example",
        "＠.example",
    ] {
        check(&format!("ada@{domain}"), Err(E::DomainInvalid));
    }
}

#[test]
fn lengths_are_those_of_rfc_5321_in_punycode() {
    use AddressError as E;
    let local = "l".repeat(64);
    assert!(Address::parse(&format!("{local}@example.com")).is_ok());
    check(
        &format!("{local}l@example.com"),
        Err(E::LocalPartTooLong { bytes: 65 }),
    );
    check(&format!("a@{}.example", "d".repeat(64)), Err(E::DomainInvalid));
    let label = format!("{}.", "d".repeat(61));
    let long = format!("{}{}", label.repeat(4), "com");
    check(&format!("a@{long}"), Ok(&format!("a@{long}")));
    let whole = format!("abc@{long}");
    assert_eq!(whole.len(), ADDRESS_BYTES_MAX + 1);
    check(&whole, Err(E::TooLong { bytes: 255 }));
    check(
        &format!("a@{}com", label.repeat(5)),
        Err(E::DomainTooLong { bytes: 313 }),
    );
    check(
        &format!("a@{}com", "ü.".repeat(60)),
        Err(E::DomainTooLong { bytes: 483 }),
    );
    check(&"a".repeat(100_000), Err(E::TooLong { bytes: 100_000 }));
}

#[test]
fn a_display_name_is_trimmed_bounded_and_free_of_control_characters() {
    let name = |name: &str| {
        Mailbox::parse("ada@example.com", name).map(|mailbox| mailbox.display_name().map(str::to_owned))
    };
    assert_eq!(name(" Ada "), Ok(Some("Ada".to_owned())));
    assert_eq!(name("  "), Ok(None));
    assert_eq!(name(&"ä".repeat(200)), Ok(Some("ä".repeat(200))));
    assert_eq!(
        name(&"ä".repeat(201)),
        Err(AddressError::NameTooLong { chars: 201 })
    );
    for evil in ["Ada\r\nBcc: x@example.com", "Ada\n", "\0", "a\u{7f}", "a\u{85}b"] {
        assert_eq!(name(evil), Err(AddressError::NameControlCharacter));
    }
}

#[test]
fn neither_errors_nor_debug_show_an_address() {
    let mailbox = Mailbox::parse("secret@hidden.example", "Private").expect("valid");
    for text in [
        format!("{mailbox:?}{:?}", mailbox.address()),
        format!(
            "{:?}",
            Address::parse("secret@hidden..private").expect_err("invalid")
        ),
        Address::parse("secret@hidden..private")
            .expect_err("invalid")
            .to_string(),
    ] {
        let text = text.to_lowercase();
        assert!(
            !text.contains("secret") && !text.contains("hidden") && !text.contains("private"),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_or_reads_back_as_itself(text in "\\PC{0,12}@\\PC{0,12}|[a-z.@\"<>\\[\\] -]{0,20}") {
        if let Ok(address) = Address::parse(&text) {
            prop_assert!(address.as_str().is_ascii());
            prop_assert!(!address.as_str().bytes().any(|byte| byte <= b' ' || byte == 0x7f));
            prop_assert!(Address::parse(address.as_str()).as_ref() == Ok(&address));
        }
    }
}
