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
    found[0].suppressed
}

/// How often all nodes together were asked for a command since the statistics began, by scripts too.
async fn calls_of(bench: &Bench, command: &str) -> u64 {
    let name = format!("cmdstat_{command}:calls=");
    let mut calls = 0;
    for stats in bench.redis.on_every_node(&["INFO", "commandstats"]).await {
        let stats = String::from_utf8_lossy(&stats.bytes()).into_owned();
        let line = stats.lines().find_map(|line| line.strip_prefix(&name));
        let count = line.and_then(|line| line.split(',').next());
        calls += count.map_or(0, |count| count.parse::<u64>().expect("a count"));
    }
    calls
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
    let suppressed: Vec<bool> = found
        .iter()
        .map(|found| found.suppressed.tenant.is_some())
        .collect();
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
async fn a_look_up_says_whether_it_knows_everything() {
    let bench = Bench::start().await;
    let store = &bench.store;
    let asked = [to(1, ""), to(2, "")];
    let asked: Vec<(&str, &Addressee)> = asked.iter().map(|to| ("acme", to)).collect();
    let known = async || {
        let found = store.suppressed(&asked).await.expect("redis is there");
        found.iter().map(|found| found.complete).collect::<Vec<_>>()
    };
    assert_eq!(known().await, [false, false]);
    let (run, _) = store.suppression_bucket(2).await.expect("redis is there");
    store
        .suppression_bucket_complete(2, &run)
        .await
        .expect("redis is there");
    assert_eq!(known().await, [false, true]);
    // Complete on a run before this one: what may lack is what came last, and is being written.
    let foreign = ["HSET", "{pl1:sup:1}", "run", "another"];
    bench.redis.command(&foreign).await;
    assert_eq!(known().await, [true, true]);
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let bench = Bench::start().await;
    let rows = [row(7, "", 5, Some(SuppressionReason::HardBounce))];
    bench.store.suppress(&rows).await.expect("redis is there");
    bench.redis.on_every_node(&["CONFIG", "RESETSTAT"]).await;
    bench.store.suppress(&rows).await.expect("redis is there");
    assert_eq!(calls_of(&bench, "hset").await, 0);
}

#[tokio::test]
async fn a_batch_is_looked_up_in_one_command_or_on_a_cluster_in_one_for_each_bucket() {
    let bench = Bench::start().await;
    let asked: Vec<Addressee> = (0..64_u8).map(|number| to(number % 40, "news")).collect();
    let asked: Vec<(&str, &Addressee)> = asked.iter().map(|to| ("acme", to)).collect();
    bench
        .store
        .suppressed(&asked)
        .await
        .expect("the script is loaded");
    bench.redis.on_every_node(&["CONFIG", "RESETSTAT"]).await;
    bench.store.suppressed(&asked).await.expect("redis is there");
    let commands = if SHARDS == 1 { 1 } else { 40 };
    assert_eq!(calls_of(&bench, "evalsha").await, commands);
    assert_eq!(calls_of(&bench, "hmget").await, 40);
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
