//! The coordinator's books of one key: who holds how much of its rate.
//!
//! A sender's entry is **outstanding**: the most that it can be spending now, whether the last answer reached it or not.
//! That is the larger of what it said it holds and what it was granted since, until it says that it holds less, gives back,
//! or its lease is over. A grant is what a fair share and the free part of the rate both allow, so the outstanding together
//! never exceed the largest rate that was in force when a lease that still lives was issued ([`Books::bound`]).
//!
//! After an election the books are empty while leases of the leader before still live. Until those are over the books only
//! learn: who holds something keeps at most that, who holds nothing gets nothing.
//!
//! Where the settings keep a part of the rate back, it is leased beside as safe rates ([`Reserve`]); the rest is what is granted here.
//!
//! A small rate goes to few senders at a time, in turn, since each sender's burst is at least one recipient. Bursts are counted
//! as rates are: whoever holds nothing gets nothing until the others leave room for one more recipient at once.

mod safe;
mod turns;

use std::collections::BTreeMap;
use std::time::Duration;

use super::share::{burst_of_share, holders_max, shares};
use super::{HolderId, TTL, in_books};
use crate::gcra::burst_of;
pub use safe::Reserve;
use safe::Safes;
use turns::Turns;

/// Parts of a rate below this are rounding, not a lease.
const RATE_MIN: f64 = 1e-3;

/// What a sender asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// Rises with each request of an incarnation.
    pub sequence: u64,
    /// Recipients per second that it could use.
    pub wants: f64,
    /// What it holds.
    pub has: f64,
    /// What it may go on with once that has lapsed.
    pub has_safe: f64,
    /// Whether it may be given such a rate.
    pub keeps: bool,
}

/// What a sender gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Granted {
    pub rate: f64,
    pub burst: f64,
    /// What it may go on with for [`super::SAFE_TTL`] once the lease has lapsed; 0 for nothing.
    pub safe_rate: f64,
    /// False while a sender must hand over what another waits for, or waits itself: both had better ask again soon.
    pub settled: bool,
}

/// What one leader leaves to the next of a sender.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub sequence: u64,
    pub wants: f64,
    /// The most that it can be spending, per second.
    pub outstanding: f64,
    /// The most that it can go on with once its lease has lapsed.
    pub safe: f64,
}

/// The books of one key.
#[derive(Clone, Debug)]
pub struct Books {
    rate: f64,
    learning_until: Duration,
    holders: BTreeMap<HolderId, Holder>,
    turns: Turns,
    safes: Safes,
}

/// One sender's line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Holder {
    sequence: u64,
    wants: f64,
    granted: f64,
    outstanding: f64,
    /// What the last grant lets it send at once, in recipients, and the most that it can.
    granted_burst: f64,
    burst: f64,
    /// The rate in force when what is outstanding was issued, the larger one if it was issued in two grants.
    issued_under: f64,
    expires_at: Duration,
}

impl Books {
    /// Empty books of a leader elected at `elected_at`, which learn until every lease from before is over.
    #[must_use]
    pub fn new(rate: f64, elected_at: Duration) -> Self {
        Self {
            rate,
            learning_until: elected_at + in_books(TTL),
            holders: BTreeMap::new(),
            turns: Turns::default(),
            safes: Safes::default(),
        }
    }

    /// The same books, which keep so much back for safe rates from here on.
    #[must_use]
    pub fn keeping(mut self, reserve: Reserve) -> Self {
        self.safes.keep(reserve);
        self
    }

    /// The books of the leader before, all of whose `lines` are known. They count for the time of a lease from `now`, which is later than
    /// any of those leases was asked for: no other process's clock is read.
    #[must_use]
    pub fn reopened(rate: f64, lines: impl IntoIterator<Item = (HolderId, Line)>, now: Duration) -> Self {
        let mut books = Self {
            learning_until: now,
            ..Self::new(rate, now)
        };
        let lines: Vec<(HolderId, Line)> = lines.into_iter().collect();
        let all: f64 = lines
            .iter()
            .map(|(_, line)| clean(line.outstanding) + clean(line.safe))
            .sum();
        for (id, line) in lines {
            books.safes.reopen(id, clean(line.safe), all.max(rate), now);
            let outstanding = clean(line.outstanding);
            let holder = Holder {
                sequence: line.sequence,
                wants: clean(line.wants),
                granted: outstanding,
                outstanding,
                granted_burst: burst_at_most(outstanding),
                burst: burst_at_most(outstanding),
                issued_under: all.max(rate),
                expires_at: now + in_books(TTL),
            };
            books.holders.insert(id, holder);
        }
        let holding = books
            .holders
            .iter()
            .filter(|(_, holder)| holder.outstanding > 0.0);
        books.turns = Turns::reopened(holding.map(|(id, _)| *id), now);
        books
    }

