//! What a message costs in Redis's memory, by state and size: `memory_per_message [MESSAGES] [SERVER]`.
//!
//! Each row has a server of its own, with one shard and a short log. "all" is the growth of `used_memory` over the messages, less
//! what the server needs for itself; the other columns are Redis's own `MEMORY USAGE` of one message's keys, and of the stream by
//! its entries. "all" is more than their sum: tables grow by doubling, and what expires stands in a second one. "CPU" is what
//! the server's process used for each message, with all steps up to its place.
//!
//! The rows "logged" are those of a log that is kept for the ledger, with what ingest says there of each message.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, Record, State};
use paceline_domain::time::Millis;
use paceline_store::{
    ClaimItem, Claimant, Claimed, Durability, Entry, EntryBody, HandOff, LogMode, LogUse, NewMessage, Report,
    Stage, Store, StoreConfig, Verdict,
};
use paceline_testkit::TestRedis;
use paceline_testkit::resp::Reply;

const SHARD: u16 = 0;
const BATCH: usize = 64;
/// Of a request as it is stored: a payload and an address; with an attachment.
const REQUEST_BYTES: [usize; 4] = [512, 2 << 10, 12 << 10, 64 << 10];
/// Of rendered parts, compressed.
const RENDERED_BYTES: usize = 4 << 10;
/// Of what the ledger is told of a message with one tag and five fields of data.
const LOGGED_BYTES: usize = 290;

/// What the messages of a row are.
#[derive(Clone, Copy)]
struct Kind {
    place: Place,
    request: usize,
    /// Zero where the log is a ring.
    logged: usize,
}

/// Where the messages of a row come to rest.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Queued,
    Ready,
    Sending,
    Accepted,
    Dead,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages = arguments.next().map_or(Ok(20_000), |number| number.parse())?;
    let valkey = arguments.next().as_deref() == Some("valkey");
    let server = if valkey { "valkey" } else { "redis-server" };
    println!("bytes per message in Redis's memory, N = {messages}, {server}\n");
    println!("| place | request | rendered | all | record | request key | stream entry | CPU, us |");
    println!("|---|---|---|---|---|---|---|---|");
    let kind = |place, request, logged| Kind {
        place,
        request,
        logged,
    };
    for request in REQUEST_BYTES {
        row(kind(Place::Queued, request, 0), "queued", messages, valkey).await?;
    }
    let request = REQUEST_BYTES[1];
    let logged = LOGGED_BYTES;
    row(
        kind(Place::Queued, request, logged),
        "queued, logged",
        messages,
        valkey,
    )
    .await?;
    row(kind(Place::Ready, request, 0), "rendered", messages, valkey).await?;
    row(kind(Place::Sending, request, 0), "claimed", messages, valkey).await?;
    row(
        kind(Place::Accepted, request, 0),
        "accepted (final)",
        messages,
        valkey,
    )
    .await?;
    row(
        kind(Place::Accepted, request, logged),
        "accepted, logged",
        messages,
        valkey,
    )
    .await?;
    for request in REQUEST_BYTES {
        row(kind(Place::Dead, request, 0), "dead letter", messages, valkey).await?;
    }
    Ok(())
}

async fn row(kind: Kind, name: &str, messages: usize, valkey: bool) -> anyhow::Result<()> {
    let Kind { place, request, .. } = kind;
    let redis = if valkey {
        TestRedis::valkey(&[]).await
    } else {
        TestRedis::start().await
    };
    let store = Store::connect(&config(redis.url(), kind.logged)).await?;
    // What is made once: scripts, streams, groups, connections.
    move_all(&store, 0, BATCH, kind).await?;
    let before = used(&redis).await?;
    let cpu_before = cpu(&redis).await?;
    let mut first = BATCH;
    while first < BATCH + messages {
        let last = (first + BATCH).min(BATCH + messages);
        move_all(&store, first, last, kind).await?;
        first = last;
    }
    let all = (used(&redis).await?.saturating_sub(before)) / messages as u64;
    let cpu = (cpu(&redis).await? - cpu_before) * 1e6 / messages as f64;
    let id = id(BATCH);
    let record = usage(&redis, &format!("{{pl1:0}}:m:{id}")).await;
    let request_key = usage(&redis, &format!("{{pl1:0}}:q:{id}")).await;
    let stage = match place {
        Place::Queued => Some("queued"),
        Place::Ready => Some("ready"),
        _ => None,
    };
    let entry = match stage {
        Some(stage) => {
            let stream = format!("{{pl1:0}}:{stage}:transactional:shop-mail:shop");
            let entries = redis.command(&["XLEN", &stream]).await.integer().max(1);
            usage(&redis, &stream).await.map(|usage| usage / entries)
        }
        None => None,
    };
    let rendered = if place == Place::Ready { RENDERED_BYTES } else { 0 };
    let shown = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    println!(
        "| {name} | {request} | {rendered} | {all} | {} | {} | {} | {cpu:.1} |",
        shown(record),
        shown(request_key),
        shown(entry)
    );
    store.close().await;
    Ok(())
}

