//! The ledger's database, what lies before it, and what stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _};
use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_ledger::{Filter, Ledger, LedgerSettings, Page, Timeline};
use paceline_testkit::{Link, TestPostgres};
use paceline_wire::v1::MessageState;

use super::{World, now};
use crate::checker::{Told, Written};
use crate::site::Ground;

/// Rows of one page.
const PAGE: u32 = 1_000;
/// Histories that are read at one time.
const ASKED_MAX: usize = 8;
/// The checker's own patience with the database: the suite may have kept it busy.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Once all is at rest, what the log still has is copied in this time.
const COPIED_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Where the ledger is.
#[derive(Debug)]
pub enum Database {
    /// Behind a link by which feedback reaches it.
    Postgres(Box<TestPostgres>, Link),
    /// A file, by its URL.
    Sqlite(String),
}

impl Database {
    pub(super) async fn start(ground: Ground, directory: &Path) -> Self {
        if !ground.has_postgres() {
            return Self::Sqlite(format!("sqlite:{}", directory.join("ledger.sqlite").display()));
        }
        let (postgres, link) = tokio::join!(TestPostgres::start(), Link::start());
        link.lead_to_socket(postgres.socket());
        Self::Postgres(Box::new(postgres), link)
    }

    /// By which feedback reaches it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Postgres(_, link) => TestPostgres::url_by(link.address().port()),
            Self::Sqlite(url) => url.clone(),
        }
    }

    async fn open(&self) -> anyhow::Result<Ledger> {
        let url = match self {
            Self::Postgres(postgres, _) => postgres.url(),
            Self::Sqlite(url) => url.clone(),
        };
        let settings = LedgerSettings {
            url,
            connections_max: u32::try_from(ASKED_MAX)?,
            timeout: ANSWER_MAX,
        };
        Ledger::connect(&settings).await.context("the ledger")
    }
}

