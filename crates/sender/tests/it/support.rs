//! A Redis whose time the test moves, a provider that answers by script, leases by wish, and somebody who renders.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use opentelemetry::metrics::Meter;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider as ProviderName, Record, State};
use paceline_domain::time::Millis;
use paceline_kit::clock::SystemClock;
use paceline_kit::identity::{IdentitySettings, SesIdentity};
use paceline_kit::stops::Stops;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::{Shutdown, Supervisor};
use paceline_providers::{OutgoingMessage, SendOutcome};
use paceline_sender::leases::LeaseError;
use paceline_sender::{Deliver, LeaseSource, Limits, Parts, Pipeline, Provider, ReadAheadSettings};
use paceline_store::{
    Addressee, Durability, Enqueued, EntryBody, HandOff, NewMessage, Stage, Store, StoreConfig, StoreError,
    StreamKey,
};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1;

pub(crate) const SOON: Duration = Duration::from_secs(20);
const START: Millis = Millis(1_800_000_000_000);
/// What the hand-offs say.
pub(crate) const RENDERED_AT: Millis = Millis(1_800_000_000_007);
/// How long a command may take, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(3);

/// One Redis, or a Cluster, and the message world around the sender.
pub(crate) struct World<R = TestRedis> {
    pub(crate) redis: R,
    pub(crate) store: Store,
    time: Option<Arc<AtomicU64>>,
    accepted: AtomicUsize,
}

impl World {
    pub(crate) async fn start() -> Self {
        let redis = TestRedis::start().await;
        let url = redis.url().to_owned();
        Self::on(redis, &url).await
    }

    /// With the server's own clock, which [`TestRedis::jump`] moves.
    pub(crate) async fn with_moved_clock() -> Self {
        let redis = TestRedis::with_moved_clock().await;
        let url = redis.url().to_owned();
        Self::of(redis, &url, None).await
    }

    /// A further store whose commands may take longer.
    pub(crate) async fn patient_store(&self, command_timeout: Duration) -> Store {
        connect_for(self.redis.url(), self.time.as_ref(), command_timeout).await
    }
}

impl<R> World<R> {
    pub(crate) async fn on(redis: R, url: &str) -> Self {
        Self::of(redis, url, Some(Arc::new(AtomicU64::new(START.0)))).await
    }

    async fn of(redis: R, url: &str, time: Option<Arc<AtomicU64>>) -> Self {
        Self {
            redis,
            store: connect_for(url, time.as_ref(), PATIENCE).await,
            time,
            accepted: AtomicUsize::new(0),
        }
    }

    /// The same at level `local` and by Redis's own time, on a server that is reached over `url`. `redis` is kept for the test.
    pub(crate) async fn local(redis: R, url: &str) -> Self {
        Self {
            redis,
            store: connect_local(url).await,
            time: None,
            accepted: AtomicUsize::new(0),
        }
    }

    /// A further store, for a sender of its own.
    pub(crate) async fn another_store(&self, url: &str) -> Store {
        connect_for(url, self.time.as_ref(), PATIENCE).await
    }

    pub(crate) fn time(&self) -> Arc<AtomicU64> {
        Arc::clone(self.time.as_ref().expect("a clock that the test moves"))
    }

