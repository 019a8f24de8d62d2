//! A coordinator: takes part in the elections, and while it leads runs the real controller and the real books of each key, and the
//! account that they share. What it
//! decides and grants is written to Redis in one fenced step before anybody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use paceline_domain::aimd::{self, CutReason, Meter};
use paceline_domain::controller::account::{Account, Demand};
use paceline_domain::controller::breaker::{Standing, Transition};
use paceline_domain::controller::journal::Entry;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::{self, Asked, Controller, Counts, Decision, Event, Settings, Tick};
use paceline_domain::lease::budget::Said;
use paceline_domain::lease::{Books, Grant, HolderId, Request, Reserve, SAFE_TTL, TTL, in_books};

use crate::chance::Clock;
use crate::redis::{Adopted, Kept, Known, LEAD_MS, Term};
use crate::sender::Call;
use crate::world::Plan;

/// What a leader stops short of the end of its lead.
const MARGIN_MS: u64 = 300;

/// One process.
#[derive(Debug)]
pub struct Coordinator {
    pub clock: Clock,
    pub lead: Option<Lead>,
    pub frozen_until: u64,
    pub dead_until: u64,
    /// What it asks of Redis is cut off until then; and what Redis answers.
    pub mute_until: u64,
    pub deaf_until: u64,
    pub deaf_since: u64,
    pub next_try: u64,
    pub nonce: u64,
    pub epoch_floor: u64,
    /// Epoch and rev that it wrote last of each key.
    pub wrote: BTreeMap<usize, (u64, u64)>,
}

/// A lead, from the answer of Redis on.
#[derive(Debug)]
pub struct Lead {
    pub term: Term,
    pub since: Duration,
    pub until: Duration,
    pub next_renewal: u64,
    /// The largest epoch before it that is known.
    pub epoch_before: u64,
    /// Those that are open.
    pub keys: BTreeMap<usize, Key>,
    /// What all identities may send together.
    pub account: Option<Account<usize>>,
}

/// A key at the leader's desk.
#[derive(Debug)]
pub struct Key {
    pub controller: Controller,
    pub books: Books,
    meter: Meter,
    accepted: BTreeMap<HolderId, u64>,
    latencies: BTreeMap<HolderId, Duration>,
    known: BTreeSet<HolderId>,
    boot_at: Duration,
    rev: u64,
    /// What is on its way to Redis, since when, and what may be said once it is there.
    pub write: Option<(Rc<Kept>, u64, Batch)>,
    pub batch: Batch,
    pub journal: Vec<Entry>,
    /// When the provider's answers cut.
    pub cuts: Vec<Duration>,
    /// What the account's other keys leave to it.
    allotted: Option<f64>,
}

/// What waits for a write.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub replies: Vec<Reply>,
    /// (version, ratio) of cuts.
    pub cuts: Vec<(u64, f64)>,
    /// The rates that came into force.
    pub rates: Vec<f64>,
    pub decisions: Vec<Decision>,
}

/// An answer to a sender.
#[derive(Clone, Debug)]
pub struct Reply {
    pub id: HolderId,
    pub index: usize,
    pub asked_at: Duration,
    pub grant: Grant,
    pub settled: bool,
}

impl Coordinator {
    pub fn new(clock: Clock, nonce: u64, next_try: u64) -> Self {
        Self {
            clock,
            lead: None,
            frozen_until: 0,
            dead_until: 0,
            mute_until: 0,
            deaf_until: 0,
            deaf_since: 0,
            next_try,
            nonce,
            epoch_floor: 0,
            wrote: BTreeMap::new(),
        }
    }

    /// What it knows of a key beyond what Redis says.
    pub fn known(&self, key: usize) -> Known {
        Known {
            epoch: self.lead.as_ref().map_or(0, |lead| lead.epoch_before),
            written: self.wrote.get(&key).copied().unwrap_or_default(),
        }
    }

    /// The lead, while it lasts by its own clock.
    pub fn lead(&mut self, now: u64) -> Option<&mut Lead> {
        let at = self.clock.at(now);
        self.lead.as_mut().filter(|lead| at < lead.until)
    }

