//! The service in this process, on a throwaway Redis, and what most tests ask of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use paceline_ingest::{Config, DEFAULTS};
use paceline_kit::clock::{Clock as _, SystemClock};
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::{Bound, Context, Shutdown, grpc, settings};
use paceline_store::{Durability, Store, StoreConfig};
use paceline_testkit::TestRedis;
use paceline_testkit::resp::Reply;
use paceline_wire::convert::timestamp;
use paceline_wire::v1;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The setting without which no bulk mail is taken.
pub(crate) const LINKS: &str = "unsubscribe.base_url = \"https://mail.example.com\"\n";

/// The lane of most templates, in the manifest.
const TRANSACTIONAL: &str = "lane = \"transactional\"";

/// Trace context flows only where a subscriber is installed; once per process.
static TRACES: LazyLock<Telemetry> = LazyLock::new(|| {
    let settings = TelemetrySettings {
        log: "off".to_owned(),
        ..TelemetrySettings::default()
    };
    Telemetry::install("ingest", &settings).expect("the first subscriber of this process")
});

/// The running service.
pub(crate) struct Running {
    pub(crate) redis: TestRedis,
    pub(crate) store: Store,
    pub(crate) ingest: IngestServiceClient<Channel>,
    pub(crate) messages: MessagesServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) bound: Bound,
    pub(crate) shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
    templates: TempDir,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With further settings, as TOML.
    pub(crate) async fn with(lines: &str) -> Self {
        let started = Self::of(templates(), lines).await;
        started.unwrap_or_else(|error| panic!("ingest did not get ready: {error:#}"))
    }

    /// With further settings and a further template, of which these are lines of the manifest.
    pub(crate) async fn with_template(manifest: &str, lines: &str) -> anyhow::Result<Self> {
        let templates = templates();
        let texts = [("Offers", "Offers"), ("{}", "{}")];
        write_template(templates.path(), ("offers", manifest), texts);
        Self::of(templates, lines).await
    }

    /// On this Redis, with no templates but those that are published.
    pub(crate) async fn on_published(redis: TestRedis) -> Self {
        let lines = "templates.published = true\ntemplates.look_every = \"20ms\"";
        let config = config(redis.url(), "", lines);
        let started = Box::pin(Self::on(redis, config, templates())).await;
        started.unwrap_or_else(|error| panic!("ingest did not get ready: {error:#}"))
    }

    async fn of(templates: TempDir, lines: &str) -> anyhow::Result<Self> {
        let redis = TestRedis::start().await;
        let config = config(redis.url(), &templates.path().display().to_string(), lines);
        Box::pin(Self::on(redis, config, templates)).await
    }

    async fn on(redis: TestRedis, config: Config, templates: TempDir) -> anyhow::Result<Self> {
        LazyLock::force(&TRACES);
        // The test's own, whose claims nobody has to wait for.
        let kept = StoreConfig {
            durability: Durability::Fsync,
            allow_unsafe: true,
            ..config.redis.store().expect("good settings")
        };
        let store = Store::connect(&kept).await.expect("a safe redis");
        let telemetry = Telemetry::new("ingest", &TelemetrySettings::default()).expect("no endpoint");
        let shutdown = Shutdown::new();
        let (ready, bound) = oneshot::channel();
        let context = Context::new("ingest", telemetry, shutdown.clone()).on_ready(move |bound| {
            let _ = ready.send(bound);
        });
        let mut task = tokio::spawn(paceline_ingest::run(config, context));
        let bound = tokio::select! {
            Ok(bound) = bound => bound,
            ended = &mut task => {
                ended??;
                anyhow::bail!("it ended without an error")
            }
        };
        let channel = grpc::channel(&format!("http://{}", bound.grpc)).expect("a URI");
        Ok(Self {
            redis,
            store,
            ingest: IngestServiceClient::new(channel.clone()),
            messages: MessagesServiceClient::new(channel.clone()),
            channel,
            bound,
            shutdown,
            task,
            templates,
        })
    }

    /// Puts a template of one body in place of what stands there, at once.
    pub(crate) fn replace_template(&self, name: &str, version: u32, text: &str) {
        let aside = tempfile::tempdir().expect("a temporary directory");
        let texts = [("Hello", text), ("{\"order\": \"integer\"}", "{\"order\": 1}")];
        write_template(aside.path(), (name, TRANSACTIONAL), texts);
        let manifest = aside.path().join(name).join("template.toml");
        let lines = std::fs::read_to_string(&manifest).expect("readable");
        let lines = lines.replace("version = 1", &format!("version = {version}"));
        std::fs::write(&manifest, lines).expect("writable");
        let (place, before) = (self.templates.path().join(name), aside.path().join("before"));
        std::fs::rename(&place, before).expect("one file system");
        std::fs::rename(aside.path().join(name), place).expect("one file system");
    }

    /// What `/readyz` says.
    pub(crate) async fn readiness(&self) -> String {
        http_get(self.bound.admin, "/readyz").await
    }

    pub(crate) async fn enqueue(
        &self,
        request: v1::EnqueueRequest,
    ) -> Result<v1::EnqueueResponse, tonic::Status> {
        Ok(self.ingest.clone().enqueue(request).await?.into_inner())
    }

    /// The service's end: that of its drain.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        self.task.await.expect("no panic")
    }

    /// How many messages there are.
    pub(crate) async fn records(&self) -> usize {
        self.redis.command(&["KEYS", "{pl1:0}:m:*"]).await.array().len()
    }

    /// Redis takes no more writes until [`Running::resume`]; it hangs, it does not refuse.
    pub(crate) async fn pause(&self) {
        let paused = self.redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
        assert_eq!(paused, Reply::Bytes("OK".into()));
    }

    pub(crate) async fn resume(&self) {
        let resumed = self.redis.command(&["CLIENT", "UNPAUSE"]).await;
        assert_eq!(resumed, Reply::Bytes("OK".into()));
    }

    /// The value of a metric's line that begins so; zero without one.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = http_get(self.bound.admin, "/metrics").await;
        text.lines()
            .find(|found| found.starts_with(line))
            .and_then(|found| found.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0.0)
    }
}

