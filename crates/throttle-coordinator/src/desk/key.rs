//! One key at the leader's desk: its controller, its meter and its books, kept in step.

use std::time::Duration;

use paceline_domain::aimd::{Aimd, Decision, Event, LimitedBy, Limits, Meter, Saved, Totals};
use paceline_domain::lease::invariant::granted_within_bound;
use paceline_domain::lease::{Books, HolderId, Request};

use super::LEAP_MAX;
use super::Refused;

/// Senders of one key; further ones are refused.
const SENDERS_MAX: usize = 1_000;

/// What a sender says of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) wants: f64,
    pub(crate) has: f64,
    pub(crate) has_version: u64,
    pub(crate) totals: Totals,
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lease {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
    pub(crate) version: u64,
    /// False if it had better ask again soon.
    pub(crate) settled: bool,
}

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) rate: f64,
    pub(crate) limited_by: LimitedBy,
    pub(crate) leased: f64,
    pub(crate) wanted: f64,
    pub(crate) measured: f64,
    /// What the books have free.
    pub(crate) free: f64,
    pub(crate) version: u64,
    pub(crate) senders: usize,
}

pub(super) struct PacedKey {
    aimd: Aimd,
    meter: Meter,
    books: Books,
    /// The revision of the state in Redis, and what stands there.
    rev: u64,
    stored: Option<Saved>,
}

impl PacedKey {
    pub(super) fn new(
        limits: Limits,
        known: Option<Saved>,
        rev: u64,
        lead_since: Duration,
        now: Duration,
    ) -> Self {
        let aimd = Aimd::new(limits, known, now);
        Self {
            aimd,
            meter: Meter::default(),
            books: Books::new(aimd.rate(), lead_since),
            rev,
            stored: None,
        }
    }

    /// Whether a call of this sender can be answered, before anything is changed.
    pub(super) fn admit(&self, holder: HolderId, sequence: u64, now: Duration) -> Result<(), Refused> {
        match self.books.sequence(holder) {
            Some(last) if sequence <= last => Err(Refused::Outdated),
            None if self.books.senders(now) >= SENDERS_MAX => Err(Refused::Full),
            _ => Ok(()),
        }
    }

    pub(super) fn refresh(
        &mut self,
        holder: HolderId,
        sequence: u64,
        item: &Item,
        now: Duration,
    ) -> Result<Lease, Refused> {
        let seen = item.has_version.min(self.aimd.version().saturating_add(LEAP_MAX));
        self.step(Event::VersionSeen(seen), now);
        self.count(holder, item, now);
        let request = Request {
            sequence,
            wants: item.wants,
            has: item.has,
        };
        let granted = self
            .books
            .refresh(holder, &request, now)
            .ok_or(Refused::Outdated)?;
        debug_assert_eq!(granted_within_bound(&self.books, now), Ok(()));
        Ok(Lease {
            rate: granted.rate,
            burst: granted.burst,
            version: self.aimd.version(),
            settled: granted.settled,
        })
    }

    /// Takes in what the sender counted since it reported last.
    pub(super) fn count(&mut self, holder: HolderId, item: &Item, now: Duration) {
        let new = self.meter.report(holder, item.totals.clone(), now);
        self.step(Event::Sent(new.sent), now);
        self.step(Event::Failed(new.errors), now);
        for (version, count) in new.throttled {
            self.step(Event::Throttled { version, count }, now);
        }
    }

    pub(super) fn release(&mut self, holder: HolderId) {
        self.books.release(holder);
        self.meter.forget(holder);
    }

    pub(super) fn tick(&mut self, now: Duration) -> Option<Decision> {
        self.books.expire(now);
        let measured = self.meter.measured(now);
        let decision = self.step(Event::Tick { measured }, now);
        self.books.set_rate(self.aimd.rate());
        decision
    }

    /// The revision and the rate to write, if Redis has another.
    pub(super) fn unsaved(&self) -> Option<(u64, Saved)> {
        (self.stored != Some(self.aimd.saved())).then(|| (self.rev, self.aimd.saved()))
    }

    pub(super) const fn saved(&mut self, rev: u64, rate: Saved) {
        self.rev = rev;
        self.stored = Some(rate);
    }

    pub(super) const fn rate(&self) -> Saved {
        self.aimd.saved()
    }

    pub(super) fn describe(&mut self, now: Duration) -> Description {
        Description {
            rate: self.aimd.rate(),
            limited_by: self.aimd.limited_by(),
            leased: self.books.leased(now),
            wanted: self.books.wanted(now),
            measured: self.meter.measured(now),
            free: (self.aimd.rate() - self.books.outstanding(now)).max(0.0),
            version: self.aimd.version(),
            senders: self.books.senders(now),
        }
    }

    fn step(&mut self, event: Event, now: Duration) -> Option<Decision> {
        let (aimd, decision) = self.aimd.step(event, now);
        self.aimd = aimd;
        decision
    }
}
