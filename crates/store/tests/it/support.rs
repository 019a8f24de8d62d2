//! A store on throwaway servers with a clock that the test moves, and the steps that many tests need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State, Ticket};
use paceline_domain::time::Millis;
use paceline_store::{
    Change, ClaimItem, Claimant, Claimed, Durability, Enqueued, Entry, EntryBody, HandOff, NewMessage,
    Report, Run, Stage, Store, StoreConfig, StreamKey, Verdict,
};
use paceline_testkit::resp::{self, Reply};

use crate::{SHARD, SHARDS, Servers, TAG};

pub(crate) const START: Millis = Millis(1_800_000_000_000);
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const TTL: Duration = Duration::from_secs(3 * 24 * 3600);
pub(crate) const DOUBT_WINDOW: Duration = Duration::from_secs(900);
pub(crate) const TRIES_MAX: u8 = 3;
/// What the hand-offs say.
pub(crate) const RENDERED_AT: Millis = Millis(1_800_000_000_004);

/// Keys, values as `DUMP` answers them, and what is left of their lives in ms.
pub(crate) type Snapshot = Vec<(Vec<u8>, Vec<u8>, i64)>;

/// The servers, a store and a clock.
pub(crate) struct Bench {
    pub(crate) redis: Servers,
    pub(crate) store: Store,
    time: Arc<AtomicU64>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let redis = Servers::start().await;
        let time = Arc::new(AtomicU64::new(START.0));
        let store = Store::connect(&waiting_for_nothing(redis.url(), SHARDS))
            .await
            .expect("a redis")
            .with_time(Arc::clone(&time));
        Self { redis, store, time }
    }

    /// A further client of the same servers.
    pub(crate) async fn another_store(&self, url: &str) -> Store {
        Store::connect(&waiting_for_nothing(url, SHARDS))
            .await
            .expect("a redis")
            .with_time(Arc::clone(&self.time))
    }

    /// The same servers and clock, through a store of its own.
    pub(crate) async fn with(self, config: &StoreConfig) -> Self {
        let store = Store::connect(config).await.expect("a safe redis");
        let store = store.with_time(Arc::clone(&self.time));
        Self { store, ..self }
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.time.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.time.store((self.now() + by).0, Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("a short time");
        self.time.fetch_sub(by, Ordering::SeqCst);
    }

    pub(crate) async fn enqueue(&self, messages: Vec<NewMessage>) -> Vec<Enqueued> {
        self.store.enqueue(SHARD, messages).await.expect("redis is there")
    }

    /// Accepts a message as it is and returns its record.
    pub(crate) async fn accept(&self, message: &NewMessage) -> Record {
        match self.enqueue(vec![message.clone()]).await.remove(0) {
            Enqueued::New(record) => record,
            other => panic!("a new message expected, not {other:?}"),
        }
    }

    pub(crate) async fn get(&self, id: MessageId) -> Record {
        self.store
            .get(id)
            .await
            .expect("redis is there")
            .expect("the message is there")
    }

    /// Everything that waits at a stage, read as one consumer.
    pub(crate) async fn read(&self, stage: Stage, consumer: &str) -> Vec<Entry> {
        let streams = self.store.active(SHARD).await.expect("redis is there");
        self.store
            .read(SHARD, stage, consumer, &streams, 100)
            .await
            .expect("redis is there")
    }

    /// Renders all that is queued: reads and hands off.
    pub(crate) async fn render_all(&self) {
        let items: Vec<_> = self
            .read(Stage::Queued, "renderer")
            .await
            .iter()
            .map(hand_off_of)
            .collect();
        let answers = self.store.hand_off(SHARD, items).await.expect("redis is there");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// Reads all that is ready and claims it.
    pub(crate) async fn claim_all(&self, nonce: u8) -> Vec<Claimed> {
        let items = self
            .read(Stage::Ready, "sender")
            .await
            .iter()
            .map(claim_of)
            .collect();
        self.claim(nonce, items).await
    }

    pub(crate) async fn claim(&self, nonce: u8, items: Vec<ClaimItem>) -> Vec<Claimed> {
        self.store
            .claim(SHARD, claimant(nonce, None), items)
            .await
            .expect("redis is there")
            .made()
            .expect("no hold")
    }

    /// Brings a new message all the way to `sending`.
    pub(crate) async fn sending(&self, message: &NewMessage) -> Record {
        self.accept(message).await;
        self.send_queued().await
    }

    /// Brings the one queued message to `sending`.
    pub(crate) async fn send_queued(&self) -> Record {
        self.render_all().await;
        match self.claim_all(1).await.as_slice() {
            [Claimed::Sending(record)] => record.clone(),
            other => panic!("one claim expected, not {other:?}"),
        }
    }

    pub(crate) async fn report(&self, id: MessageId, fence: Fence, outcome: Outcome) -> Change {
        let report = Report { id, fence, outcome };
        self.store
            .finish(SHARD, vec![report])
            .await
            .expect("redis is there")
            .remove(0)
    }

    pub(crate) async fn promote(&self, id: MessageId) -> Change {
        let stream = StreamKey::of(&wish(), Stage::Queued);
        self.store
            .promote(SHARD, &[(id, stream)])
            .await
            .expect("redis is there")
            .remove(0)
    }

    /// Members of a sorted set with their scores.
    pub(crate) async fn waiting(&self, set: &str) -> Vec<(MessageId, u64)> {
        let reply = self
            .redis
            .command(&["ZRANGE", &format!("{TAG}:{set}"), "0", "-1", "WITHSCORES"])
            .await;
        reply
            .array()
            .chunks(2)
            .map(|pair| {
                let id = MessageId(pair[0].bytes()[..].try_into().expect("16 bytes"));
                let score = String::from_utf8_lossy(&pair[1].bytes()).into_owned();
                (id, score.parse::<f64>().expect("a number") as u64)
            })
            .collect()
    }

    /// All that stands in the tests' shard, to fall back to.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let node = self.redis.nodes().last().expect("at least one").address();
        let ask = |words: Vec<Vec<u8>>| async move {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            resp::command(node, &words).await.expect("the node is there")
        };
        let pattern = format!("{TAG}:*").into_bytes();
        let mut kept = Vec::new();
        for key in ask(vec![b"KEYS".to_vec(), pattern]).await.array() {
            let key = key.bytes().to_vec();
            let value = ask(vec![b"DUMP".to_vec(), key.clone()]).await.bytes();
            let ttl = ask(vec![b"PTTL".to_vec(), key.clone()]).await.integer();
            kept.push((key, value.to_vec(), ttl.max(0)));
        }
        kept
    }

    /// Redis has nothing but the snapshot, as a replica that lacks the newest writes.
    pub(crate) async fn fall_back(&self, snapshot: &Snapshot) {
        self.redis.on_every_node(&["FLUSHALL"]).await;
        for (key, value, ttl) in snapshot {
            let ttl = ttl.to_string();
            let restore: [&[u8]; 4] = [b"RESTORE", key, ttl.as_bytes(), value];
            assert_eq!(self.redis.command(&restore).await, Reply::Bytes("OK".into()));
        }
    }

    /// The entries in the test's stream of a stage.
    pub(crate) async fn backlog(&self, stage: Stage) -> i64 {
        let key = stream_key(stage);
        self.redis.command(&["XLEN", &key]).await.integer()
    }

    /// Seconds until the record goes; -1 if it stays.
    pub(crate) async fn ttl(&self, id: MessageId) -> i64 {
        self.redis.command(&["TTL", &record_key(id)]).await.integer()
    }

    pub(crate) async fn has_request(&self, id: MessageId) -> bool {
        let key = format!("{TAG}:q:{id}");
        self.redis.command(&["EXISTS", &key]).await == Reply::Integer(1)
    }
}

