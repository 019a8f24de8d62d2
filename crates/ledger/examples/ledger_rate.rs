//! What the ledger costs: `ledger_rate [MESSAGES]`. Events a second, CPU for each, and bytes for a million messages, for SQLite and
//! PostgreSQL.
//!
//! Each message has three transitions (queued, sending, accepted), which come in parts as a copier writes them, and two events of its
//! provider (sent, delivered). Its acceptance says what ingest says of a usual one. One writer at a time; the databases sync each
//! commit to their disk.

use std::time::Duration;

use anyhow::Context as _;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Ledger, LedgerSettings, LoggedMessage, Move, NewEvent};
use paceline_testkit::TestPostgres;
use tokio::time::Instant;

/// Messages of one part: with one transition of each, a copier's.
const PART: usize = 1_024;
/// Providers' events that are written together while more come.
const EVENTS: usize = 64;
/// 2026-11-25T00:00:00Z.
const START: u64 = 1_795_564_800_000;
/// Linux counts a process's CPU by hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// Events of a message: three transitions, two of its provider.
const EVENTS_OF_ONE: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let messages = std::env::args()
        .nth(1)
        .map_or(Ok(50_000), |number| number.parse())?;
    println!(
        "# What the ledger costs\n\nMade by `make ledger-rate`: do not edit. {messages} messages, {EVENTS_OF_ONE} events each: 3 transitions, which come in parts of {PART} as a copier writes"
    );
    println!(
        "them, and 2 of the provider, {EVENTS} together. One writer at a time; the databases sync each commit to their disk.\n"
    );
    println!(
        "| ledger | events/s | of them copied/s | CPU here, us per event | CPU of the server | MB per million messages |"
    );
    println!("|---|---|---|---|---|---|");
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("ledger.db");
    measure("SQLite", &format!("sqlite:{}", file.display()), None, messages).await?;
    let postgres = TestPostgres::syncing().await;
    measure("PostgreSQL", &postgres.url(), postgres.pid(), messages).await?;
    Ok(())
}

async fn measure(name: &str, url: &str, server: Option<u32>, messages: usize) -> anyhow::Result<()> {
    let settings = LedgerSettings {
        url: url.to_owned(),
        connections_max: 4,
        timeout: Duration::from_secs(60),
    };
    let ledger = Ledger::connect(&settings).await?;
    ledger.prepare_months(Millis(START)).await?;
    let empty = bytes(url).await?;
    let (here, there) = (cpu(std::process::id())?, family_cpu(server)?);
    let started = Instant::now();
    copy(&ledger, messages).await?;
    let copied = started.elapsed();
    tell(&ledger, messages).await?;
    let all = started.elapsed();
    let (here, there) = (cpu(std::process::id())? - here, family_cpu(server)? - there);
    let bytes = bytes(url).await?.saturating_sub(empty);
    let events = messages * EVENTS_OF_ONE;
    let rate = |events: usize, time: Duration| events as f64 / time.as_secs_f64();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    println!(
        "| {name} | {:.0} | {:.0} | {:.0} | {} | {:.0} |",
        rate(events, all),
        rate(3 * messages, copied),
        each(here),
        server.map_or_else(|| "(here)".to_owned(), |_| format!("{:.0}", each(there))),
        bytes as f64 / messages as f64,
    );
    ledger.close().await;
    Ok(())
}

/// How large the database is.
async fn bytes(url: &str) -> anyhow::Result<u64> {
    let pool = sqlx::AnyPool::connect(url).await?;
    let sql = if url.starts_with("sqlite") {
        "SELECT CAST(page_count * page_size AS INTEGER) FROM pragma_page_count(), pragma_page_size()"
    } else {
        "SELECT pg_database_size(current_database())"
    };
    let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await?;
    pool.close().await;
    Ok(u64::try_from(bytes)?)
}