pub(crate) async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the admin listener");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

pub(crate) fn templates() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let schema = r#"{"type": "object", "required": ["order"], "properties": {
        "order": {"type": "integer"}, "filler": {"type": "string"},
        "items": {"items": {"properties": {"price": {"type": "number"}}}}}}"#;
    let receipt = [("Order {{order}}", "{{order}}"), (schema, "{\"order\": 1}")];
    write_template(directory.path(), ("receipt", TRANSACTIONAL), receipt);
    let note = [
        ("{{title}}", "{{title}}"),
        ("{\"title\": \"string\"}", "{\"title\": \"-\"}"),
    ];
    write_template(directory.path(), ("note", TRANSACTIONAL), note);
    directory
}

/// A template from its name, its manifest's own lines, its subject and the text of its body, its schema and its example.
fn write_template(
    directory: &Path,
    (name, manifest): (&str, &str),
    [(subject, text), (schema, example)]: [(&str, &str); 2],
) {
    let folder = directory.join(name);
    std::fs::create_dir_all(folder.join("examples")).expect("writable");
    let manifest =
        format!("name = \"{name}\"\nversion = 1\n{manifest}\nfrom = {{ address = \"shop@example.com\" }}\n");
    let body = format!("<p>{text}</p>");
    for (file, content) in [
        ("template.toml", manifest.as_str()),
        ("subject.hbs", subject),
        ("body.html.hbs", &body),
        ("schema.json", schema),
        ("examples/first.json", example),
    ] {
        std::fs::write(folder.join(file), content).expect("writable");
    }
}

fn config(redis_url: &str, templates: &str, lines: &str) -> Config {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ndrain_notice = \"0s\"\n\
         digest_key = \"0123456789abcdef0123456789abcdef\"\nredis.url = {redis_url:?}\n\
         redis.command_timeout = \"30s\"\nredis.durability = \"local\"\ntemplates.directory = {templates:?}\n{lines}\n\
         [[identity]]\nname = \"main\"\nfrom_domains = [\"example.com\"]\ntenants = [\"shop\", \"other\"]\n\
         [identity.ses]\nregion = \"eu-west-1\"\nconfiguration_set = \"events\"\n",
    );
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writable");
    settings::load("ingest", DEFAULTS, Some(file.path())).unwrap_or_else(|error| panic!("{error}"))
}

/// The request of one order; each number is a message of its own.
pub(crate) fn order(number: u32) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant: "shop".to_owned(),
        template: "receipt".to_owned(),
        recipient: Some(v1::Mailbox {
            address: "ada@example.org".to_owned(),
            display_name: "Ada".to_owned(),
        }),
        user_id: format!("user-{number}"),
        data: format!("{{\"order\": {number}}}").into(),
        ..v1::EnqueueRequest::default()
    }
}

/// So many hours from now.
pub(crate) fn in_hours(hours: u64) -> Option<prost_types::Timestamp> {
    Some(timestamp(SystemClock.wall() + Duration::from_hours(hours)))
}