    /// What the next leader must know of a sender.
    #[must_use]
    pub fn line(&self, id: HolderId) -> Option<Line> {
        let (holder, safe) = (self.holders.get(&id), self.safes.of(id));
        (holder.is_some() || safe > 0.0).then(|| Line {
            sequence: holder.map_or(0, |holder| holder.sequence),
            wants: holder.map_or(0.0, |holder| holder.wants),
            outstanding: holder.map_or(0.0, |holder| holder.outstanding),
            safe,
        })
    }

    /// Puts another rate in force. What is granted already shrinks as senders ask again.
    pub const fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// Grants, or says nothing to a request that is older than one that came before.
    pub fn refresh(&mut self, id: HolderId, request: &Request, now: Duration) -> Option<Granted> {
        self.expire(now);
        let before = self.holders.get(&id).copied();
        if before.is_some_and(|holder| request.sequence <= holder.sequence) {
            return None;
        }
        let has = clean(request.has);
        let line = Holder {
            sequence: request.sequence,
            wants: clean(request.wants),
            granted: 0.0,
            outstanding: has,
            granted_burst: 0.0,
            burst: before.map_or_else(|| burst_at_most(has), |holder| holder.burst_with(has)),
            issued_under: before.map_or(self.rate, |holder| holder.issued_under.max(self.rate)),
            expires_at: now + in_books(TTL),
        };
        self.holders.insert(id, line);
        let (all, senders) = (self.rate, self.holders.len());
        let may_keep = request.keeps && !self.is_learning(now);
        let for_safe = if may_keep { all } else { 0.0 };
        let safe_rate = self
            .safes
            .grant(id, clean(request.has_safe), (for_safe, senders), now);
        let for_leases = self.for_leases();
        let share = self.share(id, for_leases, now);
        let others: f64 = self.others(id).map(|holder| holder.outstanding).sum();
        let free = (for_leases - others).max(0.0);
        let free_burst = burst_of(for_leases) - self.others(id).map(|holder| holder.burst).sum::<f64>();
        let allowed = if self.is_learning(now) {
            has
        } else if has <= 0.0 && free_burst + RATE_MIN < 1.0 {
            0.0
        } else {
            share
        };
        let rate = clean(allowed.min(free));
        let settled = rate >= share - RATE_MIN && (has <= rate + RATE_MIN || !self.is_awaited(id));
        let burst = burst_of_share(rate, for_leases, self.turns.len());
        let burst = burst.min(free_burst).max(1.0);
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.grant(rate, burst, self.rate);
        }
        Some(Granted {
            rate,
            burst,
            safe_rate,
            settled,
        })
    }

    /// Takes back all that a sender holds; it has said that it spends nothing any more.
    pub fn release(&mut self, id: HolderId) {
        self.holders.remove(&id);
        self.turns.leave(id);
        self.safes.release(id);
    }

    /// Strikes out what is over, and says whose.
    pub fn expire(&mut self, now: Duration) -> Vec<HolderId> {
        let turns = &mut self.turns;
        let mut over = self.safes.expire(now);
        self.holders.retain(|id, holder| {
            let lives = now < holder.expires_at;
            if !lives {
                turns.leave(*id);
                over.push(*id);
            }
            lives
        });
        over
    }

    #[must_use]
    pub fn is_learning(&self, now: Duration) -> bool {
        now < self.learning_until
    }

    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// What of the rate is for leases: all but what is kept back for safe rates.
    #[must_use]
    pub fn for_leases(&self) -> f64 {
        (self.rate - self.safes.kept_back(self.rate)).max(0.0)
    }

    /// The most that all senders together can be spending, per second.
    #[must_use]
    pub fn outstanding(&self, now: Duration) -> f64 {
        let living = self.holders.iter().filter(|(_, holder)| now < holder.expires_at);
        // By its own clock its lease may be over.
        let most = |(id, holder): (&HolderId, &Holder)| holder.outstanding.max(self.safes.of(*id));
        living.map(most).sum::<f64>() + self.lapsed(now).0
    }

    /// What the last grants to all senders come to.
    #[must_use]
    pub fn leased(&self, now: Duration) -> f64 {
        self.alive(now).map(|holder| holder.granted).sum()
    }

    #[must_use]
    pub fn wanted(&self, now: Duration) -> f64 {
        self.alive(now).map(|holder| holder.wants).sum()
    }

    /// The last sequence of a sender that is in the books.
    #[must_use]
    pub fn sequence(&self, id: HolderId) -> Option<u64> {
        self.holders.get(&id).map(|holder| holder.sequence)
    }

    /// What each sender wants, and what it was granted last; for people.
    pub fn lines(&self, now: Duration) -> impl Iterator<Item = (HolderId, f64, f64)> {
        self.holders
            .iter()
            .filter(move |(_, holder)| now < holder.expires_at)
            .map(|(id, holder)| (*id, holder.wants, holder.granted))
    }

    /// How many senders asked within the time of a lease.
    #[must_use]
    pub fn senders(&self, now: Duration) -> usize {
        self.alive(now).count()
    }

    /// The largest rate in force when a lease that still lives was issued: what the outstanding together never exceed, once
    /// the books have learned.
    #[must_use]
    pub fn bound(&self, now: Duration) -> f64 {
        self.alive(now)
            .map(|holder| holder.issued_under)
            .fold(self.rate.max(self.lapsed(now).1), f64::max)
    }

    /// What senders may go on with whose leases have lapsed, and the largest rate under which that was issued.
    fn lapsed(&self, now: Duration) -> (f64, f64) {
        let lives = |id| {
            self.holders
                .get(&id)
                .is_some_and(|holder| now < holder.expires_at)
        };
        self.safes.of_lapsed(lives, now)
    }

    fn alive(&self, now: Duration) -> impl Iterator<Item = &Holder> {
        self.holders
            .values()
            .filter(move |holder| now < holder.expires_at)
    }

    fn others(&self, id: HolderId) -> impl Iterator<Item = &Holder> {
        self.holders
            .iter()
            .filter(move |(other, _)| **other != id)
            .map(|(_, holder)| holder)
    }

    /// What `id` should get of `rate`: its share among those whose turn it is.
    fn share(&mut self, id: HolderId, rate: f64, now: Duration) -> f64 {
        let wanting = self.holders.iter().filter(|(_, holder)| holder.wants > 0.0);
        self.turns
            .update(wanting.map(|(id, _)| *id), holders_max(rate), now);
        let in_turn: Vec<HolderId> = self.turns.iter().collect();
        let wants: Vec<f64> = in_turn
            .iter()
            .map(|id| self.holders.get(id).map_or(0.0, |holder| holder.wants))
            .collect();
        let shares = shares(rate, &wants);
        in_turn
            .iter()
            .position(|other| *other == id)
            .map_or(0.0, |index| shares[index])
    }

    /// True if another waits for what `id` still holds.
    fn is_awaited(&self, id: HolderId) -> bool {
        self.others(id)
            .any(|holder| holder.granted + RATE_MIN < holder.wants)
    }
}

impl Holder {
    /// What it can send at once if it holds the rate `has`: what it was granted last, if this is that rate.
    fn burst_with(&self, has: f64) -> f64 {
        if has <= 0.0 {
            0.0
        } else if (has - self.granted).abs() <= RATE_MIN {
            self.granted_burst
        } else {
            self.burst
        }
    }

    /// Until it says which grant it holds, it may hold the former one or this one.
    fn grant(&mut self, rate: f64, burst: f64, in_force: f64) {
        if self.outstanding <= rate {
            // All that is outstanding is issued by this grant, whether it arrives or not.
            self.issued_under = in_force;
        }
        self.granted = rate;
        self.outstanding = self.outstanding.max(rate);
        self.granted_burst = if rate > 0.0 { burst } else { 0.0 };
        self.burst = self.burst.max(self.granted_burst);
    }
}

/// The most that a part of a rate may have had as its burst, whoever shared the rate.
fn burst_at_most(part: f64) -> f64 {
    if part > 0.0 { 1.0 + burst_of(part) } else { 0.0 }
}

/// What no sender may say: a rate that is not a number, negative or absurd.
fn clean(rate: f64) -> f64 {
    if rate.is_finite() && rate >= RATE_MIN {
        rate.min(1e9)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
