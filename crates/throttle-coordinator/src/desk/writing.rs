//! What the desk has to do with Redis: how a key begins, what is to be written, and who waits for it.

use std::time::Duration;

use paceline_domain::controller::{Controller, Settings};
use paceline_store::throttle::{Adopted, Commit, Kept, Known, RateKey, Term};
use tokio::sync::oneshot;

use super::key::PacedKey;
use super::opening::{Opening, Remembered};
use super::{Desk, Refused, State, log};

/// How long a key whose state can't be read is left alone before it is looked at again.
const UNREADABLE: Duration = Duration::from_secs(10);

/// Between two snapshots that are made for readers of a journal, and for commands.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);

/// A write of one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    pub(crate) key: RateKey,
    pub(crate) term: Term,
    pub(crate) rev: u64,
    pub(crate) commit: Commit,
}

/// What became of the write that a call waits for. A call that hears nothing was this leader's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    Written,
    /// Redis did not answer.
    Unanswered,
}

pub(super) type Waiting = oneshot::Sender<Landing>;

/// A call's place among those that wait; without one there is nothing to wait for.
#[must_use]
pub(crate) struct Boarded(Option<oneshot::Receiver<Landing>>);

impl Boarded {
    /// Waits until Redis has all that was decided for the call, at most so long.
    ///
    /// # Errors
    /// If it has not, or may not have.
    pub(crate) async fn landed(self, at_most: Duration) -> Result<(), Refused> {
        let Some(landing) = self.0 else { return Ok(()) };
        match tokio::time::timeout(at_most, landing).await {
            Ok(Ok(Landing::Written)) => Ok(()),
            Ok(Err(_)) => Err(Refused::NotLeader(String::new())),
            Ok(Ok(Landing::Unanswered)) | Err(_) => Err(Refused::Unwritten),
        }
    }
}

/// A key that is ready but for its first write.
pub(crate) struct Opened {
    pub(crate) write: Write,
    paced: PacedKey,
}

impl Desk {
    /// What this process knows of a key beyond what Redis says.
    pub(crate) fn known(&self, key: &RateKey) -> Known {
        let state = self.state();
        Known {
            epoch: state.lead.as_ref().map_or(0, |lead| lead.epoch_before),
            written: state.remembered.get(key).map_or((0, 0), |it| it.written),
        }
    }

    /// Puts a key together that was adopted under `term`, with its first write; `None` if that term is over.
    ///
    /// # Errors
    /// What of the state can't be read.
    pub(crate) fn prepare(
        &self,
        term: &Term,
        key: &RateKey,
        (adopted, kept): (&Adopted, &Kept),
        now: Duration,
    ) -> Result<Option<Opened>, String> {
        let Some((settings, remembered, opening)) = self.opening(term, key, adopted, now) else {
            return Ok(None);
        };
        // Without the lock: a replay of all that a journal may hold takes many refreshes' time.
        let mut paced = PacedKey::open(settings, (adopted, kept), remembered.as_ref(), opening)?;
        paced.log.want_snapshot();
        let (mut commit, state) = paced.depart((key, term), true, now).unwrap_or_default();
        commit.snapshot = state.map(|state| paced.log.snapshot(log::state_text(state)));
        let write = Write {
            key: key.clone(),
            term: term.clone(),
            rev: adopted.rev,
            commit,
        };
        Ok(Some(Opened { write, paced }))
    }

    /// What the desk knows of a key that is being opened; `None` if `term` is over.
    fn opening(
        &self,
        term: &Term,
        key: &RateKey,
        adopted: &Adopted,
        now: Duration,
    ) -> Option<(Settings, Option<Remembered>, Opening)> {
        let state = self.state();
        if !state.is_under(term) {
            return None;
        }
        let mut settings = state.config.settings(key);
        if state.config.breaker(key).is_none() {
            settings.breaker = state.routes.has_backup(key);
        }
        let remembered = state.remembered.get(key).filter(|_| adopted.lost).cloned();
        let opening = Opening {
            now,
            boot_at: state.boot_at,
            reserve: state.config.reserve(key),
        };
        Some((settings, remembered, opening))
    }

    /// Opens a key whose first write has landed.
    pub(crate) fn open(&self, opened: Opened, rev: u64) {
        let Opened { write, mut paced } = opened;
        let mut state = self.state();
        if state.is_under(&write.term) {
            paced.log.written(rev);
            state.unreadable.remove(&write.key);
            state.unintroduced.push(write.key.clone());
            state.keys.entry(write.key).or_insert(paced);
        }
    }

