//! Every kind of key in Redis, written by the store's own functions on a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::AddressHash;
use paceline_domain::lane::Lane;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, Record, State, Ticket};
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_store::throttle::{Commit, Known, Leadership, RateKey, Snapshot};
use paceline_store::{
    Addressee, Announced, Change, ClaimItem, Claimant, Claimed, Durability, Enqueued, Entry, EntryBody,
    HandOff, LogMode, LogUse, NewMessage, Redrive, Report, Stage, Stopped, Store, StoreConfig, StreamKey,
    Suppression, Verdict,
};
use paceline_testkit::TestRedis;
use paceline_wire::v1;
use prost::Message as _;

use super::dump;
use super::fixtures::Sample;

pub(crate) const NAME: &str = "redis.json";
/// When everything happens.
pub(crate) const START: Millis = Millis(1_800_000_000_000);
pub(crate) const SHARD: u16 = 0;
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// The messages by what becomes of them.
pub(crate) const QUEUED: MessageId = id(1);
pub(crate) const SCHEDULED: MessageId = id(2);
pub(crate) const READY: MessageId = id(3);
pub(crate) const SENDING: MessageId = id(4);
pub(crate) const ACCEPTED: MessageId = id(5);
pub(crate) const DEFERRED: MessageId = id(6);
pub(crate) const IN_DOUBT: MessageId = id(7);
pub(crate) const DEAD: MessageId = id(8);
pub(crate) const HELD: MessageId = id(9);
pub(crate) const CANCELLED: MessageId = id(10);
pub(crate) const DISCARDED: MessageId = id(11);
pub(crate) const REDRIVEN: MessageId = id(12);

/// Where each comes to rest here.
pub(crate) const STATES: [(MessageId, State); 12] = [
    (QUEUED, State::Queued),
    (SCHEDULED, State::Scheduled),
    (READY, State::Queued),
    (SENDING, State::Sending),
    (ACCEPTED, State::Accepted),
    (DEFERRED, State::Deferred),
    (IN_DOUBT, State::InDoubt),
    (DEAD, State::Dead),
    (HELD, State::Held),
    (CANCELLED, State::Cancelled),
    (DISCARDED, State::Discarded),
    (REDRIVEN, State::Queued),
];

const fn id(number: u8) -> MessageId {
    let mut bytes = [0xb7; 16];
    bytes[15] = number;
    MessageId(bytes)
}

pub(crate) const ADDRESS: AddressHash = AddressHash([0x5a; 16]);
pub(crate) const BUNDLE: [u8; 32] = [0xbd; 32];
pub(crate) const STOP: &str = "stop-1";

/// What is published.
pub(crate) fn announced() -> Announced {
    Announced {
        name: "welcome".to_owned(),
        version: 3,
        hash: BUNDLE,
        authored: [0xae; 32],
    }
}

/// The key whose rate is kept.
pub(crate) fn rate_key() -> RateKey {
    RateKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    }
}

/// A store on the server, whose clock stands still.
pub(crate) struct Bench {
    pub(crate) redis: TestRedis,
    pub(crate) store: Store,
    pub(crate) time: Arc<AtomicU64>,
}

