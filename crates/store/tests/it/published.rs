//! What is announced, as services see it.

use std::time::Duration;

use bytes::Bytes;
use paceline_store::{Announced, Announcements, Store};

use crate::support::Bench;

fn announced(name: &str, version: u32, hash: u8) -> Announced {
    Announced {
        name: name.to_owned(),
        version,
        hash: [hash; 32],
        authored: [hash + 100; 32],
    }
}

async fn all(store: &Store) -> Announcements {
    let mut all = store.announcements().await.expect("redis is there");
    all.announced.sort();
    all
}

#[tokio::test]
async fn what_is_announced_is_seen_with_another_revision_each_time() {
    let bench = Bench::start().await;
    let store = &bench.store;
    let revision = async || store.announcements_revision().await.expect("redis is there");
    assert_eq!(revision().await, None);
    assert_eq!(all(store).await, Announcements::default());

    let (first, second) = (announced("a", 1, 1), announced("b-c", 20, 2));
    store
        .announce(&[first.clone(), second.clone()], &[], 7)
        .await
        .expect("written");
    let before = revision().await;
    assert!(before.is_some());
    assert_eq!(all(store).await.announced, [first.clone(), second.clone()]);

    let third = announced("a", 2, 3);
    store
        .announce(std::slice::from_ref(&third), &[first], 8)
        .await
        .expect("written");
    assert_ne!(revision().await, before);
    let found = all(store).await;
    assert_eq!(found.announced, [third, second]);
    assert_eq!(found.unreadable, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_newer_release_announces_is_told_apart() {
    let bench = Bench::start().await;
    let store = &bench.store;
    store
        .announce(&[announced("a", 1, 1)], &[], 7)
        .await
        .expect("written");
    let key = "{pl1:tpl}:published";
    for (field, value) in [("b@1", "\u{2}more"), ("c@x", "\u{1}"), ("d", "\u{1}")] {
        bench.redis.command(&["HSET", key, field, value]).await;
    }
    let mut found = all(store).await;
    found.unreadable.sort();
    assert_eq!(found.announced, [announced("a", 1, 1)]);
    assert_eq!(found.unreadable, ["b@1", "c@x", "d"]);
}

#[tokio::test]
async fn a_bundle_that_is_there_is_kept_for_longer() {
    let bench = Bench::start().await;
    let store = &bench.store;
    assert!(!store.keep_bundle(&[7; 32]).await.expect("redis is there"));
    let has = async |hashes: &[u8]| {
        let hashes = hashes.iter().map(|hash| [*hash; 32]).collect();
        store.has_bundles(&hashes).await.expect("redis is there")
    };
    assert!(has(&[]).await && !has(&[7]).await);
    store
        .put_bundle(&[7; 32], Bytes::from_static(b"x"))
        .await
        .expect("written");
    assert!(has(&[7]).await && !has(&[7, 8]).await);
    let key = format!("{{pl1:tpl}}:{}", "07".repeat(32));
    bench.redis.command(&["EXPIRE", &key, "5"]).await;
    assert!(store.keep_bundle(&[7; 32]).await.expect("redis is there"));
    let left = bench.redis.command(&["TTL", &key]).await;
    let left = u64::try_from(left.integer()).expect("it expires");
    assert!(
        Duration::from_secs(left) > Duration::from_secs(399 * 24 * 3600),
        "{left}"
    );
}
