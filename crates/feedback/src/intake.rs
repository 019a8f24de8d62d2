//! The effects of providers' events, each durable before it is answered: evidence in Redis, then who is not written to any more, then
//! a row in the ledger, then counts for the coordinator.
//!
//! Events come one by one and are written in batches: while one is under way, the next gathers. Everything is idempotent by the
//! event, so whatever fails is answered as failed, and the provider's repetition does it again. A call that nobody waits for any
//! more has its effects all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_domain::delivery::EventKind;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::record::Record;
use paceline_domain::suppression::SuppressionReason;
use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_kit::identity::is_name;
use paceline_ledger::{Ledger, LedgerError, NewEvent};
use paceline_providers::{AttemptTags, ProviderEvent};
use paceline_store::{Change, Evidence, Looked, Store, StoreError};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::counts::Counts;
use crate::event_metrics::Metrics;
use crate::evidence;
use crate::suppressions::{Deed, Suppress, Suppressions, SuppressionsError};

/// Events that wait; the caller of a further one is told to come again.
const WAITING_MAX: usize = 4_096;
const BATCH_MAX: usize = 64;
const NOT_SPAM: &str = "not-spam";

/// Why an event is not durable. It may be later.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("too many events wait")]
    Full,
    #[error("the service stops")]
    Stopping,
    #[error("redis: {0}")]
    Store(Arc<StoreError>),
    #[error("the ledger: {0}")]
    Ledger(Arc<LedgerError>),
    #[error("suppressions: {0}")]
    Suppressions(#[from] SuppressionsError),
    #[error("the record has a format of a newer release")]
    Newer,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    /// It had come before.
    Again,
    /// Of mail that carries none of our tags: nothing is kept.
    Foreign,
}

type Answer = Result<Taken, IntakeError>;

struct Job {
    event: ProviderEvent,
    tags: AttemptTags,
    answer: oneshot::Sender<Answer>,
}

/// Where events are handed in. Clones are the same intake.
#[derive(Clone)]
pub(crate) struct Intake(mpsc::Sender<Job>);

/// What works on them.
pub(crate) struct IntakeWorker {
    jobs: mpsc::Receiver<Job>,
    pub(crate) effects: Effects,
}

/// Where effects go.
pub(crate) struct Effects {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) suppressions: Suppressions,
    pub(crate) counts: Arc<Counts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

impl Intake {
    #[must_use]
    pub(crate) fn new(effects: Effects) -> (Self, IntakeWorker) {
        let (sender, jobs) = mpsc::channel(WAITING_MAX);
        (Self(sender), IntakeWorker { jobs, effects })
    }

    /// Waits until the event's effects are durable.
    ///
    /// # Errors
    /// If they are not, or may not be.
    pub(crate) async fn take(&self, event: ProviderEvent) -> Answer {
        let Some(tags) = event.attempt.clone() else {
            return Ok(Taken::Foreign);
        };
        let (answer, answered) = oneshot::channel();
        let job = Job { event, tags, answer };
        self.0.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IntakeError::Full,
            mpsc::error::TrySendError::Closed(_) => IntakeError::Stopping,
        })?;
        answered.await.unwrap_or(Err(IntakeError::Stopping))
    }
}

impl IntakeWorker {
    /// Works until `stop`, then through what waits.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        let mut batch = Vec::new();
        loop {
            let received = tokio::select! {
                received = self.jobs.recv_many(&mut batch, BATCH_MAX) => received,
                () = stop.requested() => {
                    self.jobs.close();
                    self.jobs.recv_many(&mut batch, BATCH_MAX).await
                }
            };
            if received == 0 {
                return;
            }
            let answers = self.effects.apply(&batch).await;
            for (job, answer) in batch.drain(..).zip(answers) {
                self.effects.metrics.event(&job.event, &answer);
                // Nobody may wait any more.
                let _ = job.answer.send(answer);
            }
        }
    }
}