    /// Notes that a key's state can't be read: nobody gets anything of it.
    pub(crate) fn unreadable(&self, term: &Term, key: RateKey, now: Duration) {
        let mut state = self.state();
        if state.is_under(term) {
            state.unreadable.insert(key, now);
        }
    }

    /// True if there is a key whose state can't be read.
    pub(crate) fn has_unreadable(&self) -> bool {
        !self.state().unreadable.is_empty()
    }

    /// True while this process leads in `term`.
    pub(crate) fn is_under(&self, term: &Term) -> bool {
        self.state().is_under(term)
    }

    /// What is to be written now, and who waits for it; with `all` whatever Redis does not know.
    pub(crate) fn depart(&self, all: bool, now: Duration) -> (Vec<Write>, Vec<Waiting>) {
        let (writes, waiting) = self.gather(all, now);
        let seal = |(write, state)| self.seal(write, state);
        (writes.into_iter().map(seal).collect(), waiting)
    }

    /// The same with each state that goes with its write, as it is now.
    fn gather(&self, all: bool, now: Duration) -> (Vec<(Write, Option<Controller>)>, Vec<Waiting>) {
        let state = &mut *self.state();
        let Some(lead) = state.lead.as_ref() else {
            return Default::default();
        };
        let write = |(key, paced): (&RateKey, &mut PacedKey)| {
            let rev = paced.log.rev();
            let (commit, state) = paced.depart((key, &lead.term), all, now)?;
            let write = Write {
                key: key.clone(),
                term: lead.term.clone(),
                rev,
                commit,
            };
            Some((write, state))
        };
        let writes = state.keys.iter_mut().filter_map(write).collect();
        (writes, std::mem::take(&mut state.waiting))
    }

    /// Puts the state into its write, which nothing follows before it has landed. Only its size needs the lock.
    fn seal(&self, mut write: Write, controller: Option<Controller>) -> Write {
        let Some(controller) = controller else {
            return write;
        };
        let text = log::state_text(controller);
        let state = &mut *self.state();
        if state.is_under(&write.term)
            && let Some(paced) = state.keys.get_mut(&write.key)
        {
            write.commit.snapshot = Some(paced.log.snapshot(text));
        }
        write
    }

    /// A write has landed: Redis is at `rev` now.
    pub(crate) fn written(&self, write: &Write, rev: u64) {
        let state = &mut *self.state();
        if state.is_under(&write.term)
            && let Some(paced) = state.keys.get_mut(&write.key)
        {
            paced.log.written(rev);
        }
    }

    /// Lets all who wait go: Redis does not answer.
    pub(crate) fn turn_away(&self) {
        for waiting in std::mem::take(&mut self.state().waiting) {
            // Its caller may have left.
            let _ = waiting.send(Landing::Unanswered);
        }
    }

    /// Has all of the key written that Redis does not have, and the state, whole, unless that was so within [`SNAPSHOT_EVERY`]: however
    /// often a journal is read, its history is not pushed out. `None` if the key is not open.
    pub(crate) fn snapshot(&self, key: &RateKey, now: Duration) -> Option<Boarded> {
        let state = &mut *self.state();
        let paced = state.keys.get_mut(key)?;
        let is_fresh = |at: Duration| now.saturating_sub(at) < SNAPSHOT_EVERY;
        if paced.read_at.is_some_and(is_fresh) {
            paced.log.urge();
        } else {
            paced.read_at = Some(now);
            paced.log.want_snapshot();
        }
        Some(self.board(state))
    }

    /// Each key's state is to be written, whole: the next leader has nothing to replay.
    pub(crate) fn snapshot_all(&self) {
        let mut state = self.state();
        state
            .keys
            .values_mut()
            .for_each(|paced| paced.log.want_snapshot());
    }

    /// Waits until there may be something to write.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// A place among those who wait for the next write.
    pub(super) fn board(&self, state: &mut State) -> Boarded {
        if state.keys.is_empty() {
            return Boarded(None);
        }
        let (waiting, landing) = oneshot::channel();
        state.waiting.push(waiting);
        self.wake.notify_one();
        Boarded(Some(landing))
    }
}

impl State {
    pub(super) fn is_under(&self, term: &Term) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.term == *term)
    }

    /// True unless the key's state could not be read a moment ago.
    pub(super) fn may_open(&self, key: &RateKey, now: Duration) -> bool {
        let since = self.unreadable.get(key);
        since.is_none_or(|since| now.saturating_sub(*since) >= UNREADABLE)
    }
}