    /// Redis's time.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.time().load(Ordering::SeqCst))
    }

    /// Moves Redis's time; nobody's boot-time clock moves.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("a short time");
        self.time().fetch_add(by, Ordering::SeqCst);
    }

    /// Accepts `count` messages like `wish`, renders them and returns their ids.
    pub(crate) async fn ready(&self, count: usize, wish: Record) -> Vec<MessageId> {
        self.ready_as(count, wish, rendered).await
    }

    /// The same, with other rendered parts.
    pub(crate) async fn ready_as(
        &self,
        count: usize,
        wish: Record,
        rendered: fn(MessageId) -> Bytes,
    ) -> Vec<MessageId> {
        self.ready_by(
            count,
            wish,
            Rendering {
                rendered,
                to: |_| None,
            },
        )
        .await
    }

    /// The same, with addressees as the renderer notes them.
    pub(crate) async fn ready_to(
        &self,
        count: usize,
        wish: Record,
        to: impl Fn(MessageId) -> Addressee,
    ) -> Vec<MessageId> {
        let to = |id| Some(to(id));
        self.ready_by(count, wish, Rendering { rendered, to }).await
    }

    async fn ready_by<T: Fn(MessageId) -> Option<Addressee>>(
        &self,
        count: usize,
        wish: Record,
        rendering: Rendering<T>,
    ) -> Vec<MessageId> {
        let first = self.accepted.fetch_add(count, Ordering::SeqCst);
        let ids: Vec<MessageId> = (first..first + count).map(id).collect();
        let message = |&id: &MessageId| NewMessage {
            id,
            record: wish.clone(),
            ttl: Duration::from_secs(3 * 24 * 3600),
            request: "request".into(),
            resubmit: false,
            logged: Bytes::new(),
            durability: Durability::Local,
        };
        for ids in ids.chunks(100) {
            let answers = self.store.enqueue(0, ids.iter().map(message).collect()).await;
            let answers = answers.expect("redis is there");
            assert!(
                answers.iter().all(|answer| matches!(answer, Enqueued::New(_))),
                "{answers:?}"
            );
        }
        self.render(&rendering).await.expect("redis is there");
        ids
    }

    /// Does once what the other services do: promotes what is due, and renders.
    pub(crate) async fn turn(&self) {
        self.try_turn().await.expect("redis is there");
    }

    async fn try_turn(&self) -> Result<(), StoreError> {
        let due = self.store.later_due(0, 1_000).await?;
        let ids: Vec<MessageId> = due.iter().map(|(id, _)| *id).collect();
        let records = self.store.get_many(0, &ids).await?;
        let items: Vec<(MessageId, StreamKey)> = ids
            .into_iter()
            .zip(records)
            .filter_map(|(id, record)| Some((id, StreamKey::of(&record?, Stage::Queued))))
            .collect();
        self.store.promote(0, &items).await?;
        self.render(&Rendering {
            rendered,
            to: |_| None,
        })
        .await
    }

    async fn render<T: Fn(MessageId) -> Option<Addressee>>(
        &self,
        rendering: &Rendering<T>,
    ) -> Result<(), StoreError> {
        loop {
            let streams = self.store.active(0).await?;
            let entries = self
                .store
                .read(0, Stage::Queued, "renderer", &streams, 500)
                .await?;
            if entries.is_empty() {
                break;
            }
            let items = entries.into_iter().map(|entry| {
                let EntryBody::Message { id, ticket, .. } = entry.body else {
                    panic!("an unreadable entry")
                };
                HandOff {
                    stream: entry.stream,
                    entry_id: entry.entry_id,
                    id,
                    ticket,
                    rendered: (rendering.rendered)(id),
                    to: (rendering.to)(id),
                    kept: Bytes::new(),
                    act: Bytes::new(),
                    rendered_at: RENDERED_AT,
                }
            });
            let answers = self.store.hand_off(0, items.collect()).await?;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        self.store.hint(Stage::Ready);
        Ok(())
    }

    pub(crate) async fn get(&self, id: MessageId) -> Record {
        let record = self.store.get(id).await.expect("redis is there");
        record.expect("the message is there")
    }

    /// Waits until all of them are in `state`, playing the other services meanwhile.
    pub(crate) async fn until(&self, ids: &[MessageId], state: State) {
        self.until_moving(ids, state, Duration::ZERO).await;
    }

    /// The same, and Redis's time goes on by `step` with each look.
    pub(crate) async fn until_moving(&self, ids: &[MessageId], state: State, step: Duration) {
        let what = format!("all {state}");
        eventually(&what, SOON, || async {
            if !step.is_zero() {
                self.advance(step);
            }
            self.try_turn().await.map_err(|error| error.to_string())?;
            let records = self.store.get_many(0, ids).await;
            let records = records.map_err(|error| error.to_string())?;
            let other = records.into_iter().flatten().find(|record| record.state != state);
            other.map_or(Ok(()), |record| {
                Err(format!(
                    "{} {} after {} tries",
                    record.state,
                    record.reason.as_str(),
                    record.tries
                ))
            })
        })
        .await;
    }
}

pub(crate) async fn connect(url: &str, time: &Arc<AtomicU64>) -> Store {
    connect_for(url, Some(time), PATIENCE).await
}

/// A store at level `local`, by Redis's own time.
pub(crate) async fn connect_local(url: &str) -> Store {
    let config = StoreConfig {
        durability: Durability::Local,
        allow_unsafe: false,
        ..config(url, Duration::from_secs(1))
    };
    Store::connect(&config).await.expect("a safe redis")
}

/// A store that waits for one replica.
pub(crate) async fn connect_replicated(url: &str) -> Store {
    let config = StoreConfig {
        durability: Durability::Replicated,
        replicas: 1,
        allow_unsafe: false,
        ..config(url, Duration::from_secs(1))
    };
    Store::connect(&config).await.expect("a safe redis")
}

