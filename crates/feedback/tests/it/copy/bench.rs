//! A Redis whose logs are kept for the ledger, a store that fills them, and services that copy.

use std::ops::RangeBounds;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_ledger::{Filter, Ledger, Move};
use paceline_store::{
    Durability, Enqueued, LogBody, LogEntry, LogMode, LogUse, NewMessage, Store, StoreConfig,
};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1;
use prost::Message as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support;
use crate::webhooks::bench::wish;

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Copying {
    pub(super) redis: TestRedis,
    pub(super) store: Store,
    url: String,
    _dir: TempDir,
}

pub(super) const fn id(number: u8) -> MessageId {
    MessageId([number; 16])
}

/// What the entries say of messages' moves, as a copier writes it.
pub(super) fn moves_of(entries: &[LogEntry]) -> Vec<Move> {
    let mut moves = Vec::new();
    for entry in entries {
        let LogBody::Logged(logged) = &entry.body else {
            panic!("an entry of a newer release")
        };
        moves.extend(logged.transitions.iter().map(|t| Move {
            id: t.id,
            accepted_at: t.accepted_at,
            revision: t.revision,
            state: t.state,
            reason: t.reason,
            attempt: t.attempt,
            at: t.at,
            rendered_at: t.rendered_at,
        }));
    }
    moves
}

