//! Group commit: what the desk decides goes to Redis before it is said.
//!
//! There is no timer for what somebody waits for: it flies at once, and what comes while writes are under way waits for the next ones
//! and goes with them. All keys fly together, one script each. A write without an answer is done or not; it is repeated as it was
//! before anything else flies, and whoever waits meanwhile is told that Redis does not answer.

use std::time::Duration;

use futures_util::future::join_all;
use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_store::Store;

use crate::desk::{Desk, Landing, Write};

/// How often it looks for what nobody waits for.
const LOOK: Duration = Duration::from_millis(500);
/// Before a write is repeated.
const AGAIN: Duration = Duration::from_millis(50);

/// The one who writes.
pub(crate) struct Committer<C> {
    pub(crate) desk: Desk,
    pub(crate) store: Store,
    pub(crate) clock: C,
}

impl<C: Clock> Committer<C> {
    /// Writes until `stop`, and then all that is left.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut unanswered = Vec::new();
        while !stop.is_requested() {
            tokio::select! {
                () = stop.requested() => {}
                () = self.desk.woken() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.fly(&mut unanswered, false).await;
            if !unanswered.is_empty() {
                self.desk.turn_away();
                tokio::time::sleep(AGAIN).await;
            }
        }
        self.desk.snapshot_all();
        self.fly(&mut unanswered, true).await;
    }

    async fn fly(&self, unanswered: &mut Vec<Write>, all: bool) {
        *unanswered = self.write(std::mem::take(unanswered)).await;
        if !unanswered.is_empty() {
            return;
        }
        let (writes, waiting) = self.desk.depart(all, self.clock.boot());
        let term = writes.first().map(|write| write.term.clone());
        *unanswered = self.write(writes).await;
        if term.is_some_and(|term| !self.desk.is_under(&term)) {
            // Fenced: whatever was granted is not said.
            return;
        }
        let landing = if unanswered.is_empty() {
            Landing::Written
        } else {
            Landing::Unanswered
        };
        for waiting in waiting {
            // Its caller may have left.
            let _ = waiting.send(landing);
        }
    }

    /// Gives back what had no answer.
    async fn write(&self, writes: Vec<Write>) -> Vec<Write> {
        let live = writes.into_iter().filter(|write| self.desk.is_under(&write.term));
        let unanswered = join_all(live.map(|write| self.write_one(write))).await;
        let unanswered: Vec<Write> = unanswered.into_iter().flatten().collect();
        let is_live = |write: &Write| self.desk.is_under(&write.term);
        unanswered.into_iter().filter(is_live).collect()
    }

    async fn write_one(&self, write: Write) -> Option<Write> {
        let Write {
            key,
            term,
            rev,
            commit,
        } = &write;
        match self.store.commit_rate(key, term, *rev, commit).await {
            Ok(Ok(rev)) => {
                self.desk.written(&write, rev);
                None
            }
            Ok(Err(_)) => {
                tracing::warn!(%key, epoch = term.epoch, "a key's state in redis is not what this leader wrote last, it steps down");
                self.desk.end("", term.epoch);
                None
            }
            Err(error) => {
                tracing::info!(%key, %error, "redis did not take a key's state, trying again");
                Some(write)
            }
        }
    }
}
