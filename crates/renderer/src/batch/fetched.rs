//! Messages with attachments that must be fetched: beside the batch that read them, each brought to its end alone.
//!
//! Until then the entry stays pending, so what a renderer had when it died is read by another one. The time for it, waiting included, is
//! shorter than the one after which others would take it over.

use std::sync::Arc;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_store::LogMode;
use paceline_wire::convert;
use paceline_wire::v1::{Attachment, LoggedAct, StoredRequest};
use prost::Message as _;
use tokio::time::Instant;

use super::{Batch, Fates};
use crate::attached::{self, Unfetched};
use crate::awaited::Need;
use crate::job::Job;

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
    /// Sets each on its way once there is room for it, and waits for no file.
    pub(super) async fn fetch(&self, remote: Vec<Asked>) {
        let attached = &self.shared.attached;
        let now = Instant::now();
        let by = now + attached.settings.timeout;
        for (job, request) in remote {
            let room = attached.room(now + self.patience).await;
            let alone = Self::new(Arc::clone(&self.shared), self.shard, self.stop.clone());
            match room {
                Ok(room) => {
                    attached.tasks.spawn(async move {
                        Box::pin(alone.bring(job, request, by)).await;
                        drop(room);
                    });
                }
                Err(why) => Box::pin(self.unfetched(job, &why)).await,
            }
        }
    }

    /// Fetches what the message lacks, and brings it to its end.
    async fn bring(&self, job: Job, mut request: StoredRequest, by: Instant) {
        match self.shared.attached.fetch(&mut request, by).await {
            Ok(_place) => {
                self.shared.awaited.found(Need::File(job.id));
                let mut fates = Fates::default();
                // Once more: a stop may have been set meanwhile.
                let asked = self.part(vec![(job, request)], &mut fates);
                self.finish(asked, fates).await;
            }
            Err(why) => Box::pin(self.unfetched(job, &why)).await,
        }
    }

    /// What may pass waits, half as long again as it has waited, and is dead after its time; else it is dead at once.
    async fn unfetched(&self, job: Job, why: &Unfetched) {
        let (message_id, tenant, error) = (job.id, &job.stream.tenant, why.to_string());
        let settings = &self.shared.attached.settings;
        if why.may_pass() {
            tracing::debug!(%message_id, tenant, error, "attachment can't be fetched now");
            let jobs = [job];
            let Some(records) = self.persist("records", || self.records(&jobs)).await else {
                return;
            };
            let [job] = jobs;
            let record = records.into_iter().next().flatten();
            let now = self.shared.clock.wall();
            let waited = record.as_ref().map(|record| now.since(record.accepted_at));
            let missed = self.shared.awaited.missed(Need::File(message_id), now);
            let waited = waited.unwrap_or_default().min(missed);
            // Who sends a dead letter again wants it to be tried again.
            let is_new = record.is_some_and(|record| record.reason == Reason::Redriven);
            if waited <= settings.missing_max || is_new {
                let delay = attached::wait(settings, waited);
                return self.put_off(vec![job.unrendered(why.reason())], delay).await;
            }
            self.bury_unfetched(job, why).await;
        } else {
            tracing::warn!(%message_id, tenant, error, "attachment can't be fetched");
            self.bury_unfetched(job, why).await;
        }
    }

    async fn bury_unfetched(&self, job: Job, why: &Unfetched) {
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
