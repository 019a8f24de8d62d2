//! The leader's desk: the controller and the books of every key, for as long as the lead lasts.
//!
//! All methods take the time. A desk whose lead is over by its own clock grants nothing, whether or not it has heard so: a
//! leader that was frozen finds out at its first look. What it grants is over before its successor's learning is, since a
//! sender counts a lease from before its call, and the call came before the lead's end.

mod accounts;
mod commands;
mod inputs;
mod key;
mod log;
mod opening;
mod recent;
mod routes;
mod table;
mod writing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_domain::controller::Decision;
use paceline_domain::controller::route::Way;
use paceline_domain::lease::HolderId;
use paceline_store::throttle::{RateKey, Term};
use tokio::sync::Notify;

use accounts::Accounts;
pub(crate) use accounts::{AccountDescription, Look};
pub(crate) use commands::Wanted;
use commands::{Batches, Names};
pub(crate) use inputs::Detail;
use key::PacedKey;
pub(crate) use key::{Description, Item, Lease};
use opening::Remembered;
use routes::Routes;
pub(crate) use routes::{Backup, Told, provider, way};
use writing::Waiting;
pub(crate) use writing::{Boarded, Landing, Write};

use crate::config::Config;

/// How far beyond what is known here a sender's epoch or version is believed. A store that lost its counters is behind by what it
/// ever counted, which is far less; a sender gone wrong must not use the counters up.
const LEAP_MAX: u64 = 1 << 20;
const SECONDS_OF_DAY: u64 = 86_400;

/// Under which term, with which leases, and when they may be said.
pub(crate) type Refreshed = (Term, Vec<(RateKey, Lease)>, Boarded);

/// The state behind one lock. Clones share it.
#[derive(Clone)]
pub(crate) struct Desk {
    state: Arc<Mutex<State>>,
    /// Set when something waits to be written.
    wake: Arc<Notify>,
}

struct State {
    config: Arc<Config>,
    lead: Option<Lead>,
    /// Where the leader listens, if that is another; empty while unknown.
    leader: String,
    /// The largest epoch that was met anywhere: the next lead's is past it.
    epoch_floor: u64,
    /// When the machine started, since the Unix epoch: for days, and for windows of a day.
    boot_at: Duration,
    keys: BTreeMap<RateKey, PacedKey>,
    /// Keys whose state in Redis can't be read, since when.
    unreadable: BTreeMap<RateKey, Duration>,
    /// Calls that are answered once the next write has landed.
    waiting: Vec<Waiting>,
    /// The keys of this process's last lead, for a Redis that has lost them since.
    remembered: BTreeMap<RateKey, Remembered>,
    routes: Routes,
    accounts: Accounts,
    /// Keys that were opened and that their accounts do not know of yet.
    unintroduced: Vec<RateKey>,
    batches: Batches,
    names: Names,
}

struct Lead {
    term: Term,
    /// The largest epoch before that was met.
    epoch_before: u64,
    until: Duration,
}

/// Why a call is not answered with leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Ask that one; empty while nobody is known to lead.
    NotLeader(String),
    /// A later call of the sender came before.
    Outdated,
    /// As many keys as the settings allow, or as many senders of a key.
    Full,
    /// Redis does not answer: what was granted may be written or not, so it is not said.
    Unwritten,
}

