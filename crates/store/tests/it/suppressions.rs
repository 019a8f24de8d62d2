//! Who is suppressed, as senders see it.

use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::{Suppressed, SuppressionReason};
use paceline_store::{Addressee, BucketState, ErrorClass, Store, StoreError, Suppression};

use crate::SHARDS;
use crate::support::{Bench, START, config};

fn hash(first: u8) -> AddressHash {
    let mut hash = [0; 16];
    hash[0] = first;
    AddressHash(hash)
}

fn row(first: u8, category: &str, revision: u64, reason: Option<SuppressionReason>) -> Suppression {
    Suppression {
        tenant: "acme".to_owned(),
        address: hash(first),
        category: category.to_owned(),
        revision,
        reason,
        at: START,
    }
}

fn to(first: u8, category: &str) -> Addressee {
    Addressee {
        address: hash(first),
        category: category.to_owned(),
        despite_complaint: false,
    }
}

async fn found(store: &Store, tenant: &str, to: &Addressee) -> Suppressed {
    let found = store.suppressed(&[(tenant, to)]).await.expect("redis is there");
    assert_eq!(found.len(), 1);
    found[0]
}

#[tokio::test]
async fn an_address_is_found_for_its_tenant_and_category_alone() {
    use SuppressionReason::{HardBounce, Unsubscribe};
    let bench = Bench::start().await;
    let rows = [
        row(1, "", 1, Some(HardBounce)),
        row(1, "news", 2, Some(Unsubscribe)),
        row(2, "news", 3, Some(Unsubscribe)),
    ];
    bench.store.suppress(&rows).await.expect("redis is there");
    let (tenant, category) = (Some(HardBounce), Some(Unsubscribe));
    for (of, addressee, expected) in [
        (
            "acme",
            to(1, ""),
            Suppressed {
                tenant,
                category: None,
            },
        ),
        ("acme", to(1, "news"), Suppressed { tenant, category }),
        (
            "acme",
            to(2, "news"),
            Suppressed {
                tenant: None,
                category,
            },
        ),
        ("acme", to(2, "offers"), Suppressed::default()),
        ("acme", to(2, ""), Suppressed::default()),
        ("acme", to(3, ""), Suppressed::default()),
        ("acm", to(1, ""), Suppressed::default()),
        ("acmenews", to(2, ""), Suppressed::default()),
        ("other", to(1, "news"), Suppressed::default()),
    ] {
        assert_eq!(
            found(&bench.store, of, &addressee).await,
            expected,
            "{of} {addressee:?}"
        );
    }
}

#[tokio::test]
async fn a_batch_over_all_buckets_is_answered_in_order() {
    let bench = Bench::start().await;
    let rows: Vec<Suppression> = (0..=255_u8)
        .filter(|first| first % 3 == 0)
        .map(|first| {
            row(
                first,
                "",
                1 + u64::from(first),
                Some(SuppressionReason::Complaint),
            )
        })
        .collect();
    bench.store.suppress(&rows).await.expect("redis is there");
    // Several of one bucket, and not in the order of the buckets.
    let asked: Vec<Addressee> = (0..=255_u8)
        .rev()
        .flat_map(|first| [to(first, "news"), to(first, "")])
        .collect();
    let asked: Vec<(&str, &Addressee)> = asked.iter().map(|to| ("acme", to)).collect();
    let found = bench.store.suppressed(&asked).await.expect("redis is there");
    let expected: Vec<bool> = (0..=255_u8).rev().flat_map(|first| [first % 3 == 0; 2]).collect();
    let suppressed: Vec<bool> = found.iter().map(|found| found.tenant.is_some()).collect();
    assert_eq!(suppressed, expected);
    assert!(
        bench
            .store
            .suppressed(&[])
            .await
            .expect("nothing to ask")
            .is_empty()
    );
    bench.store.suppress(&[]).await.expect("nothing to write");
}

#[tokio::test]
async fn the_latest_revision_stands_in_whatever_order_they_come() {
    use SuppressionReason::{Complaint, HardBounce};
    let bench = Bench::start().await;
    let write = async |revision, reason| {
        let row = row(7, "", revision, reason);
        bench.store.suppress(&[row]).await.expect("redis is there");
        found(&bench.store, "acme", &to(7, "")).await.tenant
    };
    assert_eq!(write(5, Some(HardBounce)).await, Some(HardBounce));
    assert_eq!(write(6, None).await, None);
    // A repetition of what was before the removal.
    assert_eq!(write(5, Some(HardBounce)).await, None);
    assert_eq!(write(1 << 40, Some(Complaint)).await, Some(Complaint));
    assert_eq!(write(6, None).await, Some(Complaint));
    let error = bench
        .store
        .suppress(&[row(7, "", 1 << 48, None)])
        .await
        .expect_err("too large");
    assert_eq!(error.class(), ErrorClass::Bug);
}

#[tokio::test]
async fn what_a_newer_release_wrote_stops_mail() {
    let bench = Bench::start().await;
    let mut field = hash(9).0.to_vec();
    field.extend(b"acme");
    for value in [&b"\x02\0\0\0\0\0\x01?\0\0\0\0\0\0more"[..], b"\x02"] {
        bench
            .redis
            .command(&[b"HSET", &b"{pl1:sup:9}"[..], &field, value])
            .await;
        let found = found(&bench.store, "acme", &to(9, "")).await;
        assert_eq!(found.tenant, Some(SuppressionReason::Manual));
    }
}

#[tokio::test]
async fn a_bucket_is_complete_once_it_is_said_of_this_run() {
    let bench = Bench::start().await;
    let store = &bench.store;
    let (run, state) = store.suppression_bucket(4).await.expect("redis is there");
    assert_eq!(state, BucketState::Empty);
    let other = paceline_store::Run::named("0123456789abcdef0123456789abcdef01234567");
    let complete = |run| async move {
        store
            .suppression_bucket_complete(4, run)
            .await
            .expect("redis is there")
    };
    assert_eq!(complete(&other).await, BucketState::Empty);
    assert_eq!(complete(&run).await, BucketState::Complete);
    assert_eq!(
        store.suppression_bucket(4).await.expect("redis is there").1,
        BucketState::Complete
    );
    assert_eq!(
        store.suppression_bucket(5).await.expect("redis is there").1,
        BucketState::Empty
    );
    // As after a failover.
    let foreign = ["HSET", "{pl1:sup:4}", "run", "another"];
    bench.redis.command(&foreign).await;
    assert_eq!(
        store.suppression_bucket(4).await.expect("redis is there").1,
        BucketState::Behind
    );
    assert_eq!(complete(&run).await, BucketState::Complete);
}

#[tokio::test]
async fn another_key_for_the_hashes_is_refused() {
    let bench = Bench::start().await;
    bench.store.check_address_key("one").await.expect("the first");
    bench.store.check_address_key("one").await.expect("the same");
    let other = Store::connect(&config(bench.redis.url(), SHARDS))
        .await
        .expect("a redis");
    match other.check_address_key("two").await.expect_err("another") {
        StoreError::Misconfigured { setting, .. } => assert_eq!(setting, "address_key"),
        other => panic!("{other}"),
    }
}
