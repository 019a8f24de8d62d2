//! A sender: the real lease and the real counts, or a controller of its own, and sends whose outcomes come later.

use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::latency::Latency;
use paceline_domain::lease::{Ask, Counts, HolderId, LocalLease};

use crate::chance::{Chance, Clock};
use crate::local::Local;
use crate::provider::Outcome;

/// Requests that it has open at a time.
pub const OPEN_MAX: u32 = 2_000;

/// What bounds what it sends.
#[derive(Clone, Debug)]
pub enum Pacing {
    Lease(LocalLease),
    Local(Local),
}

#[derive(Clone, Debug)]
pub struct Sender {
    pub id: HolderId,
    /// The identity whose mail it sends.
    pub identity: usize,
    pub clock: Clock,
    pub pacing: Pacing,
    pub counts: Counts,
    pub latency: Latency,
    pub sequence: u64,
    pub wants: f64,
    pub next_ask: u64,
    /// Which coordinator it asks, and whether that has answered the last call.
    pub asks: usize,
    pub answered: bool,
    /// What it says gets lost until then; and what it is told.
    pub mute_until: u64,
    pub deaf_until: u64,
    pub frozen_until: u64,
    pub open: u32,
    pub sent: u64,
    /// (epoch, version) of the last lease that it took.
    pub accepted_lease: (u64, u64),
}

/// What a sender says.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: HolderId,
    pub index: usize,
    pub identity: usize,
    pub ask: Ask,
    pub sequence: u64,
    pub wants: f64,
    pub totals: Totals,
    pub accepted: u64,
    pub latency: Option<Duration>,
}

impl Sender {
    pub fn new(
        (incarnation, identity): (u64, usize),
        wants: f64,
        next_ask: u64,
        local: Option<Local>,
        chance: &mut Chance,
        now: u64,
    ) -> Self {
        let clock = Clock::new(chance);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&incarnation.to_be_bytes());
        Self {
            id: HolderId(id),
            identity,
            clock,
            pacing: local.map_or_else(|| Pacing::Lease(LocalLease::new(clock.at(now))), Pacing::Local),
            counts: Counts::default(),
            latency: Latency::new(clock.at(now)),
            sequence: 0,
            wants,
            next_ask,
            asks: 0,
            answered: true,
            mute_until: 0,
            deaf_until: 0,
            frozen_until: 0,
            open: 0,
            sent: 0,
            accepted_lease: (0, 0),
        }
    }

    pub fn call(&mut self, index: usize, now: u64) -> Option<Call> {
        let Pacing::Lease(lease) = &mut self.pacing else {
            return None;
        };
        self.sequence += 1;
        let at = self.clock.at(now);
        Some(Call {
            id: self.id,
            index,
            identity: self.identity,
            ask: lease.ask(at),
            sequence: self.sequence,
            wants: self.wants,
            totals: Totals {
                sent: self.counts.sent_total(),
                errors: self.counts.errors_total(),
                throttled: self.counts.throttled_by_version().collect(),
            },
            accepted: self.counts.accepted_total(),
            latency: self.latency.p99(at),
        })
    }

    /// Looks at epoch and version of its key's rate in Redis.
    pub fn look(&mut self, state: Option<(u64, u64)>, now: u64) {
        let at = self.clock.at(now);
        if let Pacing::Lease(lease) = &mut self.pacing
            && lease.needs_look(at)
        {
            lease.looked(state, at);
        }
    }

    pub fn is_safe(&self, now: u64) -> bool {
        matches!(&self.pacing, Pacing::Lease(lease) if lease.is_safe(self.clock.at(now)))
    }

    pub fn held(&self, now: u64) -> f64 {
        match &self.pacing {
            Pacing::Lease(lease) => lease.rate(self.clock.at(now)),
            Pacing::Local(local) => local.rate(),
        }
    }

    pub fn burst(&self, now: u64) -> f64 {
        match &self.pacing {
            Pacing::Lease(lease) => lease.burst(self.clock.at(now)),
            Pacing::Local(_) => 0.0,
        }
    }

    pub fn version(&self) -> u64 {
        match &self.pacing {
            Pacing::Lease(lease) => lease.version(),
            Pacing::Local(_) => 0,
        }
    }

    /// Takes what it may send in `step_ms`.
    pub fn take(&mut self, step_ms: u64, now: u64, chance: &mut Chance) -> u32 {
        let wish = chance.whole(self.wants * step_ms as f64 / 1_000.0);
        let wish = wish.min(OPEN_MAX.saturating_sub(self.open));
        let taken = match &mut self.pacing {
            Pacing::Lease(lease) => lease.take_up_to(wish, self.clock.at(now)),
            Pacing::Local(local) => local.take_up_to(wish, now),
        };
        self.open += taken;
        self.sent += u64::from(taken);
        if taken > 0 {
            self.counts.sent(taken);
        }
        taken
    }

    pub fn answered(&mut self, outcome: Outcome, version: u64, took: u64, now: u64) {
        let Outcome {
            accepted,
            throttled,
            failed,
        } = outcome;
        self.open = self.open.saturating_sub(accepted + throttled + failed);
        let taken = u64::from(accepted + throttled);
        self.latency
            .answered(taken, Duration::from_millis(took), self.clock.at(now));
        self.counts.accepted(accepted);
        self.counts.error(failed);
        if throttled > 0 {
            self.counts.throttled(version, throttled);
        }
        if let Pacing::Local(local) = &mut self.pacing {
            local.answered(outcome, now);
        }
    }
}
