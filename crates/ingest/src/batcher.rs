//! Group commit: what waits for one shard goes to Redis in one script.
//!
//! There is no timer. A message that finds its shard idle flies at once and alone; what comes while scripts are under way
//! waits for the next one and goes with it. So batches grow exactly as the load does, and an idle system adds no delay.
//!
//! What holds:
//! - **Bounded.** A message enters only with its share of the room for messages and bytes, and keeps it until it is
//!   answered. Without room, a call is refused and a stream waits.
//! - **Nobody works for a caller who has gone.** A job whose caller dropped it, or whose deadline is over, is left out when
//!   its batch is put together.
//! - **One id is under way once.** A second job for an id in flight waits for the first one's answer and is told that it is
//!   the duplicate, as it would be in a script of its own. Only one that asks for `resubmit` flies by itself afterwards.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use opentelemetry::metrics::UpDownCounter;
use paceline_domain::id::MessageId;
use paceline_kit::Supervisor;
use paceline_kit::grpc::REQUEST_TIME_MAX;
use paceline_store::{Enqueued, NewMessage, StoreError};
use paceline_wire::status::RpcError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::IntakeSettings;
use crate::error;
use crate::metrics::Metrics;
use crate::port::Messages;

/// What became of one message.
pub(crate) type Answer = Result<Enqueued, RpcError>;

/// Takes messages for all shards. Clones share the room; the workers end when the last clone is dropped and everything
/// that waits is answered.
#[derive(Clone)]
pub(crate) struct Batcher {
    shards: Arc<[mpsc::Sender<Job>]>,
    room: Arc<Room>,
}

/// The room for what waits.
struct Room {
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    waiting: UpDownCounter<i64>,
}

/// A job's share of the room, given back when it is dropped.
struct Share {
    _messages: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    waiting: UpDownCounter<i64>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.add(-1, &[]);
    }
}

struct Job {
    message: NewMessage,
    deadline: Instant,
    waiting: Waiting,
}

/// Who waits for an answer. Dropped by the caller's side, it is closed.
struct Waiting {
    reply: oneshot::Sender<Answer>,
    _share: Share,
}

/// A message on its way.
pub(crate) struct Pending {
    reply: oneshot::Receiver<Answer>,
    deadline: Instant,
}

impl Pending {
    /// Waits for the answer, at most until the deadline.
    pub(crate) async fn answer(self) -> Answer {
        match tokio::time::timeout_at(self.deadline, self.reply).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(error::internal("the batch gave no answer")),
            Err(_) => Err(error::deadline()),
        }
    }
}

impl Batcher {
    /// Starts one worker per shard; a worker that is gone stops the service.
    pub(crate) fn start<M: Messages>(
        shards: u16,
        settings: IntakeSettings,
        metrics: &Metrics,
        store: &M,
        supervisor: &Supervisor,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let messages_max = settings.messages_max.get() as usize;
        let mut senders = Vec::with_capacity(shards.into());
        let mut workers = Vec::with_capacity(shards.into());
        for shard in 0..shards {
            // Never full: a job holds one of `messages_max` shares.
            let (sender, jobs) = mpsc::channel(messages_max);
            senders.push(sender);
            let worker = Worker {
                shard,
                settings,
                jobs,
                ready: VecDeque::new(),
                in_flight: HashMap::new(),
                flights: FuturesUnordered::new(),
                metrics: metrics.clone(),
                store: store.clone(),
            };
            workers.push(supervisor.spawn("batcher", worker.run()));
        }
        let bytes_max = usize::try_from(settings.bytes_max.as_u64()).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Room {
            messages: Arc::new(Semaphore::new(messages_max)),
            bytes: Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))),
            waiting: metrics.waiting.clone(),
        };
        let batcher = Self {
            shards: senders.into(),
            room: Arc::new(room),
        };
        (batcher, workers)
    }

    /// Hands a message over, or refuses it for want of room.
    pub(crate) fn try_submit(&self, message: NewMessage, deadline: Instant) -> Result<Pending, RpcError> {
        let share = self.room.try_take(&message).ok_or_else(error::overloaded)?;
        self.hand_over(message, deadline, share)
    }

    /// Hands a message over as soon as there is room; its time counts from then on.
    pub(crate) async fn submit(&self, message: NewMessage) -> Result<Pending, RpcError> {
        let share = self.room.take(&message).await.ok_or_else(error::draining)?;
        self.hand_over(message, Instant::now() + REQUEST_TIME_MAX, share)
    }

    fn hand_over(&self, message: NewMessage, deadline: Instant, share: Share) -> Result<Pending, RpcError> {
        let shards = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        let shard = usize::from(message.id.shard(shards));
        let (sender, reply) = oneshot::channel();
        let job = Job {
            message,
            deadline,
            waiting: Waiting {
                reply: sender,
                _share: share,
            },
        };
        self.shards[shard].try_send(job).map_err(|_| error::draining())?;
        Ok(Pending { reply, deadline })
    }
}

