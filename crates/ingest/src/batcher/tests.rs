//! The batcher against a store that answers when the test says so. Time is paused: nothing here waits for real.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_kit::supervisor::TaskError;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::{Shutdown, Supervisor};
use paceline_store::{Durability, Enqueued, NewMessage, StoreError};
use paceline_testkit::eventually;
use paceline_wire::status::reason;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Code;

use super::{Batcher, Pending};
use crate::config::IntakeSettings;
use crate::fixtures::{intake, record};
use crate::metrics::Metrics;
use crate::port::Messages;

const PATIENCE: Duration = Duration::from_secs(5);

/// A store in memory whose scripts each wait for a permit.
#[derive(Clone)]
struct Gated(Arc<Inner>);

struct Inner {
    gate: Semaphore,
    scripts: Mutex<Vec<Vec<u8>>>,
    records: Mutex<HashMap<MessageId, Record>>,
    failing: Mutex<bool>,
}

impl Gated {
    fn new(permits: usize) -> Self {
        Self(Arc::new(Inner {
            gate: Semaphore::new(permits),
            scripts: Mutex::default(),
            records: Mutex::default(),
            failing: Mutex::default(),
        }))
    }

    /// The scripts so far, each message by the last byte of its id.
    fn scripts(&self) -> Vec<Vec<u8>> {
        self.0.scripts.lock().expect("not poisoned").clone()
    }

    async fn until_scripts(&self, expected: &[&[u8]]) {
        eventually("the scripts", PATIENCE, async || {
            let scripts = self.scripts();
            if scripts == expected { Ok(()) } else { Err(scripts) }
        })
        .await;
    }

    fn let_through(&self, scripts: usize) {
        self.0.gate.add_permits(scripts);
    }

    fn fail(&self, failing: bool) {
        *self.0.failing.lock().expect("not poisoned") = failing;
    }
}

impl Messages for Gated {
    async fn write(&self, _shard: u16, messages: Vec<NewMessage>) -> Result<Vec<Enqueued>, StoreError> {
        let ids = messages.iter().map(|message| message.id.0[15]).collect();
        self.0.scripts.lock().expect("not poisoned").push(ids);
        self.0.gate.acquire().await.expect("never closed").forget();
        if *self.0.failing.lock().expect("not poisoned") {
            return Err(StoreError::Unavailable {
                detail: "cut".to_owned(),
            });
        }
        let mut records = self.0.records.lock().expect("not poisoned");
        let answer = |message: NewMessage| match records.insert(message.id, message.record.clone()) {
            Some(_) if message.resubmit => Enqueued::Resubmitted(message.record),
            Some(_) => Enqueued::Duplicate(message.record),
            None => Enqueued::New(message.record),
        };
        Ok(messages.into_iter().map(answer).collect())
    }

    fn reaches(&self, level: Durability) -> bool {
        level == Durability::Local
    }

    async fn find(&self, id: MessageId) -> Result<Option<Record>, StoreError> {
        Ok(self.0.records.lock().expect("not poisoned").get(&id).cloned())
    }
}

fn start(settings: IntakeSettings, store: &Gated) -> (Batcher, Vec<JoinHandle<()>>) {
    start_watched(settings, store, &Supervisor::new(&Shutdown::new()))
}

fn start_watched<M: Messages>(
    settings: IntakeSettings,
    store: &M,
    supervisor: &Supervisor,
) -> (Batcher, Vec<JoinHandle<()>>) {
    let telemetry = Telemetry::new("ingest", &TelemetrySettings::default()).expect("no endpoint");
    let metrics = Metrics::new(&telemetry.meter("ingest"));
    Batcher::start(1, settings, &metrics, store, supervisor)
}

fn message(number: u8) -> NewMessage {
    let mut id = [0; 16];
    id[15] = number;
    NewMessage {
        id: MessageId(id),
        record: record(),
        ttl: Duration::from_secs(60),
        request: Bytes::from_static(b"0123456789"),
        resubmit: false,
        logged: Bytes::new(),
        durability: Durability::Local,
    }
}

