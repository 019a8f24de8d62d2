//! Counted budgets: what a rate can't hold back, such as a day's quota, a warm-up's day, or twenty probes.
//!
//! All is cumulative over a sender's incarnation. The answer says how much was granted in all, the request how much was granted
//! and spent in all. So an answer that was lost is said again and burns nothing, and a leader that knows the lines of the one before
//! (the books are part of the saved state) grants nothing twice. A sender that lapses is taken to have spent all that it was granted; if
//! it comes back, it may go on with that. What a leaving sender gives back is free at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HolderId, TTL, in_books};
use crate::lane::Lane;

/// Senders that have lapsed and are remembered, in case they come back.
const LAPSED_MAX: usize = 1_000;
/// Unspent recipients that a sender is believed to hold by the word of a leader that nobody remembers.
const UNSPENT_MAX: u64 = 1_000_000;

/// What a sender says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Rises with each call of an incarnation.
    pub sequence: u64,
    /// Granted over its incarnation, in recipients, as far as it knows.
    pub granted_total: u64,
    pub spent_total: u64,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Recipients that it may spend over its incarnation.
    pub granted_total: u64,
    /// Bulk mail may go while less than this is spent; at most `granted_total`. What is above is kept for transactional mail.
    pub bulk_total: u64,
}

/// What may still be granted, in recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub all: u64,
    /// What of it bulk mail may have.
    pub bulk: u64,
}

impl Left {
    /// For both lanes alike.
    #[must_use]
    pub const fn all(n: u64) -> Self {
        Self { all: n, bulk: n }
    }

    /// What both allow.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            all: self.all.min(other.all),
            bulk: self.bulk.min(other.bulk),
        }
    }

    #[must_use]
    pub const fn of(self, lane: Lane) -> u64 {
        match lane {
            Lane::Transactional => self.all,
            Lane::Bulk => self.bulk,
        }
    }
}

/// What is new in a sender's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Spent since its last word, in recipients.
    pub spent: u64,
    /// Spent before by a sender that nobody remembers: counted already, or lost with the counters.
    pub unknown: u64,
    /// Unspent by a grant that these books do not know, or have taken back already.
    pub granted: u64,
}

/// What came with a sender's last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    pub spent: u64,
    pub given_back: u64,
}

/// A sender that has not asked within the time of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapsed {
    pub holder: HolderId,
    /// What it held, in recipients: it counts as spent.
    pub unspent: u64,
}

/// The books of the counted budgets of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    lines: BTreeMap<HolderId, Line>,
    /// Granted and not spent, the sum of all lines.
    outstanding: u64,
}

/// One sender's line, in recipients over its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    granted: u64,
    bulk: u64,
    /// What counts as spent: all that is granted, once it lapsed.
    spent: u64,
    /// What it said last that it spent.
    said: u64,
    expires_at: Duration,
    lapsed: bool,
    sequence: u64,
}

impl Budget {
    /// Takes in a sender's word; `None` if a later one came before. A new leader, too, must not believe an old word that comes late.
    pub fn hear(&mut self, id: HolderId, said: Said, now: Duration) -> Option<Heard> {
        let granted = said
            .granted_total
            .clamp(said.spent_total, said.spent_total.saturating_add(UNSPENT_MAX));
        let expires_at = now + in_books(TTL);
        let Some(line) = self.lines.get_mut(&id) else {
            let line = Line {
                granted,
                bulk: said.spent_total,
                spent: said.spent_total,
                said: said.spent_total,
                expires_at,
                lapsed: false,
                sequence: said.sequence,
            };
            self.lines.insert(id, line);
            self.changed(0, line.unspent());
            return Some(Heard {
                spent: 0,
                unknown: said.spent_total,
                granted: line.unspent(),
            });
        };
        if said.sequence <= line.sequence {
            return None;
        }
        let unspent = line.unspent();
        line.sequence = said.sequence;
        let spent = said.spent_total.saturating_sub(line.spent);
        line.spent = line.spent.saturating_add(spent);
        line.said = said.spent_total;
        line.granted = line.granted.max(line.spent);
        let before = line.granted;
        line.granted = before.max(granted);
        let granted = line.granted - before;
        line.expires_at = line.expires_at.max(expires_at);
        line.lapsed = false;
        let after = line.unspent();
        self.changed(unspent, after);
        Some(Heard {
            spent,
            unknown: 0,
            granted,
        })
    }

