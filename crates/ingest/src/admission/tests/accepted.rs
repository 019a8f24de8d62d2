//! What a good request becomes.

use super::*;

#[test]
fn a_good_request_becomes_a_message() {
    let a = admission();
    let admitted = admit(&a, |r| {
        r.recipient = Some(mailbox("Ada@Example.ORG", " Ada "));
        r.lane = v1::Lane::Bulk.into();
        r.headers = vec![header("X-Order", "7")];
        r.tags = vec![tag("campaign", "spring")];
        r.attachments = vec![attachment("a.pdf", "application/pdf", 3)];
    })
    .expect("good");
    let record = &admitted.message.record;
    assert_eq!((record.lane, record.identity.as_str()), (Lane::Bulk, "main"));
    assert_eq!(
        (record.tenant.as_str(), record.template.as_str()),
        ("shop", "receipt")
    );
    assert_eq!(record.policy, DoubtPolicy::Resend, "the newest version's");
    assert_eq!(admitted.message.ttl, Duration::from_hours(1));
    assert!(record.digests.is_empty());
    let stored = v1::StoredRequest::decode(admitted.message.request.clone()).expect("our own");
    assert_eq!(stored.recipient, Some(mailbox("Ada@example.org", "Ada")));
    let newest = a.catalog.current().get("receipt", None).expect("there");
    assert_eq!(stored.bundle_hash.as_ref(), newest.hash().0.as_slice());
    assert_eq!(
        (stored.attachments.len(), stored.tags.len(), stored.headers.len()),
        (1, 1, 1)
    );

    let first = admit(&a, |r| r.template_version = "1".to_owned()).expect("an older version");
    assert_eq!(first.message.record.policy, DoubtPolicy::Hold);
    let news = admit(&a, |r| r.from = Some(mailbox("x@NEWS.example", ""))).expect("everyone's");
    assert_eq!(news.message.record.identity, "everyone");
}

#[test]
fn the_id_is_the_content_or_the_key() {
    let a = admission();
    let id = |change: &dyn Fn(&mut v1::EnqueueRequest)| admit(&a, |r| change(r)).expect("good").asked.id;
    let original = id(&|_| {});
    assert_eq!(id(&|r| r.lane = 2), original);
    assert_eq!(id(&|r| r.tags = vec![tag("a", "b")]), original);
    assert_eq!(id(&|r| r.send_at = Some(timestamp(NOW + DAY))), original);
    assert_eq!(id(&|r| r.template_version = "1".to_owned()), original);
    for change in [
        (&|r: &mut v1::EnqueueRequest| r.user_id = "43".to_owned()) as &dyn Fn(&mut v1::EnqueueRequest),
        &|r| r.recipient = Some(mailbox("eve@example.org", "Ada")),
        &|r| r.from = Some(mailbox("x@example.com", "")),
        &|r| r.reply_to = Some(mailbox("x@example.com", "")),
        &|r| r.headers = vec![header("X-A", "b")],
        &|r| r.attachments = vec![attachment("a", "text/plain", 1)],
        &|r| r.data = data(r#"{"name": "Ada", "note": "-", "order": {"number": 8}}"#),
    ] {
        assert_ne!(id(change), original);
    }
    let keyed = |change: &dyn Fn(&mut v1::EnqueueRequest)| {
        admit(&a, |r| {
            r.idempotency_key = "order-7".to_owned();
            change(r);
        })
        .expect("good")
    };
    let first = keyed(&|_| {});
    let second = keyed(&|r| r.recipient = Some(mailbox("eve@example.org", "")));
    assert_eq!(first.asked.id, second.asked.id);
    assert!(first.asked.id != original && !first.message.record.digests.is_empty());
    let digests = (
        first.asked.digests.expect("keyed"),
        second.asked.digests.expect("keyed"),
    );
    assert_eq!(digests.0.differences(&digests.1), ["recipient"]);
}