fn submit(batcher: &Batcher, message: NewMessage) -> Pending {
    batcher
        .try_submit(message, Instant::now() + PATIENCE)
        .unwrap_or_else(|error| panic!("no room: {error}"))
}

/// What became of a message, in a word.
async fn word(pending: Pending) -> &'static str {
    match pending.answer().await {
        Ok(Enqueued::New(_)) => "new",
        Ok(Enqueued::Duplicate(_)) => "duplicate",
        Ok(Enqueued::Resubmitted(_)) => "resubmitted",
        Ok(_) => "other",
        Err(error) if error.code == Code::Unavailable => "unavailable",
        Err(error) if error.code == Code::DeadlineExceeded => "deadline",
        Err(_) => "error",
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_finds_its_shard_idle_goes_at_once_and_alone() {
    let store = Gated::new(9);
    let (batcher, _workers) = start(intake(), &store);
    let before = Instant::now();
    assert_eq!(word(submit(&batcher, message(1))).await, "new");
    assert_eq!(word(submit(&batcher, message(2))).await, "new");
    assert_eq!(store.scripts(), [[1], [2]]);
    assert_eq!(Instant::now(), before, "no timer was waited for");
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_scripts_are_under_way_goes_together() {
    let store = Gated::new(0);
    let (batcher, _workers) = start(intake(), &store);
    let mut pending = vec![submit(&batcher, message(1))];
    store.until_scripts(&[&[1]]).await;
    pending.push(submit(&batcher, message(2)));
    store.until_scripts(&[&[1], &[2]]).await;
    pending.extend((3..=6).map(|number| submit(&batcher, message(number))));
    store.let_through(1);
    store.until_scripts(&[&[1], &[2], &[3, 4, 5, 6]]).await;
    store.let_through(2);
    for pending in pending {
        assert_eq!(word(pending).await, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_messages_and_in_bytes() {
    let store = Gated::new(0);
    let settings = IntakeSettings {
        flights_max: 1.try_into().expect("not zero"),
        batch_messages_max: 3.try_into().expect("not zero"),
        batch_bytes_max: ByteSize(25),
        ..intake()
    };
    let (batcher, _workers) = start(settings, &store);
    let _first = submit(&batcher, message(1));
    store.until_scripts(&[&[1]]).await;
    let mut large = message(4);
    large.request = Bytes::from_static(&[0; 100]);
    let mut small: Vec<_> = (5..=9).map(message).collect();
    for message in &mut small {
        message.request = Bytes::from_static(b"x");
    }
    let messages = [message(2), message(3), large].into_iter().chain(small);
    let _rest: Vec<_> = messages.map(|message| submit(&batcher, message)).collect();
    store.let_through(9);
    store
        .until_scripts(&[&[1], &[2, 3], &[4], &[5, 6, 7], &[8, 9]])
        .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_works_for_a_caller_who_has_gone() {
    let store = Gated::new(0);
    let (batcher, _workers) = start(intake(), &store);
    let _under_way = [submit(&batcher, message(1))];
    store.until_scripts(&[&[1]]).await;
    let _also = submit(&batcher, message(2));
    store.until_scripts(&[&[1], &[2]]).await;
    drop(submit(&batcher, message(3)));
    let hasty = batcher.try_submit(message(4), Instant::now() + Duration::from_millis(200));
    let patient = submit(&batcher, message(5));
    assert_eq!(
        word(hasty.unwrap_or_else(|error| panic!("{error}"))).await,
        "deadline"
    );
    store.let_through(9);
    assert_eq!(word(patient).await, "new");
    assert_eq!(store.scripts(), [vec![1], vec![2], vec![5]]);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_call_is_refused_and_a_stream_waits() {
    let store = Gated::new(0);
    let settings = IntakeSettings {
        messages_max: 2.try_into().expect("not zero"),
        ..intake()
    };
    let (batcher, _workers) = start(settings, &store);
    let first = submit(&batcher, message(1));
    let _second = submit(&batcher, message(2));
    let refusal = batcher.try_submit(message(3), Instant::now() + PATIENCE);
    let refusal = refusal.err().expect("no room");
    assert_eq!(
        (refusal.code, refusal.reason.as_ref()),
        (Code::ResourceExhausted, reason::OVERLOADED)
    );
    assert!(refusal.retry_delay.is_some());

    let waiting = tokio::spawn({
        let batcher = batcher.clone();
        async move {
            word(
                batcher
                    .submit(message(4))
                    .await
                    .unwrap_or_else(|error| panic!("{error}")),
            )
            .await
        }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    store.let_through(9);
    assert_eq!(word(first).await, "new");
    assert_eq!(waiting.await.expect("no panic"), "new");
}

#[tokio::test(start_paused = true)]
async fn room_is_counted_in_bytes_too() {
    let store = Gated::new(0);
    let settings = IntakeSettings {
        bytes_max: ByteSize(25),
        ..intake()
    };
    let (batcher, _workers) = start(settings, &store);
    let first = submit(&batcher, message(1));
    let _second = submit(&batcher, message(2));
    assert!(batcher.try_submit(message(3), Instant::now() + PATIENCE).is_err());
    store.let_through(9);
    assert_eq!(word(first).await, "new");
    let third = eventually("room", PATIENCE, async || {
        batcher
            .try_submit(message(3), Instant::now() + PATIENCE)
            .map_err(|error| error.message)
    });
    assert_eq!(word(third.await).await, "new");
}

#[tokio::test(start_paused = true)]
async fn one_id_is_under_way_once() {
    let store = Gated::new(0);
    let (batcher, _workers) = start(intake(), &store);
    let first = submit(&batcher, message(1));
    store.until_scripts(&[&[1]]).await;
    let second = submit(&batcher, message(1));
    let again = submit(
        &batcher,
        NewMessage {
            resubmit: true,
            logged: Bytes::new(),
            ..message(1)
        },
    );
    let other = submit(&batcher, message(2));
    store.until_scripts(&[&[1], &[2]]).await;
    store.let_through(9);
    assert_eq!(word(first).await, "new");
    assert_eq!(word(second).await, "duplicate");
    assert_eq!(word(again).await, "resubmitted");
    assert_eq!(word(other).await, "new");
    assert_eq!(store.scripts(), [[1], [2], [1]]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_script_is_everyone_s_failure_and_the_next_one_works() {
    let store = Gated::new(0);
    let (batcher, _workers) = start(intake(), &store);
    let first = submit(&batcher, message(1));
    store.until_scripts(&[&[1]]).await;
    let second = submit(&batcher, message(1));
    store.fail(true);
    // The second goes with the first, or right after it.
    store.let_through(2);
    assert_eq!(word(first).await, "unavailable");
    assert_eq!(word(second).await, "unavailable");
    store.fail(false);
    store.let_through(1);
    assert_eq!(word(submit(&batcher, message(1))).await, "new");
}

#[tokio::test(start_paused = true)]
async fn the_workers_end_once_all_that_waits_is_written() {
    let store = Gated::new(0);
    let (batcher, workers) = start(intake(), &store);
    let pending: Vec<_> = (1..=5).map(|number| submit(&batcher, message(number))).collect();
    drop(batcher);
    store.let_through(9);
    for worker in workers {
        worker.await.expect("no panic");
    }
    for pending in pending {
        assert_eq!(word(pending).await, "new");
    }
}

/// A store whose client has a bug.
#[derive(Clone)]
struct Broken;

impl Messages for Broken {
    async fn write(&self, _shard: u16, _messages: Vec<NewMessage>) -> Result<Vec<Enqueued>, StoreError> {
        panic!("as the test wishes")
    }

    fn reaches(&self, level: Durability) -> bool {
        level == Durability::Local
    }

    async fn find(&self, _id: MessageId) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_worker_that_panics_stops_the_service() {
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(&shutdown);
    let (batcher, _workers) = start_watched(intake(), &Broken, &supervisor);
    assert_eq!(word(submit(&batcher, message(1))).await, "error");
    let stops = tokio::time::timeout(PATIENCE, shutdown.requested()).await;
    stops.expect("the service stops");
    assert_eq!(supervisor.outcome(), Err(TaskError::Panicked("batcher")));
}