/// A field of what a server says of itself.
pub(crate) async fn info(redis: &TestRedis, section: &str, field: &str) -> String {
    let info = redis.command(&["INFO", section]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value
        .unwrap_or_else(|| panic!("no {field} in {info}"))
        .trim()
        .to_owned()
}

/// Redis as it is once somebody has waited for its hold.
pub(crate) async fn stood_on(redis: &TestRedis) {
    let run = info(redis, "server", "run_id").await;
    let words = ["HSET", "{pl1:0}:run", "run", &run, "hold_until", "0"];
    assert_eq!(redis.command(&words).await.integer(), 2);
}

async fn connect_for(url: &str, time: Option<&Arc<AtomicU64>>, command_timeout: Duration) -> Store {
    let store = Box::pin(Store::connect(&config(url, command_timeout))).await;
    let store = store.expect("a redis");
    match time {
        Some(time) => store.with_time(Arc::clone(time)),
        None => store,
    }
}

fn config(url: &str, command_timeout: Duration) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        shards: 1,
        command_timeout,
        // On a server that does not sync for it.
        durability: Durability::Fsync,
        replicas: 0,
        allow_unsafe: true,
        tls: None,
        allow_plaintext_password: false,
        log: paceline_store::LogUse::default(),
        log_entries_max: 10_000,
    }
}

fn id(number: usize) -> MessageId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
    MessageId(bytes)
}

/// What a caller and a template wish: change what a test is about.
pub(crate) fn wish() -> Record {
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 0,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 0,
        tries: 0,
        tries_max: 8,
        maybe_sent: false,
        resent: false,
        policy: DoubtPolicy::Hold,
        lane: Lane::Transactional,
        accepted_at: Millis(0),
        changed_at: Millis(0),
        send_at: Millis(0),
        expires_at: Millis(0),
        due_at: Millis(0),
        doubt_window_s: 1,
        dedupe_window_s: 3_600,
        provider: None,
        provider_id: String::new(),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        identity: "main".to_owned(),
        digests: Vec::new(),
    }
}

/// What the renderer makes of a message.
struct Rendering<T> {
    rendered: fn(MessageId) -> Bytes,
    to: T,
}

fn rendered(id: MessageId) -> Bytes {
    let mailbox = |address: String| {
        Some(v1::Mailbox {
            address,
            display_name: "Ada".to_owned(),
        })
    };
    let message = v1::RenderedMessage {
        recipient: mailbox(format!("{id}@example.com")),
        from: mailbox("hello@example.com".to_owned()),
        subject: "Hello".to_owned(),
        html: "<p>Hello</p>".to_owned(),
        text: "Hello".to_owned(),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        tracking: Some(false),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        ..v1::RenderedMessage::default()
    };
    paceline_wire::rendered::pack(&message).expect("compressible")
}

/// What the script says to one call.
pub(crate) enum Answer {
    Now(SendOutcome),
    /// Never answers.
    Hang,
    /// Answers once the test lets it.
    After(Arc<tokio::sync::Semaphore>, SendOutcome),
}

/// One call of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: MessageId,
    pub(crate) attempt: u32,
    /// How many calls there were before, of all messages.
    pub(crate) number: usize,
}

type Script = dyn Fn(Call) -> Answer + Send + Sync;

/// A provider that keeps its calls and answers by script. Clones are one provider.
#[derive(Clone)]
pub(crate) struct Scripted {
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(Call) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            calls: Arc::default(),
            script: Arc::new(script),
        }
    }

    /// Takes everything.
    pub(crate) fn accepting() -> Self {
        Self::new(|call| Answer::Now(accepted(call.id)))
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("nobody panics under it").clone()
    }

    pub(crate) fn calls_of(&self, id: MessageId) -> usize {
        self.calls().iter().filter(|call| call.id == id).count()
    }

    pub(crate) async fn until_called(&self, times: usize) {
        eventually("the provider is called", SOON, || async {
            let calls = self.calls().len();
            if calls >= times { Ok(()) } else { Err(calls) }
        })
        .await;
    }
}

impl Provider for Scripted {
    async fn send(
        &self,
        by: ProviderName,
        identity: &IdentitySettings,
        message: &OutgoingMessage<'_>,
    ) -> SendOutcome {
        assert_eq!(by, ProviderName::Ses);
        assert_eq!(identity.ses.region, "eu-west-1");
        assert_eq!(message.configuration_set, "events");
        if !message.gate.is_open() {
            // As the real ones do: what stood at the sender's last look may be over.
            let reason = Reason::NotWritten;
            return SendOutcome::Transient { reason };
        }
        let call = {
            let mut calls = self.calls.lock().expect("nobody panics under it");
            let call = Call {
                id: message.message_id,
                attempt: message.attempt,
                number: calls.len(),
            };
            calls.push(call);
            call
        };
        match (self.script)(call) {
            Answer::Now(outcome) => outcome,
            Answer::Hang => std::future::pending().await,
            Answer::After(gate, outcome) => {
                gate.acquire().await.expect("an open gate").forget();
                outcome
            }
        }
    }
}

