//! Who leads the coordinators, and whose rates are written.

use std::time::Duration;

use paceline_store::Store;
use paceline_store::throttle::{
    Adopted, Commit, Cut, Fenced, Known, Leadership, NotAdopted, PartBody, RateKey, Snapshot, Term,
};
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
        Leadership::Mine { term, .. } => term,
        Leadership::Other { epoch, address } => panic!("{address} leads in {epoch}"),
    }
}

const FORMAT: u32 = 3;

async fn adopt_knowing(store: &Store, term: &Term, known: Known) -> Result<Adopted, NotAdopted> {
    store
        .adopt_rate(&key(), term, FORMAT, known)
        .await
        .expect("an answer")
}

async fn adopt(store: &Store, term: &Term) -> Result<Adopted, NotAdopted> {
    adopt_knowing(store, term, Known::default()).await
}

fn commit(rate: f64) -> Commit {
    Commit {
        rate,
        version: 9,
        format: FORMAT,
        complete: true,
        ..Commit::default()
    }
}

async fn write(store: &Store, term: &Term, rev: u64, commit: &Commit) -> Result<u64, Fenced> {
    store
        .commit_rate(&key(), term, rev, commit)
        .await
        .expect("an answer")
}

async fn save(store: &Store, term: &Term, rev: u64, rate: f64) -> Result<u64, Fenced> {
    write(store, term, rev, &commit(rate)).await
}

/// A state, an event after it, and one lease, by a leader who then leaves.
async fn left_behind(store: &Store) -> (Term, u64) {
    let term = leads(store, "a", 0).await;
    let adopted = adopt(store, &term).await.expect("nobody's yet");
    let opened = Commit {
        snapshot: Some(Snapshot {
            state: "state".to_owned(),
            first_kept: None,
            journal_bytes: 5,
        }),
        ..commit(100.0)
    };
    let rev = write(store, &term, adopted.rev, &opened).await.expect("its own");
    let happened = Commit {
        events: "[event]".to_owned(),
        leases: vec![("aa".to_owned(), Some("10|20".to_owned()))],
        ..commit(80.0)
    };
    let rev = write(store, &term, rev, &happened).await.expect("its own");
    store.resign(&term).await.expect("an answer");
    (term, rev)
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
            Leadership::Mine { .. } => Ok(()),
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
    let fenced = Fenced { epoch: new.epoch };
    assert_eq!(adopt(&store, &old).await, Err(NotAdopted::Fenced(fenced)));
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

#[tokio::test]
async fn the_next_leader_finds_journal_and_leases() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    left_behind(&store).await;
    let next = leads(&store, "b", 0).await;
    let adopted = adopt(&store, &next).await.expect("an older leader's");
    assert!(adopted.whole && adopted.table && !adopted.lost, "{adopted:?}");
    assert_eq!((adopted.saved, adopted.journal_bytes), (Some((80.0, 9)), 5));
    let kept = store.load_rate(&key(), &adopted).await.expect("an answer");
    let bodies: Vec<_> = kept.journal.iter().map(|part| part.body.clone()).collect();
    assert_eq!(
        bodies,
        [
            PartBody::Opened("state".to_owned()),
            PartBody::Events("[event]".to_owned())
        ]
    );
    assert_eq!(kept.journal[1].format, FORMAT);
    assert_eq!(kept.leases, [("aa".to_owned(), "10|20".to_owned())]);
    assert_eq!(adopt(&store, &next).await, Ok(adopted), "asked again");
}

#[tokio::test]
async fn as_many_leases_as_may_change_are_written_at_once() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let (term, rev) = left_behind(&store).await;
    let all = |lease: Option<&str>| Commit {
        leases: (0..20_001)
            .map(|sender| (format!("{sender:032x}"), lease.map(str::to_owned)))
            .collect(),
        ..commit(80.0)
    };
    let rev = write(&store, &term, rev, &all(Some("10|20")))
        .await
        .expect("its own");
    let next = leads(&store, "b", term.epoch).await;
    let adopted = adopt(&store, &next).await.expect("nobody newer");
    assert!(adopted.table && adopted.rev > rev);
    let kept = store.load_rate(&key(), &adopted).await.expect("an answer");
    // And the one of before.
    assert_eq!(kept.leases.len(), 20_002);
    let struck = write(&store, &next, adopted.rev, &all(None)).await;
    struck.expect("its own");
    let kept = store.load_rate(&key(), &adopted).await.expect("an answer");
    assert_eq!(kept.leases.len(), 1);
}