    /// A key that is open, while it leads.
    pub fn key(&mut self, key: usize, now: u64) -> Option<(&mut Key, Duration)> {
        let at = self.clock.at(now);
        let key = self.lead(now)?.keys.get_mut(&key)?;
        Some((key, at))
    }

    /// Shares the account's rate anew among the plan's identities, while it leads.
    pub fn allot(&mut self, plan: &Plan, max_send_rate: f64, now: u64) {
        let at = self.clock.at(now);
        if let Some(lead) = self.lead(now) {
            lead.allot(plan, max_send_rate, at);
        }
    }

    /// Redis has given it the lead, asked for at `asked_at` on its own clock.
    pub fn begin(&mut self, term: Term, asked_at: Duration, now: u64) {
        if term.epoch <= self.epoch_floor {
            return;
        }
        let epoch_before = std::mem::replace(&mut self.epoch_floor, term.epoch);
        self.lead = Some(Lead {
            term,
            since: self.clock.at(now),
            until: asked_at + Duration::from_millis(LEAD_MS - MARGIN_MS),
            next_renewal: now + 1_000,
            epoch_before,
            keys: BTreeMap::new(),
            account: None,
        });
    }

    pub fn extend(&mut self, term: Term, asked_at: Duration) {
        if let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == term) {
            lead.until = lead
                .until
                .max(asked_at + Duration::from_millis(LEAD_MS - MARGIN_MS));
        }
    }

    /// A sender has met this epoch: a lead of an older one is over, and is said.
    pub fn meet_epoch(&mut self, epoch: u64) -> Option<Term> {
        self.epoch_floor = self.epoch_floor.max(epoch);
        let over = self.lead.take_if(|lead| lead.term.epoch < epoch)?;
        self.next_try = 0;
        Some(over.term)
    }

    /// A key is adopted: goes on from what Redis has. `wall` is Redis's time.
    pub fn open(
        &mut self,
        (index, term): (usize, Term),
        adopted: Adopted,
        (settings, reserve): (Settings, Reserve),
        wall: Duration,
        now: u64,
    ) {
        let at = self.clock.at(now);
        let Some(lead) = self
            .lead
            .as_mut()
            .filter(|lead| lead.term == term && !lead.keys.contains_key(&index))
        else {
            return;
        };
        let boot_at = wall.saturating_sub(at);
        let controller = match adopted.controller {
            Some(kept) => kept.reopened(settings, boot_at + at),
            None => Controller::new(settings, None, boot_at + at),
        };
        let rate = controller.in_force().rate;
        let (books, known) = match adopted.table {
            Some(table) => {
                let known = table.iter().map(|(id, _)| *id).collect();
                (Books::reopened(rate, table, at), known)
            }
            None => (Books::new(rate, lead.since), BTreeSet::new()),
        };
        let key = Key {
            journal: vec![Entry::Opened(Box::new(controller.clone()))],
            books: books.keeping(reserve),
            meter: Meter::default(),
            accepted: BTreeMap::new(),
            latencies: BTreeMap::new(),
            known,
            boot_at,
            rev: adopted.rev,
            write: None,
            cuts: Vec::new(),
            batch: Batch {
                rates: vec![rate],
                ..Batch::default()
            },
            controller,
            allotted: None,
        };
        lead.keys.insert(index, key);
    }
}

