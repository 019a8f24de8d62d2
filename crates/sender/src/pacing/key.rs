//! One key by itself: what it has room for, what it wants, and what the coordinator is told of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_domain::latency::Latency;
use paceline_domain::lease::{Counts, LocalLease};
use paceline_domain::reason::Reason;
use paceline_wire::v1;

use super::{Key, SharedKey};
use crate::demand::Demand;
use crate::key_gate::{KeyGate, Readable};

impl Key {
    pub(super) fn shared(is_used: bool, now: Duration) -> SharedKey {
        Arc::new(Mutex::new(Self {
            lease: LocalLease::new(now),
            bulk_total: None,
            warm_up: None,
            overflows: false,
            overflow_from: Duration::ZERO,
            counts: Counts::default(),
            gate: KeyGate::default(),
            demand: Demand::new(now),
            latency: Latency::new(now),
            in_flight: 0,
            is_used,
            bound_until: Duration::ZERO,
        }))
    }

    /// Recipients that mail of the lane may have before a larger grant is needed.
    pub(super) fn budget_left(&self, lane: Lane) -> u64 {
        let left = self.lease.budget_left();
        match (lane, self.bulk_total) {
            (Lane::Bulk, Some(total)) => left.min(total.saturating_sub(self.lease.spent_total())),
            _ => left,
        }
    }

    /// The identity as which mail of the lane goes for which the warm-up's day has no room.
    pub(super) fn overflow_to(&self, lane: Lane, now: Duration) -> Option<String> {
        let has_room = self.budget_left(lane) > 0 && self.lease.rate(now) > 0.0;
        let is_closed = self.gate.paused().is_some() || now < self.overflow_from;
        if !self.overflows || !self.lease.is_live(now) || has_room || is_closed {
            return None;
        }
        let to = &self.warm_up.as_ref()?.overflow_to;
        (!to.is_empty()).then(|| to.clone())
    }

    pub(super) fn room(&self, lane: Lane, time: Duration, now: Duration) -> usize {
        let rate = self.lease.rate(now);
        if rate <= 0.0 {
            return 0;
        }
        let budget = usize::try_from(self.budget_left(lane)).unwrap_or(usize::MAX);
        match self.gate.readable(now) {
            Readable::All => whole(rate * time.as_secs_f64()).max(1).min(budget),
            Readable::Probe => 2.min(budget),
            Readable::Nothing => 0,
        }
    }

    /// Recipients per second. `leads` if the route leads here.
    pub(super) fn wants(&mut self, leads: bool, in_flight_max: u32, now: Duration) -> f64 {
        let wants = self.demand.wants(self.counts.sent_total(), in_flight_max, now);
        if !leads {
            // What this provider alone may send is little.
            return if self.bound_until > now { 1.0 } else { 0.0 };
        }
        if self.gate.paused().is_some() {
            // All that a closed key can use is a probe.
            return wants.min(1.0);
        }
        wants
    }

    pub(super) fn item(&mut self, named: v1::ThrottleKey, wants: f64, now: Duration) -> v1::RefreshItem {
        let ask = self.lease.ask(now);
        let paused = self.gate.paused().map(Reason::as_str);
        v1::RefreshItem {
            key: Some(named),
            wants,
            has_rate: ask.has_rate,
            has_safe_rate: ask.has_safe,
            has_epoch: ask.has_epoch,
            has_version: ask.has_version,
            sent_total: self.counts.sent_total(),
            accepted_total: self.counts.accepted_total(),
            errors_total: self.counts.errors_total(),
            throttled: self
                .counts
                .throttled_by_version()
                .map(|(version, total)| v1::ThrottledCount { version, total })
                .collect(),
            granted_total: ask.granted_total,
            spent_total: ask.spent_total,
            refused_reason: paused.unwrap_or_default().to_owned(),
            bulk_total: self.bulk_total.unwrap_or(0),
            warm_up: self.warm_up.clone(),
            latency_ms: self.latency.p99(now).map(millis),
        }
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and a rate is not negative"
)]
fn whole(entries: f64) -> usize {
    entries.ceil() as usize
}
