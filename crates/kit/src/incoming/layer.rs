//! The layer that counts calls, and the bytes of the requests that they bring.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use paceline_wire::status::{RpcError, reason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::Incoming;
use crate::grpc::REQUEST_TIME_MAX;

type BoxError = Box<dyn Error + Send + Sync>;

const HEALTH: &str = "/grpc.health.v1.Health/";
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Before each message of a call: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Lets a call pass, or refuses it. Clones are the same layer.
#[derive(Clone, Debug)]
pub struct IncomingLayer(pub(crate) Incoming);

impl<S> Layer<S> for IncomingLayer {
    type Service = BoundedCalls<S>;

    fn layer(&self, inner: S) -> BoundedCalls<S> {
        BoundedCalls {
            inner,
            incoming: self.0.clone(),
        }
    }
}

/// A service behind an [`IncomingLayer`].
#[derive(Clone, Debug)]
pub struct BoundedCalls<S> {
    inner: S,
    incoming: Incoming,
}

impl<S> Service<Request<Body>> for BoundedCalls<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let to_health = request.uri().path().starts_with(HEALTH);
        let Some(room) = self.incoming.call(to_health) else {
            let refusal = refusal("too many calls are open");
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        };
        let may_idle = is_stream(request.uri().path());
        // The few bytes of a call to health are bounded by the number of these calls.
        let counts = (!to_health).then(|| self.incoming.clone());
        let received = |inner| Body::new(Received::new(inner, counts, may_idle));
        let request = request.map(received);
        let answered = self.inner.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|inner| Body::new(Answer { inner, _room: room })))
        })
    }
}

/// True for the calls whose requests are streams.
fn is_stream(path: &str) -> bool {
    matches!(
        path,
        "/paceline.v1.IngestService/EnqueueStream" | "/paceline.v1.SuppressionService/ImportSuppressions"
    ) || path.starts_with("/grpc.reflection.")
}

fn refusal(what: &'static str) -> Status {
    RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, what)
        .retry_after(RETRY_DELAY)
        .into()
}

/// Where in its messages a request's body is, and how large they are with what stands before them.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    prefix_read: usize,
    /// Of the message whose prefix was read.
    missing: usize,
    /// Of the message that is not there as a whole.
    part: u64,
    /// The largest that was.
    largest: u64,
}

impl Framing {
    /// Reads on. True if a message ended in these bytes.
    fn read(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            let read = if self.prefix_read < PREFIX_BYTES {
                let read = data.len().min(PREFIX_BYTES - self.prefix_read);
                self.prefix[self.prefix_read..self.prefix_read + read].copy_from_slice(&data[..read]);
                self.prefix_read += read;
                if self.prefix_read == PREFIX_BYTES {
                    let [_, length @ ..] = self.prefix;
                    self.missing = u32::from_be_bytes(length) as usize;
                }
                read
            } else {
                let read = data.len().min(self.missing);
                self.missing -= read;
                read
            };
            data = &data[read..];
            self.part += read as u64;
            if self.prefix_read == PREFIX_BYTES && self.missing == 0 {
                self.prefix_read = 0;
                self.largest = self.largest.max(std::mem::take(&mut self.part));
                ended = true;
            }
        }
        ended
    }

    /// What its reader may hold of it: it keeps the room of the largest message for the next ones.
    fn held(&self) -> u64 {
        self.largest.max(self.part)
    }
}

/// A request's body.
struct Received {
    inner: Body,
    /// Where its bytes count.
    counts: Option<Incoming>,
    framing: Framing,
    /// Bytes that count, until the body is dropped: a single request's is right before its service is called.
    held: u64,
    /// True for a stream, whose caller may say nothing between two messages for as long as it likes.
    may_idle: bool,
    /// How long its reader has waited for the message that is not there, or a single request for its end.
    waited: Duration,
    waiting: Option<Waiting>,
}

