//! A running renderer, and messages for it.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::key_fingerprint;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, Record, State};
use paceline_domain::time::Millis;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::{Context, Shutdown, settings};
use paceline_renderer::{Config, DEFAULTS};
use paceline_store::{
    ClaimItem, Claimant, Claimed, Durability, Enqueued, Entry, EntryBody, LogMode, LogUse, NewMessage, Stage,
    Store, StoreConfig, StreamKey, Verdict,
};
use paceline_templates::{Files, Template};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1::{Mailbox, RenderedMessage, StoredRequest};
use prost::Message as _;
use tokio::task::JoinHandle;

/// At least 32 bytes.
pub(crate) const ADDRESS_KEY: &str = "fedcba9876543210fedcba9876543210";

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A Redis, a store, a folder of templates, and the renderer's settings for them.
pub(crate) struct Bench {
    pub(crate) redis: TestRedis,
    pub(crate) store: Store,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(LogMode::Ring).await
    }

    /// With a log that is kept for the ledger, or a ring; the renderers' settings must say the same.
    pub(crate) async fn start_with(mode: LogMode) -> Self {
        let redis = TestRedis::start().await;
        let config = StoreConfig {
            url: redis.url().to_owned(),
            shards: 1,
            command_timeout: Duration::from_secs(2),
            durability: Durability::Fsync,
            replicas: 0,
            allow_unsafe: true,
            tls: None,
            allow_plaintext_password: false,
            log: LogUse { mode, change: false },
            log_entries_max: 1_000,
        };
        let store = Store::connect(&config).await.expect("a safe redis");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bench = Self { redis, store, folder };
        bench.publish("hello", files());
        bench
    }

    /// Writes a template into the renderers' folder.
    pub(crate) fn publish(&self, name: &str, files: Files) {
        for (path, file) in files {
            let path = self.folder.path().join(name).join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, file).expect("writable");
        }
    }

    /// Runs a renderer with these settings beside the usual ones; it drains when the value is dropped or stopped.
    pub(crate) fn renderer(&self, own: &str) -> Renderer {
        self.renderer_by(self.redis.url(), own)
    }

    /// The same, with the Redis at `url`: a proxy before it.
    pub(crate) fn renderer_by(&self, url: &str, own: &str) -> Renderer {
        let text = self.settings(url, own);
        let file = self.folder.path().join("renderer.toml");
        std::fs::write(&file, text).expect("writable");
        let config: Config = settings::load("renderer", DEFAULTS, Some(&file)).expect("good settings");
        let telemetry =
            Telemetry::new("renderer", &TelemetrySettings::default()).expect("no endpoint to fail");
        let shutdown = Shutdown::new();
        let context = Context::new("renderer", telemetry, shutdown.clone());
        Renderer {
            shutdown,
            task: tokio::spawn(paceline_renderer::run(config, context)),
        }
    }

    /// The deployment's first start is over: a full Redis takes no setting.
    pub(crate) async fn knows_address_key(&self) {
        let fingerprint = key_fingerprint(ADDRESS_KEY.as_bytes());
        let checked = self.store.check_address_key(&fingerprint).await;
        checked.expect("there is none yet");
    }

    /// The settings of such a renderer.
    pub(crate) fn settings(&self, url: &str, own: &str) -> String {
        format!(
            "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\naddress_key = \"{ADDRESS_KEY}\"\ntemplates.directory = {:?}\ntemplates.missing_wait = \"1s\"\n\
             redis.url = {:?}\nredis.durability = \"local\"\n{own}",
            self.folder.path(),
            url
        )
    }

    /// Accepts a message; its bundle is put into Redis first unless the test wants it to be missing.
    pub(crate) async fn accept(&self, message: NewMessage) -> Record {
        match self
            .store
            .enqueue(0, vec![message])
            .await
            .expect("redis is there")
            .remove(0)
        {
            Enqueued::New(record) => record,
            other => panic!("a new message expected, not {other:?}"),
        }
    }

    pub(crate) async fn put_bundle(&self) {
        self.put(&template()).await;
    }

    pub(crate) async fn put(&self, template: &Template) {
        self.store
            .put_bundle(&template.hash().0, template.bundle_bytes())
            .await
            .expect("redis is there");
    }

    /// Waits until the message is in `state`.
    pub(crate) async fn becomes(&self, id: MessageId, state: State) -> Record {
        eventually("the message gets there", PATIENCE, async || {
            let record = self.store.get(id).await.map_err(|error| error.to_string())?;
            let record = record.ok_or_else(|| "no record".to_owned())?;
            if record.state == state {
                Ok(record)
            } else {
                Err(format!("{} {:?}", record.state, record.reason))
            }
        })
        .await
    }

    /// Reads ready entries until `count` have come.
    pub(crate) async fn ready(&self, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let more = eventually("something is ready", PATIENCE, async || {
                let more = self.read_ready().await;
                (!more.is_empty()).then_some(more)
            });
            entries.extend(more.await);
        }
        entries
    }

    /// Reads what is ready of one tenant, once there is something.
    pub(crate) async fn ready_of(&self, tenant: &str) -> Vec<Entry> {
        eventually("something of the tenant is ready", PATIENCE, async || {
            let mut streams = self.store.active(0).await.expect("redis is there");
            streams.retain(|stream| stream.tenant == tenant);
            let read = self
                .store
                .read(0, Stage::Ready, "sender", &streams, 100)
                .await
                .expect("redis is there");
            (!read.is_empty()).then_some(read)
        })
        .await
    }

    async fn read_ready(&self) -> Vec<Entry> {
        let streams = self.store.active(0).await.expect("redis is there");
        self.store
            .read(0, Stage::Ready, "sender", &streams, 100)
            .await
            .expect("redis is there")
    }

    pub(crate) async fn claim(&self, entries: &[Entry]) -> Vec<Claimed> {
        let items = entries.iter().map(|entry| {
            let EntryBody::Message { id, ticket, .. } = entry.body else {
                panic!("a message expected")
            };
            let (stream, entry_id) = (entry.stream.clone(), entry.entry_id.clone());
            ClaimItem {
                stream,
                entry_id,
                id,
                ticket,
                verdict: Verdict::Send,
                rendered_at: Millis(0),
            }
        });
        let claimant = Claimant {
            nonce: Nonce([1; 8]),
            lease: Duration::from_secs(60),
            provider: Provider::Ses,
            run: None,
        };
        self.store
            .claim(0, claimant, items.collect())
            .await
            .expect("redis is there")
            .made()
            .expect("no hold")
    }

    pub(crate) async fn backlog(&self, stage: Stage) -> u64 {
        let stream = StreamKey {
            stage,
            lane: Lane::Transactional,
            identity: "main".to_owned(),
            tenant: "acme".to_owned(),
        };
        self.store.backlog(0, &stream).await.expect("redis is there")
    }
}