impl Bench {
    /// On an empty server.
    ///
    /// # Errors
    /// If it can't be reached.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::on(TestRedis::start().await).await
    }

    /// On what stands in one.
    ///
    /// # Errors
    /// As [`Bench::start`].
    pub(crate) async fn on(redis: TestRedis) -> anyhow::Result<Self> {
        let time = Arc::new(AtomicU64::new(START.0));
        let store = Store::connect(&config(redis.url(), Durability::Fsync)).await?;
        let store = store.with_time(Arc::clone(&time));
        Ok(Self { redis, store, time })
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.time.fetch_add(by, Ordering::SeqCst);
    }

    /// All that waits at a stage.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn read(&self, stage: Stage) -> anyhow::Result<Vec<Entry>> {
        let streams = self.store.active(SHARD).await?;
        Ok(self.store.read(SHARD, stage, "reader", &streams, 100).await?)
    }

    /// Renders what is queued; of how many messages.
    ///
    /// # Errors
    /// If Redis does not answer, or an entry is none of ours.
    pub(crate) async fn render(&self) -> anyhow::Result<usize> {
        let items = self
            .read(Stage::Queued)
            .await?
            .iter()
            .map(hand_off)
            .collect::<Result<Vec<_>, _>>()?;
        let count = items.len();
        for answer in self.store.hand_off(SHARD, items).await? {
            answer?;
        }
        Ok(count)
    }

    /// Claims what is ready.
    ///
    /// # Errors
    /// As [`Bench::render`], and if nothing may be claimed.
    pub(crate) async fn claim(&self, nonce: u8) -> anyhow::Result<Vec<Claimed>> {
        let items = self
            .read(Stage::Ready)
            .await?
            .iter()
            .map(claim_item)
            .collect::<Result<Vec<_>, _>>()?;
        let claimant = Claimant {
            nonce: Nonce([nonce; 8]),
            lease: MINUTE,
            provider: Provider::Ses,
            run: None,
        };
        let claims = self.store.claim(SHARD, claimant, items).await?;
        claims.made().context("nobody may claim")
    }

    /// Accepts one message and nothing more.
    async fn accept(&self, message: NewMessage) -> anyhow::Result<()> {
        let answers = self.store.enqueue(SHARD, vec![message]).await?;
        ensure!(matches!(answers[..], [Enqueued::New(_)]), "{answers:?}");
        Ok(())
    }

    /// Brings a message on its way.
    async fn sending(&self, id: MessageId) -> anyhow::Result<Record> {
        self.accept(message(id)).await?;
        self.render().await?;
        match self.claim(1).await?.as_slice() {
            [Claimed::Sending(record)] => Ok(record.clone()),
            other => bail!("one claim expected, not {other:?}"),
        }
    }

    async fn ends(&self, id: MessageId, outcome: Outcome) -> anyhow::Result<()> {
        let fence = self.sending(id).await?.fence();
        let report = Report { id, fence, outcome };
        let changes = self.store.finish(SHARD, vec![report]).await?;
        ensure!(matches!(changes[..], [Change::Moved(_)]), "{changes:?}");
        Ok(())
    }
}

fn config(url: &str, durability: Durability) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: Duration::from_secs(5),
        durability,
        replicas: 0,
        allow_unsafe: true,
        log: LogUse {
            mode: LogMode::Ledger,
            change: false,
        },
        log_entries_max: 10_000,
    }
}

fn message(id: MessageId) -> NewMessage {
    let logged = v1::LoggedMessages {
        messages: vec![v1::LoggedMessage {
            message_id: id.0.to_vec().into(),
            tenant: "acme".to_owned(),
            template: "digest".to_owned(),
            recipient_hash: ADDRESS.0.to_vec().into(),
            ..v1::LoggedMessage::default()
        }],
    };
    NewMessage {
        id,
        record: Record {
            state: State::Queued,
            reason: Reason::None,
            revision: 0,
            attempt: 0,
            nonce: Nonce::default(),
            generation: 0,
            tries: 0,
            tries_max: 3,
            maybe_sent: false,
            resent: false,
            policy: DoubtPolicy::Resend,
            lane: Lane::Bulk,
            accepted_at: Millis(0),
            changed_at: Millis(0),
            send_at: Millis(0),
            expires_at: Millis(0),
            due_at: Millis(0),
            doubt_window_s: 900,
            dedupe_window_s: 604_800,
            provider: None,
            provider_id: String::new(),
            tenant: "acme".to_owned(),
            template: "welcome".to_owned(),
            identity: "main".to_owned(),
            digests: Vec::new(),
        },
        ttl: 72 * HOUR,
        request: v1::StoredRequest {
            tenant: "acme".to_owned(),
            user_id: "42".to_owned(),
            template: "welcome".to_owned(),
            bundle_hash: BUNDLE.to_vec().into(),
            data: Bytes::from_static(b"{\"name\":\"Zo\xc3\xab\"}"),
            ..v1::StoredRequest::default()
        }
        .encode_to_vec()
        .into(),
        logged: Bytes::from(logged.encode_to_vec()),
        resubmit: false,
        durability: Durability::Local,
    }
}