pub(crate) fn accepted(id: MessageId) -> SendOutcome {
    SendOutcome::Accepted {
        provider_id: format!("ses-{id}"),
    }
}

/// Grants every key one rate while it is told to. Clones are one source.
#[derive(Clone)]
pub(crate) struct Granting {
    rate: f64,
    ttl: Duration,
    pub(crate) answers: Arc<AtomicBool>,
    pub(crate) released: Arc<AtomicUsize>,
}

impl Granting {
    pub(crate) fn rate(rate: f64) -> Self {
        Self {
            rate,
            ttl: Duration::from_secs(2),
            answers: Arc::new(AtomicBool::new(true)),
            released: Arc::default(),
        }
    }

    pub(crate) fn lasting(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }
}

impl LeaseSource for Granting {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        if !self.answers.load(Ordering::SeqCst) {
            let address = "http://nowhere".to_owned();
            return Err(LeaseError::NoLeader { address });
        }
        let lease = |item: v1::RefreshItem| v1::Lease {
            key: item.key,
            rate: self.rate,
            burst: (self.rate / 10.0).max(1.0),
            ttl_ms: u32::try_from(self.ttl.as_millis()).expect("a short time"),
            version: 1,
            ..v1::Lease::default()
        };
        Ok(v1::RefreshResponse {
            epoch: 1,
            leases: request.items.into_iter().map(lease).collect(),
            leader_address: String::new(),
            refresh_ms: 100,
            routes: Vec::new(),
        })
    }

    async fn release(&mut self, request: v1::ReleaseRequest) -> Result<(), LeaseError> {
        self.released.fetch_add(request.items.len(), Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn identity(name: &str) -> IdentitySettings {
    IdentitySettings {
        name: name.to_owned(),
        from_domains: vec![format!("{name}.example")],
        tenants: vec!["*".to_owned()],
        ses: SesIdentity {
            region: "eu-west-1".to_owned(),
            configuration_set: "events".to_owned(),
            tenant_name: None,
        },
        mailgun: None,
    }
}

pub(crate) fn limits(name: &str) -> Limits {
    Limits {
        name: name.to_owned(),
        in_flight_max: 64,
        in_flight_per_identity_max: 48,
        attempt_timeout: Duration::from_secs(2),
        claim_lease: Duration::from_secs(10),
        read_ahead: ReadAheadSettings {
            entries_max: 256.try_into().expect("not zero"),
            bytes_max: ByteSize::mib(8),
            rate_max: Duration::from_secs(2),
            reclaim_idle: Duration::from_secs(10),
        },
        drain_max: Duration::from_secs(10),
    }
}

pub(crate) fn meter() -> Meter {
    let telemetry = Telemetry::new("sender", &TelemetrySettings::default());
    telemetry.expect("no endpoint to fail").meter("test")
}

pub(crate) fn parts<P: Provider>(store: Store, provider: P, limits: Limits) -> Parts<P> {
    Parts {
        store,
        provider,
        clock: Arc::new(SystemClock),
        identities: vec![identity("main"), identity("other")],
        limits,
        deliver: Deliver::live(),
        address_key: None,
        stops: Stops::new(Arc::new(SystemClock)),
        meter: meter(),
    }
}

/// A running sender.
pub(crate) struct Sender<P> {
    pub(crate) pipeline: Pipeline<P>,
    pub(crate) stop: Shutdown,
}

impl<P: Provider> Sender<P> {
    pub(crate) fn start(parts: Parts<P>, leases: impl LeaseSource) -> Self {
        let stop = Shutdown::new();
        Self {
            pipeline: Pipeline::start(parts, leases, &Supervisor::new(&stop)),
            stop,
        }
    }

    pub(crate) async fn drain(self) {
        self.stop.trigger();
        self.pipeline.drain().await.expect("every task ended well");
    }
}

/// A sender on the world's own store with everything as usual.
pub(crate) fn sender<P: Provider>(world: &World, provider: P) -> Sender<P> {
    let parts = parts(world.store.clone(), provider, limits("sender-1"));
    Sender::start(parts, Granting::rate(2_000.0))
}