impl Room {
    fn try_take(&self, message: &NewMessage) -> Option<Share> {
        let messages = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes)
            .try_acquire_many_owned(weight(message))
            .ok()?;
        Some(self.share(messages, bytes))
    }

    fn share(&self, messages: OwnedSemaphorePermit, bytes: OwnedSemaphorePermit) -> Share {
        self.waiting.add(1, &[]);
        Share {
            _messages: messages,
            _bytes: bytes,
            waiting: self.waiting.clone(),
        }
    }

    async fn take(&self, message: &NewMessage) -> Option<Share> {
        let messages = Arc::clone(&self.messages).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(weight(message))
            .await
            .ok()?;
        Some(self.share(messages, bytes))
    }
}

/// What a message weighs against the bounds in bytes.
fn weight(message: &NewMessage) -> u32 {
    u32::try_from(message.request.len() + message.logged.len()).unwrap_or(u32::MAX)
}

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// A script that came back.
struct Landed {
    passengers: Vec<(MessageId, Waiting)>,
    result: Result<Vec<Enqueued>, StoreError>,
}

struct Worker<M> {
    shard: u16,
    settings: IntakeSettings,
    jobs: mpsc::Receiver<Job>,
    /// What goes before the channel: jobs that didn't fit into their batch, or that waited for an id in flight.
    ready: VecDeque<Job>,
    /// The ids under way, each with the jobs that came for it since.
    in_flight: HashMap<MessageId, Vec<Job>>,
    flights: FuturesUnordered<Flight>,
    metrics: Metrics,
    store: M,
}

impl<M: Messages> Worker<M> {
    async fn run(mut self) {
        let mut open = true;
        loop {
            let may_fly = self.flights.len() < self.settings.flights_max.get();
            if may_fly && self.launch() {
                continue;
            }
            tokio::select! {
                Some(landed) = self.flights.next() => self.land(landed),
                job = self.jobs.recv(), if open && may_fly => match job {
                    Some(job) => self.ready.push_back(job),
                    None => open = false,
                },
                else => break,
            }
        }
    }

    /// Puts the next batch together and sends it off. False if nothing can go.
    fn launch(&mut self) -> bool {
        let mut messages = Vec::new();
        let mut passengers = Vec::new();
        let mut bytes = 0;
        let bytes_max = self.settings.batch_bytes_max.as_u64();
        while messages.len() < self.settings.batch_messages_max.get() {
            let Some(job) = self.ready.pop_front().or_else(|| self.jobs.try_recv().ok()) else {
                break;
            };
            if job.waiting.reply.is_closed() || job.deadline <= Instant::now() {
                self.metrics.abandoned.add(1, &[]);
                continue;
            }
            let id = job.message.id;
            if let Some(followers) = self.in_flight.get_mut(&id) {
                followers.push(job);
                continue;
            }
            let weight = u64::from(weight(&job.message));
            if bytes + weight > bytes_max && !messages.is_empty() {
                self.ready.push_front(job);
                break;
            }
            bytes += weight;
            self.in_flight.insert(id, Vec::new());
            messages.push(job.message);
            passengers.push((id, job.waiting));
        }
        if messages.is_empty() {
            return false;
        }
        self.metrics.batch.record(messages.len() as u64, &[]);
        let (store, shard) = (self.store.clone(), self.shard);
        self.flights.push(Box::pin(async move {
            let result = store.write(shard, messages).await;
            Landed { passengers, result }
        }));
        true
    }

    /// Answers everyone who waited for the script.
    fn land(&mut self, landed: Landed) {
        let answers: Box<dyn Iterator<Item = Answer>> = match landed.result {
            Ok(answers) => Box::new(answers.into_iter().map(Ok)),
            Err(failure) => {
                tracing::warn!(
                    error = &failure as &dyn std::error::Error,
                    shard = self.shard,
                    messages = landed.passengers.len(),
                    "batch not stored"
                );
                Box::new(std::iter::repeat(Err(error::of_store(&failure))))
            }
        };
        // A passenger without an answer is dropped, which its caller reads as a fault of ours.
        let missing = std::iter::repeat_with(|| Err(error::internal("the script gave no answer")));
        for ((id, waiting), answer) in landed.passengers.into_iter().zip(answers.chain(missing)) {
            for follower in self.in_flight.remove(&id).unwrap_or_default() {
                if follower.message.resubmit && answer.is_ok() {
                    self.ready.push_back(follower);
                } else {
                    // Nobody listens where the caller has gone.
                    let _ = follower.waiting.reply.send(answer.clone().map(as_duplicate));
                }
            }
            let _ = waiting.reply.send(answer);
        }
    }
}

/// What the script would have said to the same message right after `first`.
fn as_duplicate(first: Enqueued) -> Enqueued {
    match first {
        Enqueued::New(record)
        | Enqueued::Duplicate(record)
        | Enqueued::Resubmitted(record)
        | Enqueued::KeyConflict(record) => Enqueued::Duplicate(record),
        unreadable @ (Enqueued::Newer | Enqueued::Corrupt) => unreadable,
    }
}

#[cfg(test)]
mod tests;