fn ticket(entry: &Entry) -> anyhow::Result<(MessageId, Ticket)> {
    match &entry.body {
        EntryBody::Message { id, ticket, .. } => Ok((*id, *ticket)),
        other => bail!("a message expected, not {other:?}"),
    }
}

fn hand_off(entry: &Entry) -> anyhow::Result<HandOff> {
    let (id, ticket) = ticket(entry)?;
    let kept = v1::KeptParts {
        message_id: id.0.to_vec().into(),
        generation: ticket.generation,
        keep_s: 86_400,
        rendered: Bytes::from_static(b"kept parts"),
        ..v1::KeptParts::default()
    };
    Ok(HandOff {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        rendered: Bytes::from_static(b"rendered \xff\x00 parts"),
        to: Some(Addressee {
            address: ADDRESS,
            category: "news".to_owned(),
            despite_complaint: true,
        }),
        kept: Bytes::from(kept.encode_to_vec()),
        act: Bytes::new(),
        rendered_at: START,
    })
}

fn claim_item(entry: &Entry) -> anyhow::Result<ClaimItem> {
    let (id, ticket) = ticket(entry)?;
    let EntryBody::Message { rendered_at, .. } = entry.body else {
        bail!("a message expected")
    };
    Ok(ClaimItem {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        verdict: Verdict::Send,
        rendered_at,
    })
}

fn act(act: &str, id: MessageId) -> Bytes {
    let act = v1::LoggedAct {
        at: Some(paceline_wire::convert::timestamp(START)),
        act: act.to_owned(),
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        tenant: "acme".to_owned(),
        message_ids: vec![Bytes::copy_from_slice(&id.0)],
    };
    act.encode_to_vec().into()
}

/// All of it, as [`dump`] writes it.
///
/// # Errors
/// If a step does not lead where it should.
pub(crate) async fn sample() -> anyhow::Result<Sample> {
    let bench = Bench::start().await?;
    messages(&bench).await?;
    by_people(&bench).await?;
    others(&bench).await?;
    rate(&bench.store).await?;
    // What only senders that may lose claims write.
    let local = Store::connect(&config(bench.redis.url(), Durability::Local)).await?;
    local.with_time(Arc::clone(&bench.time)).hold(SHARD).await?;
    for (id, state) in STATES {
        let record = bench.store.get(id).await?.context("a message is gone")?;
        ensure!(record.state == state, "{id} is {:?}", record.state);
    }
    let mut text = serde_json::to_vec_pretty(&dump::take(&bench.redis).await?)?;
    text.push(b'\n');
    Ok(Sample::new(NAME, text))
}

async fn messages(bench: &Bench) -> anyhow::Result<()> {
    bench.sending(SENDING).await?;
    let provider_id = "0100019abc".to_owned();
    bench.ends(ACCEPTED, Outcome::Accepted { provider_id }).await?;
    let delay = MINUTE;
    let reason = Reason::NotConnected;
    bench.ends(DEFERRED, Outcome::Failed { reason, delay }).await?;
    let reason = Reason::Timeout;
    bench.ends(IN_DOUBT, Outcome::Unknown { reason }).await?;
    let reason = Reason::MessageRefused;
    for id in [DEAD, DISCARDED, REDRIVEN] {
        bench.ends(id, Outcome::Refused { reason }).await?;
    }
    bench.accept(scheduled()?).await?;
    Ok(())
}

/// A message for later, with an attachment that is elsewhere.
fn scheduled() -> anyhow::Result<NewMessage> {
    let mut scheduled = message(SCHEDULED);
    scheduled.record.send_at = START + HOUR;
    scheduled.record.expires_at = START + 2 * HOUR;
    scheduled.record.digests = vec![7; 16];
    let mut remote = paceline_wire::requests::read(scheduled.request)?;
    remote.attachments.push(v1::Attachment {
        file_name: "a.pdf".to_owned(),
        url: "https://files.example/a".to_owned(),
        sha256: vec![0xfe; 32].into(),
        ..v1::Attachment::default()
    });
    scheduled.request = paceline_wire::requests::write(remote);
    Ok(scheduled)
}

