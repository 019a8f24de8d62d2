//! `paceline.v1.MessagesService`: asking after a message, watching it, calling it back; the depth of the queues.
//!
//! A caller sees the messages of the tenant that it names and no others: another tenant's message is one that is not
//! there. A tenant for which the caller's key is not has no messages at all: whether one exists is nobody else's to learn.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_kit::Shutdown;
use paceline_kit::access::Caller;
use paceline_kit::identity::is_name;
use paceline_store::{Change, Depths, Store, StreamDepth};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1::messages_service_server::MessagesService;
use paceline_wire::{convert, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span, info_span};

use crate::call;
use crate::config::WatchSettings;
use crate::error;
use crate::follower::Followers;
use crate::metrics::Metrics;
use crate::watch::Watcher;

/// Answers of one watcher that its caller has not taken yet.
const UNREAD_MAX: usize = 16;

/// The service.
pub(crate) struct MessagesOf {
    store: Store,
    followers: Followers,
    watch: WatchSettings,
    seats: Arc<Semaphore>,
    metrics: Metrics,
    stop: Shutdown,
}

/// A watcher's place among the `watchers_max`.
pub(crate) struct Seat {
    metrics: Metrics,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    fn take(seats: &Arc<Semaphore>, metrics: &Metrics) -> Option<Self> {
        let permit = Arc::clone(seats).try_acquire_owned().ok()?;
        metrics.watchers.add(1, &[]);
        Some(Self {
            metrics: metrics.clone(),
            _permit: permit,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.watchers.add(-1, &[]);
    }
}

impl MessagesOf {
    pub(crate) fn new(store: Store, watch: WatchSettings, metrics: Metrics, stop: Shutdown) -> Self {
        Self {
            followers: Followers::new(store.clone(), watch.poll),
            seats: Arc::new(Semaphore::new(watch.watchers_max.get() as usize)),
            store,
            watch,
            metrics,
            stop,
        }
    }

    /// The record, if it is this tenant's.
    async fn record(&self, tenant: &str, id: MessageId) -> Result<Record, RpcError> {
        match self.store.get(id).await {
            Ok(Some(record)) if record.tenant == tenant => Ok(record),
            Ok(_) => Err(error::not_found()),
            Err(failure) => Err(error::of_store(&failure)),
        }
    }

    async fn cancel(&self, tenant: &str, id: MessageId) -> Result<v1::CancelResponse, RpcError> {
        self.record(tenant, id).await?;
        match self
            .store
            .cancel(id)
            .await
            .map_err(|failure| error::of_store(&failure))?
        {
            Change::Moved(record) => Ok(cancelled(id, &record, true)),
            Change::Unchanged(record) if record.state == State::Cancelled => {
                Ok(cancelled(id, &record, false))
            }
            Change::Unchanged(record) => Err(not_cancellable(record.state)),
            Change::Missing => Err(error::not_found()),
            Change::Newer => Err(error::newer_format()),
            Change::Corrupt => Err(error::corrupt()),
        }
    }
}

fn cancelled(id: MessageId, record: &Record, now: bool) -> v1::CancelResponse {
    v1::CancelResponse {
        message: Some(convert::message(id, record)),
        cancelled_now: now,
    }
}

fn not_cancellable(state: State) -> RpcError {
    RpcError::new(
        Code::FailedPrecondition,
        reason::NOT_CANCELLABLE,
        format!("the message is {state} and can't be cancelled any more"),
    )
    .with("state", state.as_str())
}

/// Reads what names a message, for a caller who may ask.
pub(crate) fn named<T>(request: &Request<T>, tenant: &str, message_id: &str) -> Result<MessageId, RpcError> {
    let mut wrong = InvalidFields::new();
    if !is_name(tenant) {
        wrong.add("tenant", "must be 1 to 64 of [a-z0-9_-]");
    }
    let id = message_id.parse();
    if id.is_err() {
        wrong.add("message_id", "must be 26 characters of Crockford base32");
    }
    match id {
        Ok(id) if wrong.is_empty() && Caller::of(request.extensions()).acts_for(tenant) => Ok(id),
        _ if wrong.is_empty() => Err(error::not_found()),
        _ => Err(wrong.into()),
    }
}

fn span_of<T>(rpc: &'static str, request: &Request<T>, tenant: &str, id: MessageId) -> Span {
    call::adopt(
        info_span!("messages", rpc, tenant, message_id = %id),
        request.metadata(),
    )
}

#[tonic::async_trait]
impl MessagesService for MessagesOf {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let v1::GetRequest { tenant, message_id } = request.get_ref();
        let id = named(&request, tenant, message_id)?;
        let span = span_of("get", &request, tenant, id);
        let record = call::within(
            call::deadline(request.metadata()),
            Box::pin(self.record(tenant, id)),
        );
        let record = record.instrument(span).await?;
        Ok(Response::new(v1::GetResponse {
            message: Some(convert::message(id, &record)),
        }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let v1::CancelRequest { tenant, message_id } = request.get_ref();
        let id = named(&request, tenant, message_id)?;
        let span = span_of("cancel", &request, tenant, id);
        let response = call::within(
            call::deadline(request.metadata()),
            Box::pin(Self::cancel(self, tenant, id)),
        );
        Ok(Response::new(response.instrument(span).await?))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let v1::WatchRequest { tenant, message_id } = request.get_ref();
        let id = named(&request, tenant, message_id)?;
        let span = span_of("watch", &request, tenant, id);
        let seat = Seat::take(&self.seats, &self.metrics).ok_or_else(error::too_many_watchers)?;
        let (answers, taken) = mpsc::channel(UNREAD_MAX);
        let deadline = call::deadline(request.metadata());
        let shard = id.shard(self.store.shards());
        let follower = Box::pin(async {
            let follower = self.followers.of(shard).await;
            follower.map_err(|failure| error::of_store(&failure))
        });
        let follower = call::within(deadline, follower).await?;
        let watcher = Watcher {
            id,
            tenant: tenant.clone(),
            store: self.store.clone(),
            log: follower.subscribe(),
            reread: self.watch.reread,
            stop: self.stop.clone(),
            answers,
            _follower: follower,
            _seat: seat,
        };
        let first = call::within(deadline, Box::pin(self.record(tenant, id))).await?;
        tokio::spawn(watcher.run(first).instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(taken))))
    }

    async fn queue(&self, request: Request<v1::QueueRequest>) -> Result<Response<v1::QueueResponse>, Status> {
        let depths = Box::pin(async {
            self.store
                .depths()
                .await
                .map_err(|failure| error::of_store(&failure))
        });
        let depths = call::within(call::deadline(request.metadata()), depths).await?;
        Ok(Response::new(queue(&depths)))
    }
}

/// The depths without their shards, which mean nothing to a caller.
fn queue(depths: &Depths) -> v1::QueueResponse {
    let mut streams: BTreeMap<_, StreamDepth> = BTreeMap::new();
    for depth in &depths.streams {
        streams
            .entry(&depth.stream)
            .and_modify(|sum| {
                sum.backlog += depth.backlog;
                sum.pending += depth.pending;
                sum.oldest = [sum.oldest, depth.oldest].into_iter().flatten().min();
            })
            .or_insert_with(|| depth.clone());
    }
    v1::QueueResponse {
        depths: streams.into_values().map(|depth| queue_depth(&depth)).collect(),
        scheduled_or_deferred: depths.later,
        sending: depths.open,
        in_doubt: depths.doubt,
        dead: depths.dead,
    }
}

fn queue_depth(depth: &StreamDepth) -> v1::QueueDepth {
    v1::QueueDepth {
        stage: depth.stream.stage.as_str().to_owned(),
        lane: v1::Lane::from(depth.stream.lane).into(),
        identity: depth.stream.identity.to_string(),
        tenant: depth.stream.tenant.to_string(),
        backlog: depth.backlog,
        pending: depth.pending,
        undelivered: depth.backlog.saturating_sub(depth.pending),
        oldest_at: depth.oldest.map(convert::timestamp),
    }
}