pub(crate) fn config(url: &str, shards: u16) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards,
        command_timeout: Duration::from_secs(2),
        durability: Durability::Local,
        replicas: 0,
        allow_unsafe: false,
        log: paceline_store::LogUse::default(),
        log_entries_max: 10_000,
    }
}

/// At a level that answered claims can't be lost at, on servers that do not sync for it.
pub(crate) fn waiting_for_nothing(url: &str, shards: u16) -> StoreConfig {
    StoreConfig {
        durability: Durability::Fsync,
        allow_unsafe: true,
        ..config(url, shards)
    }
}

pub(crate) fn record_key(id: MessageId) -> String {
    format!("{TAG}:m:{id}")
}

pub(crate) fn stream_key(stage: Stage) -> String {
    format!("{TAG}:{}", StreamKey::of(&wish(), stage))
}

/// All in [`SHARD`].
pub(crate) const fn id(number: u8) -> MessageId {
    let mut bytes = [0xb7; 16];
    bytes[15] = number;
    MessageId(bytes)
}

/// What a caller and a template say of a message, before it is accepted.
pub(crate) fn wish() -> Record {
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 0,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 0,
        tries: 0,
        tries_max: TRIES_MAX,
        maybe_sent: false,
        resent: false,
        policy: DoubtPolicy::Hold,
        lane: Lane::Transactional,
        accepted_at: Millis(0),
        changed_at: Millis(0),
        send_at: Millis(0),
        expires_at: Millis(0),
        due_at: Millis(0),
        doubt_window_s: u32::try_from(DOUBT_WINDOW.as_secs()).expect("short"),
        dedupe_window_s: 604_800,
        provider: None,
        provider_id: String::new(),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        identity: "acme-mail".to_owned(),
        digests: Vec::new(),
    }
}