impl World {
    /// Waits until the ledger has come as far as these revisions, or for a bounded time: the checker tells what is missing then.
    pub(super) async fn is_copied(&self, revisions: &BTreeMap<String, u32>) -> anyhow::Result<()> {
        let ledger = self.database.open().await?;
        let began = now();
        loop {
            let newest = newest(&ledger, &self.notebook.told()).await?;
            let is_there = |(id, revision): (&String, &u32)| newest.get(id) >= Some(revision);
            if revisions.iter().all(is_there) || now().saturating_sub(began) > COPIED_MAX {
                ledger.close().await;
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The histories of these messages.
    pub(super) async fn written(
        &self,
        told: &BTreeMap<String, Told>,
    ) -> anyhow::Result<BTreeMap<String, Written>> {
        let ledger = self.database.open().await?;
        let asked: Vec<_> = told
            .iter()
            .map(|(id, told)| history(ledger.clone(), told.tenant, id.clone()))
            .collect();
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_MAX).collect().await;
        let answers: Vec<_> = answers.into_iter().collect::<anyhow::Result<_>>()?;
        ledger.close().await;
        Ok(answers.into_iter().flatten().collect())
    }
}

async fn history(ledger: Ledger, tenant: &str, id: String) -> anyhow::Result<Option<(String, Written)>> {
    let named: MessageId = id.parse().context("a message id")?;
    let timeline = ledger.timeline(tenant, named).await?;
    Ok(timeline.map(|timeline| (id, of(&timeline))))
}

/// The newest revision of all messages of these tenants.
async fn newest(ledger: &Ledger, told: &BTreeMap<String, Told>) -> anyhow::Result<BTreeMap<String, u32>> {
    let tenants: BTreeSet<_> = told.values().map(|told| told.tenant).collect();
    let mut newest = BTreeMap::new();
    for tenant in tenants {
        let filter = Filter {
            tenant: tenant.to_owned(),
            ..Filter::default()
        };
        let mut page = None;
        loop {
            let rows = ledger.search(&filter, page, PAGE).await?;
            newest.extend(rows.iter().map(|row| (row.message.id.to_string(), row.revision)));
            match rows.last() {
                Some(last) if rows.len() == PAGE as usize => {
                    page = Some(Page {
                        accepted_at: last.message.accepted_at,
                        id: last.message.id,
                    });
                }
                _ => break,
            }
        }
    }
    Ok(newest)
}

fn of(timeline: &Timeline) -> Written {
    let claims = timeline.moves.iter().filter(|it| it.state == State::Sending);
    Written {
        state: timeline
            .row
            .state
            .map_or(MessageState::Unspecified, MessageState::from),
        revision: timeline.row.revision,
        revisions: timeline.moves.iter().map(|it| it.revision).collect(),
        attempts: claims.map(|it| it.attempt).collect(),
        was_cancelled: timeline.moves.iter().any(|it| it.state == State::Cancelled),
        conflicts: !timeline.conflicts.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use paceline_domain::id::MessageId;
    use paceline_domain::lane::Lane;
    use paceline_domain::reason::Reason;
    use paceline_domain::record::State::{self, Accepted, Cancelled, Queued, Sending};
    use paceline_domain::time::Millis;
    use paceline_ledger::{LoggedMessage, Move};
    use paceline_wire::v1::MessageState;

    use super::{Database, history};
    use crate::checker::{Evidence, Policy, Sent, Standing, Told, Wrong, check};

    const ID: MessageId = MessageId([7; 16]);
    const ACCEPTED_AT: Millis = Millis(1_795_564_800_000);

    fn moved(revision: u32, state: State) -> Move {
        Move {
            id: ID,
            accepted_at: ACCEPTED_AT,
            revision,
            state,
            reason: Reason::None,
            attempt: u32::from(revision > 1),
            at: Millis(ACCEPTED_AT.0 + u64::from(revision)),
            rendered_at: Millis(0),
        }
    }

    fn message() -> LoggedMessage {
        LoggedMessage {
            id: ID,
            accepted_at: ACCEPTED_AT,
            tenant: "acme".to_owned(),
            template: "receipt".to_owned(),
            bundle_hash: vec![7; 32],
            lane: Lane::Bulk,
            identity: "main".to_owned(),
            recipient: vec![1; 16],
            user_hash: vec![1; 16],
            send_at: Millis(0),
            expires_at: Millis(ACCEPTED_AT.0 + 60_000),
            tags: "[]".to_owned(),
            digests: Vec::new(),
        }
    }

    /// What the checker finds in a message with this history, copied part by part, that was sent once.
    async fn found(parts: &[&[Move]], cancelled_at: Option<i64>) -> BTreeSet<Wrong> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let database = Database::Sqlite(url(dir.path()));
        let ledger = database.open().await.expect("SQLite opens");
        for part in parts {
            ledger.append(&[message()], part, &[]).await.expect("written");
        }
        let newest = parts.iter().copied().flatten().max_by_key(|it| it.revision);
        let newest = newest.expect("a history");
        let written = history(ledger, "acme", ID.to_string()).await.expect("readable");
        let told = Told {
            tenant: "acme",
            policy: Policy::Hold,
            send_at: None,
            cancelled_at,
        };
        let sent = Sent {
            to: "user1@example.com".to_owned(),
            attempt: 1,
            at: 1_000,
        };
        let standing = Standing {
            state: MessageState::from(newest.state),
            reason: String::new(),
            attempt: 1,
            maybe_sent: false,
            revision: newest.revision,
        };
        let evidence = Evidence {
            told: BTreeMap::from([(ID.to_string(), told)]),
            sent: BTreeMap::from([(ID.to_string(), vec![sent])]),
            standing: BTreeMap::from([(ID.to_string(), standing)]),
            ledger: Some(written.into_iter().collect()),
            ..Evidence::default()
        };
        check(&evidence).into_values().flatten().collect()
    }

    fn url(dir: &Path) -> String {
        format!("sqlite:{}", dir.join("ledger.sqlite").display())
    }

    fn whole() -> [Move; 3] {
        [moved(1, Queued), moved(2, Sending), moved(3, Accepted)]
    }

    #[tokio::test]
    async fn a_whole_history_is_right_however_often_it_was_copied() {
        assert_eq!(found(&[&whole()], None).await, [].into());
        assert_eq!(found(&[&whole()[..2], &whole()], None).await, [].into());
    }

    #[tokio::test]
    async fn a_revision_that_is_missing_is_found() {
        let [queued, claimed, _] = whole();
        let without_one = [queued, claimed, moved(4, Accepted)];
        assert_eq!(found(&[&without_one], None).await, [Wrong::LedgerGap].into());
        let unclaimed = [queued, moved(2, Accepted)];
        assert_eq!(found(&[&unclaimed], None).await, [Wrong::LedgerGap].into());
    }

    #[tokio::test]
    async fn two_claims_of_one_revision_are_found() {
        let second = Move {
            at: Millis(ACCEPTED_AT.0 + 5_000),
            ..moved(2, Sending)
        };
        let found = found(&[&whole(), &[second]], None).await;
        assert_eq!(found, [Wrong::LedgerConflict].into());
    }

    #[tokio::test]
    async fn a_cancelled_message_that_was_sent_is_found() {
        let cancelled = [moved(1, Queued), moved(2, Cancelled)];
        let before = Some(999);
        assert_eq!(
            found(&[&cancelled], before).await,
            [Wrong::SentUnknown, Wrong::SentThoughCancelled, Wrong::LedgerGap].into()
        );
        assert_eq!(
            found(&[&whole()], before).await,
            [Wrong::SentThoughCancelled, Wrong::LedgerGap].into()
        );
    }
}
