//! Redis: the lead, and the key's state and lease table, written in one fenced step. It can restart empty, and fail over to a replica
//! that lacks the newest writes.

use std::collections::VecDeque;
use std::rc::Rc;

use paceline_domain::controller::Controller;
use paceline_domain::lease::{HolderId, Line};

/// How long the lead lasts without a renewal, in milliseconds.
pub const LEAD_MS: u64 = 3_000;
/// The run of a table that its leader has not learned yet.
pub const NOT_WHOLE: u64 = u64::MAX;
const SNAPSHOT_MS: u64 = 100;
const SNAPSHOTS: usize = 25;

/// A leader's term: the epoch, and a number that no other leader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub epoch: u64,
    pub nonce: u64,
}

/// The state of the key.
#[derive(Clone, Debug)]
pub struct Kept {
    pub term: Term,
    pub rev: u64,
    pub controller: Option<Controller>,
    pub table: Vec<(HolderId, Line)>,
    /// The run of Redis in which it was written.
    pub run: u64,
}

#[derive(Clone, Debug, Default)]
struct Data {
    lead: Option<(Term, u64)>,
    counter: u64,
    kept: Option<Rc<Kept>>,
}

/// What a leader finds of the key.
#[derive(Clone, Debug)]
pub struct Adopted {
    pub controller: Option<Controller>,
    /// The whole table, unless Redis may have lost a part.
    pub table: Option<Vec<(HolderId, Line)>>,
    pub rev: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Redis {
    data: Data,
    pub run: u64,
    pub down_until: u64,
    snapshots: VecDeque<(u64, Data)>,
    /// The largest epoch whose write was seen in this run.
    pub written: u64,
}

impl Redis {
    pub fn is_down(&self, now: u64) -> bool {
        now < self.down_until
    }

    /// The replica follows.
    pub fn replicate(&mut self, now: u64) {
        if now.is_multiple_of(SNAPSHOT_MS) {
            self.snapshots.push_back((now, self.data.clone()));
            if self.snapshots.len() > SNAPSHOTS {
                self.snapshots.pop_front();
            }
        }
    }

    /// Takes the lead if it is free: the epoch is past all that is known.
    pub fn lead(&mut self, nonce: u64, floor: u64, now: u64) -> Option<Term> {
        match self.data.lead {
            Some((term, until)) if now < until && term.nonce != nonce => return None,
            Some((term, until)) if now < until => return Some(term),
            _ => {}
        }
        let kept = self.data.kept.as_ref().map_or(0, |kept| kept.term.epoch);
        let epoch = self.data.counter.max(kept).max(floor) + 1;
        let term = Term { epoch, nonce };
        self.data.counter = epoch;
        self.data.lead = Some((term, now + LEAD_MS));
        Some(term)
    }

    /// Whose writes it takes.
    pub fn owner(&self) -> Option<Term> {
        self.data.kept.as_ref().map(|kept| kept.term)
    }

    /// Who has the lead, living or dead, and until when.
    pub fn led_by(&self) -> Option<(Term, u64)> {
        self.data.lead
    }

    pub fn renew(&mut self, term: Term, now: u64) -> bool {
        match &mut self.data.lead {
            Some((held, until)) if *held == term && now < *until => {
                *until = now + LEAD_MS;
                true
            }
            _ => false,
        }
    }

    pub fn resign(&mut self, term: Term) {
        self.data.lead = self.data.lead.filter(|(held, _)| *held != term);
    }

    /// The key is `term`'s from here on; `None` if it is a newer leader's.
    pub fn adopt(&mut self, term: Term) -> Option<Adopted> {
        let kept = self.data.kept.clone();
        if kept.as_ref().is_some_and(|kept| kept.term.epoch > term.epoch) {
            return None;
        }
        let found = kept.as_deref().map_or_else(
            || Kept {
                term,
                rev: 0,
                controller: None,
                table: Vec::new(),
                run: NOT_WHOLE,
            },
            Kept::clone,
        );
        // The table stays what it is until this leader writes: whether it is whole is known by its run.
        self.data.kept = Some(Rc::new(Kept {
            term,
            ..found.clone()
        }));
        Some(Adopted {
            table: (found.run == self.run).then_some(found.table),
            controller: found.controller,
            rev: found.rev,
        })
    }

    /// Writes `new`, whose `rev` is one past what its leader wrote last. True if it is written, now or by an earlier try.
    pub fn commit(&mut self, new: &Rc<Kept>) -> bool {
        let Some(kept) = &self.data.kept else {
            return false;
        };
        if kept.term != new.term || (kept.rev + 1 != new.rev && kept.rev != new.rev) {
            return false;
        }
        if kept.rev + 1 == new.rev {
            let mut written = Kept::clone(new);
            if written.run != NOT_WHOLE {
                written.run = self.run;
            }
            self.data.kept = Some(Rc::new(written));
        }
        true
    }

    /// Restarts without its data.
    pub fn lose_all(&mut self, now: u64, down_ms: u64) {
        self.data = Data::default();
        self.begin_run(now, down_ms);
    }

    /// A replica takes over that lacks the last `lost_ms`.
    pub fn fail_over(&mut self, now: u64, lost_ms: u64, down_ms: u64) {
        let at = now.saturating_sub(lost_ms);
        let snapshot = self.snapshots.iter().rev().find(|(taken, _)| *taken <= at);
        let snapshot = snapshot.or_else(|| self.snapshots.front());
        self.data = snapshot.map(|(_, data)| data.clone()).unwrap_or_default();
        self.begin_run(now, down_ms);
    }

    fn begin_run(&mut self, now: u64, down_ms: u64) {
        self.run += 1;
        self.written = 0;
        self.down_until = now + down_ms;
        self.snapshots.clear();
    }
}