/// A wait for the peer. What its reader does between two waits is not the peer's time.
struct Waiting {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

impl Received {
    fn new(inner: Body, counts: Option<Incoming>, may_idle: bool) -> Self {
        Self {
            inner,
            counts,
            framing: Framing::default(),
            held: 0,
            may_idle,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    fn receive(&mut self, data: &[u8]) -> Result<(), Status> {
        if self.framing.read(data) && self.may_idle {
            self.waited = Duration::ZERO;
        }
        let more = self.framing.held().saturating_sub(self.held);
        if let Some(incoming) = &self.counts {
            if !incoming.take(more) {
                return Err(refusal("too many requests are being received"));
            }
            self.held += more;
        }
        Ok(())
    }

    /// Nothing is there. Ready once the peer has taken too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.may_idle && self.framing.part == 0 {
            return Poll::Pending;
        }
        let left = REQUEST_TIME_MAX.saturating_sub(self.waited);
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            over: Box::pin(tokio::time::sleep(left)),
        });
        waiting.over.as_mut().poll(context).map(|()| {
            let problem = format!(
                "the request took longer than {} s to come",
                REQUEST_TIME_MAX.as_secs()
            );
            Status::deadline_exceeded(problem)
        })
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            return this.wait(context).map(|late| Some(Err(late.into())));
        };
        if let Some(waiting) = this.waiting.take() {
            this.waited += waiting.since.elapsed();
        }
        let Some(frame) = frame.transpose()? else {
            return Poll::Ready(None);
        };
        if let Some(data) = frame.data_ref() {
            this.receive(data)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(incoming) = &self.counts {
            incoming.give_back(self.held);
        }
    }
}

/// An answer's body: the call is open until it has ended.
struct Answer {
    inner: Body,
    _room: OwnedSemaphorePermit,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use axum::body::Bytes;
    use bytesize::ByteSize;
    use http::{Request, Response};
    use http_body::Frame;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use tokio::sync::mpsc;
    use tonic::body::Body;
    use tonic::{Code, Status};
    use tower::{Layer, Service, service_fn};

