//! Reading the log of a shard while somebody watches one of its messages.
//!
//! However many watch a shard, one task reads its log; where nobody watches, none does. The task lives as long as somebody
//! holds its [`Follower`]. It is a help, not a promise: who falls behind, or finds that the log was cut, reads the
//! record itself.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use paceline_store::{Store, Transition};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Batches of transitions that a watcher may be behind.
const BATCHES_BEHIND_MAX: usize = 64;
/// Log entries in one read. Each holds the transitions of one script.
const ENTRIES_MAX: u64 = 128;

/// Transitions in the order of the log.
pub(crate) type Transitions = Arc<[Transition]>;

/// Hands out followers, one per shard at a time.
pub(crate) struct Followers {
    store: Store,
    poll: Duration,
    shards: Box<[Mutex<Weak<Follower>>]>,
}

/// Keeps the reading of one shard's log going.
pub(crate) struct Follower {
    transitions: broadcast::Sender<Transitions>,
    _stop: DropGuard,
}

impl Follower {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Transitions> {
        self.transitions.subscribe()
    }
}

impl Followers {
    pub(crate) fn new(store: Store, poll: Duration) -> Self {
        let shards = (0..store.shards()).map(|_| Mutex::default()).collect();
        Self { store, poll, shards }
    }

    /// The follower of `shard`, started if there is none. What is logged after this call reaches its subscribers.
    pub(crate) async fn of(&self, shard: u16) -> Result<Arc<Follower>, paceline_store::StoreError> {
        if let Some(follower) = self.running(shard) {
            return Ok(follower);
        }
        let from = self.store.log_end(shard).await?;
        let mut slot = self.shards[usize::from(shard)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = slot.upgrade() {
            return Ok(follower);
        }
        let stop = CancellationToken::new();
        let follower = Arc::new(Follower {
            transitions: broadcast::Sender::new(BATCHES_BEHIND_MAX),
            _stop: stop.clone().drop_guard(),
        });
        *slot = Arc::downgrade(&follower);
        let reading = Reading {
            store: self.store.clone(),
            shard,
            poll: self.poll,
            from,
            transitions: follower.transitions.clone(),
        };
        tokio::spawn(async move {
            // The read itself is never cut off: fred's commands are not cancelled.
            reading.run(stop).await;
        });
        Ok(follower)
    }

    fn running(&self, shard: u16) -> Option<Arc<Follower>> {
        self.shards[usize::from(shard)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }
}

struct Reading {
    store: Store,
    shard: u16,
    poll: Duration,
    /// The last entry that was read.
    from: String,
    transitions: broadcast::Sender<Transitions>,
}

impl Reading {
    async fn run(mut self, stop: CancellationToken) {
        tracing::debug!(shard = self.shard, "follows the log");
        while !stop.is_cancelled() {
            let more = self.read().await;
            if !more {
                // Ends the pause when nobody watches any more.
                let _ = tokio::time::timeout(self.poll, stop.cancelled()).await;
            }
        }
        tracing::debug!(shard = self.shard, "follows the log no more");
    }

    /// Passes on what was logged since. True if there is more at once.
    async fn read(&mut self) -> bool {
        let entries = match self.store.log_since(self.shard, &self.from, ENTRIES_MAX).await {
            Ok(entries) => entries,
            Err(error) => {
                // Whoever watches reads the record too, and is told there.
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    shard = self.shard,
                    "log not read"
                );
                return false;
            }
        };
        let more = entries.len() as u64 >= ENTRIES_MAX;
        if let Some((last, _)) = entries.last() {
            self.from.clone_from(last);
        }
        let transitions: Transitions = entries
            .into_iter()
            .flat_map(|(_, transitions)| transitions)
            .collect();
        if !transitions.is_empty() {
            // Nobody listens any more: the token says so, too.
            let _ = self.transitions.send(transitions);
        }
        more
    }
}
