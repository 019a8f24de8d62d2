//! Stops: their record, and what becomes of messages that they meet.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_store::{Change, Claimed, Entry, STOPS_MAX, Stage, StopWritten, Stopped};

use crate::SHARD;
use crate::support::{Bench, id, message, moved, ticket_of};

fn stopped(entry: &Entry, cancel: bool) -> Stopped {
    let (id, ticket) = ticket_of(entry);
    Stopped {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        cancel,
    }
}

async fn stop_all(bench: &Bench, stage: Stage, cancel: bool) -> Vec<Change> {
    let entries = bench.read(stage, "stopper").await;
    let items: Vec<_> = entries.iter().map(|entry| stopped(entry, cancel)).collect();
    let changes = bench.store.stop_entries(SHARD, stage, &items, Bytes::new()).await;
    changes.expect("redis is there")
}

async fn release(bench: &Bench, number: u8) -> Change {
    let released = bench.store.release(SHARD, &[id(number)], Bytes::new()).await;
    released.expect("redis is there").remove(0)
}

#[tokio::test]
async fn what_is_held_at_either_stage_is_sent_once_after_its_release() {
    for stage in Stage::ALL {
        let bench = Bench::start().await;
        let accepted = bench.accept(&message(1)).await;
        if stage == Stage::Ready {
            bench.render_all().await;
        }
        let held = moved(stop_all(&bench, stage, false).await.remove(0));
        assert_eq!((held.state, held.reason), (State::Held, Reason::Stopped));
        assert_eq!(bench.waiting("held").await, [(id(1), held.changed_at.0)]);
        assert_eq!(bench.backlog(stage).await, 0, "its entry is gone");
        assert_eq!(bench.claim_all(1).await, []);

        let released = moved(release(&bench, 1).await);
        assert_eq!(
            (released.state, released.generation),
            (State::Queued, accepted.generation + 1)
        );
        assert_eq!(release(&bench, 1).await, Change::Unchanged(released));
        assert_eq!(bench.waiting("held").await, []);
        assert!(bench.has_request(id(1)).await);
        bench.send_queued().await;
    }
}

#[tokio::test]
async fn what_a_stop_ends_is_at_rest_and_its_second_copy_goes() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    bench.render_all().await;
    let entries = bench.read(Stage::Ready, "stopper").await;
    let items = [stopped(&entries[0], true), stopped(&entries[0], false)];
    let changes = bench
        .store
        .stop_entries(SHARD, Stage::Ready, &items, Bytes::new())
        .await;
    let changes = changes.expect("redis is there");
    let ended = moved(changes[0].clone());
    assert_eq!((ended.state, ended.reason), (State::Cancelled, Reason::Stopped));
    assert_eq!(changes[1], Change::Unchanged(ended));
    assert!(!bench.has_request(id(1)).await);
    assert_eq!(bench.backlog(Stage::Ready).await, 0);
}

#[tokio::test]
async fn what_is_claimed_is_not_stopped() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    bench.render_all().await;
    let entry = bench.read(Stage::Ready, "sender").await.remove(0);
    let claimed = bench.claim(1, vec![crate::support::claim_of(&entry)]).await;
    assert!(matches!(claimed[..], [Claimed::Sending(_)]), "{claimed:?}");
    let late = [stopped(&entry, true)];
    let changes = bench
        .store
        .stop_entries(SHARD, Stage::Ready, &late, Bytes::new())
        .await;
    let record = bench.get(id(1)).await;
    assert_eq!(record.state, State::Sending);
    assert_eq!(changes.expect("redis is there"), [Change::Unchanged(record)]);
}

#[tokio::test]
async fn a_cancellation_ends_what_is_scheduled_and_held_and_the_log_says_who() {
    let bench = Bench::start().await;
    let mut later = message(1);
    later.record.send_at = bench.now() + Duration::from_secs(60);
    bench.accept(&later).await;
    bench.accept(&message(2)).await;
    moved(stop_all(&bench, Stage::Queued, false).await.remove(0));
    let act = Bytes::from_static(b"who and why");
    let ids = [id(1), id(2), id(3)];
    let changes = bench.store.cancel_stopped(SHARD, &ids, act.clone()).await;
    let changes = changes.expect("redis is there");
    for change in &changes[..2] {
        let ended = moved(change.clone());
        assert_eq!((ended.state, ended.reason), (State::Cancelled, Reason::Stopped));
    }
    assert_eq!(changes[2], Change::Missing);
    assert_eq!(bench.waiting("later").await, []);
    assert_eq!(bench.waiting("held").await, []);
    let log = format!("{}:log", crate::TAG);
    let newest = bench
        .redis
        .command(&["XREVRANGE", &log, "+", "-", "COUNT", "1"])
        .await;
    let fields = newest.array()[0].array()[1].array();
    assert_eq!(fields[2].bytes()[..], b"a"[..]);
    assert_eq!(fields[3].bytes()[..], act[..]);
}

#[tokio::test]
async fn a_stop_is_written_only_over_what_the_writer_saw() {
    let bench = Bench::start().await;
    let write = async |id: &str, seen: Option<&'static str>, new: Option<&'static str>| {
        let bytes = |text: Option<&'static str>| text.map(|text| Bytes::from_static(text.as_bytes()));
        let written = bench.store.write_stop(id, bytes(seen), bytes(new)).await;
        written.expect("redis is there")
    };
    assert_eq!(write("a", None, Some("1")).await, StopWritten::Written);
    assert_eq!(write("a", None, Some("1")).await, StopWritten::Written, "again");
    assert_eq!(write("a", None, Some("2")).await, StopWritten::Changed);
    assert_eq!(write("a", Some("1"), Some("2")).await, StopWritten::Written);
    assert_eq!(write("a", Some("1"), None).await, StopWritten::Changed);
    let stops = bench.store.stops().await.expect("redis is there");
    assert_eq!(stops, [("a".to_owned(), Bytes::from_static(b"2"))]);
    assert_eq!(write("a", Some("2"), None).await, StopWritten::Written);
    assert_eq!(write("a", Some("2"), None).await, StopWritten::Written, "again");
    assert_eq!(bench.store.stops().await.expect("redis is there"), []);
    for number in 0..STOPS_MAX {
        assert_eq!(
            write(&number.to_string(), None, Some("1")).await,
            StopWritten::Written
        );
    }
    assert_eq!(write("one more", None, Some("1")).await, StopWritten::Full);
    assert_eq!(write("7", Some("1"), Some("2")).await, StopWritten::Written);
}