impl Lead {
    /// While it is not known what all identities hold, none gets more than it has: one that is not open, or that learns, may hold
    /// what a leader before has granted.
    fn allot(&mut self, plan: &Plan, max_send_rate: f64, at: Duration) {
        let account = self.account.get_or_insert_with(|| Account::new(max_send_rate));
        account.set_max_send_rate(max_send_rate);
        for key in self.keys.values_mut() {
            key.look_at_account(max_send_rate, at);
        }
        let lacks_some = self.keys.len() < plan.identities;
        let keeps_back = plan.reserve.share > 0.0;
        let granted_max = if keeps_back { TTL + SAFE_TTL } else { TTL };
        let may_be_held = at < self.since + in_books(granted_max);
        let all_known =
            !(may_be_held && lacks_some) && self.keys.values().all(|key| !key.books.is_learning(at));
        let demand = |key: &Key| Demand {
            wants: key.books.wanted(at),
            cap: key.controller.in_force().rate,
            outstanding: key.books.outstanding(at),
        };
        account.allot(
            &self
                .keys
                .iter()
                .map(|(index, key)| (*index, demand(key)))
                .collect(),
        );
        for (index, key) in &mut self.keys {
            let allotted = account.allotted(index);
            let may_grow = all_known || key.books.is_learning(at);
            let held = key.books.outstanding(at);
            key.allotted = Some(if may_grow { allotted } else { allotted.min(held) });
            key.books.set_rate(key.leasable());
        }
    }
}

impl Key {
    /// Tells the controller, keeps the journal, and brings the books up to date.
    pub fn step(&mut self, event: Event, at: Duration) -> Vec<Decision> {
        let before = self.controller.in_force().rate;
        let decisions = self.controller.step(&event, self.boot_at + at);
        let event_at = self.boot_at + at;
        self.journal.push(Entry::Happened { at: event_at, event });
        let rate = self.controller.in_force().rate;
        self.books.set_rate(self.leasable());
        if rate.to_bits() != before.to_bits() {
            self.batch.rates.push(rate);
        }
        for decision in &decisions {
            if is_answer_s(decision) {
                self.cuts.push(event_at);
            }
            if let Decision::Rate {
                from, to, version, ..
            } = *decision
                && to < from
            {
                self.batch.cuts.push((version, to / from));
            }
        }
        let is_news = |it: &&Decision| !matches!(it, Decision::Granted { .. });
        self.batch
            .decisions
            .extend(decisions.iter().filter(is_news).cloned());
        decisions
    }

    /// Tells the controller what the account allows, if that is news.
    fn look_at_account(&mut self, max_send_rate: f64, at: Duration) {
        let known = self.controller.account().and_then(|it| it.max_send_rate);
        if known.is_none_or(|known| known.to_bits() != max_send_rate.to_bits()) {
            let looked = controller::Account {
                max_send_rate: Some(max_send_rate),
                daily: DailySend::Unlimited,
                sent_last_24_hours: 0,
                enabled: true,
            };
            self.step(Event::Account(looked), at);
        }
    }

    /// What may be leased: the rate in force, as far as the account's other keys leave it.
    pub fn leasable(&self) -> f64 {
        let rate = self.controller.in_force().rate;
        self.allotted.map_or(rate, |allotted| rate.min(allotted))
    }

    /// The controller's time.
    pub fn time(&self, at: Duration) -> Duration {
        self.boot_at + at
    }

    pub fn tick(&mut self, random: f64, at: Duration) {
        for id in self.books.expire(at) {
            if self.books.line(id).is_none() {
                self.known.remove(&id);
            }
            self.accepted.remove(&id);
            self.latencies.remove(&id);
        }
        let measured = self.meter.measured(at);
        let taken = Some(self.meter.taken());
        let latency = aimd::latency_of_most(self.latencies.values().copied());
        let tick = Tick {
            measured,
            taken,
            random,
            latency: latency.filter(|_| latency != self.controller.aimd().latency()),
            route: None,
        };
        self.step(Event::Tick(tick), at);
    }

