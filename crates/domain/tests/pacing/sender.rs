//! A sender: the real lease and the real counts, and sends whose outcomes come later.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::controller::{Asked, Counts as Delta};
use paceline_domain::lease::budget::Said;
use paceline_domain::lease::{Ask, Counts, HolderId, LocalLease};

use crate::provider::{Answer, Chance, Provider};

/// Its clock shows nobody else's time.
const OFFSET: Duration = Duration::from_secs(7_777);

pub(crate) struct Sender {
    pub(crate) id: HolderId,
    pub(crate) lease: LocalLease,
    pub(crate) counts: Counts,
    pub(crate) sequence: u64,
    pub(crate) wants: f64,
    pub(crate) next_ask: u64,
    pub(crate) cut_off_until: u64,
    /// Answers under way: when, and under which version it was sent.
    under_way: BTreeMap<(u64, u64), (Answer, u64)>,
    sends: u64,
}

/// What a sender said and is answered to.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: HolderId,
    pub(crate) ask: Ask,
    pub(crate) sequence: u64,
    pub(crate) wants: f64,
    pub(crate) totals: Totals,
    pub(crate) accepted: u64,
}

impl Sender {
    pub(crate) fn new(id: HolderId, wants: f64, next_ask: u64) -> Self {
        Self {
            id,
            lease: LocalLease::new(OFFSET),
            counts: Counts::default(),
            sequence: 0,
            wants,
            next_ask,
            cut_off_until: 0,
            under_way: BTreeMap::new(),
            sends: 0,
        }
    }

    pub(crate) fn time(now: u64) -> Duration {
        OFFSET + Duration::from_millis(now)
    }

    pub(crate) fn ask(&mut self, now: u64) -> Call {
        self.sequence += 1;
        Call {
            id: self.id,
            ask: self.lease.ask(Self::time(now)),
            sequence: self.sequence,
            wants: self.wants,
            totals: Totals {
                sent: self.counts.sent_total(),
                errors: self.counts.errors_total(),
                throttled: self.counts.throttled_by_version().collect(),
            },
            accepted: self.counts.accepted_total(),
        }
    }

    /// Spends what it may in ten milliseconds, and takes what is answered. Returns how much it spent.
    pub(crate) fn spend(&mut self, provider: &mut Provider, chance: &mut Chance, now: u64) -> u64 {
        while let Some(answer) = self.under_way.first_entry() {
            if answer.key().0 > now {
                break;
            }
            match answer.remove() {
                (Answer::Accepted, _) => self.counts.accepted(1),
                (Answer::Throttled, version) => self.counts.throttled(version, 1),
                (Answer::Failed, _) => self.counts.error(1),
            }
        }
        let wish = (self.wants / 100.0 + chance.part()).floor() as u32;
        let taken = self.lease.take_up_to(wish, Self::time(now));
        for _ in 0..taken {
            self.counts.sent(1);
            self.sends += 1;
            let answer = provider.send(now);
            let latency = match answer {
                Answer::Failed if chance.below(2) == 0 => 10_000,
                _ => 50 + chance.below(100),
            };
            self.under_way
                .insert((now + latency, self.sends), (answer, self.lease.version()));
        }
        taken.into()
    }
}

impl Call {
    /// What the leader's controller is told, with what its meter finds new.
    pub(crate) fn asked(&self, delta: paceline_domain::aimd::Delta, accepted: u64) -> Asked {
        Asked {
            holder: self.id,
            counts: Delta {
                sent: delta.sent,
                accepted,
                failed: delta.errors,
                throttled: delta.throttled,
            },
            said: Said {
                sequence: self.sequence,
                granted_total: self.ask.granted_total,
                spent_total: self.ask.spent_total,
            },
            has_version: self.ask.has_version,
            wants: self.wants > 0.0,
            idle: self.ask.has_rate <= 0.0,
            refused: None,
            warm_up: None,
        }
    }
}