/// What the shards' logs say.
async fn copy(ledger: &Ledger, messages: usize) -> anyhow::Result<()> {
    let mut first = 0;
    while first < messages {
        let part = first..(first + PART).min(messages);
        for (revision, state) in [(1, State::Queued), (2, State::Sending), (3, State::Accepted)] {
            let accepted: Vec<LoggedMessage> = if revision == 1 {
                part.clone().map(message).collect()
            } else {
                Vec::new()
            };
            let moves: Vec<Move> = part
                .clone()
                .map(|number| moved(number, revision, state))
                .collect();
            let appended = ledger.append(&accepted, &moves, &[]).await?;
            anyhow::ensure!(appended.moves == moves.len() as u64, "{appended:?}");
        }
        first = part.end;
    }
    Ok(())
}

/// What the providers' webhooks say.
async fn tell(ledger: &Ledger, messages: usize) -> anyhow::Result<()> {
    for kind in ["sent", "delivered"] {
        let mut first = 0;
        while first < messages {
            let part = first..(first + EVENTS).min(messages);
            first = part.end;
            ledger
                .record_events(part.map(|number| event(number, kind)).collect())
                .await?;
        }
    }
    Ok(())
}

/// Ids are hashes: their order says nothing of their time.
fn id(number: usize) -> MessageId {
    let mut bytes = [0; 16];
    let scrambled = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&scrambled.to_be_bytes());
    bytes[8..].copy_from_slice(
        &scrambled
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            .to_be_bytes(),
    );
    MessageId(bytes)
}

fn message(number: usize) -> LoggedMessage {
    LoggedMessage {
        id: id(number),
        accepted_at: accepted_at(number),
        tenant: "shop".to_owned(),
        template: "order_receipt".to_owned(),
        bundle_hash: vec![7; 32],
        lane: Lane::Transactional,
        identity: "shop-mail".to_owned(),
        recipient: id(number / 3).0.to_vec(),
        user_hash: id(number / 3 + 1).0.to_vec(),
        send_at: Millis(0),
        expires_at: Millis(0),
        tags: "[[\"campaign\",\"spring\"]]".to_owned(),
        // Six parts of the envelope, five fields of the payload.
        digests: vec![5; 130],
    }
}

fn moved(number: usize, revision: u32, state: State) -> Move {
    Move {
        id: id(number),
        accepted_at: accepted_at(number),
        revision,
        state,
        reason: Reason::None,
        attempt: u32::from(revision > 1),
        at: accepted_at(number) + Duration::from_millis(20 * u64::from(revision)),
        rendered_at: Millis(0),
    }
}

fn event(number: usize, kind: &str) -> NewEvent {
    NewEvent {
        id: format!("ses:{}:{kind}", id(number)),
        message_id: id(number),
        accepted_at: accepted_at(number),
        attempt: 1,
        tenant: "shop".to_owned(),
        template: "order_receipt".to_owned(),
        lane: Lane::Transactional,
        kind: kind.to_owned(),
        at: accepted_at(number) + Duration::from_secs(2),
        received_at: accepted_at(number) + Duration::from_secs(3),
        detail: "{\"provider\":\"ses\",\"provider_id\":\"0100019a7b3c5d2e-8f1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8-000000\"}"
            .to_owned(),
    }
}

fn accepted_at(number: usize) -> Millis {
    Millis(START + number as u64)
}

/// The CPU that a process has used, and those of its children that have ended.
fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().context("a stat")?.split_whitespace();
    // From the state on: utime, stime, cutime and cstime are the 12th to the 15th.
    let ticks: u32 = fields
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse().unwrap_or(0))
        .sum();
    Ok(TICK * ticks)
}

/// The same of a server and its children.
fn family_cpu(server: Option<u32>) -> anyhow::Result<Duration> {
    let Some(server) = server else {
        return Ok(Duration::ZERO);
    };
    let children = format!("/proc/{server}/task/{server}/children");
    let children = std::fs::read_to_string(children)?;
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    // A child may end meanwhile: then it counts among the server's.
    Ok(cpu(server)? + children.filter_map(|pid| cpu(pid).ok()).sum::<Duration>())
}
