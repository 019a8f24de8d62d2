//! `paceline.v1.EventsService`: outcomes as the ledger learns of them.
//!
//! A subscriber is a position in the ledger and nothing else: Redis knows nothing of it, and one that reads slowly holds one answer in
//! memory. Where it was when it went away is its own to remember, by the cursor of the last answer that it worked through.

mod seats;

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use paceline_domain::lane::Lane;
use paceline_kit::Shutdown;
use paceline_kit::access::Caller;
use paceline_kit::identity::is_name;
use paceline_ledger::{Event, Ledger, LedgerError};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1::events_service_server::EventsService;
use paceline_wire::{convert, v1};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use seats::{Full, SUBSCRIBERS_MAX, Seat, Seats};

const EVENTS_MAX: u32 = 100;
/// Numbers that one look goes through: some of another tenant or kind stand between those that are wanted.
const NUMBERS_MAX: u64 = 20_000;
const KINDS_MAX: usize = 32;
const KIND_CHARS_MAX: usize = 64;
/// Between two looks into the ledger that found nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// An empty answer after so long, so that both sides know that the other is there.
const QUIET_MAX: Duration = Duration::from_secs(15);
const COME_AGAIN: Duration = Duration::from_secs(1);

type Answer = Result<v1::SubscribeResponse, Status>;

/// The service.
pub(crate) struct EventsOf {
    ledger: Ledger,
    seats: Seats,
    stop: Shutdown,
}

impl EventsOf {
    pub(crate) fn new(ledger: Ledger, stop: Shutdown) -> Self {
        Self {
            ledger,
            seats: Seats::default(),
            stop,
        }
    }
}

#[tonic::async_trait]
impl EventsService for EventsOf {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        check(&request)?;
        if !caller.acts_for(&request.tenant) {
            let message = "the API key is not for this tenant";
            return Err(RpcError::new(Code::PermissionDenied, reason::TENANT_REFUSED, message).into());
        }
        let seat = self.seats.take(&request.tenant).map_err(full)?;
        let cursor = match request.cursor {
            Some(cursor) => cursor,
            None => self
                .ledger
                .newest_event()
                .await
                .map_err(|error| unavailable(&error))?,
        };
        let (answers, stream) = mpsc::channel(1);
        let subscriber = Subscriber {
            ledger: self.ledger.clone(),
            tenant: request.tenant,
            kinds: request.kinds,
            cursor,
            behind: false,
            answers,
            stop: self.stop.clone(),
            _seat: seat,
        };
        tokio::spawn(subscriber.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

fn check(request: &v1::SubscribeRequest) -> Result<(), RpcError> {
    let mut wrong = InvalidFields::new();
    if !is_name(&request.tenant) {
        wrong.add("tenant", "must be 1 to 64 of [a-z0-9_-]");
    }
    if request.kinds.len() > KINDS_MAX {
        wrong.add(
            "kinds",
            format!("has {} entries, at most {KINDS_MAX}", request.kinds.len()),
        );
    }
    if request
        .kinds
        .iter()
        .any(|kind| kind.is_empty() || kind.len() > KIND_CHARS_MAX)
    {
        wrong.add(
            "kinds",
            format!("has an entry that is not of 1 to {KIND_CHARS_MAX} bytes"),
        );
    }
    if request
        .cursor
        .is_some_and(|cursor| i64::try_from(cursor).is_err())
    {
        wrong.add("cursor", "is none that an answer had");
    }
    Ok(wrong.into_result()?)
}

fn full(full: Full) -> RpcError {
    let message = match full {
        Full::ByAll => format!("{SUBSCRIBERS_MAX} subscribe already"),
        Full::ByTenant => {
            "so many of this tenant subscribe that the seats that are free are others'".to_owned()
        }
    };
    RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, message).retry_after(COME_AGAIN)
}

fn unavailable(error: &LedgerError) -> Status {
    tracing::debug!(%error, "a subscriber is sent away");
    let message = "the ledger does not answer; subscribe again with the last cursor";
    RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
        .retry_after(COME_AGAIN)
        .into()
}

/// One call.
struct Subscriber {
    ledger: Ledger,
    tenant: String,
    kinds: Vec<String>,
    cursor: u64,
    /// True if there was more than one look goes through.
    behind: bool,
    answers: mpsc::Sender<Answer>,
    stop: Shutdown,
    _seat: Seat,
}

impl Subscriber {
    async fn run(mut self) {
        let mut told_at = Instant::now();
        loop {
            let events = match self.next().await {
                Ok(events) => events,
                Err(error) => {
                    let _ = self.answers.send(Err(unavailable(&error))).await;
                    return;
                }
            };
            let idle = events.is_empty();
            if !idle || told_at.elapsed() >= QUIET_MAX {
                let answer = v1::SubscribeResponse {
                    events: events.iter().map(outcome).collect(),
                    cursor: self.cursor,
                };
                // Waits until the one before was taken.
                tokio::select! {
                    sent = self.answers.send(Ok(answer)) => if sent.is_err() { return },
                    () = self.stop.requested() => return self.say_goodbye(),
                }
                told_at = Instant::now();
            }
            let pause = if idle && !self.behind {
                LOOK_EVERY
            } else {
                Duration::ZERO
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.answers.closed() => return,
                () = self.stop.requested() => return self.say_goodbye(),
            }
        }
    }

    /// What follows the cursor, which moves on past it.
    async fn next(&mut self) -> Result<Vec<Event>, LedgerError> {
        // Asked first: whatever has a number up to it can be read.
        let newest = self.ledger.newest_event().await?;
        if newest <= self.cursor {
            return Ok(Vec::new());
        }
        let until = newest.min(self.cursor.saturating_add(NUMBERS_MAX));
        let events = self
            .ledger
            .events_between(&self.tenant, (self.cursor, until), &self.kinds, EVENTS_MAX)
            .await?;
        let full = events.len() >= EVENTS_MAX as usize;
        self.cursor = events.last().filter(|_| full).map_or(until, |event| event.seq);
        self.behind = self.cursor < newest;
        Ok(events)
    }

    fn say_goodbye(&self) {
        let error =
            RpcError::new(Code::Unavailable, reason::DRAINING, "the server stops").retry_after(COME_AGAIN);
        // A full channel's reader sees the stream end instead.
        let _ = self.answers.try_send(Err(error.into()));
    }
}

pub(crate) fn outcome(event: &Event) -> v1::OutcomeEvent {
    let event = &event.event;
    let lane = match event.lane {
        Lane::Transactional => v1::Lane::Transactional,
        Lane::Bulk => v1::Lane::Bulk,
    };
    v1::OutcomeEvent {
        id: event.id.clone(),
        message_id: event.message_id.to_string(),
        accepted_at: Some(convert::timestamp(event.accepted_at)),
        attempt: event.attempt,
        template: event.template.clone(),
        lane: lane.into(),
        kind: event.kind.clone(),
        at: Some(convert::timestamp(event.at)),
        received_at: Some(convert::timestamp(event.received_at)),
        detail: event.detail.clone(),
    }
}
