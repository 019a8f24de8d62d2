//! The log as the ledger's copiers read it: nothing unread is cut off, and what a copier leaves another takes over.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::record::State;
use paceline_store::{
    Enqueued, LogBody, LogEntry, LogMode, LogUse, Logged, NewMessage, Stage, Store, StoreConfig, StoreError,
};

use crate::support::{hand_off_of, id, message, waiting_for_nothing};
use crate::{SHARD, SHARDS, Servers, TAG};

const AT_ONCE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3_600);

fn using(url: &str, mode: LogMode, change: bool) -> StoreConfig {
    StoreConfig {
        log: LogUse { mode, change },
        log_entries_max: 10,
        ..waiting_for_nothing(url, SHARDS)
    }
}

/// By Redis's own clock, as the entries' ids are.
async fn kept(redis: &Servers) -> Store {
    let config = using(redis.url(), LogMode::Ledger, false);
    Store::connect(&config).await.expect("a redis")
}

fn logged(number: u8) -> NewMessage {
    NewMessage {
        logged: Bytes::from(format!("<{number}>")),
        ..message(number)
    }
}

async fn accept(store: &Store, numbers: impl IntoIterator<Item = u8>) {
    for number in numbers {
        let answers = store.enqueue(SHARD, vec![logged(number)]).await.expect("there");
        assert!(matches!(answers[..], [Enqueued::New(_)]), "{answers:?}");
    }
}

fn body(entry: &LogEntry) -> &Logged {
    match &entry.body {
        LogBody::Logged(logged) => logged,
        LogBody::Newer => panic!("an entry of a newer release"),
    }
}

fn bodies(entries: &[LogEntry]) -> Vec<&Logged> {
    entries.iter().map(body).collect()
}

fn ids(entries: &[LogEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.clone()).collect()
}

async fn entries(redis: &Servers) -> i64 {
    redis.command(&["XLEN", &format!("{TAG}:log")]).await.integer()
}

#[tokio::test]
async fn what_is_accepted_and_resubmitted_is_logged_in_the_same_step_and_a_duplicate_is_not() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    store
        .enqueue(SHARD, vec![logged(1), logged(2), logged(1)])
        .await
        .expect("there");
    store.cancel(id(2)).await.expect("there");
    let mut again = logged(2);
    again.resubmit = true;
    store.enqueue(SHARD, vec![logged(1), again]).await.expect("there");
    store.enqueue(SHARD, vec![logged(1)]).await.expect("there");

    let read = store.read_log(SHARD, "a", 100).await.expect("there");
    let shown: Vec<_> = bodies(&read)
        .iter()
        .map(|logged| {
            let moves = logged
                .transitions
                .iter()
                .map(|t| (t.id, t.state))
                .collect::<Vec<_>>();
            (moves, logged.messages.clone())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                vec![(id(1), State::Queued), (id(2), State::Queued)],
                Bytes::from("<1><2>")
            ),
            (vec![(id(2), State::Cancelled)], Bytes::new()),
            (vec![(id(2), State::Queued)], Bytes::from("<2>")),
        ]
    );
}

#[tokio::test]
async fn a_log_for_the_ledger_is_cut_only_behind_it() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    accept(&store, 0..200).await;
    assert_eq!(entries(&redis).await, 200, "nobody has read it");
    let backlog = store.log_backlog(SHARD).await.expect("there");
    assert_eq!(backlog.entries, 200);
    assert!(backlog.bytes > 200 * 39 && !backlog.age.is_zero(), "{backlog:?}");

    let first = store.read_log(SHARD, "a", 150).await.expect("there");
    store.log_copied(SHARD, &[], AT_ONCE).await.expect("there");
    assert_eq!(entries(&redis).await, 200, "it is read and not copied");

    // All but the first one: that one holds everything.
    let copied = ids(&first);
    store
        .log_copied(SHARD, &copied[1..], AT_ONCE)
        .await
        .expect("there");
    assert_eq!(entries(&redis).await, 200);
    store.log_copied(SHARD, &copied[..1], LONG).await.expect("there");
    assert_eq!(entries(&redis).await, 200, "what is young stays for watchers");
    store.log_copied(SHARD, &[], AT_ONCE).await.expect("there");
    let left = entries(&redis).await;
    assert!((50..=150).contains(&left), "{left}: whole nodes are cut");
    let rest = store.read_log(SHARD, "a", 500).await.expect("there");
    assert_eq!(rest.len(), 50, "what was not read is all there");
    store
        .log_copied(SHARD, &ids(&rest), AT_ONCE)
        .await
        .expect("there");
    let backlog = store.log_backlog(SHARD).await.expect("there");
    assert_eq!(backlog.age, Duration::ZERO, "nothing waits");
}

#[tokio::test]
async fn a_ring_is_bounded() {
    let redis = Servers::start().await;
    let config = using(redis.url(), LogMode::Ring, false);
    accept(&Store::connect(&config).await.expect("a redis"), 0..250).await;
    let left = entries(&redis).await;
    assert!((10..=150).contains(&left), "{left}");
}

