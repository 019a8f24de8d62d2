//! What counts as nearly the same.

use std::time::Duration;

use serde_json::json;

use super::{Accepted, NEAR_WITHIN, NearCount, near_duplicates};
use crate::address::Mailbox;
use crate::canonical::parse_data;
use crate::id::MessageId;
use crate::identity::{Content, Digests, IdentityFields, digests};
use crate::time::Millis;

const START: Millis = Millis(1_790_000_000_000);

fn digested(user: &str, data: &serde_json::Value) -> Digests {
    let data = parse_data(data.to_string().as_bytes()).expect("good data");
    let recipient = Mailbox::parse("ada@example.com", "").expect("an address");
    let content = Content {
        tenant: "shop",
        user_id: user,
        template: "receipt",
        recipient: &recipient,
        data: &data,
        identity_fields: &IdentityFields::default(),
        from: None,
        reply_to: None,
        headers: &[],
        attachments: &[],
    };
    digests(&content, b"a secret of this deployment")
}

fn message(number: u16, user: &str, after: Duration, data: &serde_json::Value) -> Accepted {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Accepted {
        id: MessageId(id),
        at: START + after,
        template: "receipt".to_owned(),
        user: user.as_bytes().to_vec(),
        recipient: b"ada".to_vec(),
        digests: digested(user, data),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_forgotten_field_is_named_with_its_pairs() {
    // Each of 500 users tries twice, and each try has a time of its own.
    let mut messages = Vec::new();
    for user in 0..500_u16 {
        for attempt in 0..2 {
            let data =
                json!({"order": user, "request_ts": u32::from(user) * 2 + attempt, "trace_id": attempt});
            let after = SECOND * u32::from(user) + SECOND * attempt;
            messages.push(message(
                user * 2 + attempt as u16,
                &format!("user-{user}"),
                after,
                &data,
            ));
        }
    }
    messages.reverse();
    let found = near_duplicates(messages);
    let [finding] = &found.findings[..] else {
        panic!("one finding expected, not {:?}", found.findings);
    };
    assert_eq!(
        (finding.fields.as_slice(), finding.pairs),
        (&["data.request_ts".to_owned()][..], 500)
    );
    assert_eq!(finding.example.0.0[..2], 998_u16.to_be_bytes());
    assert_eq!(finding.example.1.0[..2], 999_u16.to_be_bytes());
    let count = NearCount {
        messages: 1_000,
        near: 500,
    };
    assert_eq!(found.templates["receipt"], count);
}

#[test]
fn only_what_differs_little_and_soon_is_a_pair() {
    let base = json!({"a": 1, "b": 1, "c": 1});
    let pairs =
        |second: Accepted| near_duplicates(vec![message(1, "u", Duration::ZERO, &base), second]).findings;
    let two = pairs(message(2, "u", SECOND, &json!({"a": 2, "b": 2, "c": 1})));
    assert_eq!(two[0].fields, ["data.a", "data.b"]);
    assert_eq!(
        pairs(message(2, "u", NEAR_WITHIN, &json!({"a": 2, "b": 1, "c": 1}))).len(),
        1
    );
    let one = json!({"a": 2, "b": 1, "c": 1});
    let late = message(2, "u", NEAR_WITHIN + SECOND, &one);
    let same = message(2, "u", SECOND, &base);
    let three = message(2, "u", SECOND, &json!({"a": 2, "b": 2, "c": 2}));
    let other_user = message(2, "v", SECOND, &one);
    let other_recipient = Accepted {
        recipient: b"eve".to_vec(),
        ..message(2, "u", SECOND, &one)
    };
    let other_template = Accepted {
        template: "digest".to_owned(),
        ..message(2, "u", SECOND, &one)
    };
    for second in [late, same, three, other_user, other_recipient, other_template] {
        let second_is = format!("{second:?}");
        assert_eq!(pairs(second), [], "{second_is}");
    }
}

#[test]
fn the_least_difference_counts_and_a_field_that_is_missing_is_one() {
    let messages = vec![
        message(1, "u", Duration::ZERO, &json!({"a": 1, "b": 1})),
        message(2, "u", SECOND, &json!({"a": 1, "b": 2, "c": 1})),
        message(3, "u", SECOND * 2, &json!({"a": 1, "b": 1, "c": 1})),
    ];
    let found = near_duplicates(messages);
    let fields: Vec<_> = found
        .findings
        .iter()
        .map(|finding| finding.fields.join(" "))
        .collect();
    // The third is compared with both, and is nearer to the second, which came later.
    assert_eq!(fields, ["data.b", "data.b data.c"]);
}
