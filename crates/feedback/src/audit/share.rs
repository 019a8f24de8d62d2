//! How large a share of each template's messages had an earlier one nearby, now and then over the last hour: a volatile field that
//! somebody forgets shows as a rise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use paceline_domain::identity::near::{NEAR_WITHIN, NearCount};
use paceline_domain::time::Millis;
use paceline_kit::clock::Clock;
use paceline_kit::{SettingsError, Shutdown};
use paceline_ledger::{Filter, LedgerError, SumFilter};
use serde::{Deserialize, Serialize};

use super::{Auditor, MESSAGES_MAX};

pub(crate) const SHARE: &str = "feedback.ids.near_share";

/// Templates with a label value of their own: those with the most messages. The others share one.
const TEMPLATES_MAX: usize = 50;
const OTHERS: &str = "other";
const DAY_MS: u64 = 86_400_000;

/// The `[audit]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    pub messages_max: u32,
}

impl AuditSettings {
    /// # Errors
    /// Names the setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if !self.every.is_zero()
            && !(Duration::from_secs(1)..=Duration::from_secs(24 * 3_600)).contains(&self.every)
        {
            return refuse("audit.every", "must be from 1s to 24h, or 0s for never");
        }
        if !(1..=MESSAGES_MAX).contains(&self.messages_max) {
            return refuse("audit.messages_max", "must be from 1 to 100,000");
        }
        Ok(())
    }
}

type Shares = Arc<Mutex<BTreeMap<String, f64>>>;

/// The looks for the metric.
pub(crate) struct Share {
    auditor: Auditor,
    settings: AuditSettings,
    shares: Shares,
}

impl Share {
    /// Exports the shares as they were found last.
    pub(crate) fn new(auditor: Auditor, settings: AuditSettings, meter: &Meter) -> Self {
        let shares = Shares::default();
        let shown = Arc::clone(&shares);
        meter
            .f64_observable_gauge(SHARE)
            .with_description("Messages of the last hour that differ in one or two fields from an earlier one, of all that were compared")
            .with_callback(move |observer| {
                for (template, &share) in &*lock(&shown) {
                    observer.observe(share, &[KeyValue::new("template", template.clone())]);
                }
            })
            .build();
        Self {
            auditor,
            settings,
            shares,
        }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(self, clock: impl Clock, stop: Shutdown) {
        if self.settings.every.is_zero() {
            return stop.requested().await;
        }
        loop {
            match self.look(clock.wall()).await {
                Ok(counts) => *lock(&self.shares) = shares(counts),
                Err(error) => tracing::debug!(%error, "ids are not audited"),
            }
            if tokio::time::timeout(self.settings.every, stop.requested())
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    /// The counts of the last hour over all tenants that the sums of these days name.
    async fn look(&self, now: Millis) -> Result<BTreeMap<String, NearCount>, LedgerError> {
        let today = now.0 / DAY_MS;
        let days = SumFilter {
            days: (today.saturating_sub(1), today),
            ..SumFilter::default()
        };
        let mut tenants: Vec<String> = self
            .auditor
            .ledger
            .sums(&days)
            .await?
            .into_iter()
            .map(|sum| sum.tenant)
            .collect();
        tenants.sort();
        tenants.dedup();
        let mut counts: BTreeMap<String, NearCount> = BTreeMap::new();
        let mut left = self.settings.messages_max;
        for tenant in tenants {
            let filter = Filter {
                tenant,
                from: now - NEAR_WITHIN,
                ..Filter::default()
            };
            // The semaphore is never closed.
            let _turn = self.auditor.turn.acquire().await;
            let (found, _) = self.auditor.look(&filter, left).await?;
            for (template, count) in found.templates {
                let sum = counts.entry(template).or_default();
                sum.messages += count.messages;
                sum.near += count.near;
                left = left.saturating_sub(u32::try_from(count.messages).unwrap_or(u32::MAX));
            }
            if left == 0 {
                break;
            }
        }
        Ok(counts)
    }
}

fn lock(shares: &Shares) -> MutexGuard<'_, BTreeMap<String, f64>> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By template; of those beyond the bound, together.
fn shares(counts: BTreeMap<String, NearCount>) -> BTreeMap<String, f64> {
    let mut counts: Vec<(String, NearCount)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.messages));
    let others = counts.split_off(counts.len().min(TEMPLATES_MAX));
    let together = others
        .into_iter()
        .fold(NearCount::default(), |sum, (_, count)| NearCount {
            messages: sum.messages + count.messages,
            near: sum.near + count.near,
        });
    if together.messages > 0 {
        counts.push((OTHERS.to_owned(), together));
    }
    counts
        .into_iter()
        .map(|(template, count)| (template, share(count)))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53 messages")]
fn share(count: NearCount) -> f64 {
    count.near as f64 / count.messages.max(1) as f64
}

#[cfg(test)]
mod tests {
    use paceline_domain::identity::near::NearCount;

    use super::{OTHERS, TEMPLATES_MAX, shares};

    #[test]
    fn the_largest_templates_have_labels_and_the_others_share_one() {
        let count = |number: u64| NearCount {
            messages: 1_000 - number,
            near: if number == 0 { 250 } else { 0 },
        };
        let counts = (0..TEMPLATES_MAX as u64 + 3).map(|number| (format!("t{number}"), count(number)));
        let shares = shares(counts.collect());
        assert_eq!(shares.len(), TEMPLATES_MAX + 1);
        assert!((shares["t0"] - 0.25).abs() < 1e-9);
        assert!(
            shares.contains_key(OTHERS) && !shares.contains_key("t52"),
            "{shares:?}"
        );
    }
}
