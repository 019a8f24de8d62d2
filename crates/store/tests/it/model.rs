//! The scripts against the model: random operations of several logical workers, with claims that expire, on real Redis and
//! on `domain::machine`; after each, whole records, the sets of waiting ids and the entries are compared.

mod check;
mod operation;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::machine::{self, Event, Outcome, Step, invariants};
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State};
use paceline_domain::time::Millis;
use paceline_store::{
    Assertion, Change, ClaimItem, Claimed, Durability, Enqueued, Entry, Evidence, Finding, NewMessage,
    Report, Stage, Stopped, StreamKey, Unrendered, Verdict,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::check::packed;
use self::operation::{Operation, operation, outcome_of};
use crate::support::{
    Bench, DOUBT_WINDOW, LEASE, Snapshot, claim_of, hand_off_of, id, message, provider_of, stream_key,
    ticket_of, wish,
};
use crate::{SHARD, TAG};

const MESSAGES: u8 = 4;
const WORKERS: usize = 3;
const CASES: u32 = 96;
const TTL: Duration = Duration::from_secs(4_000);

/// What a message asks for; every second one's policy resends.
fn wished(number: u8) -> Record {
    Record {
        policy: if number.is_multiple_of(2) {
            DoubtPolicy::Resend
        } else {
            DoubtPolicy::Hold
        },
        ..wish()
    }
}

/// Redis, the model, and what each worker holds in its hands.
struct World<'a> {
    bench: &'a Bench,
    model: BTreeMap<MessageId, Record>,
    rendering: [Vec<Entry>; WORKERS],
    sendable: [Vec<Entry>; WORKERS],
    claims: [Vec<(MessageId, Fence)>; WORKERS],
    /// Each worker's claims as they were answered, whatever became of them.
    answered: [Vec<(MessageId, Record)>; WORKERS],
    snapshot: (Snapshot, BTreeMap<MessageId, Record>),
    /// Redis has lost writes once: not every revision is told, and a message may have no request.
    lossy: bool,
    /// Every fence that ever was, for late reports and stale lapses.
    past: BTreeMap<MessageId, Fence>,
    nonces: u8,
}

impl<'a> World<'a> {
    async fn empty(bench: &'a Bench) -> Self {
        bench.redis.on_every_node(&["FLUSHALL"]).await;
        Self {
            bench,
            model: BTreeMap::new(),
            rendering: Default::default(),
            sendable: Default::default(),
            claims: Default::default(),
            answered: Default::default(),
            snapshot: Default::default(),
            lossy: false,
            past: BTreeMap::new(),
            nonces: 0,
        }
    }