pub(crate) fn message(number: u8) -> NewMessage {
    NewMessage {
        id: id(number),
        record: wish(),
        ttl: TTL,
        request: Bytes::from(format!("request {number}")),
        resubmit: false,
        logged: Bytes::new(),
        durability: Durability::Local,
    }
}

pub(crate) fn ticket_of(entry: &Entry) -> (MessageId, Ticket) {
    match &entry.body {
        EntryBody::Message { id, ticket, .. } => (*id, *ticket),
        other => panic!("a message expected, not {other:?}"),
    }
}

pub(crate) fn hand_off_of(entry: &Entry) -> HandOff {
    let (id, ticket) = ticket_of(entry);
    HandOff {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        rendered: Bytes::from_static(b"rendered \xff\x00 parts"),
        to: None,
        kept: Bytes::new(),
        act: Bytes::new(),
        rendered_at: RENDERED_AT,
    }
}

pub(crate) const fn claimant(nonce: u8, run: Option<&Run>) -> Claimant<'_> {
    Claimant {
        nonce: Nonce([nonce; 8]),
        lease: LEASE,
        provider: provider_of(nonce),
        run,
    }
}

/// Who is claimed for under this nonce: each third time the backup.
pub(crate) const fn provider_of(nonce: u8) -> Provider {
    if nonce.is_multiple_of(3) {
        Provider::Mailgun
    } else {
        Provider::Ses
    }
}

pub(crate) fn claim_of(entry: &Entry) -> ClaimItem {
    let (id, ticket) = ticket_of(entry);
    let EntryBody::Message { rendered_at, .. } = entry.body else {
        panic!("a message expected, not {entry:?}")
    };
    ClaimItem {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        verdict: Verdict::Send,
        rendered_at,
    }
}

/// The record of a change that moved it.
pub(crate) fn moved(change: Change) -> Record {
    match change {
        Change::Moved(record) => record,
        other => panic!("a move expected, not {other:?}"),
    }
}

pub(crate) fn accepted() -> Outcome {
    Outcome::Accepted {
        provider_id: "0100019abc".to_owned(),
    }
}
