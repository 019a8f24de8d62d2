//! What the ledger is told of a message: enough to find and to compare it, and nobody's name.

use paceline_domain::address::Address;
use paceline_domain::identity::Digests;
use paceline_domain::keyed::{address_hash, user_hash};

use super::*;

fn logged(admitted: &Admitted) -> v1::LoggedMessage {
    let bytes = admitted.message.logged.clone();
    let mut all = v1::LoggedMessages::decode(bytes).expect("our own").messages;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn people_are_in_it_by_keyed_hashes_alone() {
    let a = admission();
    let admitted = admit(&a, |r| {
        r.recipient = Some(mailbox("Ada@Example.ORG", "Ada"));
        r.user_id = "user-42".to_owned();
        r.tags = vec![tag("campaign", "spring")];
        r.send_at = Some(timestamp(NOW + DAY));
        r.lane = v1::Lane::Bulk.into();
    })
    .expect("good");
    let message = logged(&admitted);
    assert_eq!(message.message_id, admitted.message.id.0.as_slice());
    assert_eq!(
        (message.tenant.as_str(), message.template.as_str()),
        ("shop", "receipt")
    );
    assert_eq!(
        (message.identity.as_str(), message.lane),
        ("main", v1::Lane::Bulk.into())
    );
    let key = ADDRESS_KEY.as_bytes();
    let address = Address::parse("ada@example.org").expect("an address");
    assert_eq!(message.recipient_hash, address_hash(key, &address).0.as_slice());
    assert_eq!(message.user_hash, user_hash(key, "shop", "user-42").0.as_slice());
    assert_eq!(message.tags, [tag("campaign", "spring")]);
    assert_eq!(
        (message.send_at, message.expires_at),
        (Some(timestamp(NOW + DAY)), None)
    );
    assert_eq!(message.accepted_at, None, "the script knows it");
    let bytes = String::from_utf8_lossy(&admitted.message.logged).to_ascii_lowercase();
    for personal in ["ada@", "user-42", "two"] {
        assert!(!bytes.contains(personal), "{personal}");
    }
}

#[test]
fn digests_name_the_fields_in_which_two_requests_differ() {
    let a = admission();
    let digests = |change: &dyn Fn(&mut v1::EnqueueRequest)| {
        let admitted = admit(&a, |r| change(r)).expect("good");
        logged(&admitted).digests
    };
    let read = |bytes: &bytes::Bytes| Digests::from_bytes(bytes).expect("digests");
    let first = read(&digests(&|_| {}));
    let other = read(&digests(&|r| {
        r.data = data(r#"{"name": "Ada", "note": "-", "order": {"number": 7}}"#);
    }));
    assert_eq!(first.differences(&other), ["data.note"]);
    let keyed = digests(&|r| r.idempotency_key = "order-7".to_owned());
    assert!(keyed.is_empty(), "nothing of the content is in the id");
}

#[test]
fn without_a_ledger_nothing_is_logged() {
    let mut a = admission();
    a.address_key = None;
    assert!(admit(&a, |_| {}).expect("good").message.logged.is_empty());
}

#[test]
fn data_is_logged_only_where_the_template_keeps_it() {
    let a = admission();
    let message = |template: &str| logged(&admit(&a, |r| r.template = template.to_owned()).expect("good"));
    let plain = message("receipt");
    assert_eq!((plain.keep_s, plain.data.len()), (0, 0));
    let kept = message("kept");
    assert_eq!((kept.keep_s, kept.data), (30 * 86_400, good().data));
}
