//! Bounces, complaints and deliveries on their way to the coordinator, which slows an identity down by them.
//!
//! A batch keeps its id until the leader has answered for it, so it is told at least once and counts once. What was not told
//! when the process dies is in no one's counts: a second's worth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_domain::delivery::EventKind;
use paceline_domain::record::Provider;
use paceline_kit::Shutdown;
use paceline_wire::v1;

use crate::coordinators::Coordinators;
use crate::event_metrics::Metrics;

/// The coordinator's bound on a batch. There are no more identities than settings name.
const KEYS_MAX: usize = 1_000;
const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    hard_bounces: u64,
    complaints: u64,
    deliveries: u64,
}

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(Provider, String), Count>>);

impl Counts {
    /// Counts an event that is new.
    pub(crate) fn add(&self, provider: Provider, identity: &str, kind: EventKind) {
        let counted = matches!(
            kind,
            EventKind::BouncedHard | EventKind::Complained | EventKind::Delivered
        );
        let mut counts = self.counts();
        let key = (provider, identity.to_owned());
        if !counted || identity.is_empty() || (counts.len() >= KEYS_MAX && !counts.contains_key(&key)) {
            return;
        }
        let count = counts.entry(key).or_default();
        match kind {
            EventKind::BouncedHard => count.hard_bounces += 1,
            EventKind::Complained => count.complaints += 1,
            _ => count.deliveries += 1,
        }
    }

    /// Tells the coordinators each second until `stop`, and then once more.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut coordinators: Coordinators,
        metrics: Metrics,
        stop: Shutdown,
    ) {
        let mut batch = None;
        while !stop.is_requested() {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.requested() => {}
            }
            batch = batch.or_else(|| self.cut());
            let Some(request) = &batch else {
                continue;
            };
            match coordinators.feedback(request).await {
                Ok(()) => batch = None,
                Err(error) => {
                    metrics.unsent();
                    tracing::debug!(%error, "counts not told");
                }
            }
        }
    }

    fn cut(&self) -> Option<v1::FeedbackRequest> {
        let counts = std::mem::take(&mut *self.counts());
        if counts.is_empty() {
            return None;
        }
        let item = |((provider, identity), count): ((Provider, String), Count)| v1::FeedbackItem {
            key: Some(v1::ThrottleKey {
                provider: provider.as_str().to_owned(),
                identity,
            }),
            hard_bounces: count.hard_bounces,
            complaints: count.complaints,
            deliveries: count.deliveries,
        };
        Some(v1::FeedbackRequest {
            batch_id: rand::random::<[u8; 16]>().to_vec().into(),
            items: counts.into_iter().map(item).collect(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(Provider, String), Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