    /// Answers once it is written.
    pub fn call(&mut self, call: &Call, epoch: u64, at: Duration) {
        if self
            .books
            .sequence(call.id)
            .is_some_and(|last| call.sequence <= last)
        {
            return;
        }
        let asked = self.asked(call, at);
        self.step(Event::Asked(asked), at);
        let request = Request {
            sequence: call.sequence,
            wants: if self.controller.admits(call.id) {
                call.wants
            } else {
                0.0
            },
            has: call.ask.has_rate,
            has_safe: call.ask.has_safe,
            keeps: self.controller.standing() == Standing::Closed,
        };
        let Some(granted) = self.books.refresh(call.id, &request, at) else {
            return;
        };
        self.known.insert(call.id);
        let rate = if self.books.is_learning(at) {
            0.0
        } else {
            granted.rate
        };
        let leased = Event::Leased {
            holder: call.id,
            rate,
        };
        let allowance = self.step(leased, at).iter().find_map(|it| match it {
            Decision::Granted { allowance, .. } => Some(*allowance),
            _ => None,
        });
        let grant = Grant {
            epoch,
            version: self.controller.version(),
            rate: granted.rate,
            burst: granted.burst,
            ttl: TTL,
            granted_total: allowance.flatten().map(|allowance| allowance.granted_total),
            safe_rate: granted.safe_rate,
            safe_ttl: SAFE_TTL,
        };
        self.batch.replies.push(Reply {
            id: call.id,
            index: call.index,
            asked_at: call.ask.at,
            grant,
            settled: granted.settled,
        });
    }

    pub fn leave(&mut self, call: &Call, at: Duration) {
        let asked = self.asked(call, at);
        let left = Event::Left {
            holder: call.id,
            counts: asked.counts,
            said: asked.said,
        };
        self.step(left, at);
        self.books.release(call.id);
        self.meter.forget(call.id);
        self.accepted.remove(&call.id);
        self.latencies.remove(&call.id);
        self.known.remove(&call.id);
    }

    /// What is to be written now, if nothing is under way.
    pub fn flush(&mut self, term: Term, at: Duration, now: u64) -> Option<Rc<Kept>> {
        if let Some((kept, since, _)) = &mut self.write {
            // The answer may be lost: the same again.
            if now < *since + 400 {
                return None;
            }
            *since = now;
            return Some(Rc::clone(kept));
        }
        let known = self.known.iter();
        let table = known
            .filter_map(|id| Some((*id, self.books.line(*id)?)))
            .collect();
        // A leader that learns does not know every lease yet.
        let is_whole = !self.books.is_learning(at);
        let kept = Rc::new(Kept::new(
            term,
            self.rev + 1,
            self.controller.clone(),
            table,
            is_whole,
        ));
        self.write = Some((Rc::clone(&kept), now, std::mem::take(&mut self.batch)));
        Some(kept)
    }

    /// It is written: what waited for it may be said.
    pub fn written(&mut self, rev: u64) -> Option<Batch> {
        let (kept, _, batch) = self.write.take_if(|(kept, ..)| kept.rev == rev)?;
        self.rev = kept.rev;
        Some(batch)
    }

    fn asked(&mut self, call: &Call, at: Duration) -> Asked {
        let delta = self.meter.report(call.id, call.totals.clone(), at);
        let before = self.accepted.insert(call.id, call.accepted);
        if let Some(latency) = call.latency {
            self.latencies.insert(call.id, latency);
        }
        Asked {
            holder: call.id,
            counts: Counts {
                sent: delta.sent,
                accepted: call.accepted.saturating_sub(before.unwrap_or(call.accepted)),
                failed: delta.errors,
                throttled: delta.throttled,
            },
            said: Said {
                sequence: call.sequence,
                granted_total: call.ask.granted_total,
                spent_total: call.ask.spent_total,
            },
            has_version: call.ask.has_version,
            wants: call.wants > 0.0,
            idle: call.ask.has_rate <= 0.0,
            refused: None,
            warm_up: None,
        }
    }
}

/// True for a cut that the provider's answers made.
pub fn is_answer_s(decision: &Decision) -> bool {
    let Decision::Aimd(aimd::Decision::Cut { reason, .. }) = decision else {
        return false;
    };
    matches!(reason, CutReason::Throttled | CutReason::Errors)
}

/// True if one of `decisions` is the begin of a probe.
pub fn half_opens(decisions: &[Decision]) -> bool {
    decisions
        .iter()
        .any(|it| matches!(it, Decision::Breaker(Transition::HalfOpened)))
}