    /// Grants a sender that was heard so much that it holds `hold` unspent recipients, if `left` allows.
    pub fn grant(&mut self, id: HolderId, hold: u64, left: Left) -> Allowance {
        let Some(line) = self.lines.get_mut(&id) else {
            return Allowance {
                granted_total: 0,
                bulk_total: 0,
            };
        };
        let before = line.granted;
        let outstanding = line.unspent();
        let unspent = before.saturating_sub(line.said);
        line.granted = before.saturating_add(hold.saturating_sub(unspent).min(left.all));
        if left.bulk > 0 {
            let bulk = before.saturating_add(left.bulk);
            line.bulk = line.bulk.max(bulk).min(line.granted);
        }
        let (granted_total, bulk_total) = (line.granted, line.bulk.min(line.granted));
        let after = line.unspent();
        self.changed(outstanding, after);
        Allowance {
            granted_total,
            bulk_total,
        }
    }

    /// Takes in a leaving sender's last word, and what it has not spent.
    pub fn release(&mut self, id: HolderId, said: Said) -> Returned {
        let Some(line) = self.lines.remove(&id) else {
            return Returned::default();
        };
        self.changed(line.unspent(), 0);
        let spent = said.spent_total.saturating_sub(line.spent);
        let counted = line.spent.saturating_add(spent);
        Returned {
            spent,
            given_back: line.granted.saturating_sub(counted),
        }
    }

    /// Takes back what a sender holds unspent, right after its word that it holds no rate: it can't be spending. Returns how much of
    /// it did not count as spent yet.
    pub fn reclaim(&mut self, id: HolderId) -> u64 {
        let Some(line) = self.lines.get_mut(&id) else {
            return 0;
        };
        let unspent = line.unspent();
        (line.granted, line.spent) = (line.said, line.said);
        line.bulk = line.bulk.min(line.said);
        self.changed(unspent, 0);
        unspent
    }

    /// Counts as spent what senders hold that have not asked within the time of a lease, and says who they are.
    pub fn expire(&mut self, now: Duration) -> Vec<Lapsed> {
        let mut lapsed = Vec::new();
        for (holder, line) in &mut self.lines {
            if now >= line.expires_at && !line.lapsed {
                lapsed.push(Lapsed {
                    holder: *holder,
                    unspent: line.unspent(),
                });
                line.spent = line.granted;
                line.lapsed = true;
            }
        }
        if !lapsed.is_empty() {
            let unspent = |sum: u64, it: &Lapsed| sum.saturating_add(it.unspent);
            self.changed(lapsed.iter().fold(0, unspent), 0);
            self.forget_oldest();
        }
        lapsed
    }

    /// Another leader goes on from here: whoever had not lapsed gets the time of a lease to say so.
    pub fn resume(&mut self, now: Duration) {
        let expires_at = now + in_books(TTL);
        for line in self.lines.values_mut().filter(|line| !line.lapsed) {
            line.expires_at = expires_at;
        }
    }

    /// Granted and not spent, of all senders.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        debug_assert_eq!(
            self.outstanding,
            self.lines
                .values()
                .fold(0, |sum: u64, line| sum.saturating_add(line.unspent()))
        );
        self.outstanding
    }

    /// Granted to one sender and not spent.
    #[must_use]
    pub fn unspent(&self, id: HolderId) -> u64 {
        self.lines.get(&id).map_or(0, Line::unspent)
    }

    /// True if the sender has lapsed, or was never heard.
    #[must_use]
    pub fn has_lapsed(&self, id: HolderId) -> bool {
        self.lines.get(&id).is_none_or(|line| line.lapsed)
    }

    const fn changed(&mut self, before: u64, after: u64) {
        self.outstanding = self.outstanding.saturating_sub(before).saturating_add(after);
    }

    fn forget_oldest(&mut self) {
        let lapsed = || self.lines.iter().filter(|(_, line)| line.lapsed);
        let surplus = lapsed().count().saturating_sub(LAPSED_MAX);
        if surplus == 0 {
            return;
        }
        let mut oldest: Vec<(Duration, HolderId)> =
            lapsed().map(|(id, line)| (line.expires_at, *id)).collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(surplus) {
            self.lines.remove(&id);
        }
    }
}

impl Line {
    const fn unspent(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }
}

#[cfg(test)]
mod tests;
