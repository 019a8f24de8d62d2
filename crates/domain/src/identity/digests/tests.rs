//! Differences are named, bounded and never missed.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{DIGESTED_FIELDS_MAX, DIGESTS_BYTES_MAX, Digests, InvalidDigests, digests};
use crate::address::Mailbox;
use crate::canonical::{Data, parse_data};
use crate::identity::{AttachmentRef, Content, IdentityFields};

static ADA: LazyLock<Mailbox> = LazyLock::new(|| Mailbox::parse("ada@example.com", "Ada").expect("valid"));
static FIELDS: LazyLock<IdentityFields> = LazyLock::new(IdentityFields::default);
const ATTACHMENT: AttachmentRef<'_> = AttachmentRef {
    file_name: "a.pdf",
    content_type: "application/pdf",
    content_id: "",
    digest: [1; 32],
};

fn content(data: &Data) -> Content<'_> {
    Content {
        tenant: "shop",
        user_id: "42",
        template: "receipt",
        recipient: &ADA,
        data,
        identity_fields: &FIELDS,
        from: None,
        reply_to: None,
        headers: &[],
        attachments: &[],
    }
}

fn data(text: &str) -> Data {
    parse_data(text.as_bytes()).expect("valid")
}

fn of(text: &str) -> Digests {
    digests(&content(&data(text)), b"secret")
}