#[tokio::test]
async fn entries_go_to_one_copier_and_those_of_a_dead_one_to_another() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    accept(&store, 0..4).await;
    let dead = store.read_log(SHARD, "dead", 2).await.expect("there");
    let alive = store.read_log(SHARD, "alive", 10).await.expect("there");
    assert_eq!((dead.len(), alive.len()), (2, 2));
    assert!(dead.iter().all(|entry| !alive.contains(entry)));
    store
        .log_copied(SHARD, &ids(&alive), AT_ONCE)
        .await
        .expect("there");

    let early = store
        .reclaim_log(SHARD, "alive", LONG, "0-0", 10)
        .await
        .expect("there");
    assert_eq!((early.entries.len(), early.next.as_str()), (0, "0-0"));
    let page = store
        .reclaim_log(SHARD, "alive", AT_ONCE, "0-0", 1)
        .await
        .expect("there");
    assert_eq!(page.entries, dead[..1]);
    let page = store
        .reclaim_log(SHARD, "alive", AT_ONCE, &page.next, 1)
        .await
        .expect("there");
    assert_eq!(page.entries, dead[1..]);
    assert_eq!(store.remove_idle_copiers(SHARD, LONG).await.expect("there"), 0);
    assert_eq!(
        store.remove_idle_copiers(SHARD, AT_ONCE).await.expect("there"),
        1,
        "the dead one"
    );
    store
        .log_copied(SHARD, &ids(&dead), AT_ONCE)
        .await
        .expect("there");
    assert_eq!(store.log_backlog(SHARD).await.expect("there").age, Duration::ZERO);
}

#[tokio::test]
async fn an_entry_of_a_newer_release_stays_and_one_that_nobody_reads_is_told_apart() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    let log = format!("{TAG}:log");
    redis.command(&["XADD", &log, "*", "e2", "from tomorrow"]).await;
    redis.command(&["XADD", &log, "*", "e", "short"]).await;
    accept(&store, [1]).await;
    let read = store.read_log(SHARD, "a", 10).await.expect("there");
    assert_eq!(read[0].body, LogBody::Newer);
    let readable = bodies(&read[1..]);
    assert!(readable[0].corrupt && readable[0].transitions.is_empty());
    assert!(!readable[1].corrupt && readable[1].transitions.len() == 1);
    store
        .log_copied(SHARD, &ids(&read[1..]), AT_ONCE)
        .await
        .expect("there");
    let again = store
        .reclaim_log(SHARD, "b", AT_ONCE, "0-0", 10)
        .await
        .expect("there");
    assert_eq!(
        ids(&again.entries),
        [read[0].id.clone()],
        "it waits for who can read it"
    );
}

#[tokio::test]
async fn a_full_redis_is_copied_from() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    accept(&store, 0..3).await;
    redis.configure("maxmemory", "1").await;
    let read = store
        .read_log(SHARD, "a", 10)
        .await
        .expect("the group is made all the same");
    assert_eq!(read.len(), 3);
    store
        .log_copied(SHARD, &ids(&read), AT_ONCE)
        .await
        .expect("there");
    assert_eq!(store.log_backlog(SHARD).await.expect("there").age, Duration::ZERO);
}

#[tokio::test]
async fn one_mode_holds_for_all_processes_until_it_is_changed_by_name() {
    let redis = Servers::start().await;
    let connect = async |mode, change| {
        let config = using(redis.url(), mode, change);
        Store::connect(&config).await.map(|store| store.log_mode())
    };
    assert_eq!(
        connect(LogMode::Ring, false).await.expect("the first"),
        LogMode::Ring
    );
    match connect(LogMode::Ledger, false).await.expect_err("another") {
        StoreError::Misconfigured { setting, remedy, .. } => {
            assert_eq!(setting, "redis.log");
            assert!(
                remedy.contains("ring") && remedy.contains("redis.log_change"),
                "{remedy}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        connect(LogMode::Ledger, true).await.expect("named"),
        LogMode::Ledger
    );
    assert_eq!(
        connect(LogMode::Ledger, false).await.expect("the stored one"),
        LogMode::Ledger
    );
    connect(LogMode::Ring, false).await.expect_err("the former");
}

#[tokio::test]
async fn watchers_read_beside_the_copiers() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    accept(&store, [1]).await;
    store.read_log(SHARD, "a", 10).await.expect("there");
    let seen = store.log_since(SHARD, "0", 10).await.expect("there");
    assert_eq!(seen.len(), 1);
    assert_eq!(
        store.active(SHARD).await.expect("there").len(),
        1,
        "{:?}",
        Stage::Queued
    );
}

#[tokio::test]
async fn what_a_template_keeps_is_logged_before_it_can_be_sent() {
    let redis = Servers::start().await;
    let store = kept(&redis).await;
    accept(&store, [1]).await;
    let streams = store.active(SHARD).await.expect("there");
    let entries = store
        .read(SHARD, Stage::Queued, "r", &streams, 10)
        .await
        .expect("there");
    let mut item = hand_off_of(&entries[0]);
    item.kept = Bytes::from_static(b"parts");
    let handed = store.hand_off(SHARD, vec![item]).await.expect("there");
    assert!(handed.iter().all(Result::is_ok), "{handed:?}");
    let read = store.read_log(SHARD, "a", 10).await.expect("there");
    let bodies = bodies(&read);
    assert_eq!(bodies.len(), 2);
    assert_eq!(
        (bodies[1].kept.as_ref(), bodies[1].corrupt),
        (&b"parts"[..], false)
    );
    assert!(bodies[1].transitions.is_empty());
}
