//! Who leads the coordinators, and whose rates are written.

use std::time::Duration;

use paceline_store::Store;
use paceline_store::throttle::{Adopted, Fenced, Leadership, RateKey, Term};
use paceline_testkit::eventually;

use crate::support::config;
use crate::{SHARDS, Servers};

const LEAD: Duration = Duration::from_secs(3);

fn key() -> RateKey {
    RateKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    }
}

async fn store(redis: &Servers) -> Store {
    Store::connect(&config(redis.url(), SHARDS))
        .await
        .expect("redis is there")
}

async fn lead(store: &Store, nonce: &str, floor: u64) -> Leadership {
    let address = format!("http://{nonce}");
    store.lead(&address, nonce, LEAD, floor).await.expect("an answer")
}

async fn leads(store: &Store, nonce: &str, floor: u64) -> Term {
    match lead(store, nonce, floor).await {
        Leadership::Mine(term) => term,
        Leadership::Other { epoch, address } => panic!("{address} leads in {epoch}"),
    }
}

async fn adopt(store: &Store, term: &Term) -> Result<Adopted, Fenced> {
    store.adopt_rate(&key(), term).await.expect("an answer")
}

async fn save(store: &Store, term: &Term, rev: u64, rate: f64) -> Result<u64, Fenced> {
    store
        .save_rate(&key(), term, rev, (rate, 9))
        .await
        .expect("an answer")
}

#[tokio::test]
async fn one_leads_until_it_gives_the_lead_back() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let first = leads(&store, "a", 0).await;
    assert_eq!(
        leads(&store, "a", 0).await,
        first,
        "a repeated try is the same lead"
    );
    let other = Leadership::Other {
        epoch: first.epoch,
        address: "http://a".to_owned(),
    };
    assert_eq!(lead(&store, "b", 0).await, other);
    assert!(store.keep_lead(&first, LEAD).await.expect("an answer"));
    let strangers = Term {
        nonce: "b".to_owned(),
        ..first.clone()
    };
    assert!(!store.keep_lead(&strangers, LEAD).await.expect("an answer"));
    assert!(!store.resign(&strangers).await.expect("an answer"));
    assert!(store.resign(&first).await.expect("an answer"));
    let second = leads(&store, "b", 0).await;
    assert!(second.epoch > first.epoch);
    assert!(!store.keep_lead(&first, LEAD).await.expect("an answer"));
}

#[tokio::test]
async fn a_lead_that_is_not_renewed_ends() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    store
        .lead("http://a", "a", Duration::from_millis(50), 0)
        .await
        .expect("an answer");
    eventually("the lead is free", LEAD, async || {
        match lead(&store, "b", 0).await {
            Leadership::Mine(_) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn no_epoch_is_given_twice_whatever_redis_has_lost() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let first = leads(&store, "a", 41).await;
    assert_eq!(first.epoch, 42);
    redis.on_every_node(&["FLUSHALL"]).await;
    assert_eq!(leads(&store, "b", first.epoch).await.epoch, 43);
}

#[tokio::test]
async fn only_who_adopted_a_rate_writes_it() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let old = leads(&store, "a", 0).await;
    let adopted = adopt(&store, &old).await.expect("nobody's yet");
    assert_eq!(adopted.saved, None);
    let rev = save(&store, &old, adopted.rev, 123.5).await.expect("its own");
    assert_eq!(
        save(&store, &old, adopted.rev, 123.5).await,
        Ok(rev),
        "repeated after a lost answer"
    );
    store.resign(&old).await.expect("an answer");

    let new = leads(&store, "b", 0).await;
    assert_eq!(
        adopt(&store, &new).await.expect("an older leader's").saved,
        Some((123.5, 9))
    );
    assert!(
        save(&store, &old, rev, 999.0).await.is_err(),
        "a leader of before"
    );
    assert_eq!(adopt(&store, &old).await, Err(Fenced { epoch: new.epoch }));
    let twin = Term {
        nonce: "c".to_owned(),
        ..new.clone()
    };
    assert!(adopt(&store, &twin).await.is_err(), "one epoch, another leader");
    assert!(
        (store
            .granted_rate(&key())
            .await
            .expect("an answer")
            .expect("saved")
            - 123.5)
            .abs()
            < 1e-9
    );
}

#[tokio::test]
async fn a_state_that_went_backwards_or_away_fences() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let term = leads(&store, "a", 0).await;
    let mut rev = adopt(&store, &term).await.expect("nobody's yet").rev;
    for rate in [100.0, 105.0, 110.0] {
        rev = save(&store, &term, rev, rate).await.expect("its own");
    }
    let state = "{pl1:thr:ses/main}:state";
    redis.command(&["HSET", state, "rev", "2"]).await;
    assert!(save(&store, &term, rev, 115.0).await.is_err(), "went backwards");
    redis.command(&["DEL", state]).await;
    assert!(save(&store, &term, rev, 115.0).await.is_err(), "is gone");
    assert_eq!(store.granted_rate(&key()).await.expect("an answer"), None);
}

#[tokio::test]
async fn the_lead_is_kept_when_redis_is_full() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let term = leads(&store, "a", 0).await;
    let rev = adopt(&store, &term).await.expect("nobody's yet").rev;
    redis.configure("maxmemory", "1").await;
    assert!(store.keep_lead(&term, LEAD).await.expect("an answer"));
    save(&store, &term, rev, 80.0).await.expect("its own");
}