#[tokio::test]
async fn a_lease_table_that_may_lack_leases_is_not_believed() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    for (what, command, known) in [
        (
            "of an older rev",
            Some(["HSET", "{pl1:thr:ses/main}:lease", "rev", "1"]),
            Known::default(),
        ),
        (
            "of another run of Redis",
            Some(["HSET", "{pl1:thr:ses/main}:state", "run", "x:y"]),
            Known::default(),
        ),
        (
            "written by a leader of before journals",
            Some(["HSET", "{pl1:thr:ses/main}:state", "rev", "9"]),
            Known::default(),
        ),
        (
            "older than a known epoch",
            None,
            Known {
                epoch: 1 << 40,
                written: (0, 0),
            },
        ),
        (
            "older than what the caller wrote",
            None,
            Known {
                epoch: 0,
                written: (1 << 40, 1),
            },
        ),
    ] {
        redis.on_every_node(&["FLUSHALL"]).await;
        left_behind(&store).await;
        if let Some(command) = command {
            redis.command(&command).await;
        }
        let next = leads(&store, "b", 0).await;
        for again in ["first", "again"] {
            let adopted = adopt_knowing(&store, &next, known)
                .await
                .expect("an older leader's");
            assert!(!adopted.table, "{what}, {again}");
            assert_eq!(adopted.lost, known.written.0 > 0, "{what}, {again}");
            let kept = store.load_rate(&key(), &adopted).await.expect("an answer");
            assert_eq!((kept.leases.len(), kept.journal.len()), (0, 2), "{what}, {again}");
        }
    }
}

#[tokio::test]
async fn a_state_of_a_newer_format_is_left_alone() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    left_behind(&store).await;
    let state = "{pl1:thr:ses/main}:state";
    redis.command(&["HSET", state, "format", "4"]).await;
    let before = redis.command(&["HGETALL", state]).await;
    let next = leads(&store, "b", 0).await;
    assert_eq!(adopt(&store, &next).await, Err(NotAdopted::NewerFormat(4)));
    assert_eq!(redis.command(&["HGETALL", state]).await, before);
}

#[tokio::test]
async fn a_repeated_write_is_done_once_and_a_fenced_one_publishes_nothing() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let (mut cuts, listening) = store.cuts().await;
    listening.expect("it listens");
    let (term, rev) = left_behind(&store).await;
    let cut = Cut {
        key: key(),
        epoch: term.epoch,
        version: 9,
        rate: 80.0,
        ratio: 0.8,
    };
    let cutting = Commit {
        events: "[cut]".to_owned(),
        cuts: vec![cut.clone()],
        ..commit(80.0)
    };
    assert!(write(&store, &term, rev + 5, &cutting).await.is_err(), "fenced");
    for _ in 0..2 {
        assert_eq!(write(&store, &term, rev, &cutting).await, Ok(rev + 1));
    }
    assert_eq!(cuts.next().await, Ok(cut));
    let (journal, _) = store.journal_page(&key(), "-").await.expect("an answer");
    assert_eq!(journal.len(), 3, "{journal:?}");
    let nothing = tokio::time::timeout(Duration::from_millis(100), cuts.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn a_journal_is_cut_off_before_a_snapshot() {
    let redis = Servers::start().await;
    let store = store(&redis).await;
    let (term, rev) = left_behind(&store).await;
    let snapshot = Commit {
        snapshot: Some(Snapshot {
            state: "later".to_owned(),
            first_kept: Some(rev + 1),
            journal_bytes: 5,
        }),
        ..commit(80.0)
    };
    write(&store, &term, rev, &snapshot).await.expect("its own");
    let (journal, next) = store.journal_page(&key(), "-").await.expect("an answer");
    assert_eq!((journal.len(), next), (1, None));
    assert_eq!(journal[0].body, PartBody::Opened("later".to_owned()));
}