/// A renderer that runs in this process.
pub(crate) struct Renderer {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Renderer {
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.expect("no panic").expect("it drains");
    }

    /// Why it did not start.
    pub(crate) async fn refused(self) -> anyhow::Error {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends");
        ended.expect("no panic").expect_err("it did not start")
    }
}

fn files() -> Files {
    let files = [
        (
            "template.toml",
            "name = \"hello\"\nversion = 1\nlane = \"transactional\"\n[from]\naddress = \"a@example.com\"\n",
        ),
        ("subject.hbs", "Hello {{name}}"),
        ("body.html.hbs", "<p>Hello {{name}}</p>"),
        ("schema.json", "{\"name\": \"string\"}"),
        ("examples/first.json", "{\"name\": \"Ada\"}"),
    ];
    files
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

pub(crate) fn template() -> Template {
    Template::from_files(&files()).expect("a good bundle")
}

/// Message number `number`, for the template of this suite.
pub(crate) fn message(number: u16, data: &str) -> NewMessage {
    message_of(number, &template(), |request| {
        request.data = Bytes::copy_from_slice(data.as_bytes());
    })
}

/// Message number `number`, for another template.
pub(crate) fn message_of(
    number: u16,
    template: &Template,
    change: impl FnOnce(&mut StoredRequest),
) -> NewMessage {
    let mut id = [7; 16];
    id[2..4].copy_from_slice(&number.to_be_bytes());
    let mut request = StoredRequest {
        tenant: "acme".to_owned(),
        template: template.manifest().name.clone(),
        bundle_hash: Bytes::copy_from_slice(&template.hash().0),
        recipient: Some(Mailbox {
            address: format!("user{number}@example.com"),
            ..Mailbox::default()
        }),
        data: Bytes::from_static(b"{}"),
        ..StoredRequest::default()
    };
    change(&mut request);
    NewMessage {
        id: MessageId(id),
        record: record(),
        ttl: Duration::from_secs(3_600),
        request: request.encode_to_vec().into(),
        resubmit: false,
        logged: Bytes::new(),
        durability: Durability::Local,
    }
}

fn record() -> Record {
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
        accepted_at: Millis::default(),
        changed_at: Millis::default(),
        send_at: Millis::default(),
        expires_at: Millis::default(),
        due_at: Millis::default(),
        doubt_window_s: 900,
        dedupe_window_s: 3_600,
        provider: None,
        provider_id: String::new(),
        tenant: "acme".to_owned(),
        template: "hello".to_owned(),
        identity: "main".to_owned(),
        digests: Vec::new(),
    }
}

/// What a ready entry holds.
pub(crate) fn rendered(entry: &Entry) -> RenderedMessage {
    let EntryBody::Message {
        rendered: Some(compressed),
        ..
    } = &entry.body
    else {
        panic!("parts expected")
    };
    paceline_wire::rendered::unpack(compressed).expect("rendered parts")
}