    async fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Enqueue(items) => self.enqueue(items).await,
            Operation::Advance(seconds) => self.bench.advance(Duration::from_secs(seconds)),
            Operation::ReadQueued(worker) => self.read(worker, Stage::Queued).await,
            Operation::HandOff { worker, dies_between } => self.hand_off(worker, dies_between).await,
            Operation::Bury(worker) => self.bury(worker).await,
            Operation::Postpone(worker) => self.postpone(worker).await,
            Operation::ReadReady(worker) => self.read(worker, Stage::Ready).await,
            Operation::TakeOver { worker, stage } => self.take_over(worker, stage).await,
            Operation::Claim { worker, verdict } => self.claim(worker, verdict).await,
            Operation::Pump(worker) => {
                self.read(worker, Stage::Queued).await;
                self.hand_off(worker, false).await;
                self.read(worker, Stage::Ready).await;
                self.claim(worker, Verdict::Send).await;
            }
            Operation::Report {
                worker,
                outcome,
                again,
                forged,
            } => {
                self.report(worker, outcome_of(outcome), again, forged).await;
            }
            Operation::Promote(numbers) => self.promote(&numbers).await,
            Operation::Lapse(items) => self.lapse(&items).await,
            Operation::Resolve(items) => self.resolve(&items).await,
            Operation::Evidence(items) => self.evidence(items).await,
            Operation::Cancel(number) => {
                let change = self.bench.store.cancel(id(number)).await.expect("there");
                self.compare(
                    vec![change],
                    [(
                        id(number),
                        Event::Cancelled {
                            reason: Reason::CancelledByCaller,
                        },
                    )],
                );
            }
            Operation::Stop {
                worker,
                stage,
                cancel,
            } => self.stop(worker, stage, cancel).await,
            Operation::Release(numbers) => self.release(&numbers).await,
            Operation::Redrive(number) => {
                let change = self.bench.store.redrive(id(number)).await.expect("there");
                self.compare(vec![change], [(id(number), Event::Redriven)]);
            }
            Operation::Discard(number) => {
                let change = self.bench.store.discard(id(number)).await.expect("there");
                self.compare(vec![change], [(id(number), Event::Discarded)]);
            }
            Operation::Erase(number) => self.erase(number).await,
            Operation::Snapshot => self.snapshot = (self.bench.snapshot().await, self.model.clone()),
            Operation::FallBack => {
                self.bench.fall_back(&self.snapshot.0).await;
                self.model = self.snapshot.1.clone();
                self.lossy = true;
            }
            Operation::Assert(worker) => self.assert(worker).await,
        }
    }

    async fn erase(&mut self, number: u8) {
        let ids = [id(number)];
        let erased = self.bench.store.erase_all(SHARD, &ids, Bytes::new()).await;
        self.compare(erased.expect("there"), [(id(number), Event::Erased)]);
    }

    async fn assert(&mut self, worker: usize) {
        let answered = self.answered[worker].clone();
        let assertion = |(id, claim): &(MessageId, Record)| Assertion::new(*id, claim, LEASE);
        let items: Result<Vec<_>, _> = answered.iter().map(assertion).collect();
        let items = items.expect("they pack");
        let changes = self.bench.store.assert(SHARD, &items).await.expect("there");
        for ((id, claim), change) in answered.into_iter().zip(changes) {
            if let Place::Vacant(gone) = self.model.entry(id) {
                let made = machine::recreate(&claim, LEASE, self.bench.now());
                assert_eq!(change, Change::Moved(gone.insert(made).clone()));
                continue;
            }
            let (claim, lease) = (Box::new(claim), LEASE);
            self.compare(vec![change], [(id, Event::Asserted { claim, lease })]);
        }
    }

    async fn read(&mut self, worker: usize, stage: Stage) {
        let entries = self.bench.read(stage, &consumer(worker, stage)).await;
        self.hands(worker, stage).extend(entries);
    }

    fn hands(&mut self, worker: usize, stage: Stage) -> &mut Vec<Entry> {
        match stage {
            Stage::Queued => &mut self.rendering[worker],
            Stage::Ready => &mut self.sendable[worker],
        }
    }

    async fn stop(&mut self, worker: usize, stage: Stage, cancel: bool) {
        let entries = std::mem::take(self.hands(worker, stage));
        let stopped = |entry: &Entry| {
            let (id, ticket) = ticket_of(entry);
            Stopped {
                stream: entry.stream.clone(),
                entry_id: entry.entry_id.clone(),
                id,
                ticket,
                cancel,
            }
        };
        let items: Vec<_> = entries.iter().map(stopped).collect();
        let changes = self
            .bench
            .store
            .stop_entries(SHARD, stage, &items, Bytes::new())
            .await;
        for (item, change) in items.iter().zip(changes.expect("there")) {
            let (ticket, reason) = (item.ticket, Reason::Stopped);
            let own = |record: &Record| record.state == State::Queued && record.ticket() == ticket;
            let event = match self.model.get(&item.id) {
                Some(record) if cancel && own(record) => Event::Cancelled { reason },
                _ => Event::Held { ticket },
            };
            self.compare(vec![change], [(item.id, event)]);
        }
    }

    async fn release(&mut self, numbers: &[u8]) {
        let ids: Vec<_> = numbers.iter().map(|&number| id(number)).collect();
        let changes = self.bench.store.release(SHARD, &ids, Default::default()).await;
        self.compare(
            changes.expect("there"),
            ids.into_iter().map(|id| (id, Event::Released)),
        );
    }

    async fn bury(&mut self, worker: usize) {
        let items = self.unrendered(worker, Reason::RenderFailed);
        let changes = self.bench.store.bury(SHARD, items.clone()).await.expect("there");
        let event = |item: &Unrendered| Event::Buried {
            ticket: item.ticket,
            reason: item.reason,
        };
        self.compare(changes, items.iter().map(|item| (item.id, event(item))));
    }

    async fn postpone(&mut self, worker: usize) {
        let delay = Duration::from_secs(60);
        let items = self.unrendered(worker, Reason::BundleMissing);
        let changes = self
            .bench
            .store
            .postpone(SHARD, delay, items.clone())
            .await
            .expect("there");
        let event = |item: &Unrendered| Event::Postponed {
            ticket: item.ticket,
            reason: item.reason,
            delay,
        };
        self.compare(changes, items.iter().map(|item| (item.id, event(item))));
    }

    async fn promote(&mut self, numbers: &[u8]) {
        let stream = StreamKey::of(&wish(), Stage::Queued);
        let items: Vec<_> = numbers
            .iter()
            .map(|&number| (id(number), stream.clone()))
            .collect();
        let changes = self.bench.store.promote(SHARD, &items).await.expect("there");
        self.compare(changes, items.into_iter().map(|(id, _)| (id, Event::Due)));
    }

    async fn lapse(&mut self, items: &[(u8, bool)]) {
        let items = self.fenced(items);
        let changes = self.bench.store.lapse(SHARD, &items).await.expect("there");
        self.compare(
            changes,
            items
                .into_iter()
                .map(|(id, fence)| (id, Event::ClaimLapsed { fence })),
        );
    }

    async fn resolve(&mut self, items: &[(u8, bool)]) {
        let items = self.fenced(items);
        let changes = self.bench.store.resolve(SHARD, &items).await.expect("there");
        self.compare(
            changes,
            items
                .into_iter()
                .map(|(id, fence)| (id, Event::WindowOver { fence })),
        );
    }

    async fn enqueue(&mut self, items: Vec<(u8, bool, u64)>) {
        let now = self.bench.now();
        let messages: Vec<_> = items
            .into_iter()
            .map(|(number, resubmit, send_in)| {
                let send_at = if send_in == 0 {
                    Millis(0)
                } else {
                    now + Duration::from_secs(send_in)
                };
                let record = Record {
                    send_at,
                    ..wished(number)
                };
                NewMessage {
                    record,
                    ttl: TTL,
                    resubmit,
                    logged: Bytes::new(),
                    durability: Durability::Local,
                    ..message(number)
                }
            })
            .collect();
        let answers = self.bench.enqueue(messages.clone()).await;
        for (message, answer) in messages.into_iter().zip(answers) {
            let send_at = message.record.send_at;
            let expected = match self.model.get(&message.id) {
                None => {
                    let record = machine::accept(message.record, TTL, now);
                    self.model.insert(message.id, record.clone());
                    Enqueued::New(record)
                }
                Some(record) if message.resubmit => {
                    let event = Event::Resubmitted {
                        lane: message.record.lane,
                        identity: message.record.identity.clone(),
                        send_at,
                        expires_at: Millis(0),
                        ttl: TTL,
                    };
                    let record = record.clone();
                    match self.step(message.id, &event) {
                        Some(next) => Enqueued::Resubmitted(next),
                        None => Enqueued::Duplicate(record),
                    }
                }
                Some(record) => Enqueued::Duplicate(record.clone()),
            };
            assert_eq!(answer, expected);
        }
    }

    async fn hand_off(&mut self, worker: usize, dies_between: bool) {
        let items: Vec<_> = self.rendering[worker].iter().map(hand_off_of).collect();
        if dies_between {
            // The second flight never comes: the entries stay with this worker, until another takes over.
            let ready = stream_key(Stage::Ready);
            for item in &items {
                let ticket = packed(item.id, item.ticket);
                let add: [&[u8]; 5] = [b"XADD", ready.as_bytes(), b"*", b"e", &ticket];
                self.bench.redis.command(&add).await;
            }
            if !items.is_empty() {
                self.bench
                    .redis
                    .command(&["SADD", &format!("{TAG}:active"), &ready])
                    .await;
            }
        } else {
            let answers = self.bench.store.hand_off(SHARD, items).await.expect("there");
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            self.rendering[worker].clear();
        }
    }

    async fn take_over(&mut self, worker: usize, stage: Stage) {
        let stream = StreamKey::of(&wish(), stage);
        let consumer = consumer(worker, stage);
        let store = &self.bench.store;
        let entries = store
            .reclaim(SHARD, &stream, &consumer, Duration::ZERO, 100)
            .await
            .expect("there");
        // The one that it was taken from still holds it in its hands: it may be slow, not dead.
        self.hands(worker, stage).extend(entries);
    }

    fn unrendered(&mut self, worker: usize, reason: Reason) -> Vec<Unrendered> {
        let unrendered = |entry: Entry| {
            let (id, ticket) = ticket_of(&entry);
            Unrendered {
                stream: entry.stream,
                entry_id: entry.entry_id,
                id,
                ticket,
                reason,
            }
        };
        self.rendering[worker].drain(..).map(unrendered).collect()
    }

    async fn claim(&mut self, worker: usize, verdict: Verdict) {
        let items: Vec<_> = self.sendable[worker]
            .drain(..)
            .map(|entry| ClaimItem {
                verdict,
                ..claim_of(&entry)
            })
            .collect();
        self.nonces = self.nonces.wrapping_add(1);
        let nonce = Nonce([self.nonces; 8]);
        let answers = self.bench.claim(self.nonces, items.clone()).await;
        for (item, answer) in items.into_iter().zip(answers) {
            let ticket = item.ticket;
            let event = match verdict.suppression() {
                Some(reason) => Event::Suppressed { ticket, reason },
                None => Event::Claimed {
                    ticket,
                    nonce,
                    lease: LEASE,
                    provider: provider_of(self.nonces),
                },
            };
            let expected = match self.step(item.id, &event) {
                None => Claimed::Dropped,
                Some(record) if record.state == State::Expired => Claimed::Expired,
                Some(record) if record.state == State::Suppressed => Claimed::Suppressed,
                Some(record) => {
                    self.claims[worker].push((item.id, record.fence()));
                    self.past.insert(item.id, record.fence());
                    self.answered[worker].push((item.id, record.clone()));
                    Claimed::Sending(record)
                }
            };
            assert_eq!(answer, expected);
        }
    }

    async fn report(&mut self, worker: usize, outcome: Outcome, again: bool, forged: bool) {
        let mut held = if again {
            self.claims[worker].clone()
        } else {
            std::mem::take(&mut self.claims[worker])
        };
        if forged {
            // Another sender's claim of the same number, from before a write was lost.
            held.iter_mut()
                .for_each(|(_, fence)| fence.nonce = Nonce([0xee; 8]));
        }
        let report = |&(id, fence): &(MessageId, Fence)| Report {
            id,
            fence,
            outcome: outcome.clone(),
        };
        let changes = self
            .bench
            .store
            .finish(SHARD, held.iter().map(report).collect())
            .await
            .expect("there");
        let events = held.iter().map(|&(id, fence)| {
            (
                id,
                Event::Reported {
                    fence,
                    outcome: outcome.clone(),
                },
            )
        });
        self.compare(changes, events);
    }

    async fn evidence(&mut self, items: Vec<(u8, Option<u32>)>) {
        let delay = Duration::from_secs(5);
        let finding = |attempt: Option<u32>| match attempt {
            None => Finding::Sent {
                provider: Provider::Ses,
                provider_id: "event".to_owned(),
            },
            Some(attempt) => Finding::NotSent {
                attempt,
                reason: Reason::ProviderUnavailable,
                delay,
            },
        };
        let event = |attempt: Option<u32>| match attempt {
            None => Event::EvidenceSent {
                provider: Provider::Ses,
                provider_id: "event".to_owned(),
            },
            Some(attempt) => Event::EvidenceNotSent {
                attempt,
                reason: Reason::ProviderUnavailable,
                delay,
            },
        };
        let evidence = |&(number, attempt): &(u8, _)| Evidence {
            id: id(number),
            finding: finding(attempt),
        };
        let changes = self
            .bench
            .store
            .evidence(SHARD, items.iter().map(evidence).collect())
            .await
            .expect("there");
        let events = items
            .iter()
            .map(|&(number, attempt)| (id(number), event(attempt)));
        self.compare(changes, events);
    }

    /// The fence of each message's claim, or one that was before.
    fn fenced(&self, items: &[(u8, bool)]) -> Vec<(MessageId, Fence)> {
        let none = Fence {
            attempt: 0,
            nonce: Nonce::default(),
        };
        let fence = |&(number, stale): &(u8, bool)| {
            let id = id(number);
            let current = self.model.get(&id).map_or(none, Record::fence);
            let past = self.past.get(&id).copied().unwrap_or(none);
            (
                id,
                if stale {
                    Fence {
                        attempt: current.attempt,
                        nonce: Nonce([0xee; 8]),
                    }
                } else {
                    past
                },
            )
        };
        items.iter().map(fence).collect()
    }

    /// Moves the model; `None` if the event changes nothing.
    fn step(&mut self, id: MessageId, event: &Event) -> Option<Record> {
        let record = self.model.get(&id)?;
        match machine::step(record, event, self.bench.now()) {
            Step::Unchanged(_) => None,
            Step::Moved(next) => {
                let kept = match event {
                    Event::Asserted { .. } => invariants::assertion(record, &next),
                    _ => invariants::transition(record, &next),
                };
                kept.expect("the machine's own invariants");
                self.model.insert(id, next.clone());
                Some(next)
            }
        }
    }

    /// Compares the answers of a script with the model's, item by item.
    fn compare(&mut self, changes: Vec<Change>, events: impl IntoIterator<Item = (MessageId, Event)>) {
        let mut changes = changes.into_iter();
        for (id, event) in events {
            let before = self.model.get(&id).cloned();
            let expected = match (self.step(id, &event), before) {
                (Some(next), _) => Change::Moved(next),
                (None, Some(record)) => Change::Unchanged(record),
                (None, None) => Change::Missing,
            };
            assert_eq!(changes.next(), Some(expected), "{event:?}");
        }
        assert_eq!(changes.next(), None);
    }
}

fn consumer(worker: usize, stage: Stage) -> String {
    format!("{}-{worker}", stage.as_str())
}

#[test]
fn the_scripts_and_the_machine_agree_on_whole_records() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let bench = runtime.block_on(Bench::start());
    assert!(LEASE < DOUBT_WINDOW && DOUBT_WINDOW < TTL);
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    };
    let operations = prop::collection::vec(operation(), 1..160);
    let outcome = TestRunner::new(config).run(&operations, |operations| {
        runtime.block_on(async {
            let mut world = World::empty(&bench).await;
            for operation in operations {
                world.perform(operation).await;
                world.check().await;
            }
            world.check_the_end().await;
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
