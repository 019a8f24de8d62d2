//! The sweep: what it brings to an end, wherever it waits, and what it leaves alone.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::stop::{Release, Said, Selector, Stop, StopMode};
use paceline_domain::time::Millis;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_store::{Entry, EntryBody, NewMessage, Stage, StopWritten, Stopped};
use paceline_testkit::{Proxy, eventually};
use paceline_wire::stops::pack;
use paceline_wire::v1::LoggedAct;
use prost::Message as _;

use crate::support::{Bench, PATIENCE, message};

const ADA: &str = "{\"name\": \"Ada\"}";
const LATER: &[u8] = b"{pl1:0}:later";
/// Less than the time between two turns while nothing changes.
const ONE_TURN: Duration = Duration::from_secs(20);
/// How much slower Redis is, where a turn is to last.
const SLOWER: Duration = Duration::from_millis(20);

fn said(at: Millis) -> Said {
    Said {
        who: "ops".to_owned(),
        why: "test".to_owned(),
        at,
    }
}

pub(crate) fn stop(mode: StopMode) -> Stop {
    Stop {
        id: "1".to_owned(),
        selector: Selector {
            template: Some("hello".to_owned()),
            ..Selector::default()
        },
        mode,
        said: said(SystemClock.wall()),
        release: None,
    }
}

fn released(stop: &Stop, cancel: bool) -> Stop {
    Stop {
        release: Some(Release {
            cancel,
            said: said(SystemClock.wall()),
        }),
        ..stop.clone()
    }
}

pub(crate) async fn write(bench: &Bench, before: Option<&Stop>, stop: &Stop) {
    let written = bench
        .store
        .write_stop(&stop.id, before.map(pack), Some(pack(stop)))
        .await;
    assert_eq!(written.expect("redis is there"), StopWritten::Written);
}

async fn is_forgotten(bench: &Bench) {
    eventually("the stop is forgotten", PATIENCE, async || {
        let stops = bench.store.stops().await.map_err(|error| error.to_string())?;
        stops
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{} stand", stops.len()))
    })
    .await;
}

/// What the log tells of each message: the act, who, and why.
async fn told(bench: &Bench) -> BTreeMap<MessageId, [String; 3]> {
    let log = bench.redis.command(&["XRANGE", "{pl1:0}:log", "-", "+"]).await;
    let mut told = BTreeMap::new();
    for entry in log.array() {
        let fields = entry.array()[1].array();
        for field in fields.chunks(2).filter(|field| field[0].bytes()[..] == b"a"[..]) {
            let act = LoggedAct::decode(&field[1].bytes()[..]).expect("an act");
            for id in act.message_ids {
                let id = MessageId(id.as_ref().try_into().expect("an id"));
                let said = [act.act.clone(), act.who.clone(), act.why.clone()];
                assert_eq!(told.insert(id, said), None, "told twice");
            }
        }
    }
    told
}

async fn later(bench: &Bench) -> i64 {
    let count: [&[u8]; 2] = [b"ZCARD", LATER];
    bench.redis.command(&count).await.integer()
}