/// Brings the messages of these numbers to their place.
async fn move_all(store: &Store, first: usize, last: usize, kind: Kind) -> anyhow::Result<()> {
    let place = kind.place;
    let new = (first..last).map(|number| message(number, kind)).collect();
    store.enqueue(SHARD, new).await?;
    if place == Place::Queued {
        return Ok(());
    }
    let items = read(store, Stage::Queued).await?;
    let items = items.iter().map(hand_off).collect();
    store.hand_off(SHARD, items).await?;
    if place == Place::Ready {
        return Ok(());
    }
    let items = read(store, Stage::Ready).await?;
    let items = items.iter().map(claim).collect();
    let claimant = Claimant {
        nonce: Nonce([7; 8]),
        lease: Duration::from_secs(3_600),
        provider: Provider::Ses,
        run: None,
    };
    let claims = store.claim(SHARD, claimant, items).await?;
    let claimed = claims.made().context("nothing holds claims at this level")?;
    let outcome = match place {
        Place::Accepted => Outcome::Accepted {
            provider_id: "0100019a7b3c5d2e-8f1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8-000000".to_owned(),
        },
        Place::Dead => Outcome::Refused {
            reason: Reason::MessageTooLarge,
        },
        _ => return Ok(()),
    };
    let mut reports = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let Claimed::Sending(record) = claimed else {
            anyhow::bail!("every claim succeeds, not {claimed:?}");
        };
        reports.push(record.fence());
    }
    anyhow::ensure!(reports.len() == last - first, "every message is claimed");
    let reports = (first..last).map(id).zip(reports).map(|(id, fence)| Report {
        id,
        fence,
        outcome: outcome.clone(),
    });
    let reports = reports.collect();
    store.finish(SHARD, reports).await?;
    Ok(())
}

async fn read(store: &Store, stage: Stage) -> anyhow::Result<Vec<Entry>> {
    let streams = store.active(SHARD).await?;
    Ok(store
        .read(SHARD, stage, "one", &streams, u32::try_from(BATCH)?)
        .await?)
}

fn hand_off(entry: &Entry) -> HandOff {
    let EntryBody::Message { id, ticket, .. } = &entry.body else {
        unreachable!("only messages were written")
    };
    HandOff {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id: *id,
        ticket: *ticket,
        rendered: incompressible(RENDERED_BYTES),
        to: None,
        kept: Bytes::new(),
        act: Bytes::new(),
        rendered_at: Millis(0),
    }
}

fn claim(entry: &Entry) -> ClaimItem {
    let EntryBody::Message { id, ticket, .. } = &entry.body else {
        unreachable!("only messages were written")
    };
    ClaimItem {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id: *id,
        ticket: *ticket,
        verdict: Verdict::Send,
        rendered_at: Millis(0),
    }
}

/// In the one shard, and different.
fn id(number: usize) -> MessageId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    MessageId(bytes)
}

fn incompressible(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    next.take(length).collect()
}

fn message(number: usize, kind: Kind) -> NewMessage {
    NewMessage {
        id: id(number),
        record: Record {
            state: State::Queued,
            reason: Reason::None,
            revision: 0,
            attempt: 0,
            nonce: Nonce::default(),
            generation: 0,
            tries: 0,
            tries_max: 10,
            maybe_sent: false,
            resent: false,
            policy: DoubtPolicy::Hold,
            lane: Lane::Transactional,
            accepted_at: Millis(0),
            changed_at: Millis(0),
            send_at: Millis(0),
            expires_at: Millis(0),
            due_at: Millis(0),
            doubt_window_s: 900,
            dedupe_window_s: 604_800,
            provider: None,
            provider_id: String::new(),
            tenant: "shop".to_owned(),
            template: "order-confirmation".to_owned(),
            identity: "shop-mail".to_owned(),
            digests: Vec::new(),
        },
        ttl: Duration::from_secs(3 * 24 * 3_600),
        request: incompressible(kind.request),
        resubmit: false,
        logged: incompressible(kind.logged),
        durability: Durability::Fsync,
    }
}

fn config(url: &str, logged: usize) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: Duration::from_secs(30),
        durability: Durability::Fsync,
        replicas: 0,
        allow_unsafe: true,
        log: LogUse {
            mode: if logged > 0 {
                LogMode::Ledger
            } else {
                LogMode::Ring
            },
            change: false,
        },
        log_entries_max: 1,
    }
}

async fn used(redis: &TestRedis) -> anyhow::Result<u64> {
    let info = redis.command(&["INFO", "memory"]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let used = field("used_memory:").ok_or_else(|| anyhow::anyhow!("no used_memory"))?;
    // Buffers of clients and of the append-only file are no message's.
    let buffers = ["mem_clients_normal:", "mem_aof_buffer:"];
    let buffers: u64 = buffers.into_iter().filter_map(field).sum();
    Ok(used.saturating_sub(buffers))
}

/// Seconds of the server's CPU until now.
async fn cpu(redis: &TestRedis) -> anyhow::Result<f64> {
    let info = redis.command(&["INFO", "cpu"]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let field = |name: &str| -> anyhow::Result<f64> {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.context("INFO tells no CPU")?.trim().parse()?)
    };
    Ok(field("used_cpu_sys:")? + field("used_cpu_user:")?)
}

async fn usage(redis: &TestRedis, key: &str) -> Option<i64> {
    match redis.command(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).await {
        Reply::Integer(bytes) => Some(bytes),
        _ => None,
    }
}
