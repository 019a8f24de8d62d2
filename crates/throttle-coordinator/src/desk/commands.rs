//! What the desk is told by people, by providers' events, and by looks at their accounts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use paceline_domain::controller::{Decision, Event};
use paceline_domain::lease::HolderId;
use paceline_domain::reason::Reason;
use paceline_store::throttle::{RateKey, Term};

use super::accounts::{AccountDescription, Asked, Look};
use super::inputs::Detail;
use super::key::Description;
use super::{Boarded, Desk, Refused, provider};

/// Batches of feedback that are remembered.
const BATCHES_MAX: usize = 10_000;
/// How long a sender's name is kept after its last call.
const NAME_AGE_MAX: Duration = Duration::from_secs(10);

/// The batches that were counted, the newest of them.
#[derive(Default)]
pub(super) struct Batches {
    seen: BTreeSet<[u8; 16]>,
    in_order: VecDeque<[u8; 16]>,
}

impl Batches {
    /// False if it was counted before.
    fn is_new(&mut self, batch: [u8; 16]) -> bool {
        if !self.seen.insert(batch) {
            return false;
        }
        self.in_order.push_back(batch);
        if self.in_order.len() > BATCHES_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

/// The senders' names, for people.
#[derive(Default)]
pub(super) struct Names(BTreeMap<HolderId, (String, Duration)>);

impl Names {
    pub(super) fn forget_old(&mut self, now: Duration) {
        self.0.retain(|_, (_, at)| now.saturating_sub(*at) < NAME_AGE_MAX);
    }

    fn of(&self, holder: HolderId) -> String {
        self.0
            .get(&holder)
            .map(|(name, _)| name.clone())
            .unwrap_or_default()
    }
}

/// Which keys people want to hear of, and how much of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// None: all.
    pub(crate) keys: Vec<RateKey>,
    pub(crate) history: bool,
}

impl Desk {
    /// One event of an open key, made from the time by which its controller counts. It holds once the key's state is written.
    pub(crate) fn command(
        &self,
        key: &RateKey,
        event: impl FnOnce(Duration) -> Event,
        now: Duration,
    ) -> Result<Vec<Decision>, Refused> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Err(state.not_leader());
        }
        state.introduce(now);
        let refused = if state.room() == 0 {
            Refused::Full
        } else {
            state.not_leader()
        };
        let paced = state.keys.get_mut(key).ok_or(refused)?;
        let event = event(paced.time(now));
        let decisions = paced.happened(&event, now);
        state.accounts.after(key, paced);
        Ok(decisions)
    }

    /// Counts hard bounces of open keys. False if the batch was counted before.
    pub(crate) fn feedback(
        &self,
        batch: [u8; 16],
        bounced: &[(RateKey, u64)],
        now: Duration,
    ) -> Result<(bool, Boarded), Refused> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Err(state.not_leader());
        }
        if !state.batches.is_new(batch) {
            return Ok((false, self.board(state)));
        }
        state.introduce(now);
        for (key, n) in bounced.iter().filter(|(_, n)| *n > 0) {
            if let Some(paced) = state.keys.get_mut(key) {
                paced.happened(&Event::Bounced(*n), now);
            }
        }
        Ok((true, self.board(state)))
    }

    /// True while the key, which is open, is being warmed up.
    pub(crate) fn is_warming_up(&self, key: &RateKey) -> bool {
        self.state().keys.get(key).is_some_and(|it| it.is_warming_up())
    }

    /// A sender says its name.
    pub(crate) fn met(&self, holder: HolderId, name: &str, now: Duration) {
        self.state().names.0.insert(holder, (name.to_owned(), now));
    }

    /// Whether the account in a region is to be looked at soon.
    pub(crate) fn wants_look(&self, region: &str) -> bool {
        self.state().accounts.is_wished(region)
    }

    /// A look at the account begins, under this term.
    pub(crate) fn ask_account(&self, region: &str, now: Duration) -> Option<(Term, Asked)> {
        let state = &mut *self.state();
        let term = state.lead(now)?.term.clone();
        Some((term, state.accounts.ask(region)?))
    }

    /// It has ended. What it says is taken only within the term under which it began.
    pub(crate) fn account_looked(
        &self,
        region: &str,
        (term, asked): (&Term, Asked),
        answer: Result<Look, &'static str>,
        now: Duration,
    ) {
        let state = &mut *self.state();
        if state.lead(now).is_some_and(|lead| lead.term == *term) {
            state.introduce(now);
            state.accounts.looked(region, asked, answer, &mut state.keys, now);
            state.accounts.allot(&mut state.keys, now);
        }
    }

    /// What is known of the accounts; nothing while another leads.
    pub(crate) fn accounts(&self, now: Duration) -> Vec<AccountDescription> {
        let state = self.state();
        if state.lead(now).is_none() {
            return Vec::new();
        }
        state.accounts.describe(now)
    }

    /// All that is known of the wanted keys; nothing while another leads.
    pub(crate) fn details(&self, wanted: &Wanted, now: Duration) -> Vec<(RateKey, Description, Detail)> {
        let state = &mut *self.state();
        if state.lead(now).is_none() {
            return Vec::new();
        }
        let names = &state.names;
        let accounts = &state.accounts;
        let routes = state.routes.all(&state.keys);
        let is_wanted = |key: &RateKey| wanted.keys.is_empty() || wanted.keys.contains(key);
        state
            .keys
            .iter_mut()
            .filter(|(key, _)| is_wanted(key))
            .map(|(key, paced)| {
                let mut detail = paced.detail(now, |holder| names.of(holder), wanted.history);
                detail.account = accounts.name(key);
                let mut description = paced.describe(now);
                description.route = routes.get(&key.identity).copied().map(provider);
                (key.clone(), description, detail)
            })
            .collect()
    }
}

/// Whether a refusal is the account's own, and worth a look at it.
pub(super) const fn is_of_account(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DailyQuota | Reason::AccountPaused | Reason::AccountSuspended | Reason::CredentialsRefused
    )
}

#[cfg(test)]
mod tests {
    use super::{BATCHES_MAX, Batches};

    #[test]
    fn a_batch_counts_once_and_so_many_are_remembered() {
        let batch = |n: usize| (n as u128).to_be_bytes();
        let mut batches = Batches::default();
        assert!(batches.is_new(batch(0)) && !batches.is_new(batch(0)));
        for n in 1..=BATCHES_MAX {
            assert!(batches.is_new(batch(n)));
        }
        assert!(!batches.is_new(batch(1)), "the newest are remembered");
        assert_eq!(
            (batches.seen.len(), batches.in_order.len()),
            (BATCHES_MAX, BATCHES_MAX)
        );
    }
}