/// Accepts messages that are all scheduled for one moment.
async fn accept_scheduled(bench: &Bench, numbers: std::ops::Range<u16>) -> Vec<MessageId> {
    let at = SystemClock.wall() + Duration::from_secs(3_600);
    let scheduled = |number| {
        let mut message = message(number, ADA);
        message.record.send_at = at;
        message
    };
    let all: Vec<NewMessage> = numbers.map(scheduled).collect();
    for part in all.chunks(100) {
        bench
            .store
            .enqueue(0, part.to_vec())
            .await
            .expect("redis is there");
    }
    all.into_iter().map(|message| message.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turn_cancels_all_that_is_scheduled_for_one_moment() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    // More than two pages.
    let ids = accept_scheduled(&bench, 0..1_300).await;
    write(&bench, None, &stop(StopMode::Cancel)).await;
    let renderer = bench.renderer("");
    eventually("nothing is scheduled", ONE_TURN, async || {
        match later(&bench).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    bench.becomes(ids[1_299], State::Cancelled).await;
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_ends_leaves_nothing_that_was_accepted_before_it() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    bench.accept(message(1, ADA)).await;
    let streams = bench.store.active(0).await.expect("redis is there");
    let read = bench.store.read(0, Stage::Queued, "stopper", &streams, 1).await;
    let entry = read.expect("redis is there").remove(0);
    let EntryBody::Message { id: held, ticket, .. } = entry.body else {
        panic!("a message expected")
    };
    let met = Stopped {
        stream: entry.stream,
        entry_id: entry.entry_id,
        id: held,
        ticket,
        cancel: false,
    };
    let stopped = bench
        .store
        .stop_entries(0, Stage::Queued, &[met], Bytes::new())
        .await;
    stopped.expect("redis is there");
    bench.becomes(held, State::Held).await;
    let scheduled = accept_scheduled(&bench, 2..3).await[0];
    let queued = message(3, ADA).id;
    bench.accept(message(3, ADA)).await;

    let stop = released(&stop(StopMode::Hold), true);
    write(&bench, None, &stop).await;
    // Whose clock is ahead of the others' by a millisecond harms nobody.
    eventually("the release is past", PATIENCE, async || {
        let now = SystemClock.wall();
        (now > stop.release.as_ref().expect("it is").said.at + Duration::from_millis(5)).then_some(())
    })
    .await;
    bench.accept(message(4, ADA)).await;
    let renderer = bench.renderer("");
    for id in [held, scheduled, queued] {
        bench.becomes(id, State::Cancelled).await;
    }
    is_forgotten(&bench).await;
    let ready = bench.ready(1).await;
    let id = |entry: &Entry| match &entry.body {
        EntryBody::Message { id, .. } => Some(*id),
        EntryBody::Newer | EntryBody::Corrupt => None,
    };
    let ids: Vec<_> = ready.iter().map(id).collect();
    assert_eq!(
        ids,
        [Some(message(4, ADA).id)],
        "what came after the release is sent"
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_breaks_off_when_its_stop_is_released() {
    let bench = Bench::start().await;
    let proxy = Proxy::start(bench.redis.server().address().clone()).await;
    bench.put_bundle().await;
    accept_scheduled(&bench, 0..6_000).await;
    let cancels = stop(StopMode::Cancel);
    write(&bench, None, &cancels).await;
    proxy.slow_down(SLOWER);
    let renderer = bench.renderer_by(&proxy.url(), "");
    eventually("the turn has begun", PATIENCE, async || {
        match later(&bench).await {
            6_000 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await;
    write(&bench, Some(&cancels), &released(&cancels, false)).await;
    is_forgotten(&bench).await;
    let left = later(&bench).await;
    assert!(
        left > 0,
        "the turn went on to its end although the stop was released"
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standing_stop_ends_is_told_with_who_and_why_wherever_it_waited() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let renderer = bench.renderer("");
    let ready = message(1, ADA).id;
    bench.accept(message(1, ADA)).await;
    bench.ready(1).await;
    renderer.stop().await;
    let scheduled = accept_scheduled(&bench, 2..3).await[0];
    write(&bench, None, &stop(StopMode::Cancel)).await;
    let renderer = bench.renderer("");
    for id in [ready, scheduled] {
        bench.becomes(id, State::Cancelled).await;
    }
    // The copy of the stops is there, so that a reader meets it.
    let queued = message(3, ADA).id;
    bench.accept(message(3, ADA)).await;
    bench.becomes(queued, State::Cancelled).await;
    renderer.stop().await;
    let said = ["cancel", "ops", "test"].map(str::to_owned);
    let expected = [ready, scheduled, queued].map(|id| (id, said.clone()));
    assert_eq!(told(&bench).await, BTreeMap::from(expected));
}
