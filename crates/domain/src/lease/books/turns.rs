//! Whose turn it is, where a rate is too small for all who want it at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lease::HolderId;

/// How long a turn lasts while others wait. Handing over costs about a refresh, so a turn is many of them.
const TURN: Duration = Duration::from_secs(10);

/// The senders that may hold a part of the rate now, and those that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// Since when.
    active: BTreeMap<HolderId, Duration>,
    waiting: BTreeMap<HolderId, Duration>,
}

impl Turns {
    /// Those who hold something have their turns from `now` on.
    pub(super) fn reopened(holding: impl Iterator<Item = HolderId>, now: Duration) -> Self {
        Self {
            active: holding.map(|id| (id, now)).collect(),
            waiting: BTreeMap::new(),
        }
    }

    /// Brings the turns up to date: `wanting` are all that want something, `places` of them may have it at a time.
    pub(super) fn update(&mut self, wanting: impl Iterator<Item = HolderId>, places: usize, now: Duration) {
        let (mut active, mut waiting) = (BTreeMap::new(), BTreeMap::new());
        for id in wanting {
            match self.active.get(&id) {
                Some(since) => active.insert(id, *since),
                None => waiting.insert(id, self.waiting.get(&id).copied().unwrap_or(now)),
            };
        }
        (self.active, self.waiting) = (active, waiting);
        while self.active.len() > places {
            self.end_longest(now);
        }
        while self.active.len() == places && !self.waiting.is_empty() && self.longest_is_over(now) {
            self.end_longest(now);
            self.start_longest_waiting(now);
        }
        while self.active.len() < places && self.start_longest_waiting(now) {}
    }

    pub(super) fn leave(&mut self, id: HolderId) {
        self.active.remove(&id);
        self.waiting.remove(&id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = HolderId> + '_ {
        self.active.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    fn longest_is_over(&self, now: Duration) -> bool {
        longest(&self.active).is_some_and(|(_, since)| now.saturating_sub(since) >= TURN)
    }

    fn end_longest(&mut self, now: Duration) {
        if let Some((id, _)) = longest(&self.active) {
            self.active.remove(&id);
            self.waiting.insert(id, now);
        }
    }

    fn start_longest_waiting(&mut self, now: Duration) -> bool {
        let Some((id, _)) = longest(&self.waiting) else {
            return false;
        };
        self.waiting.remove(&id);
        self.active.insert(id, now);
        true
    }
}

/// The one that is there longest; by its id where two are there equally long.
fn longest(since: &BTreeMap<HolderId, Duration>) -> Option<(HolderId, Duration)> {
    since
        .iter()
        .map(|(id, since)| (*id, *since))
        .min_by_key(|(id, since)| (*since, *id))
}
