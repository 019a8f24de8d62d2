//! A batch of queued entries, brought to its end: rendered and handed to the senders, buried with a reason, put off, or
//! dropped because it belongs to no queued message.

mod fetched;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_kit::Shutdown;
use paceline_kit::stops::Met;
use paceline_store::{
    Change, Entry, EntryBody, ErrorClass, HandOff, HandOffError, LogMode, Stage, StoreError, StreamKey,
    Unrendered,
};
use paceline_templates::{BundleHash, Template};
use paceline_wire::requests;
use paceline_wire::stops::subject_of_request;
use paceline_wire::v1::StoredRequest;

use crate::attempt::{self, Attempt, Done, Next, Task, Why};
use crate::awaited::Need;
use crate::job::Job;
use crate::render;
use crate::shared::{Shared, pause_after_error};

/// Deliveries made alone before an entry that never comes to an end is buried. The first delivery, in company, is not counted.
const LONE_DELIVERIES_MAX: u32 = 5;

/// Messages that a stop has met, in one script.
const STOPPED_MAX: usize = 500;

/// In place of a hash that is not where this release looks for it: a later one may have put it elsewhere, and its message waits for that.
const ELSEWHERE: BundleHash = BundleHash([0; 32]);

/// What is decided of each message.
#[derive(Default)]
struct Fates {
    hand_off: Vec<HandOff>,
    bury: Vec<Unrendered>,
    put_off: Vec<Unrendered>,
    stop: Met,
    /// Entries of no queued message.
    drop: Vec<(StreamKey, String)>,
}