impl Copying {
    pub(super) async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
        Self::start(url, dir).await
    }

    pub(super) async fn on(url: String) -> Self {
        Self::start(url, tempfile::tempdir().expect("a temporary directory")).await
    }

    async fn start(url: String, dir: TempDir) -> Self {
        let redis = TestRedis::start().await;
        let config = StoreConfig {
            url: redis.url().to_owned(),
            tls: None,
            allow_plaintext_password: false,
            shards: 1,
            command_timeout: Duration::from_secs(5),
            durability: Durability::Local,
            replicas: 0,
            allow_unsafe: true,
            log: LogUse {
                mode: LogMode::Ledger,
                change: false,
            },
            log_entries_max: 10,
        };
        Self {
            store: Store::connect(&config).await.expect("redis is there"),
            redis,
            url,
            _dir: dir,
        }
    }

    pub(super) async fn ledger(&self) -> Ledger {
        support::ledger(&self.url).await
    }

    pub(super) async fn feedback(&self, settings: &str) -> ServiceProcess {
        let settings = format!("ledger.timeout = \"1s\"\ncopy.reclaim_after = \"1s\"\n{settings}");
        support::start_with(&self.redis, &self.url, &settings, "log = \"ledger\"")
            .await
            .expect("a feedback service")
    }

    /// Accepts messages of one batch.
    pub(super) async fn enqueue(&self, numbers: impl IntoIterator<Item = u8> + RangeBounds<u8>) {
        let messages: Vec<_> = numbers.into_iter().map(message).collect();
        let answers = self.store.enqueue(0, messages).await.expect("redis is there");
        assert!(
            answers.iter().all(|answer| matches!(answer, Enqueued::New(_))),
            "{answers:?}"
        );
    }

    /// Accepts a message whose template keeps its data for a day.
    pub(super) async fn enqueue_kept(&self, number: u8, data: &'static [u8]) {
        let mut message = message(number);
        let mut logged = v1::LoggedMessages::decode(message.logged).expect("our own");
        logged.messages[0].data = Bytes::from_static(data);
        logged.messages[0].keep_s = 86_400;
        message.logged = logged.encode_to_vec().into();
        self.store
            .enqueue(0, vec![message])
            .await
            .expect("redis is there");
    }

    /// Logs what a renderer made of it.
    pub(super) async fn log_parts(&self, number: u8, parts: &'static [u8]) {
        let record = self
            .store
            .get(id(number))
            .await
            .expect("redis is there")
            .expect("is there");
        let kept = v1::KeptParts {
            message_id: Bytes::copy_from_slice(&id(number).0),
            accepted_at: Some(paceline_wire::convert::timestamp(record.accepted_at)),
            generation: record.generation,
            keep_s: 86_400,
            rendered: Bytes::from_static(parts),
        };
        let add: [&[u8]; 5] = [b"XADD", b"{pl1:0}:log", b"*", b"k", &kept.encode_to_vec()];
        self.redis.command(&add).await;
    }

    /// Waits until so many messages are in the ledger, with all that is known of them, and nothing more waits.
    pub(super) async fn all_copied(&self, messages: usize) {
        self.known(messages).await;
        self.nothing_waits().await;
    }

    pub(super) async fn known(&self, messages: usize) {
        let ledger = self.ledger().await;
        let filter = Filter {
            tenant: "shop".to_owned(),
            ..Filter::default()
        };
        eventually("the messages are in the ledger", PATIENCE, async || {
            let rows = ledger
                .search(&filter, None, 1_000)
                .await
                .map_err(|error| error.to_string())?;
            let known = rows.iter().filter(|row| row.revision > 0).count();
            if known == messages {
                Ok(())
            } else {
                Err(known.to_string())
            }
        })
        .await;
    }

    pub(super) async fn nothing_waits(&self) {
        eventually("nothing waits", PATIENCE, async || {
            let backlog = self
                .store
                .log_backlog(0)
                .await
                .map_err(|error| error.to_string())?;
            if backlog.age.is_zero() {
                Ok(())
            } else {
                Err(format!("{backlog:?}"))
            }
        })
        .await;
    }

    /// The kinds of a tenant's events, in the ledger's order.
    pub(super) async fn events(&self, tenant: &str) -> Vec<String> {
        let events = self.ledger().await.events_since(tenant, 0, &[], 100).await;
        events
            .expect("answers")
            .into_iter()
            .map(|event| event.event.kind)
            .collect()
    }

    pub(super) async fn metric(&self, feedback: &ServiceProcess, name: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(feedback.admin())
            .await
            .expect("the admin listener");
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let line = answer.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(super) async fn at_least(&self, feedback: &ServiceProcess, name: &str, value: f64) {
        eventually(name, PATIENCE, async || match self.metric(feedback, name).await {
            Some(found) if found >= value => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// Holds the one lock of writers for as long as the value lives.
    pub(super) async fn lock_sqlite(&self) -> Child {
        let path = self.url.trim_start_matches("sqlite:").to_owned();
        let hold = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('BEGIN IMMEDIATE')\n\
                    print('held', flush=True)\nsys.stdin.read()";
        let mut python = Command::new("python3")
            .args(["-c", hold, &path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3");
        let stdout = python.stdout.take().expect("it was asked for");
        let line = BufReader::new(stdout)
            .lines()
            .next_line()
            .await
            .expect("it answers");
        assert_eq!(line.as_deref(), Some("held"));
        python
    }
}

fn message(number: u8) -> NewMessage {
    let logged = v1::LoggedMessage {
        message_id: Bytes::copy_from_slice(&id(number).0),
        tenant: "shop".to_owned(),
        template: "welcome".to_owned(),
        bundle_hash: Bytes::from_static(&[7; 32]),
        lane: v1::Lane::Bulk.into(),
        identity: "main".to_owned(),
        recipient_hash: Bytes::from(vec![number; 16]),
        user_hash: Bytes::from(vec![number; 16]),
        tags: vec![v1::Tag {
            name: "wave".to_owned(),
            value: "7".to_owned(),
        }],
        digests: Bytes::from_static(b"digests"),
        ..v1::LoggedMessage::default()
    };
    let logged = v1::LoggedMessages {
        messages: vec![logged],
    };
    NewMessage {
        id: id(number),
        record: wish(),
        ttl: Duration::from_secs(3_600),
        request: Bytes::from_static(b"request"),
        logged: logged.encode_to_vec().into(),
        resubmit: false,
        durability: Durability::Local,
    }
}
