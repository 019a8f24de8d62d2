//! How messages stand, how long a world takes to come to rest, and what the checker is to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::stream::{self, StreamExt as _};
use paceline_domain::retry::BACKOFF_BASE;
use paceline_sender::key_gate::PAUSE_MIN;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::{GetRequest, MessageState, QueueRequest};
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::{World, now};
use crate::calls::{Answer, CALL_MAX, repeated};
use crate::checker::{Evidence, Sent, Standing, Told};

/// Questions under way at one time.
const ASKED_MAX: usize = 16;
/// What is claimed and has not moved for so long is claimed by nobody who lives: calls of the provider end after a second.
const OPEN_MAX: Duration = Duration::from_secs(4);
/// A world without faults brings all but the claims of the dead to rest in this time, or a worker is stuck. The longest way back is that
/// of a refused account whose first probe was refused, too: its pause has doubled then, and the mail that met it waits for up to twice that.
const RECOVERY_MAX: Duration = Duration::from_secs(4 * PAUSE_MIN.as_secs() + BACKOFF_BASE.as_secs() + 40);
/// From there on: the claim of a dead sender (31 s), watched by one that started since, and a window (60 s) that begins then.
pub const REST_MAX: Duration = Duration::from_secs(240);

/// A fault is struck after this time in any case.
const FLOW_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Between two questions about all that is not settled.
const ASK: Duration = Duration::from_millis(25);

/// A question that is not answered for so long is an error.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How far a world is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// In doubt is good enough.
    Doubt,
    /// The windows of doubts are over, too.
    Final,
}

