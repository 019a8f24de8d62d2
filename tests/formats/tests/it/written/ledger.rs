//! The ledger's databases: files of SQLite and scripts of PostgreSQL as a release left them, whose migrations the next one goes on with.
//!
//! Neither comes out the same each time, so what is compared is the migrations: they are all that shapes a database.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Act, Ledger, LedgerSettings, LoggedMessage, Move, NewEvent};
use paceline_testkit::TestPostgres;
use sha2::{Digest as _, Sha256};

use super::fixtures::Sample;

pub(crate) const MIGRATIONS: &str = "ledger/migrations.txt";
pub(crate) const SQLITE: &str = "ledger/ledger.sqlite";
pub(crate) const POSTGRES: &str = "ledger/postgres.sql";
const KINDS: [&str; 2] = ["postgres", "sqlite"];

/// 2026-11-25T00:00:00Z.
pub(crate) const NOW: Millis = Millis(1_795_564_800_000);
pub(crate) const TENANT: &str = "shop";
pub(crate) const MESSAGE: MessageId = MessageId([7; 16]);

/// The name and the digest of each migration.
///
/// # Errors
/// If one can't be read.
pub(crate) fn migrations() -> anyhow::Result<Sample> {
    let mut text = String::new();
    for kind in KINDS {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../crates/ledger/migrations"
        ))
        .join(kind);
        let mut files = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files {
            let digest = hex::encode(Sha256::digest(fs::read(file.path())?));
            writeln!(text, "{kind}/{} {digest}", file.file_name().display())?;
        }
    }
    Ok(Sample::new(MIGRATIONS, text))
}

/// Both databases, each with one message and its history.
///
/// # Errors
/// If one can't be written.
pub(crate) async fn capture() -> anyhow::Result<[Sample; 2]> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ledger.sqlite");
    fill(&sqlite(&file)).await?;
    let sqlite = Sample::new(SQLITE, fs::read(&file)?);
    let server = TestPostgres::start().await;
    fill(&server.url()).await?;
    Ok([sqlite, Sample::new(POSTGRES, server.dump().await)])
}

/// The URL of a file.
pub(crate) fn sqlite(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// The ledger at a URL, brought to the newest migration.
///
/// # Errors
/// If it can't be opened.
pub(crate) async fn open(url: &str) -> anyhow::Result<Ledger> {
    let settings = LedgerSettings {
        url: url.to_owned(),
        connections_max: 2,
        timeout: Duration::from_secs(20),
    };
    Ok(Ledger::connect(&settings).await?)
}

async fn fill(url: &str) -> anyhow::Result<()> {
    let ledger = open(url).await?;
    ledger.prepare_months(NOW).await?;
    let moves = [
        moved(1, State::Queued),
        moved(2, State::Sending),
        moved(3, State::Accepted),
    ];
    let appended = ledger.append(&[message()], &moves, &[act()]).await?;
    ensure!(appended.moves == 3, "{appended:?}");
    ledger.record_events(vec![event("delivered")]).await?;
    ledger.close().await;
    Ok(())
}

/// Looks whether all that [`capture`] wrote is there, and writes more: the other half of a format.
///
/// # Errors
/// If something is not as it was, or can't be written.
pub(crate) async fn check(url: &str) -> anyhow::Result<()> {
    let ledger = open(url).await?;
    let timeline = ledger
        .timeline(TENANT, MESSAGE)
        .await?
        .context("the message is gone")?;
    ensure!(timeline.row.message.template == "welcome", "{timeline:?}");
    ensure!(
        timeline.moves.len() == 3 && timeline.acts.len() == 1,
        "{timeline:?}"
    );
    let kinds: Vec<&str> = timeline.events.iter().map(|it| it.event.kind.as_str()).collect();
    ensure!(
        kinds.contains(&"delivered") && kinds.contains(&"accepted"),
        "{kinds:?}"
    );
    let again = ledger
        .append(&[message()], &[moved(3, State::Accepted)], &[act()])
        .await?;
    ensure!(
        (again.moves, again.conflicts) == (0, 0),
        "what was there is not known: {again:?}"
    );
    let further = ledger
        .record_events(vec![event("delivered"), event("opened")])
        .await?;
    ensure!(further == [false, true], "{further:?}");
    ledger.close().await;
    Ok(())
}

fn message() -> LoggedMessage {
    LoggedMessage {
        id: MESSAGE,
        accepted_at: NOW,
        tenant: TENANT.to_owned(),
        template: "welcome".to_owned(),
        bundle_hash: vec![7; 32],
        lane: Lane::Bulk,
        identity: "main".to_owned(),
        recipient: vec![9; 16],
        user_hash: vec![9; 16],
        send_at: NOW,
        expires_at: NOW + Duration::from_secs(60),
        tags: "[[\"wave\",\"1\"]]".to_owned(),
        digests: Vec::new(),
    }
}

fn moved(revision: u32, state: State) -> Move {
    Move {
        id: MESSAGE,
        accepted_at: NOW,
        revision,
        state,
        reason: Reason::None,
        attempt: u32::from(revision > 1),
        at: NOW + Duration::from_millis(u64::from(revision)),
        rendered_at: Millis(0),
    }
}

fn act() -> Act {
    Act {
        id: "act-1".to_owned(),
        at: NOW,
        act: "redrive".to_owned(),
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        tenant: TENANT.to_owned(),
        messages: vec![MESSAGE],
    }
}

fn event(kind: &str) -> NewEvent {
    NewEvent {
        id: format!("event-{kind}"),
        message_id: MESSAGE,
        accepted_at: NOW,
        attempt: 1,
        tenant: TENANT.to_owned(),
        template: "welcome".to_owned(),
        lane: Lane::Bulk,
        kind: kind.to_owned(),
        at: NOW,
        received_at: NOW,
        detail: "{}".to_owned(),
    }
}