async fn by_people(bench: &Bench) -> anyhow::Result<()> {
    let store = &bench.store;
    bench.accept(message(HELD)).await?;
    let stopped = |entry: &Entry| {
        let (id, ticket) = ticket(entry)?;
        anyhow::Ok(Stopped {
            stream: entry.stream.clone(),
            entry_id: entry.entry_id.clone(),
            id,
            ticket,
            cancel: false,
        })
    };
    let met = bench
        .read(Stage::Queued)
        .await?
        .iter()
        .map(stopped)
        .collect::<Result<Vec<_>, _>>()?;
    store
        .stop_entries(SHARD, Stage::Queued, &met, Bytes::new())
        .await?;
    let mut cancelled = message(CANCELLED);
    cancelled.record.send_at = START + HOUR;
    bench.accept(cancelled).await?;
    store
        .cancel_stopped(SHARD, &[CANCELLED], act("stop", CANCELLED))
        .await?;
    store
        .discard_all(SHARD, &[DISCARDED], act("discard", DISCARDED))
        .await?;
    // What is ready is rendered before others are queued.
    bench.accept(message(READY)).await?;
    bench.render().await?;
    let redrive = Redrive {
        id: REDRIVEN,
        request: None,
    };
    store
        .redrive_all(SHARD, vec![redrive], act("redrive", REDRIVEN))
        .await?;
    bench.accept(message(QUEUED)).await?;
    Ok(())
}

async fn others(bench: &Bench) -> anyhow::Result<()> {
    let store = &bench.store;
    let stop = v1::StoredStop {
        selector: Some(v1::StopSelector::default()),
        cancel: true,
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        at: Some(paceline_wire::convert::timestamp(START)),
        release: None,
    };
    let stop = [&[1_u8][..], &stop.encode_to_vec()].concat();
    store.write_stop(STOP, None, Some(stop.into())).await?;
    let suppression = |tenant: &str, category: &str, reason| Suppression {
        tenant: tenant.to_owned(),
        address: ADDRESS,
        category: category.to_owned(),
        revision: 3,
        reason,
        at: START,
    };
    store
        .suppress(&[
            suppression("acme", "", Some(SuppressionReason::HardBounce)),
            suppression("acme", "news", Some(SuppressionReason::Unsubscribe)),
            suppression("other", "", None),
        ])
        .await?;
    let (run, _) = store.suppression_bucket(ADDRESS.0[0]).await?;
    store.suppression_bucket_complete(ADDRESS.0[0], &run).await?;
    store.check_address_key("fingerprint").await?;
    store.put_bundle(&BUNDLE, Bytes::from_static(b"a bundle")).await?;
    store.announce(&[announced()], &[], 7).await?;
    Ok(())
}

async fn rate(store: &Store) -> anyhow::Result<()> {
    let lead = store.lead("http://a", "nonce", HOUR, 0).await?;
    let Leadership::Mine { term, .. } = lead else {
        bail!("another leads: {lead:?}");
    };
    let key = rate_key();
    let format = paceline_domain::controller::journal::FORMAT;
    let adopted = store.adopt_rate(&key, &term, format, Known::default()).await?;
    let Ok(adopted) = adopted else {
        bail!("not adopted: {adopted:?}");
    };
    let commit = |rate| Commit {
        rate,
        version: 9,
        format,
        complete: true,
        ..Commit::default()
    };
    let opened = Commit {
        snapshot: Some(Snapshot {
            state: "a state".to_owned(),
            first_kept: None,
            journal_bytes: 7,
        }),
        ..commit(100.0)
    };
    let Ok(rev) = store.commit_rate(&key, &term, adopted.rev, &opened).await? else {
        bail!("fenced");
    };
    let happened = Commit {
        events: "[events]".to_owned(),
        leases: vec![("aa".repeat(16), Some("80|90|2000|9|41|12220".to_owned()))],
        ..commit(80.5)
    };
    let written = store.commit_rate(&key, &term, rev, &happened).await?;
    ensure!(written.is_ok(), "{written:?}");
    Ok(())
}

/// The queued stream of all messages here.
pub(crate) fn queued() -> StreamKey {
    StreamKey::of(&message(QUEUED).record, Stage::Queued)
}
