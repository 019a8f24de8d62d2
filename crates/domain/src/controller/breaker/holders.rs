//! Who failed: a sender whose own network is broken must not stop the others.
//!
//! Each sender's calls are counted in coarse steps, since the state is written whole. The sender with the most failures is left out:
//! what the others see decides, unless nobody else sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FAILED_PERCENT_MAX, percent};
use crate::controller::rolling::Rolling;
use crate::lease::HolderId;

const STEP: Duration = Duration::from_secs(10);
const STEPS: u64 = 3;
/// Senders that are told apart; what further ones say counts in the sum alone.
const HOLDERS_MAX: usize = 2_000;

/// What each sender counted lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Holders {
    by: BTreeMap<HolderId, Lately>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lately {
    /// Sends that were not throttled.
    judged: Rolling,
    failed: Rolling,
}

impl Holders {
    pub(super) fn add(&mut self, holder: HolderId, sent: u64, failed: u64, throttled: u64, now: Duration) {
        if sent == 0 && failed == 0 {
            return;
        }
        if !self.by.contains_key(&holder) && self.by.len() >= HOLDERS_MAX {
            self.by.retain(|_, lately| lately.judged.sum(now) > 0);
            if self.by.len() >= HOLDERS_MAX {
                return;
            }
        }
        let lately = self.by.entry(holder).or_insert_with(|| Lately {
            judged: Rolling::new(STEP, STEPS),
            failed: Rolling::new(STEP, STEPS),
        });
        lately.judged.add(sent.saturating_sub(throttled), now);
        lately.failed.add(failed, now);
    }

    /// True if the others fail, too, or there are none.
    pub(super) fn agree(&mut self, now: Duration) -> bool {
        let sums = |lately: &Lately| (lately.judged.sum(now), lately.failed.sum(now));
        self.by.retain(|_, lately| sums(lately) != (0, 0));
        let worst = self.by.iter().max_by_key(|(_, lately)| sums(lately).1);
        let worst = worst.map(|(holder, _)| *holder);
        let others = self.by.iter().filter(|(holder, _)| Some(**holder) != worst);
        let (judged, failed) = others
            .map(|(_, lately)| sums(lately))
            .fold((0_u64, 0_u64), |sum, its| {
                (sum.0.saturating_add(its.0), sum.1.saturating_add(its.1))
            });
        (judged, failed) == (0, 0) || percent::is_above(failed, judged, FAILED_PERCENT_MAX)
    }
}