pub(crate) struct Batch {
    shared: Arc<Shared>,
    shard: u16,
    stop: Shutdown,
    /// Held while what was taken over is not at its end, files that it lacks included.
    lone: Option<Arc<()>>,
    /// True once the store has failed.
    failed: AtomicBool,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>, shard: u16, stop: Shutdown) -> Self {
        Self {
            shared,
            shard,
            stop,
            lone: None,
            failed: AtomicBool::new(false),
        }
    }

    /// Of an entry that was taken over. Holds `lone` until it is at its end.
    pub(crate) fn taken_over(shared: Arc<Shared>, shard: u16, stop: Shutdown, lone: Arc<()>) -> Self {
        Self {
            lone: Some(lone),
            ..Self::new(shared, shard, stop)
        }
    }

    /// True if the store failed at any step so far, also if it has answered since.
    pub(crate) fn has_met_errors(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Repeats each step until Redis has answered; at a stop what has not come to its end stays pending, and is taken over.
    pub(crate) async fn run(&self, entries: Vec<Entry>) {
        let mut fates = Fates::default();
        let jobs = Self::sort(entries, &mut fates);
        let Some(requests) = self.persist("requests", || self.requests(&jobs)).await else {
            return;
        };
        let mut asked = Vec::with_capacity(jobs.len());
        let mut without = Vec::new();
        for (job, request) in jobs.into_iter().zip(requests) {
            match request.as_deref().map(requests::read) {
                Some(Ok(request)) => asked.push((job, request)),
                Some(Err(_)) => fates.bury.push(job.unrendered(Reason::RecordCorrupt)),
                None => without.push(job),
            }
        }
        if self.judge_without_request(without, &mut fates).await.is_none() {
            return;
        }
        let (asked, remote) = fetched::part(self.part(asked, &mut fates));
        Box::pin(self.finish(asked, fates)).await;
        Box::pin(self.fetch(remote)).await;
    }

    /// Renders what has all that it needs, and settles the fates of all.
    async fn finish(&self, asked: Vec<(Job, StoredRequest)>, mut fates: Fates) {
        let Some(templates) = self.persist("bundles", || self.templates(&asked)).await else {
            return;
        };
        self.render(asked, &templates, &mut fates).await;
        self.settle(fates).await;
    }

    /// Sorts out what is no message, and what has been delivered alone too often.
    fn sort(entries: Vec<Entry>, fates: &mut Fates) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry {
                stream,
                entry_id,
                deliveries,
                body,
            } = entry;
            match body {
                EntryBody::Message { id, ticket, .. } => {
                    let job = Job {
                        stream,
                        entry_id,
                        id,
                        ticket,
                    };
                    if deliveries > 1 + LONE_DELIVERIES_MAX {
                        fates.bury.push(job.unrendered(Reason::PoisonEntry));
                    } else {
                        jobs.push(job);
                    }
                }
                // Left pending: whoever reads it next may be a newer release, and given back it would come to us at once,
                // again and again.
                EntryBody::Newer => tracing::debug!(%stream, entry = entry_id, "entry of a newer release"),
                EntryBody::Corrupt => {
                    tracing::error!(%stream, entry = entry_id, "entry that is none of ours is dropped");
                    fates.drop.push((stream, entry_id));
                }
            }
        }
        jobs
    }

    async fn requests(&self, jobs: &[Job]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let ids: Vec<MessageId> = jobs.iter().map(|job| job.id).collect();
        if ids.is_empty() {
            Ok(Vec::new())
        } else {
            self.shared.store.requests(self.shard, &ids).await
        }
    }

    async fn records(&self, jobs: &[Job]) -> Result<Vec<Option<Record>>, StoreError> {
        let ids: Vec<MessageId> = jobs.iter().map(|job| job.id).collect();
        if ids.is_empty() {
            Ok(Vec::new())
        } else {
            self.shared.store.get_readable(self.shard, &ids).await
        }
    }

    /// A message at rest has no request any more; one that still is queued should have.
    async fn judge_without_request(&self, jobs: Vec<Job>, fates: &mut Fates) -> Option<()> {
        let records = self.persist("records", || self.records(&jobs)).await?;
        for (job, record) in jobs.into_iter().zip(records) {
            if record.is_some_and(|record| record.state == State::Queued && record.ticket() == job.ticket) {
                fates.bury.push(job.unrendered(Reason::RequestMissing));
            } else {
                fates.drop.push((job.stream, job.entry_id));
            }
        }
        Some(())
    }

    /// What a stop meets is not rendered.
    fn part(&self, asked: Vec<(Job, StoredRequest)>, fates: &mut Fates) -> Vec<(Job, StoredRequest)> {
        let Some(stops) = self.shared.stops.current().filter(|stops| !stops.is_empty()) else {
            return asked;
        };
        let mut free = Vec::with_capacity(asked.len());
        for (job, request) in asked {
            let subject = subject_of_request(&request, job.stream.lane, job.ticket.accepted_at);
            match stops.met_by(&subject) {
                Some((stop, mode)) => fates.stop.add(stop, job.stopped(mode)),
                None => free.push((job, request)),
            }
        }
        free
    }

    /// The templates that the batch needs, those that are to be had.
    async fn templates(
        &self,
        asked: &[(Job, StoredRequest)],
    ) -> Result<HashMap<BundleHash, Arc<Template>>, StoreError> {
        let mut templates = HashMap::new();
        for hash in asked
            .iter()
            .filter_map(|(_, request)| attempt::bundle_hash(request))
        {
            if !templates.contains_key(&hash)
                && let Some(template) = self.shared.bundles.get(hash).await?
            {
                templates.insert(hash, template);
            }
        }
        Ok(templates)
    }

    /// Renders what can be, each by its template or by what stands in for that.
    async fn render(
        &self,
        asked: Vec<(Job, StoredRequest)>,
        templates: &HashMap<BundleHash, Arc<Template>>,
        fates: &mut Fates,
    ) {
        let (mut tasks, mut failed) = self.assign(asked, templates, fates);
        while !tasks.is_empty() || !failed.is_empty() {
            for (attempt, why) in std::mem::take(&mut failed) {
                tasks.extend(Box::pin(self.instead(attempt, &why, fates)).await);
            }
            let Some(done) = self.work(std::mem::take(&mut tasks)).await else {
                return;
            };
            for Done { attempt, outcome, at } in done {
                match outcome {
                    Ok(packed) => {
                        let logs = self.shared.store.log_mode() == LogMode::Ledger;
                        let act = logs.then(|| attempt.act(&self.shared.name, at)).flatten();
                        let act = act.unwrap_or_default();
                        fates.hand_off.push(attempt.job.hand_off(packed, act, at));
                    }
                    Err(error) => failed.push((attempt, Why::Failed(error))),
                }
            }
        }
    }

    /// The message with the next template that stands in; else its fate is decided.
    async fn instead(&self, attempt: Attempt, why: &Why, fates: &mut Fates) -> Option<Task> {
        attempt.log(why);
        let late = |hash| self.is_late(&attempt.job, Need::Bundle(hash));
        let next = || attempt.next(&self.shared.bundles, why, late);
        // Without an answer its entry stays pending.
        match self.persist("bundles", next).await? {
            Next::Task(task) => return Some(*task),
            Next::Missing => fates.put_off.push(attempt.job.unrendered(Reason::BundleMissing)),
            Next::Nothing => fates.bury.push(attempt.job.unrendered(why.reason())),
        }
        None
    }

    /// Finds each message's template. Without it, it waits for another renderer, and after a day for what stands in for it.
    fn assign(
        &self,
        asked: Vec<(Job, StoredRequest)>,
        templates: &HashMap<BundleHash, Arc<Template>>,
        fates: &mut Fates,
    ) -> (Vec<Task>, Vec<(Attempt, Why)>) {
        let (mut tasks, mut failed) = (Vec::with_capacity(asked.len()), Vec::new());
        for (job, request) in asked {
            let hash = attempt::bundle_hash(&request).unwrap_or(ELSEWHERE);
            match templates.get(&hash) {
                Some(template) if render::lacks_link(&request, template, &self.shared.people) => {
                    let late = self.is_late(&job, Need::Link);
                    let end = if late { &mut fates.bury } else { &mut fates.put_off };
                    end.push(job.unrendered(Reason::UnsubscribeUnset));
                }
                Some(template) => tasks.push(Task::first(job, request, Arc::clone(template))),
                None if self.is_late(&job, Need::Bundle(hash)) => {
                    failed.push((Attempt::without(job, request), Why::Missing));
                }
                None => fates.put_off.push(job.unrendered(Reason::BundleMissing)),
            }
        }
        (tasks, failed)
    }

    /// True if the message has waited long enough for what is missing.
    fn is_late(&self, job: &Job, need: Need) -> bool {
        let now = self.shared.clock.wall();
        let waited = now.since(job.ticket.accepted_at);
        waited.min(self.shared.awaited.missed(need, now)) > self.shared.templates.missing_max
    }

    /// Rendering is work for a processor: not on the runtime's own threads, and no more at a time than there are cores. `None` if it
    /// ended badly.
    async fn work(&self, tasks: Vec<Task>) -> Option<Vec<Done>> {
        let shared = Arc::clone(&self.shared);
        let keeps = shared.store.log_mode() == LogMode::Ledger;
        // The semaphore is never closed.
        let _core = self.shared.cores.acquire().await;
        let done = tokio::task::spawn_blocking(move || {
            let tasks = tasks.into_iter();
            tasks.map(|task| task.run(&shared, keeps)).collect::<Vec<_>>()
        });
        // Its entries stay pending: each is rendered alone when it is taken over.
        let log = |error| tracing::error!(shard = self.shard, %error, "rendering ended badly");
        done.await.map_err(log).ok()
    }

    async fn settle(&self, fates: Fates) {
        let Fates {
            hand_off,
            bury,
            put_off,
            stop,
            drop,
        } = fates;
        self.hand_off(hand_off).await;
        for (stopped, act) in stop.batches(STOPPED_MAX) {
            let store = &self.shared.store;
            let stopping = || store.stop_entries(self.shard, Stage::Queued, stopped, act.clone());
            let changes = self.persist("stop", stopping).await;
            self.shared.metrics.stopped(&changes.unwrap_or_default());
        }
        self.put_off(put_off, self.shared.templates.missing_wait).await;
        if !bury.is_empty() {
            let store = &self.shared.store;
            let changes = self
                .persist("bury", || store.bury(self.shard, bury.clone()))
                .await;
            self.count_unrendered(&bury, changes.unwrap_or_default());
        }
        let mut streams: HashMap<StreamKey, Vec<String>> = HashMap::new();
        for (stream, entry_id) in drop {
            streams.entry(stream).or_default().push(entry_id);
        }
        for (stream, ids) in streams {
            self.persist("drop", || {
                self.shared.store.drop_entries(self.shard, &stream, &ids)
            })
            .await;
            self.shared.metrics.dropped(ids.len());
        }
    }

    /// Hands on until Redis has taken all. What it is too full for waits as a request instead. A message that is handed on
    /// twice, because an answer was lost, is refused by the claim.
    async fn hand_off(&self, mut items: Vec<HandOff>) {
        let mut full = Vec::new();
        let mut handed_off = 0;
        while !items.is_empty() {
            let answers = self.shared.store.hand_off(self.shard, items.clone()).await;
            let answers = match answers {
                Ok(answers) => answers,
                Err(error) => vec![Err(HandOffError::NotAdded(error)); items.len()],
            };
            let mut again = Vec::new();
            let mut unsettled = Vec::new();
            for (item, answer) in items.into_iter().zip(answers) {
                match answer {
                    Ok(()) => handed_off += 1,
                    Err(HandOffError::NotSettled(error)) => {
                        note(self.shard, &error);
                        unsettled.push(item);
                    }
                    Err(HandOffError::NotAdded(StoreError::OutOfMemory)) => {
                        full.push(unrendered(&item, Reason::StoreFull));
                    }
                    Err(HandOffError::NotAdded(error)) => {
                        note(self.shard, &error);
                        again.push(item);
                    }
                }
            }
            handed_off += unsettled.len();
            self.settle_handed_off(unsettled).await;
            items = again;
            if !items.is_empty() {
                self.failed("hand_off");
                if self.stop.is_requested() {
                    break;
                }
                pause_after_error(&self.stop).await;
            }
        }
        if handed_off > 0 {
            self.shared.metrics.handed_off(handed_off);
            self.shared.store.hint(Stage::Ready);
        }
        self.put_off(full, self.shared.work.full_wait).await;
    }

    /// Ends the queued entries of what is ready already. At a stop they stay pending: who takes them over adds one copy more.
    async fn settle_handed_off(&self, items: Vec<HandOff>) {
        if items.is_empty() {
            return;
        }
        self.failed("hand_off");
        let store = &self.shared.store;
        self.persist("settle", || store.settle_handed_off(self.shard, &items))
            .await;
    }

    async fn put_off(&self, items: Vec<Unrendered>, delay: Duration) {
        if items.is_empty() {
            return;
        }
        let store = &self.shared.store;
        let changes = self
            .persist("postpone", || store.postpone(self.shard, delay, items.clone()))
            .await;
        self.count_unrendered(&items, changes.unwrap_or_default());
    }

    fn count_unrendered(&self, items: &[Unrendered], changes: Vec<Change>) {
        for (item, change) in items.iter().zip(changes) {
            match change {
                Change::Moved(_) => self.shared.metrics.unrendered(item.reason),
                Change::Unchanged(_) | Change::Missing | Change::Newer | Change::Corrupt => {
                    self.shared.metrics.dropped(1);
                }
            }
        }
    }

    fn failed(&self, operation: &'static str) {
        self.failed.store(true, Ordering::Relaxed);
        self.shared.metrics.store_error(operation);
    }

    /// Repeats an operation of the store until it has an answer; `None` at a stop without one.
    async fn persist<T, F>(&self, operation: &'static str, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    self.failed(operation);
                    note(self.shard, &error);
                }
            }
            if self.stop.is_requested() {
                return None;
            }
            pause_after_error(&self.stop).await;
        }
    }
}

fn unrendered(item: &HandOff, reason: Reason) -> Unrendered {
    let HandOff {
        stream,
        entry_id,
        id,
        ticket,
        ..
    } = item.clone();
    Unrendered {
        stream,
        entry_id,
        id,
        ticket,
        reason,
    }
}

fn note(shard: u16, error: &StoreError) {
    if error.class() == ErrorClass::Bug {
        tracing::error!(shard, %error, "unexpected answer of the store");
    } else {
        tracing::debug!(shard, %error, "the store fails, trying again");
    }
}
