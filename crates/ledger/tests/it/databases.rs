//! Both databases, and what is written to them.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Ledger, LedgerSettings, LoggedMessage, Move, NewEvent};
use paceline_testkit::TestPostgres;
use tempfile::TempDir;

/// A fresh ledger, and what it lives on.
pub(crate) struct Fresh {
    pub(crate) ledger: Ledger,
    pub(crate) postgres: Option<TestPostgres>,
    _dir: TempDir,
}

pub(crate) fn settings(url: String) -> LedgerSettings {
    LedgerSettings {
        url,
        connections_max: 4,
        timeout: Duration::from_secs(20),
    }
}

/// A fresh ledger on each database.
pub(crate) async fn both() -> [Fresh; 2] {
    [sqlite().await, postgres().await]
}

pub(crate) async fn sqlite() -> Fresh {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
    Fresh {
        ledger: Ledger::connect(&settings(url)).await.expect("SQLite opens"),
        postgres: None,
        _dir: dir,
    }
}

pub(crate) async fn postgres() -> Fresh {
    let postgres = TestPostgres::start().await;
    Fresh {
        ledger: Ledger::connect(&settings(postgres.url()))
            .await
            .expect("PostgreSQL answers"),
        postgres: Some(postgres),
        _dir: tempfile::tempdir().expect("a temporary directory"),
    }
}

/// 2026-11-25T00:00:00Z.
pub(crate) const NOW: Millis = Millis(1_795_564_800_000);

pub(crate) fn id(number: u8) -> MessageId {
    MessageId([number; 16])
}

pub(crate) fn message(number: u8) -> LoggedMessage {
    LoggedMessage {
        id: id(number),
        accepted_at: NOW,
        tenant: "shop".to_owned(),
        template: "welcome".to_owned(),
        bundle_hash: vec![7; 32],
        lane: Lane::Bulk,
        identity: "main".to_owned(),
        recipient: vec![number; 16],
        user_hash: vec![number, 1],
        send_at: Millis(0),
        expires_at: NOW + Duration::from_secs(60),
        tags: "[[\"wave\",\"1\"]]".to_owned(),
        digests: Vec::new(),
    }
}

pub(crate) fn moved(number: u8, revision: u32, state: State) -> Move {
    Move {
        id: id(number),
        accepted_at: NOW,
        revision,
        state,
        reason: Reason::None,
        attempt: u32::from(revision > 1),
        at: NOW + Duration::from_millis(u64::from(revision)),
        rendered_at: Millis(if state == State::Sending { NOW.0 + 1 } else { 0 }),
    }
}

pub(crate) fn event(name: &str, number: u8, kind: &str) -> NewEvent {
    NewEvent {
        id: name.to_owned(),
        message_id: id(number),
        accepted_at: NOW,
        attempt: 1,
        tenant: "shop".to_owned(),
        template: "welcome".to_owned(),
        lane: Lane::Bulk,
        kind: kind.to_owned(),
        at: NOW,
        received_at: NOW,
        detail: "{}".to_owned(),
    }
}