/// `count` fields, named so that their order is that of their numbers.
fn many(count: usize) -> String {
    let fields: Vec<_> = (0..count).map(|i| format!("\"f{i:03}\":{i}")).collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn each_part_is_named() {
    let data = data("{}");
    let base = content(&data);
    let eve = Mailbox::parse("eve@example.com", "Ada").expect("valid");
    let renamed = Mailbox::parse("ada@example.com", "Countess").expect("valid");
    let other_file = [AttachmentRef {
        digest: [2; 32],
        ..ATTACHMENT
    }];
    let changed = [
        (
            "template",
            Content {
                template: "welcome",
                ..base
            },
        ),
        (
            "recipient",
            Content {
                recipient: &eve,
                ..base
            },
        ),
        (
            "recipient",
            Content {
                recipient: &renamed,
                ..base
            },
        ),
        (
            "from",
            Content {
                from: Some(&eve),
                ..base
            },
        ),
        (
            "reply_to",
            Content {
                reply_to: Some(&eve),
                ..base
            },
        ),
        (
            "headers",
            Content {
                headers: &[("x-a", "1")],
                ..base
            },
        ),
        (
            "attachments",
            Content {
                attachments: &[ATTACHMENT],
                ..base
            },
        ),
    ];
    for (part, content) in changed {
        let (mine, theirs) = (digests(&base, b"secret"), digests(&content, b"secret"));
        assert_eq!(mine.differences(&theirs), [part]);
        assert_eq!(theirs.differences(&mine), [part]);
    }
    let with = |attachments| digests(&Content { attachments, ..base }, b"secret");
    assert_eq!(
        with(&[ATTACHMENT]).differences(&with(&other_file)),
        ["attachments"]
    );
}

#[test]
fn each_field_is_named() {
    let base = of(r#"{"a":1,"b":{"c":[1]},"timestamp":1}"#);
    let check = |text: &str, names: &[&str]| {
        assert_eq!(base.differences(&of(text)), names, "{text}");
        assert_eq!(of(text).differences(&base), names, "{text}");
    };
    check(r#"{"b":{"c":[1.0]},"a":1e0,"timestamp":2}"#, &[]);
    check(r#"{"a":2,"b":{"c":[1]}}"#, &["data.a"]);
    check(r#"{"a":"1","b":{"c":[1,1]}}"#, &["data.a", "data.b"]);
    check(r#"{"a":1}"#, &["data.b"]);
    check(r#"{"a":1,"b":{"c":[1]},"d":null}"#, &["data.d"]);
    check(r#"{"template":1,"a":1,"b":{"c":[1]}}"#, &["data.template"]);
}

#[test]
fn fields_beyond_the_bound_share_one_digest() {
    let base = of(&many(DIGESTED_FIELDS_MAX + 6));
    assert_eq!(base.fields.len(), DIGESTED_FIELDS_MAX);
    let last = of(&many(DIGESTED_FIELDS_MAX + 6).replace(":69", ":0"));
    assert_eq!(base.differences(&last), ["data"]);
    let first = of(&many(DIGESTED_FIELDS_MAX + 6).replace("f000\":0", "f000\":1"));
    assert_eq!(base.differences(&first), ["data.f000"]);
    let long = "n".repeat(65);
    let named = |value: u8| of(&format!("{{\"{long}\":{value}}}"));
    assert_eq!(named(1).differences(&named(2)), ["data"]);
    assert_eq!(named(1).differences(&of("{}")), ["data"]);
}

#[test]
fn a_field_that_moves_among_the_rest_is_no_difference_of_its_own() {
    let base = of(&many(DIGESTED_FIELDS_MAX));
    let more = of(&many(DIGESTED_FIELDS_MAX).replacen('{', "{\"a\":1,", 1));
    assert_eq!(base.differences(&more), ["data"]);
    // The same rest, another field before it.
    let swapped = of(&many(DIGESTED_FIELDS_MAX + 1).replacen("f000", "a", 1));
    assert_eq!(
        of(&many(DIGESTED_FIELDS_MAX + 1)).differences(&swapped),
        ["data.a", "data.f000"]
    );
}

#[test]
fn the_packed_form_is_bounded_and_reads_back() {
    let long: Vec<_> = (0..99).map(|i| format!("\"{i:064}\":1")).collect();
    let longest = of(&format!("{{{}}}", long.join(",")));
    assert_eq!(longest.to_bytes().len(), DIGESTS_BYTES_MAX);
    for digests in [longest, of("{}"), of(r#"{"a":1}"#)] {
        let bytes = digests.to_bytes();
        assert_eq!(Digests::from_bytes(&bytes), Ok(digests));
        assert_eq!(
            Digests::from_bytes(&bytes[..bytes.len() - 1]),
            Err(InvalidDigests)
        );
        assert_eq!(
            Digests::from_bytes(&[&bytes[..], &[0]].concat()),
            Err(InvalidDigests)
        );
        assert_eq!(
            Digests::from_bytes(&[&[99], &bytes[1..]].concat()),
            Err(InvalidDigests)
        );
    }
    assert_eq!(Digests::from_bytes(&[]), Err(InvalidDigests));
}

#[test]
fn digests_show_nothing_without_the_secret_nor_across_users() {
    let data = data(r#"{"total":1}"#);
    let base = content(&data);
    let one = digests(&base, b"secret");
    for other in [
        digests(&base, b"Secret"),
        digests(
            &Content {
                user_id: "43",
                ..base
            },
            b"secret",
        ),
        digests(
            &Content {
                tenant: "shop-b",
                ..base
            },
            b"secret",
        ),
    ] {
        assert_eq!(one.differences(&other).len(), 7);
    }
    // Equal values of one request don't show either.
    assert_ne!(one.parts[2], one.parts[3]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[super::FORMAT], &bytes[..]].concat();
        if let Ok(digests) = Digests::from_bytes(&bytes) {
            prop_assert_eq!(Digests::from_bytes(&digests.to_bytes()), Ok(digests));
        }
    }

    #[test]
    fn two_payloads_without_a_difference_are_the_same(
        (a, b) in (56_usize..72, proptest::collection::btree_map(0_usize..72, 0_u8..2, 0..4)).prop_map(|(count, changes)| {
            let fields: Vec<_> = (0..count).map(|i| (i, 0_u8)).collect();
            let mut other: std::collections::BTreeMap<_, _> = fields.iter().copied().collect();
            for (index, value) in changes {
                // 0 takes a field away (or adds one); 1 gives it another value.
                if value == 0 && other.remove(&index).is_some() {
                    continue;
                }
                other.insert(index, value);
            }
            let text = |fields: Vec<(usize, u8)>| {
                let fields: Vec<_> = fields.iter().map(|(i, value)| format!("\"f{i:03}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            };
            (text(fields), text(other.into_iter().collect()))
        })
    ) {
        prop_assert_eq!(of(&a).differences(&of(&b)).is_empty(), a == b, "{} {}", a, b);
    }
}