impl World {
    /// Waits until everything of these is at rest, in doubt, or claimed by a sender that is gone. Returns how long that took.
    ///
    /// # Errors
    /// If it takes longer than some minutes: a worker is stuck.
    pub async fn recovers(&self, ids: &[String]) -> anyhow::Result<Duration> {
        let began = now();
        let mut left: BTreeSet<_> = ids.iter().cloned().collect();
        let mut moved_at = began;
        loop {
            let seen = self.standing(left.iter()).await;
            if let Ok(seen) = &seen {
                let before = left.len();
                left.retain(|id| seen.get(id).is_some_and(|it| !is_settled(it.state)));
                if left.len() < before {
                    moved_at = now();
                }
                let claimed = left.iter().all(|id| seen[id].state == MessageState::Sending);
                if left.is_empty() || claimed && now().saturating_sub(moved_at) > OPEN_MAX {
                    return Ok(moved_at.saturating_sub(began));
                }
            }
            if now().saturating_sub(began) > RECOVERY_MAX {
                bail!(
                    "stuck after {RECOVERY_MAX:?}: {} messages: {}\n{}",
                    left.len(),
                    told_of(seen),
                    self.logs()
                );
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Waits until every message is at rest, nothing is left in any stream, no event is on its way, and the ledger has all of it.
    ///
    /// # Errors
    /// If that takes longer than [`REST_MAX`].
    pub async fn rests(&self, rest: Rest) -> anyhow::Result<()> {
        let began = now();
        let ids: Vec<_> = self.notebook.told().into_keys().collect();
        let mut left: BTreeSet<_> = ids.into_iter().collect();
        loop {
            let seen = self.standing(left.iter()).await;
            if let Ok(seen) = &seen {
                left.retain(|id| seen.get(id).is_some_and(|it| !is_at_rest(it.state, rest)));
                // A doubt may move on while others come to rest.
                if left.is_empty() && self.provider.event_stats().is_over() && self.is_empty().await? {
                    let again = self.standing(self.notebook.told().keys()).await?;
                    left = again
                        .iter()
                        .filter(|(_, it)| !is_at_rest(it.state, rest))
                        .map(|(id, _)| id.clone())
                        .collect();
                    if left.is_empty() {
                        let revisions = again.into_iter().map(|(id, it)| (id, it.revision));
                        return self.is_copied(&revisions.collect()).await;
                    }
                }
            }
            if now().saturating_sub(began) > REST_MAX {
                bail!(
                    "no rest after {REST_MAX:?}: {} messages: {}\n{}",
                    left.len(),
                    told_of(seen),
                    self.logs()
                );
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Whether no stream has an entry.
    async fn is_empty(&self) -> anyhow::Result<bool> {
        let channel = self.channel()?;
        let answer = repeated(ANSWER_MAX, || {
            let mut call = Request::new(QueueRequest {});
            call.set_timeout(CALL_MAX);
            let mut messages = MessagesServiceClient::new(channel.clone());
            async move { messages.queue(call).await }
        });
        let queue = match answer.await {
            Answer::Given(queue) => queue,
            Answer::Refused(status) | Answer::Unknown(status) => return Err(status.into()),
        };
        Ok(queue.depths.iter().all(|depth| depth.backlog == 0))
    }

    /// Waits until the provider has taken so many more than `before`, or no more of a round may be left to take.
    pub async fn has_sent(&self, before: u64, more: u64) {
        let began = now();
        while self.provider.stats().accepted < before + more && now().saturating_sub(began) < FLOW_MAX {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How each of these stands; what has no record is not among the answers.
    async fn standing(
        &self,
        ids: impl Iterator<Item = &String>,
    ) -> anyhow::Result<BTreeMap<String, Standing>> {
        let told = self.notebook.told();
        let channel = self.channel()?;
        let asked = ids.map(|id| {
            let tenant = told.get(id).map_or("", |told: &Told| told.tenant);
            stands(channel.clone(), tenant, id.clone())
        });
        let answers: Vec<_> = stream::iter(asked.collect::<Vec<_>>())
            .buffer_unordered(ASKED_MAX)
            .collect()
            .await;
        let mut standing = BTreeMap::new();
        for answer in answers {
            if let (id, Some(it)) = answer? {
                standing.insert(id, it);
            }
        }
        Ok(standing)
    }

    /// Everything that the checker needs, once the world is at rest.
    ///
    /// # Errors
    /// If somebody can't be asked.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let told = self.notebook.told();
        Ok(Evidence {
            standing: self.standing(told.keys()).await?,
            sent: self.sent()?,
            places: self.site.places().await?,
            ledger: Some(self.written(&told).await?),
            unknown: self.notebook.unknown(),
            told,
        })
    }

    fn sent(&self) -> anyhow::Result<BTreeMap<String, Vec<Sent>>> {
        let mut sent = BTreeMap::<String, Vec<Sent>>::new();
        let inbox = self.provider.inbox(0, usize::MAX);
        ensure!(
            inbox.len() as u64 == self.provider.stats().accepted,
            "the look-alike kept too few mails"
        );
        for mail in inbox {
            let tag = |name: &str| mail.tags.get(name).context("a mail without our tags");
            let received: jiff::Timestamp = mail.received_at.parse()?;
            sent.entry(tag("paceline_id")?.clone()).or_default().push(Sent {
                to: mail.to.first().context("a mail to nobody")?.clone(),
                attempt: tag("paceline_attempt")?.parse()?,
                at: received.as_millisecond(),
            });
        }
        Ok(sent)
    }
}

async fn stands(channel: Channel, tenant: &str, id: String) -> anyhow::Result<(String, Option<Standing>)> {
    let answer = repeated(ANSWER_MAX, || {
        let mut call = Request::new(GetRequest {
            tenant: tenant.to_owned(),
            message_id: id.clone(),
        });
        call.set_timeout(CALL_MAX);
        let mut messages = MessagesServiceClient::new(channel.clone());
        async move { messages.get(call).await }
    });
    let answer = match answer.await {
        Answer::Given(answer) => answer,
        Answer::Refused(status) if status.code() == Code::NotFound => return Ok((id, None)),
        Answer::Refused(status) | Answer::Unknown(status) => return Err(status.into()),
    };
    let message = answer.message.context("an answer without a message")?;
    let standing = Standing {
        state: message.state(),
        attempt: message.attempt,
        maybe_sent: message.maybe_sent,
        revision: message.revision,
        reason: message.reason,
    };
    Ok((id, Some(standing)))
}

const fn is_settled(state: MessageState) -> bool {
    is_at_rest(state, Rest::Doubt)
}

const fn is_at_rest(state: MessageState, rest: Rest) -> bool {
    match state {
        MessageState::InDoubt => matches!(rest, Rest::Doubt),
        MessageState::Accepted
        | MessageState::Dead
        | MessageState::Cancelled
        | MessageState::Expired
        | MessageState::Suppressed
        | MessageState::Discarded => true,
        _ => false,
    }
}

fn told_of(seen: anyhow::Result<BTreeMap<String, Standing>>) -> String {
    match seen {
        Ok(seen) => {
            let first: Vec<_> = seen.iter().take(5).collect();
            format!("{first:?}")
        }
        Err(error) => format!("{error:#}"),
    }
}