impl Effects {
    async fn apply(&self, jobs: &[Job]) -> Vec<Answer> {
        let mut known: Vec<Result<Option<Record>, IntakeError>> = Vec::new();
        known.resize_with(jobs.len(), || Ok(None));
        let mut shards: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            let shard = job.tags.message_id.shard(self.store.shards());
            shards.entry(shard).or_default().push(index);
        }
        for (shard, indices) in shards {
            let found = self.settle(shard, &indices, jobs).await;
            for (index, record) in indices.into_iter().zip(found) {
                known[index] = record;
            }
        }
        self.write(jobs, known).await
    }

    /// Writes the evidence of one shard's events; the answers are the records as they were found.
    async fn settle(
        &self,
        shard: u16,
        indices: &[usize],
        jobs: &[Job],
    ) -> Vec<Result<Option<Record>, IntakeError>> {
        let ids: Vec<MessageId> = indices.iter().map(|&index| jobs[index].tags.message_id).collect();
        let failed = |error: StoreError| {
            let error = IntakeError::Store(Arc::new(error));
            ids.iter().map(|_| Err(error.clone())).collect()
        };
        let looked = match self.store.inspect(shard, &ids).await {
            Ok(looked) => looked,
            Err(error) => return failed(error),
        };
        let mut found: Vec<_> = looked
            .into_iter()
            .map(|looked| match looked {
                Looked::Record(record) => Ok(Some(*record)),
                Looked::Missing | Looked::Corrupt => Ok(None),
                Looked::Newer => Err(IntakeError::Newer),
            })
            .collect();
        let mut evidence = Vec::new();
        let mut asked = Vec::new();
        for (place, &index) in indices.iter().enumerate() {
            let Job { event, tags, .. } = &jobs[index];
            let Ok(Some(record)) = &found[place] else {
                continue;
            };
            if let Some(finding) = evidence::finding(record, tags, event) {
                evidence.push(Evidence {
                    id: tags.message_id,
                    finding,
                });
                asked.push(place);
            }
        }
        if evidence.is_empty() {
            return found;
        }
        match self.store.evidence(shard, evidence).await {
            Ok(changes) => {
                for (place, change) in asked.into_iter().zip(changes) {
                    match change {
                        Change::Moved(_) => self.metrics.settled(),
                        Change::Newer => found[place] = Err(IntakeError::Newer),
                        Change::Unchanged(_) | Change::Missing | Change::Corrupt => {}
                    }
                }
                found
            }
            Err(error) => failed(error),
        }
    }

    /// Suppresses whom the events say, writes the ledger's rows of those whose effects so far are durable, and counts what is new.
    async fn write(&self, jobs: &[Job], known: Vec<Result<Option<Record>, IntakeError>>) -> Vec<Answer> {
        let mut found = Vec::with_capacity(jobs.len());
        for (job, record) in jobs.iter().zip(known) {
            found.push(match record {
                Ok(record) => Ok(self.origin(&job.tags, record.as_ref()).await),
                Err(error) => Err(error),
            });
        }
        self.suppress(jobs, &mut found).await;
        let of = |(job, origin): (&Job, &Result<Origin, IntakeError>)| {
            Some(row(job, origin.as_ref().ok()?, &*self.clock))
        };
        let rows = jobs.iter().zip(&found).filter_map(of).collect();
        let written = self.ledger.record_events(rows).await;
        let failed = written.as_ref().err().is_some();
        let (new, error) = match written {
            Ok(new) => (new, None),
            Err(error) => (Vec::new(), Some(IntakeError::Ledger(Arc::new(error)))),
        };
        let mut new = new.into_iter();
        let answers = jobs.iter().zip(found).map(|(job, origin)| {
            let origin = origin?;
            if failed {
                return Err(error.clone().unwrap_or(IntakeError::Stopping));
            }
            if new.next() != Some(true) {
                return Ok(Taken::Again);
            }
            let identity = sent_as(&job.tags, &origin);
            self.counts.add(job.event.provider, identity, job.event.kind);
            Ok(Taken::New)
        });
        answers.collect()
    }

    /// Suppresses in one step whom these events say; where it fails, those events have failed. They come first, so that the
    /// repetition of an event that failed here counts once, and as new.
    async fn suppress(&self, jobs: &[Job], found: &mut [Result<Origin, IntakeError>]) {
        let mut asked = Vec::new();
        let mut items = Vec::new();
        for (index, (job, origin)) in jobs.iter().zip(found.iter()).enumerate() {
            if let (Some(reason), Ok(origin)) = (suppression(&job.event), origin) {
                asked.push(index);
                items.extend(suppress(job, origin, reason));
            }
        }
        let deed = Deed {
            source: "event",
            who: "provider".to_owned(),
            why: String::new(),
            act: None,
        };
        if let Err(error) = self.suppressions.add(items, deed).await {
            for index in asked {
                found[index] = Err(error.clone().into());
            }
        }
    }

    /// By the record while there is one of this acceptance, then by the ledger, else by the tags alone.
    async fn origin(&self, tags: &AttemptTags, record: Option<&Record>) -> Origin {
        if let Some(record) = record.filter(|record| record.accepted_at == tags.accepted_at) {
            return Origin {
                tenant: record.tenant.clone(),
                template: record.template.clone(),
                identity: record.identity.clone(),
                lane: record.lane,
            };
        }
        let timeline = self.ledger.timeline(&tags.tenant, tags.message_id).await;
        if let Ok(Some(timeline)) = timeline
            && timeline.row.message.accepted_at == tags.accepted_at
        {
            let message = timeline.row.message;
            return Origin {
                tenant: message.tenant,
                template: message.template,
                identity: message.identity,
                lane: message.lane,
            };
        }
        Origin {
            tenant: tags.tenant.clone(),
            template: tags.template.clone(),
            identity: String::new(),
            lane: Lane::Transactional,
        }
    }
}

