//! `paceline.v1.IngestService`: one message, a batch, a stream.
//!
//! Every request takes the same two steps. It begins (checked, given its id, handed to its shard's batch) and it ends
//! (the batch's answer, read against what was asked). A batch begins all of its requests before it awaits the first
//! answer; a stream has up to 256 begun and reads on only as they end, so that a slow store reaches the caller as a full
//! flow-control window.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::future::{self, join_all};
use futures_util::{Stream, StreamExt, stream};
use paceline_domain::lane::Lane;
use paceline_kit::access::Caller;
use paceline_kit::{Shutdown, trace};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::v1;
use paceline_wire::v1::enqueue_result::Result as ItemResult;
use paceline_wire::v1::ingest_service_server::IngestService;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, Span, field, info_span};

use crate::admission::{Admission, Admitted};
use crate::answer::{self, Asked};
use crate::batcher::{Batcher, Pending};
use crate::call;
use crate::error;
use crate::metrics::{Metrics, Outcome};
use crate::port::Messages;
use crate::pressure::Pressure;

const BATCH_MAX: usize = 500;
/// Requests of one stream that are begun and not ended.
const STREAM_BEGUN_MAX: usize = 256;
/// After so many requests of a batch the task lets others run: checking one is a few dozen microseconds.
const BATCH_SLICE: usize = 16;

/// The service. Clones are the same service.
pub(crate) struct Ingest<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Ingest<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<M> {
    admission: Admission,
    batcher: Batcher,
    messages: M,
    pressure: Pressure,
    metrics: Metrics,
    stop: Shutdown,
}

/// How long a request waits.
#[derive(Clone, Copy)]
enum Patience {
    /// Not for room, and for its answer until then.
    Until(Instant),
    /// For room as long as it takes: meanwhile its stream reads nothing more.
    ForRoom,
}

/// A request that has begun.
struct Begun {
    started: Instant,
    lane: Option<Lane>,
    progress: Progress,
}

enum Progress {
    Submitted(Asked, Pending),
    Settled(Result<v1::EnqueueResponse, RpcError>),
}

impl<M: Messages> Ingest<M> {
    pub(crate) fn new(
        admission: Admission,
        batcher: Batcher,
        messages: M,
        pressure: Pressure,
        metrics: Metrics,
        stop: Shutdown,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                admission,
                batcher,
                messages,
                pressure,
                metrics,
                stop,
            }),
        }
    }

    async fn begin(&self, caller: &Caller, request: v1::EnqueueRequest, patience: Patience) -> Begun {
        let started = Instant::now();
        let settled = |refusal| Begun {
            started,
            lane: None,
            progress: Progress::Settled(Err(refusal)),
        };
        if !caller.acts_for(&request.tenant) {
            return settled(error::tenant_refused());
        }
        if self.inner.admission.awaits_template(&request) {
            return settled(error::template_awaited());
        }
        let span = Span::current();
        let admitted = match self.inner.admission.admit(request, trace::traceparent_of(&span)) {
            Ok(admitted) => admitted,
            Err(wrong) => return settled(wrong.into()),
        };
        span.record("tenant", admitted.message.record.tenant.as_str());
        span.record("message_id", field::display(admitted.asked.id));
        Begun {
            started,
            lane: Some(admitted.message.record.lane),
            progress: self.submit(admitted, patience).await,
        }
    }

    async fn submit(&self, admitted: Admitted, patience: Patience) -> Progress {
        let Admitted {
            asked,
            message,
            passed,
        } = admitted;
        if let Some(violation) = passed {
            // Only a repeated call may ask for what has passed.
            let found = Box::pin(self.inner.messages.find(asked.id)).await;
            return Progress::Settled(match found {
                Ok(Some(record)) => answer::duplicate(&asked, &record),
                Ok(None) => Err(InvalidFields::one(violation.field, violation.problem).into()),
                Err(failure) => Err(error::of_store(&failure)),
            });
        }
        if !self.inner.messages.reaches(message.durability) {
            return Progress::Settled(Err(error::unreachable_durability()));
        }
        if let Err(refusal) = self.inner.pressure.check(message.record.lane) {
            return Progress::Settled(Err(refusal));
        }
        let submitted = match patience {
            Patience::Until(deadline) => self.inner.batcher.try_submit(message, deadline),
            Patience::ForRoom => self.inner.batcher.submit(message).await,
        };
        match submitted {
            Ok(pending) => Progress::Submitted(asked, pending),
            Err(refusal) => Progress::Settled(Err(refusal)),
        }
    }

    async fn end(&self, begun: Begun) -> Result<v1::EnqueueResponse, RpcError> {
        let result = match begun.progress {
            Progress::Submitted(asked, pending) => pending
                .answer()
                .await
                .and_then(|found| answer::to_enqueue(&asked, found)),
            Progress::Settled(result) => result,
        };
        let seconds = begun.started.elapsed().as_secs_f64();
        self.inner.metrics.enqueued(outcome(&result), begun.lane, seconds);
        result
    }
}

