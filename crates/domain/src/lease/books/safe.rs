//! The safe rates: what senders may go on with, for a while, when their leases have lapsed and no coordinator answers.
//!
//! Off unless the settings keep a part of the rate back for it. That part is leased to the senders in equal parts, beside their
//! leases and with their own deadline. What a sender may go on with counts until then whether or not it is heard of, so a partition
//! adds nothing to the rate: unreserved, `n` senders would add `n` times their safe rate (Doorman's `safe_capacity`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::{HolderId, SAFE_LOOK, SAFE_TTL, TTL, in_books};

/// Of less a tenth of a second is no recipient: bursts would be more than those of what is kept back.
const SHARE_MIN: f64 = 10.0;

/// What the settings keep back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// The part of the rate, from 0 (nothing) to 0.5.
    pub share: f64,
    /// How many senders are expected at the least.
    pub senders: usize,
}

/// The safe rates of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Safes {
    reserve: Reserve,
    lines: BTreeMap<HolderId, Safe>,
}

#[derive(Clone, Copy, Debug)]
struct Safe {
    /// The most that it may go on with, per second.
    rate: f64,
    issued_under: f64,
    until: Duration,
}

impl Safes {
    pub(super) fn keep(&mut self, reserve: Reserve) {
        self.reserve = reserve;
    }

    /// What a leader before has leased to a sender: its next look shows it another epoch.
    pub(super) fn reopen(&mut self, id: HolderId, rate: f64, issued_under: f64, now: Duration) {
        let until = now + in_books(SAFE_LOOK);
        if rate > 0.0 {
            self.lines.insert(
                id,
                Safe {
                    rate,
                    issued_under,
                    until,
                },
            );
        }
    }

    /// What of `rate` is not for leases: the reserve, or what is leased of an earlier one.
    pub(super) fn kept_back(&self, rate: f64) -> f64 {
        (self.reserve.share * rate).max(self.lines.values().map(|safe| safe.rate).sum())
    }

    /// Leases a safe rate to one of so many senders, which says that it has `has` of before: no more than it was leased. A part too small
    /// for a burst of its own is none.
    pub(super) fn grant(
        &mut self,
        id: HolderId,
        has: f64,
        (rate, senders): (f64, usize),
        now: Duration,
    ) -> f64 {
        let kept = self.reserve.share * rate;
        let senders = senders.max(self.reserve.senders).max(1);
        let others = self.lines.iter().filter(|(other, _)| **other != id);
        let others: f64 = others.map(|(_, safe)| safe.rate).sum();
        #[expect(clippy::cast_precision_loss, reason = "a number of senders")]
        let share = (kept / senders as f64).min(kept - others);
        let granted = if share >= SHARE_MIN { share } else { 0.0 };
        let before = self.lines.remove(&id);
        let has = has.min(before.map_or(0.0, |safe| safe.rate));
        if granted > 0.0 || has > 0.0 {
            let issued_under = before.map_or(rate, |safe| safe.issued_under.max(rate));
            let line = Safe {
                rate: granted.max(has),
                issued_under: if has <= granted { rate } else { issued_under },
                until: now + in_books(TTL + SAFE_TTL),
            };
            self.lines.insert(id, line);
        }
        granted
    }

    pub(super) fn release(&mut self, id: HolderId) {
        self.lines.remove(&id);
    }

    /// Strikes out what is over, and says whose.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<HolderId> {
        let over = self.lines.extract_if(.., |_, safe| now >= safe.until);
        over.map(|(id, _)| id).collect()
    }

    /// What a sender may go on with.
    pub(super) fn of(&self, id: HolderId) -> f64 {
        self.lines.get(&id).map_or(0.0, |safe| safe.rate)
    }

    /// What those may go on with, and under which rate it was issued at the most, whose leases are over as far as `lives` says.
    pub(super) fn of_lapsed(&self, lives: impl Fn(HolderId) -> bool, now: Duration) -> (f64, f64) {
        let lapsed = self
            .lines
            .iter()
            .filter(|(id, safe)| now < safe.until && !lives(**id));
        lapsed.fold((0.0, 0.0), |(sum, under): (f64, f64), (_, safe)| {
            (sum + safe.rate, under.max(safe.issued_under))
        })
    }
}