    use super::{Framing, IncomingLayer, REQUEST_TIME_MAX, Received, is_stream};
    use crate::incoming::{Incoming, IncomingSettings};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
        message.resize(5 + length, 7);
        message
    }

    #[test]
    fn the_largest_message_and_the_part_are_known_however_they_are_cut() {
        let body = [message(3), message(0), message(300)].concat();
        // Where each ends, and the largest until then.
        let ends = [(8, 8), (13, 8), (318, 305)];
        for size in 1..=body.len() {
            let mut framing = Framing::default();
            let mut read = 0;
            for part in body.chunks(size) {
                let ended = framing.read(part);
                let before = read;
                read += part.len();
                assert_eq!(
                    ended,
                    ends.iter().any(|(end, _)| (before + 1..=read).contains(end))
                );
                let (end, largest) = *ends.iter().rfind(|(end, _)| *end <= read).unwrap_or(&(0, 0));
                assert_eq!(
                    (framing.part, framing.largest),
                    ((read - end) as u64, largest),
                    "{size}"
                );
                assert_eq!(framing.held(), largest.max((read - end) as u64), "{size}");
            }
        }
    }

    #[test]
    fn every_stream_of_requests_may_idle_and_nothing_else() {
        let files = FileDescriptorSet::decode(paceline_wire::DESCRIPTORS).expect("descriptors");
        for file in files.file {
            for service in file.service {
                for method in &service.method {
                    let path = format!(
                        "/{}.{}/{}",
                        file.package.as_deref().unwrap_or_default(),
                        service.name(),
                        method.name()
                    );
                    assert_eq!(is_stream(&path), method.client_streaming(), "{path}");
                }
            }
        }
    }

    /// A body that comes as it is sent.
    struct Sent(mpsc::UnboundedReceiver<Bytes>);

    impl http_body::Body for Sent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let next = self.0.poll_recv(context);
            next.map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    /// Reads a request to its end and answers whether it could.
    async fn read(request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut body = request.into_body();
        loop {
            let next = |context: &mut Context<'_>| http_body::Body::poll_frame(Pin::new(&mut body), context);
            match std::future::poll_fn(next).await {
                None => return Ok(Response::new(Body::empty())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Status::from_error(error.into())),
            }
        }
    }

    #[tokio::test]
    async fn requests_are_refused_over_their_bytes_until_they_are_handed_over() {
        let incoming = Incoming::new(IncomingSettings {
            bytes_max: ByteSize::kib(100),
            ..IncomingSettings::default()
        });
        let mut service = IncomingLayer(incoming.clone()).layer(service_fn(read));
        let mut call = || {
            let (sender, body) = mpsc::unbounded_channel();
            let answer = service.call(Request::new(Body::new(Sent(body))));
            (sender, tokio::spawn(answer))
        };
        let whole = message(60 << 10);
        let (first, second) = whole.split_at(50 << 10);
        let held = |bytes: usize| {
            let incoming = incoming.clone();
            let reached = async move {
                while incoming.0.bytes.load(Ordering::Relaxed) != bytes as u64 {
                    tokio::task::yield_now().await;
                }
            };
            async {
                tokio::time::timeout(PATIENCE, reached)
                    .await
                    .expect("so many bytes")
            }
        };
        let (slow, slow_answer) = call();
        slow.send(Bytes::copy_from_slice(first)).expect("read");
        held(first.len()).await;
        // There is room for one more part and not for two.
        let (refused, refused_answer) = call();
        refused.send(Bytes::copy_from_slice(first)).expect("read");
        held(2 * first.len()).await;
        refused.send(Bytes::copy_from_slice(second)).expect("read");
        let refusal = refused_answer.await.expect("no panic").expect_err("over");
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        held(first.len()).await;
        // Its reader keeps the room of one message, however many come.
        slow.send(Bytes::copy_from_slice(second)).expect("read");
        held(whole.len()).await;
        for _ in 0..10 {
            slow.send(Bytes::copy_from_slice(&whole)).expect("read");
        }
        drop(slow);
        slow_answer.await.expect("no panic").expect("within its bound");
        held(0).await;
    }

    /// A body that is polled by hand; nothing wakes anybody.
    fn polled(
        may_idle: bool,
    ) -> (
        mpsc::UnboundedSender<Bytes>,
        impl FnMut() -> Poll<Result<(), Code>>,
    ) {
        let (sender, body) = mpsc::unbounded_channel();
        let mut received = Received::new(Body::new(Sent(body)), None, may_idle);
        let poll = move || {
            let mut context = Context::from_waker(Waker::noop());
            http_body::Body::poll_frame(Pin::new(&mut received), &mut context).map(|frame| match frame {
                Some(Err(error)) => Err(Status::from_error(error).code()),
                _ => Ok(()),
            })
        };
        (sender, poll)
    }

    const SECOND: Duration = Duration::from_secs(1);
    const LATE: Poll<Result<(), Code>> = Poll::Ready(Err(Code::DeadlineExceeded));

    #[tokio::test(start_paused = true)]
    async fn a_request_has_its_time_until_its_end_however_it_trickles() {
        for sent in [&message(9)[..0], &message(9)[..4], &message(9)] {
            let (sender, mut poll) = polled(false);
            for byte in sent {
                assert_eq!(poll(), Poll::Pending);
                tokio::time::advance(SECOND).await;
                sender.send(Bytes::copy_from_slice(&[*byte])).expect("read");
                assert_eq!(poll(), Poll::Ready(Ok(())));
            }
            let left = REQUEST_TIME_MAX - SECOND * u32::try_from(sent.len()).expect("few");
            assert_eq!(poll(), Poll::Pending);
            tokio::time::advance(left - SECOND).await;
            assert_eq!(poll(), Poll::Pending);
            tokio::time::advance(SECOND).await;
            assert_eq!(poll(), LATE, "{} bytes", sent.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_idle_between_messages_and_not_within_one() {
        let (sender, mut poll) = polled(true);
        for _ in 0..2 {
            assert_eq!(poll(), Poll::Pending);
            tokio::time::advance(SECOND * 3_600).await;
            assert_eq!(poll(), Poll::Pending);
            sender.send(message(9).into()).expect("read");
            assert_eq!(poll(), Poll::Ready(Ok(())));
        }
        sender.send(message(9)[..6].to_vec().into()).expect("read");
        assert_eq!(poll(), Poll::Ready(Ok(())));
        // Its reader is busy for long, which is not the peer's time.
        tokio::time::advance(SECOND * 3_600).await;
        assert_eq!(poll(), Poll::Pending);
        tokio::time::advance(REQUEST_TIME_MAX - SECOND).await;
        assert_eq!(poll(), Poll::Pending);
        tokio::time::advance(SECOND).await;
        assert_eq!(poll(), LATE);
    }
}