fn outcome(result: &Result<v1::EnqueueResponse, RpcError>) -> Outcome {
    match result {
        Ok(response) if response.resubmitted => Outcome::Resubmitted,
        Ok(response) if response.duplicate => Outcome::Duplicate,
        Ok(_) => Outcome::New,
        Err(error) => match error.code {
            Code::InvalidArgument => Outcome::Invalid,
            Code::AlreadyExists => Outcome::Conflict,
            Code::PermissionDenied => Outcome::Denied,
            Code::ResourceExhausted => Outcome::Overloaded,
            Code::Unavailable => Outcome::Unavailable,
            Code::DeadlineExceeded => Outcome::Deadline,
            _ => Outcome::Failed,
        },
    }
}

fn to_item(result: Result<v1::EnqueueResponse, RpcError>) -> v1::EnqueueResult {
    v1::EnqueueResult {
        result: Some(match result {
            Ok(response) => ItemResult::Response(response),
            Err(error) => ItemResult::Error(error.into()),
        }),
    }
}

/// The span of one message within a call.
fn message_span(call: &Span) -> Span {
    info_span!(parent: call, "enqueue", tenant = field::Empty, message_id = field::Empty)
}

#[tonic::async_trait]
impl<M: Messages> IngestService for Ingest<M> {
    type EnqueueStreamStream = Pin<Box<dyn Stream<Item = Result<v1::EnqueueStreamResponse, Status>> + Send>>;

    async fn enqueue(
        &self,
        request: Request<v1::EnqueueRequest>,
    ) -> Result<Response<v1::EnqueueResponse>, Status> {
        let span = info_span!("enqueue", tenant = field::Empty, message_id = field::Empty);
        let span = call::adopt(span, request.metadata());
        let patience = Patience::Until(call::deadline(request.metadata()));
        let caller = Caller::of(request.extensions());
        async {
            let begun = self.begin(&caller, request.into_inner(), patience).await;
            Ok(Response::new(self.end(begun).await?))
        }
        .instrument(span)
        .await
    }

    async fn enqueue_batch(
        &self,
        request: Request<v1::EnqueueBatchRequest>,
    ) -> Result<Response<v1::EnqueueBatchResponse>, Status> {
        let span = call::adopt(info_span!("enqueue_batch"), request.metadata());
        let patience = Patience::Until(call::deadline(request.metadata()));
        let caller = Caller::of(request.extensions());
        let requests = request.into_inner().requests;
        if !(1..=BATCH_MAX).contains(&requests.len()) {
            let problem = format!("are {}; a batch has 1 to {BATCH_MAX}", requests.len());
            return Err(InvalidFields::one("requests", problem).into());
        }
        let mut begun = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let begin = self.begin(&caller, request, patience);
            begun.push(begin.instrument(message_span(&span)).await);
            if index % BATCH_SLICE == BATCH_SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        let ends = begun.into_iter().map(|begun| self.end(begun));
        let results = join_all(ends).instrument(span).await;
        Ok(Response::new(v1::EnqueueBatchResponse {
            results: results.into_iter().map(to_item).collect(),
        }))
    }

    async fn enqueue_stream(
        &self,
        request: Request<Streaming<v1::EnqueueStreamRequest>>,
    ) -> Result<Response<Self::EnqueueStreamStream>, Status> {
        let span = call::adopt(info_span!("enqueue_stream"), request.metadata());
        let last = Arc::new(OnceLock::new());
        let reader = Reader {
            service: self.clone(),
            caller: Caller::of(request.extensions()),
            incoming: request.into_inner(),
            span,
            last: Arc::clone(&last),
        };
        let answers = stream::unfold(reader, Reader::next)
            .buffer_unordered(STREAM_BEGUN_MAX)
            .map(Ok);
        // The stream's own end comes after the answers of all that had begun.
        let end = stream::once(async move { last.get().cloned().map(Err) });
        let end = end.filter_map(future::ready);
        Ok(Response::new(Box::pin(answers.chain(end))))
    }
}

/// The reading side of one stream.
struct Reader<M> {
    service: Ingest<M>,
    caller: Caller,
    incoming: Streaming<v1::EnqueueStreamRequest>,
    span: Span,
    /// How the stream ended, where it did not end by its caller's wish.
    last: Arc<OnceLock<Status>>,
}

impl<M: Messages> Reader<M> {
    /// Reads one request and begins it; gives the future of its answer.
    async fn next(mut self) -> Option<(impl Future<Output = v1::EnqueueStreamResponse> + Send, Self)> {
        let received = tokio::select! {
            received = self.incoming.message() => received,
            () = self.service.inner.stop.requested() => Err(error::draining().into()),
        };
        let v1::EnqueueStreamRequest { sequence, request } = match received {
            Ok(received) => received?,
            Err(status) => {
                // Set once: nothing is read after it.
                let _ = self.last.set(status);
                return None;
            }
        };
        let begun = match request {
            Some(request) => {
                self.service
                    .begin(&self.caller, request, Patience::ForRoom)
                    .instrument(message_span(&self.span))
                    .await
            }
            None => Begun {
                started: Instant::now(),
                lane: None,
                progress: Progress::Settled(Err(InvalidFields::one("request", "is missing").into())),
            },
        };
        let service = self.service.clone();
        let answer = async move {
            v1::EnqueueStreamResponse {
                sequence,
                result: Some(to_item(service.end(begun).await)),
            }
        };
        Some((answer, self))
    }
}

#[cfg(test)]
mod tests;
