//! "There is something new", over pub/sub: a hint that saves a poll, never the only way to learn of work.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};

use crate::connections::Counted;
use crate::keys::Stage;
use crate::link::{self, Link};
use crate::tasks::Tasks;
use crate::{Store, StoreConfig, StoreError};

/// For the connection that listens, to be made anew.
const RENEW_MAX: Duration = Duration::from_secs(5);

/// One per stage.
type PerStage = Arc<[Notify; 2]>;

/// Both directions of hints. Clones share them.
#[derive(Clone)]
pub(crate) struct Hints {
    subscriber: SubscriberClient,
    _counted: Arc<Counted>,
    outgoing: PerStage,
    incoming: PerStage,
}

impl Hints {
    pub(crate) async fn open(
        config: &StoreConfig,
        commands: Link,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        let (subscriber, counted) = link::open_subscriber(config, commands.connections()).await?;
        // Ends with the client; it subscribes again after each reconnection.
        let subscribing = subscriber.manage_subscriptions();
        tasks.spawn("subscriptions", async move {
            // However it has ended, it has.
            let _ = subscribing.await;
        });
        let hints = Self {
            outgoing: Arc::default(),
            incoming: Arc::default(),
            subscriber,
            _counted: Arc::new(counted),
        };
        hints.listen(tasks);
        tasks.spawn("hints anew", renew(hints.subscriber.clone(), commands.clients()));
        subscribe(&hints.subscriber).await?;
        for stage in Stage::ALL {
            let publishing = publish(stage, Arc::downgrade(&hints.outgoing), commands.clone());
            tasks.spawn("hints out", publishing);
        }
        Ok(hints)
    }

    fn listen(&self, tasks: &Tasks) {
        let (mut messages, incoming) = (self.subscriber.message_rx(), Arc::clone(&self.incoming));
        tasks.spawn("hints in", async move {
            loop {
                let stages = match messages.recv().await {
                    Ok(message) => Stage::of_channel(&message.channel).into_iter().collect(),
                    // Some are lost; they may have been for anyone.
                    Err(RecvError::Lagged(_)) => Stage::ALL.to_vec(),
                    Err(RecvError::Closed) => return,
                };
                for stage in stages {
                    let waiting = &incoming[stage as usize];
                    waiting.notify_waiters();
                    // And one for whoever is just not waiting.
                    waiting.notify_one();
                }
            }
        });
    }

    pub(crate) const fn subscriber(&self) -> &SubscriberClient {
        &self.subscriber
    }

    pub(crate) async fn close(&self) {
        // It fails only where there is nothing to end.
        let _ = self.subscriber.quit().await;
    }
}

/// A connection that only listens never misses a peer that is gone without a word. So it is made anew with that of the commands.
async fn renew(subscriber: SubscriberClient, mut commands: watch::Receiver<Client>) {
    while commands.changed().await.is_ok() {
        // After a failure fred goes on by itself.
        let _ = tokio::time::timeout(RENEW_MAX, subscriber.force_reconnection()).await;
    }
}

async fn subscribe(subscriber: &SubscriberClient) -> Result<(), StoreError> {
    Ok(subscriber
        .subscribe(Stage::ALL.map(Stage::channel).to_vec())
        .await?)
}

/// Publishes what callers asked for. While one publication is under way, all further wishes become the next one.
async fn publish(stage: Stage, wishes: std::sync::Weak<[Notify; 2]>, commands: Link) {
    loop {
        let Some(wish) = wishes.upgrade() else { return };
        // The time limit is for noticing that the store is gone.
        let asked = tokio::time::timeout(Duration::from_secs(1), wish[stage as usize].notified()).await;
        drop(wish);
        if asked.is_ok() {
            // A hint that is lost costs the reader's next poll, no more.
            let _ = commands
                .ask(commands.client().publish::<(), _, _>(stage.channel(), ""))
                .await;
        }
    }
}

impl Store {
    /// Says that a stage has something new. Returns at once; may be lost.
    pub fn hint(&self, stage: Stage) {
        self.hints.outgoing[stage as usize].notify_one();
    }

    /// Waits until somebody says that the stage has something new, but not longer than `at_most`.
    pub async fn wait_hint(&self, stage: Stage, at_most: Duration) {
        let hint = self.hints.incoming[stage as usize].notified();
        // Both ends mean the same: look.
        let _ = tokio::time::timeout(at_most, hint).await;
    }
}
