//! One call of `Watch`: the message as it stands, then each of its transitions, until it is at rest.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_kit::Shutdown;
use paceline_store::{Store, Transition};
use paceline_wire::status::RpcError;
use paceline_wire::{convert, v1};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tonic::Status;

use crate::error;
use crate::follower::{Follower, Transitions};
use crate::messages::Seat;

/// Where the answers of one call go.
pub(crate) type Answers = mpsc::Sender<Result<v1::WatchResponse, Status>>;

/// Who watches what.
pub(crate) struct Watcher {
    pub(crate) id: MessageId,
    pub(crate) tenant: String,
    pub(crate) store: Store,
    /// Subscribed before the first record was read, so that no transition falls between.
    pub(crate) log: Receiver<Transitions>,
    pub(crate) reread: Duration,
    pub(crate) stop: Shutdown,
    pub(crate) answers: Answers,
    pub(crate) _follower: Arc<Follower>,
    pub(crate) _seat: Seat,
}

/// The call is over: its answers are sent, or nobody takes them.
struct Over;

impl Watcher {
    /// Sends `first` and what follows it.
    pub(crate) async fn run(mut self, first: Record) {
        // However it is over, the channel closes with it.
        let Err(Over) = self.follow(first).await;
    }

    async fn follow(&mut self, first: Record) -> Result<std::convert::Infallible, Over> {
        let mut last = convert::message(self.id, &first);
        self.send(&last, first.state).await?;
        let mut reread = tokio::time::interval(self.reread);
        reread.reset();
        loop {
            tokio::select! {
                () = self.answers.closed() => return Err(Over),
                () = self.stop.requested() => return self.fail(error::draining()).await,
                logged = self.log.recv() => match logged {
                    Ok(transitions) => self.pass_on(&transitions, &mut last).await?,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => self.read_again(&mut last).await?,
                },
                _ = reread.tick() => self.read_again(&mut last).await?,
            }
        }
    }

    /// Sends the transitions of this message that are newer than `last`. The log tells little of each; the newest is sent as
    /// the record has it.
    async fn pass_on(&mut self, transitions: &[Transition], last: &mut v1::Message) -> Result<(), Over> {
        let news = |transition: &&Transition| transition.id == self.id && transition.revision > last.revision;
        let mut news: Vec<_> = transitions.iter().filter(news).collect();
        if news.is_empty() {
            return Ok(());
        }
        news.sort_by_key(|transition| transition.revision);
        let record = self.record().await?;
        for transition in news {
            *last = if record.revision == transition.revision {
                convert::message(self.id, &record)
            } else {
                overlaid(last, transition)
            };
            self.send(last, transition.state).await?;
        }
        Ok(())
    }

    async fn read_again(&mut self, last: &mut v1::Message) -> Result<(), Over> {
        let record = self.record().await?;
        if record.revision > last.revision {
            *last = convert::message(self.id, &record);
            self.send(last, record.state).await?;
        }
        Ok(())
    }

    async fn record(&self) -> Result<Record, Over> {
        let failure = match self.store.get(self.id).await {
            Ok(Some(record)) if record.tenant == self.tenant => return Ok(record),
            Ok(_) => error::not_found(),
            Err(failure) => error::of_store(&failure),
        };
        self.fail(failure).await
    }

    async fn send(&self, message: &v1::Message, state: State) -> Result<(), Over> {
        let response = v1::WatchResponse {
            message: Some(message.clone()),
        };
        self.answers.send(Ok(response)).await.map_err(|_| Over)?;
        if state.at_rest() { Err(Over) } else { Ok(()) }
    }

    async fn fail<T>(&self, failure: RpcError) -> Result<T, Over> {
        // Nobody is there to be told otherwise.
        let _ = self.answers.send(Err(failure.into())).await;
        Err(Over)
    }
}

/// The message after a transition of which only the log tells.
fn overlaid(before: &v1::Message, transition: &Transition) -> v1::Message {
    v1::Message {
        state: v1::MessageState::from(transition.state).into(),
        reason: transition.reason.as_str().to_owned(),
        revision: transition.revision,
        attempt: transition.attempt,
        changed_at: Some(convert::timestamp(transition.at)),
        due_at: None,
        ..before.clone()
    }
}
