//! Redis: the lead, and each key's state and lease table, written in one fenced step. It can restart empty, and fail over to a replica
//! that lacks the newest writes.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use paceline_domain::controller::Controller;
use paceline_domain::lease::{HolderId, Line};

/// How long the lead lasts without a renewal, in milliseconds.
pub const LEAD_MS: u64 = 3_000;
const SNAPSHOT_MS: u64 = 100;
const SNAPSHOTS: usize = 25;

/// A leader's term: the epoch, and a number that no other leader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub epoch: u64,
    pub nonce: u64,
}

/// The state of a key.
#[derive(Clone, Debug)]
pub struct Kept {
    pub term: Term,
    pub rev: u64,
    pub controller: Option<Controller>,
    pub table: Vec<(HolderId, Line)>,
    /// The `rev` whose table it is; `None` where its writer did not know every lease.
    pub table_rev: Option<u64>,
    /// The run of Redis in which its leader adopted it.
    run: u64,
    /// Whether that leader was given the table.
    fits: bool,
}

impl Kept {
    /// What is to be written.
    pub const fn new(
        term: Term,
        rev: u64,
        controller: Controller,
        table: Vec<(HolderId, Line)>,
        is_whole: bool,
    ) -> Self {
        Self {
            term,
            rev,
            controller: Some(controller),
            table,
            table_rev: if is_whole { Some(rev) } else { None },
            run: 0,
            fits: false,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Data {
    lead: Option<(Term, u64)>,
    counter: u64,
    kept: BTreeMap<usize, Rc<Kept>>,
}

/// What a leader knows of a key beyond what Redis says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The largest epoch in which somebody led before.
    pub epoch: u64,
    /// Epoch and rev that it wrote last itself.
    pub written: (u64, u64),
}

/// What a leader finds of a key.
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
    /// The largest epoch whose write was seen of each key in this run.
    pub written: BTreeMap<usize, u64>,
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
        let kept = self.data.kept.values().map(|kept| kept.term.epoch).max();
        let kept = kept.unwrap_or(0);
        let epoch = self.data.counter.max(kept).max(floor) + 1;
        let term = Term { epoch, nonce };
        self.data.counter = epoch;
        self.data.lead = Some((term, now + LEAD_MS));
        Some(term)
    }

    /// Whose writes of a key it takes.
    pub fn owner(&self, key: usize) -> Option<Term> {
        self.data.kept.get(&key).map(|kept| kept.term)
    }

    /// Whose a key's rate is, and its version, by what was written last.
    pub fn version(&self, key: usize) -> Option<(u64, u64)> {
        let kept = self.data.kept.get(&key)?;
        Some((kept.term.epoch, kept.controller.as_ref()?.version()))
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

    /// The key is `term`'s from here on, whose leader knows so much of the time before; `None` if it is a newer leader's.
    /// The same call again has the same answer.
    pub fn adopt(&mut self, key: usize, term: Term, known: Known) -> Option<Adopted> {
        let found = self.data.kept.get(&key).cloned();
        if let Some(kept) = &found
            && kept.term.epoch >= term.epoch
        {
            return (kept.term == term).then(|| adopted(kept));
        }
        let mut kept = found.as_deref().map_or_else(
            || Kept {
                term,
                rev: 0,
                controller: None,
                table: Vec::new(),
                table_rev: None,
                run: self.run,
                fits: false,
            },
            Kept::clone,
        );
        // The table is of the last write, in this run, and no write is known that came after it.
        let is_behind = (kept.term.epoch, kept.rev) < known.written || kept.term.epoch < known.epoch;
        kept.fits = kept.table_rev == Some(kept.rev) && kept.run == self.run && !is_behind;
        kept.rev += 1;
        kept.table_rev = kept.fits.then_some(kept.rev);
        if !kept.fits {
            kept.table.clear();
        }
        (kept.term, kept.run) = (term, self.run);
        let kept = Rc::new(kept);
        self.data.kept.insert(key, Rc::clone(&kept));
        Some(adopted(&kept))
    }

    /// Writes `new`, whose `rev` is one past what its leader wrote last. True if it is written, now or by an earlier try.
    pub fn commit(&mut self, key: usize, new: &Rc<Kept>) -> bool {
        let Some(kept) = self.data.kept.get(&key) else {
            return false;
        };
        if kept.term != new.term || (kept.rev + 1 != new.rev && kept.rev != new.rev) {
            return false;
        }
        if kept.rev + 1 == new.rev {
            let written = Kept {
                run: kept.run,
                fits: kept.fits,
                ..Kept::clone(new)
            };
            self.data.kept.insert(key, Rc::new(written));
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
        self.written.clear();
        self.down_until = now + down_ms;
        self.snapshots.clear();
    }
}

fn adopted(kept: &Kept) -> Adopted {
    Adopted {
        table: kept.fits.then(|| kept.table.clone()),
        controller: kept.controller.clone(),
        rev: kept.rev,
    }
}
