//! Messages with attachments that must be fetched: beside the batch that read them, each brought to its end alone.
//!
//! Until then the entry stays pending, so what a renderer had when it died is read by another one. The time for it, waiting included, is
//! shorter than the one after which others would take it over.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_domain::record::Record;
use paceline_store::LogMode;
use paceline_wire::convert;
use paceline_wire::v1::{Attachment, LoggedAct, StoredRequest};
use prost::Message as _;
use tokio::time::Instant;

use super::{Batch, Fates};
use crate::attached::{self, Outlook, Room, Unfetched};
use crate::awaited::Need;
use crate::job::Job;

/// From this share of its memory on Redis is left to what has no files, before ingest refuses bulk mail: what is fetched may be thousands of times
/// as large as the request.
const MEMORY_USED_MAX: f64 = 0.6;
/// The act's name in the log.
const UNFETCHED: &str = "unfetched";

/// A message with its request.
pub(super) type Asked = (Job, StoredRequest);

/// Parts those that need files from elsewhere from the others, which come first.
pub(super) fn part(asked: Vec<Asked>) -> (Vec<Asked>, Vec<Asked>) {
    let is_remote = |(_, request): &Asked| request.attachments.iter().any(Attachment::is_remote);
    asked.into_iter().partition(|asked| !is_remote(asked))
}

impl Batch {
    /// Sets each on its way for which there is room, and waits for no file: what finds no room is put off.
    pub(super) async fn fetch(&self, remote: Vec<Asked>) {
        if remote.is_empty() {
            return;
        }
        let mut fates = Fates::default();
        let remote = self.renderable(remote, &mut fates).await;
        self.settle(fates).await;
        let attached = &self.shared.attached;
        let by = Instant::now() + attached.settings.timeout;
        for (job, request) in remote {
            match attached.room(&request) {
                Ok(room) => {
                    let beside = Self {
                        lone: self.lone.clone(),
                        ..Self::new(Arc::clone(&self.shared), self.shard, self.stop.clone())
                    };
                    let bringing = async move { Box::pin(beside.bring(job, request, &room, by)).await };
                    attached.tasks.spawn(bringing);
                }
                Err(why) => self.end_unfetched(job, &why, None).await,
            }
        }
    }

    /// Those for which there is a template: nothing is fetched that would have to wait for one, and be fetched again.
    async fn renderable(&self, remote: Vec<Asked>, fates: &mut Fates) -> Vec<Asked> {
        let mut renderable = Vec::with_capacity(remote.len());
        let Some(templates) = self.persist("bundles", || self.templates(&remote)).await else {
            return renderable;
        };
        for asked in remote {
            let (mut tasks, failed) = self.assign(vec![asked.clone()], &templates, fates);
            for (attempt, why) in failed {
                tasks.extend(Box::pin(self.instead(attempt, &why, fates)).await);
            }
            if !tasks.is_empty() {
                renderable.push(asked);
            }
        }
        renderable
    }

    /// Fetches what the message lacks, and brings it to its end.
    async fn bring(&self, job: Job, mut request: StoredRequest, room: &Room, by: Instant) {
        let attached = &self.shared.attached;
        let place = match attached.place(&request, room, by).await {
            Ok(place) => place,
            Err(why) => return self.end_unfetched(job, &why, None).await,
        };
        let memory_used = || self.shared.store.memory_used();
        let Some(used) = self.persist("memory", memory_used).await else {
            return;
        };
        if used.is_some_and(|used| used > MEMORY_USED_MAX) {
            let why = Unfetched::store_full(&request);
            return self.end_unfetched(job, &why, None).await;
        }
        let began = Instant::now();
        let fetched = attached.fetch(&mut request, by).await;
        let took = Some(began.elapsed());
        if let Err(why) = fetched {
            return self.end_unfetched(job, &why, took).await;
        }
        self.shared.metrics.fetched("fetched", took);
        self.shared.awaited.forget(Need::File(job.id));
        let mut fates = Fates::default();
        // Once more: a stop may have been set meanwhile.
        let asked = self.part(vec![(job, request)], &mut fates);
        Box::pin(self.finish(asked, fates)).await;
        drop(place);
    }

    async fn end_unfetched(&self, job: Job, why: &Unfetched, took: Option<Duration>) {
        self.shared.metrics.fetched(why.outcome(), took);
        self.unfetched(job, why).await;
    }

    /// What may pass waits, half as long again as it has waited, and is dead after its time; else it is dead at once.
    async fn unfetched(&self, job: Job, why: &Unfetched) {
        let outlook = why.outlook();
        if outlook == Outlook::Hopeless {
            return self.bury_unfetched(job, why).await;
        }
        let jobs = [job];
        let Some(records) = self.persist("records", || self.records(&jobs)).await else {
            return;
        };
        let [job] = jobs;
        // Who sends a dead letter again wants it to be tried again.
        let is_new = |record: &Record| matches!(record.reason, Reason::Redriven | Reason::Resubmitted);
        let record = records.into_iter().next().flatten();
        let began = record.filter(|record| !is_new(record));
        let began = began.map(|record| record.accepted_at.max(record.send_at));
        let now = self.shared.clock.wall();
        let waited = began.map(|began| now.since(began)).unwrap_or_default();
        let settings = &self.shared.attached.settings;
        let is_late = outlook == Outlook::MayPass
            && waited.min(self.shared.awaited.missed(Need::File(job.id), now)) > settings.missing_max;
        if is_late {
            return self.bury_unfetched(job, why).await;
        }
        let (message_id, tenant) = (job.id, &job.stream.tenant);
        tracing::debug!(%message_id, tenant, error = why as &dyn Error, "attachment can't be fetched now");
        let delay = attached::wait(settings, waited);
        self.put_off(vec![job.unrendered(why.reason())], delay).await;
    }

    async fn bury_unfetched(&self, job: Job, why: &Unfetched) {
        let (message_id, tenant) = (job.id, &job.stream.tenant);
        tracing::warn!(%message_id, tenant, error = why as &dyn Error, "attachment can't be fetched");
        self.shared.awaited.forget(Need::File(job.id));
        let store = &self.shared.store;
        let act = LoggedAct {
            at: Some(convert::timestamp(self.shared.clock.wall())),
            act: UNFETCHED.to_owned(),
            who: self.shared.name.clone(),
            why: why.to_string(),
            tenant: job.stream.tenant.clone(),
            message_ids: vec![Bytes::copy_from_slice(&job.id.0)],
        };
        let act = match store.log_mode() {
            LogMode::Ledger => act.encode_to_vec().into(),
            LogMode::Ring => Bytes::new(),
        };
        let item = job.unrendered(why.reason());
        let bury = || store.bury_one(self.shard, &item, act.clone());
        let changes = self.persist("bury", bury).await;
        self.count_unrendered(std::slice::from_ref(&item), changes.unwrap_or_default());
    }
}