/// What an event belongs to.
struct Origin {
    tenant: String,
    template: String,
    identity: String,
    lane: Lane,
}

/// The identity that the mail went as, for which its bounces count.
fn sent_as<'a>(tags: &'a AttemptTags, origin: &'a Origin) -> &'a str {
    if is_name(&tags.via) {
        &tags.via
    } else {
        &origin.identity
    }
}

/// For what an event's recipients are suppressed.
fn suppression(event: &ProviderEvent) -> Option<SuppressionReason> {
    match event.kind {
        EventKind::BouncedHard => Some(SuppressionReason::HardBounce),
        // RFC 5965's report of mail that was taken for spam and is none.
        EventKind::Complained if event.detail.split(' ').any(|word| word == NOT_SPAM) => None,
        EventKind::Complained => Some(SuppressionReason::Complaint),
        // The provider's own link is of no category of ours.
        EventKind::Unsubscribed => Some(SuppressionReason::Unsubscribe),
        _ => None,
    }
}

/// Those who are named by an event, in the tenant whose mail it was. Mail of ours names its tenant.
fn suppress(job: &Job, origin: &Origin, reason: SuppressionReason) -> Vec<Suppress> {
    if origin.tenant.is_empty() {
        tracing::warn!(
            kind = job.event.kind.as_str(),
            "an event of no tenant suppresses nobody"
        );
        return Vec::new();
    }
    let recipients = job.event.recipients.iter();
    recipients
        .map(|address| Suppress {
            tenant: origin.tenant.clone(),
            category: String::new(),
            address: address.clone(),
            reason,
            at: job.event.at,
        })
        .collect()
}

fn row(job: &Job, origin: &Origin, clock: &dyn Clock) -> NewEvent {
    let Job { event, tags, .. } = job;
    let provider = event.provider.as_str();
    let mut detail = json!({ "provider": provider, "provider_id": event.provider_id });
    if event.kind == EventKind::Other {
        detail["name"] = event.kind_name.as_str().into();
    }
    if !event.detail.is_empty() {
        detail["class"] = event.detail.as_str().into();
    }
    NewEvent {
        id: format!("{provider}:{}", event.event_id),
        message_id: tags.message_id,
        accepted_at: tags.accepted_at,
        attempt: tags.attempt,
        tenant: origin.tenant.clone(),
        template: origin.template.clone(),
        lane: origin.lane,
        kind: event.kind.as_str().to_owned(),
        at: event.at,
        received_at: clock.wall(),
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::id::MessageId;
    use paceline_domain::lane::Lane;
    use paceline_domain::time::Millis;
    use paceline_providers::AttemptTags;

    use super::{Origin, sent_as};

    #[test]
    fn bounces_count_for_the_identity_that_the_mail_went_as() {
        let origin = Origin {
            tenant: "acme".to_owned(),
            template: "welcome".to_owned(),
            identity: "new".to_owned(),
            lane: Lane::Bulk,
        };
        for (via, identity) in [("warm", "warm"), ("", "new"), ("No name", "new")] {
            let tags = AttemptTags {
                message_id: MessageId([1; 16]),
                accepted_at: Millis(1),
                attempt: 1,
                tenant: "acme".to_owned(),
                template: "welcome".to_owned(),
                via: via.to_owned(),
            };
            assert_eq!(sent_as(&tags, &origin), identity, "{via}");
        }
    }
}