impl Desk {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let state = State {
            accounts: Accounts::new(&config),
            unintroduced: Vec::new(),
            batches: Batches::default(),
            names: Names::default(),
            config,
            lead: None,
            leader: String::new(),
            epoch_floor: 0,
            boot_at: Duration::ZERO,
            keys: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            waiting: Vec::new(),
            routes: Routes::default(),
            remembered: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            wake: Arc::default(),
        }
    }

    /// The lead begins; it lasts until `until` unless it is extended.
    pub(crate) fn begin(&self, term: Term, until: Duration, now: Duration) {
        let mut state = self.state();
        state.close();
        let epoch_before = state.epoch_floor;
        state.epoch_floor = epoch_before.max(term.epoch);
        state.leader.clear();
        state.accounts.led(now);
        state.lead = Some(Lead {
            term,
            epoch_before,
            until,
        });
    }

    /// Says when the machine started, since the Unix epoch. Counts for the leads that begin later.
    pub(crate) fn set_boot_at(&self, boot_at: Duration) {
        self.state().boot_at = boot_at;
    }

    /// The lead lasts longer.
    pub(crate) fn extend(&self, until: Duration) {
        if let Some(lead) = &mut self.state().lead {
            lead.until = lead.until.max(until);
        }
    }

    /// The lead is over, or another has it, who listens at `leader`.
    pub(crate) fn end(&self, leader: &str, epoch: u64) {
        let mut state = self.state();
        state.close();
        leader.clone_into(&mut state.leader);
        state.epoch_floor = state.epoch_floor.max(epoch);
    }

    /// The term of this process, while it lasts.
    pub(crate) fn term(&self, now: Duration) -> Option<Term> {
        self.state().lead(now).map(|lead| lead.term.clone())
    }

    pub(crate) fn epoch_floor(&self) -> u64 {
        self.state().epoch_floor
    }

    /// A sender has met `epoch`. True if that ends the lead: somebody leads, or led, who is newer.
    pub(crate) fn meet_epoch(&self, epoch: u64) -> bool {
        let mut state = self.state();
        let epoch = epoch.min(state.epoch_floor.saturating_add(LEAP_MAX));
        state.epoch_floor = state.epoch_floor.max(epoch);
        let is_over = state.lead.as_ref().is_some_and(|lead| lead.term.epoch < epoch);
        if is_over {
            state.close();
        }
        is_over
    }

    /// The term, and which of `keys` must be adopted before they can be granted. One for which there is no room is left out.
    pub(crate) fn unopened<'a>(
        &self,
        keys: impl Iterator<Item = &'a RateKey>,
        now: Duration,
    ) -> Result<(Term, Vec<RateKey>), Refused> {
        let state = self.state();
        let term = state.lead(now).ok_or_else(|| state.not_leader())?.term.clone();
        let mut room = state.room();
        let mut has_room = |key: &RateKey| {
            // One that is looked at again has its place.
            let is_new = !state.unreadable.contains_key(key);
            let fits = !is_new || room > 0;
            room = room.saturating_sub(usize::from(is_new));
            fits
        };
        let unopened = keys
            .filter(|key| !state.keys.contains_key(*key) && state.may_open(key, now) && has_room(key))
            .cloned()
            .collect();
        Ok((term, unopened))
    }

    /// Takes a sender's counts and renews its leases, all or none. A key that is not open is left out. Nothing of the answer may be said
    /// before it has landed.
    pub(crate) fn refresh(
        &self,
        holder: HolderId,
        sequence: u64,
        items: &[(RateKey, Item)],
        now: Duration,
    ) -> Result<Refreshed, Refused> {
        let state = &mut *self.state();
        let Some(lead) = state.lead(now) else {
            return Err(state.not_leader());
        };
        let term = lead.term.clone();
        for (key, _) in items {
            if let Some(paced) = state.keys.get(key) {
                paced.admit(holder, sequence, now)?;
            }
        }
        state.introduce(now);
        let mut leases = Vec::with_capacity(items.len());
        for (key, item) in items {
            if let Some(paced) = state.keys.get_mut(key) {
                state.accounts.before(key, paced, now);
                leases.push((key.clone(), paced.refresh(holder, sequence, item, now)?));
                state.accounts.after(key, paced);
            }
            if item.refused.is_some_and(commands::is_of_account) {
                state.accounts.wish(key);
            }
        }
        state.keep_to_warm_identities(&mut leases);
        Ok((term, leases, self.board(state)))
    }

    /// Takes in which identities have a backup, and says by which way the mail of each goes. What is decided already is written with
    /// the refresh that follows.
    pub(crate) fn route(&self, backups: &[Backup], now: Duration) -> Vec<Told> {
        let state = &mut *self.state();
        let Some(epoch) = state.lead(now).map(|lead| lead.term.epoch) else {
            return Vec::new();
        };
        for backup in backups {
            if state.routes.knows(&backup.identity) || state.routes.len() < state.config.keys_max.get() {
                state.routes.hear(backup, &state.keys, epoch, now);
            }
        }
        for (key, paced) in &mut state.keys {
            if state.config.breaker(key).is_none() && state.routes.has_backup(key) {
                paced.have_breaker(now);
            }
        }
        let told = |backup: &Backup| state.routes.tell(&backup.identity, &state.keys);
        backups.iter().filter_map(told).collect()
    }

    /// The way of each identity that has a backup; nothing while another leads.
    pub(crate) fn routes(&self, now: Duration) -> BTreeMap<String, Way> {
        let state = self.state();
        if state.lead(now).is_none() {
            return BTreeMap::new();
        }
        state.routes.all(&state.keys)
    }

    /// Takes a leaving sender's last counts and all its leases.
    pub(crate) fn release(
        &self,
        holder: HolderId,
        items: &[(RateKey, Item)],
        now: Duration,
    ) -> Result<Boarded, Refused> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Err(state.not_leader());
        }
        for (key, item) in items {
            if let Some(paced) = state.keys.get_mut(key) {
                paced.leave(holder, item, now);
                state.accounts.after(key, paced);
            }
        }
        for paced in state.keys.values_mut() {
            paced.release(holder);
        }
        Ok(self.board(state))
    }

    /// Time passes: windows end, leases expire.
    pub(crate) fn tick(&self, now: Duration) -> Vec<(RateKey, Decision)> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Vec::new();
        }
        state.introduce(now);
        let mut decisions = Vec::new();
        let ways = state.routes.all(&state.keys);
        let sights = state.routes.sights(&state.keys, now);
        for (key, paced) in &mut state.keys {
            if let Some(from) = state.config.warm_up_from(key) {
                paced.warm_up_from(from, state.config.overflow(key), now);
            }
            let sight = sights.get(key);
            let decided = paced.tick(rand::random(), sight, now).into_iter();
            if sight.is_some() && paced.way().as_ref() != ways.get(&key.identity) {
                state.routes.rerouted(&key.identity);
            }
            decisions.extend(decided.map(|decision| (key.clone(), decision)));
            state.accounts.after(key, paced);
        }
        state.accounts.allot(&mut state.keys, now);
        state.names.forget_old(now);
        self.wake.notify_one();
        decisions
    }

    /// What is known of each key; nothing while another leads.
    pub(crate) fn describe(&self, now: Duration) -> Vec<(RateKey, Description)> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Vec::new();
        }
        let routes = state.routes.all(&state.keys);
        let describe = |(key, paced): (&RateKey, &mut PacedKey)| {
            let mut description = paced.describe(now);
            description.route = routes.get(&key.identity).copied().map(provider);
            (key.clone(), description)
        };
        state.keys.iter_mut().map(describe).collect()
    }

    /// Where the leader listens, if that is another; empty while unknown.
    pub(crate) fn leader(&self) -> String {
        self.state().leader.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lead(&self, now: Duration) -> Option<&Lead> {
        self.lead.as_ref().filter(|lead| now < lead.until)
    }

    /// How many keys more may be opened.
    fn room(&self) -> usize {
        let known = self.keys.len() + self.unreadable.len();
        self.config.keys_max.get().saturating_sub(known)
    }

    fn not_leader(&self) -> Refused {
        Refused::NotLeader(self.leader.clone())
    }

    /// Nothing goes over to an identity that is itself being warmed up.
    fn keep_to_warm_identities(&self, leases: &mut [(RateKey, Lease)]) {
        for (key, lease) in leases.iter_mut().filter(|(_, lease)| lease.overflows) {
            let word = lease.warm_up.as_ref();
            let to = word
                .and_then(|word| word.overflow_to.clone())
                .map(|identity| RateKey {
                    provider: key.provider.clone(),
                    identity,
                });
            let other = to.and_then(|to| self.keys.get(&to));
            lease.overflows = other.is_some_and(|other| !other.is_warming_up());
        }
    }

    /// Tells keys that were just opened what is known of their accounts, and what they may have of them.
    fn introduce(&mut self, now: Duration) {
        let keys = std::mem::take(&mut self.unintroduced);
        for key in &keys {
            if let Some(paced) = self.keys.get_mut(key) {
                self.accounts.opened(key, paced, now);
            }
        }
        if !keys.is_empty() {
            self.accounts.allot(&mut self.keys, now);
        }
    }

    /// Whoever waits for an answer gets none, and asks elsewhere.
    fn close(&mut self) {
        self.waiting.clear();
        self.unreadable.clear();
        self.routes = Routes::default();
        self.accounts.begin();
        self.unintroduced.clear();
        // What was counted last may not have been written: whoever had no answer comes again.
        self.batches = Batches::default();
        let keys = std::mem::take(&mut self.keys);
        if let Some(lead) = self.lead.take() {
            let remember = |(key, paced): (RateKey, PacedKey)| (key, paced.remembered(lead.term.epoch));
            self.remembered.extend(keys.into_iter().map(remember));
        }
    }
}

#[cfg(test)]
mod tests;
