//! What stands beside ingests and renderers that a test starts with templates of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use paceline_kit::grpc;
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{EnqueueRequest, EnqueueResponse, Mailbox};
use tonic::Status;
use tonic::transport::Channel;

use crate::binaries::http_get;
use crate::stack::{IDENTITY, PATIENCE, TENANT};

const LISTEN: &str = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";

/// Redis, the provider's look-alike, and those who pace and send.
pub(crate) struct Ground {
    redis: TestRedis,
    /// The setting that all need beside a feedback.
    address_key: &'static str,
    lookalike: Lookalike,
    _coordinator: ServiceProcess,
    _sender: ServiceProcess,
}

/// A mail of [`bundle`], as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) number: usize,
    pub(crate) of_subject: u32,
    pub(crate) of_html: u32,
}

impl Ground {
    /// Without a feedback.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::with("").await
    }

    /// For a feedback, which must be started before mail is sent.
    pub(crate) async fn for_feedback() -> anyhow::Result<Self> {
        Self::with("address_key = \"0123456789abcdef0123456789abcdef\"\n").await
    }

    async fn with(address_key: &'static str) -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let lookalike = Lookalike::start(any, LookalikeOptions::default()).await?;
        let store = store(&redis);
        let rates = "[rates]\nmode = \"static\"\nstart = 1000.0\nceiling = 1000.0\n";
        let coordinator =
            ServiceProcess::start("throttle-coordinator", &format!("{LISTEN}{store}{rates}")).await?;
        let sender = format!(
            "{address_key}name = \"sender-1\"\ndeliver = \"live\"\ncoordinators = [\"http://{}\"]\n{LISTEN}{store}[ses]\n\
             endpoint_url = {:?}\ncredentials = \"look_alike\"\n{IDENTITY}",
            coordinator.grpc(),
            lookalike.url(),
        );
        Ok(Self {
            _sender: ServiceProcess::start("sender", &sender).await?,
            _coordinator: coordinator,
            redis,
            address_key,
            lookalike,
        })
    }

    /// An ingest with these settings of its templates.
    pub(crate) async fn ingest(&self, templates: &str) -> anyhow::Result<ServiceProcess> {
        let key = "k".repeat(64);
        let (store, address_key) = (store(&self.redis), self.address_key);
        let config =
            format!("digest_key = {key:?}\n{address_key}{LISTEN}{store}[templates]\n{templates}\n{IDENTITY}");
        ServiceProcess::start("ingest", &config).await
    }

    /// The same for a renderer.
    pub(crate) async fn renderer(&self, templates: &str) -> anyhow::Result<ServiceProcess> {
        let (store, address_key) = (store(&self.redis), self.address_key);
        let config = format!("{address_key}{LISTEN}{store}[templates]\n{templates}\n");
        ServiceProcess::start("renderer", &config).await
    }

    /// A feedback whose ledger is at `url`.
    pub(crate) async fn feedback(&self, url: &str) -> anyhow::Result<ServiceProcess> {
        let (store, address_key) = (store(&self.redis), self.address_key);
        let config = format!(
            "{address_key}{LISTEN}web.listen = \"127.0.0.1:0\"\nledger.url = {url:?}\nledger.timeout = \"2s\"\n{store}"
        );
        ServiceProcess::start("feedback", &config).await
    }

    /// Waits until as many mails as messages have arrived; then all of them, by the message's id.
    pub(crate) async fn arrived(&self, messages: usize) -> anyhow::Result<BTreeMap<String, Vec<Arrived>>> {
        eventually("all has arrived", PATIENCE, async || {
            match self.lookalike.inbox(0, 10_000).len() {
                count if count >= messages => Ok(()),
                count => Err(format!("{count} of {messages}")),
            }
        })
        .await;
        let mut arrived = BTreeMap::<String, Vec<Arrived>>::new();
        for mail in self.lookalike.inbox(0, 10_000) {
            let path = format!("/mail/{}/source.eml", mail.id);
            let source = http_get(self.lookalike.address(), &path).await?;
            let (of_subject, number) = words(&mail.subject).context("a subject of ours")?;
            let html = source.find("<p>version").context("html of ours")?;
            let (of_html, same) = words(&source[html + 3..]).context("html of ours")?;
            anyhow::ensure!(number == same, "two messages in one mail: {source}");
            let mails = arrived.entry(mail.tags["paceline_id"].clone()).or_default();
            mails.push(Arrived {
                number,
                of_subject,
                of_html,
            });
        }
        Ok(arrived)
    }
}

/// Version and number of `version V of N`.
fn words(text: &str) -> Option<(u32, usize)> {
    let (version, rest) = text.strip_prefix("version ")?.split_once(" of ")?;
    let digits = rest.split(|char: char| !char.is_ascii_digit()).next()?;
    Some((version.parse().ok()?, digits.parse().ok()?))
}

fn store(redis: &TestRedis) -> String {
    format!("[redis]\nurl = {:?}\nallow_unsafe = true\n", redis.url())
}

/// Writes a bundle whose subject and html say its version.
pub(crate) fn bundle(folder: &Path, name: &str, version: u32) -> anyhow::Result<()> {
    let text = format!("version {version} of {{{{number}}}}");
    let manifest = format!(
        "name = {name:?}\nversion = {version}\nlane = \"transactional\"\n[from]\naddress = \"hello@example.com\"\n"
    );
    std::fs::create_dir_all(folder.join("examples"))?;
    for (file, content) in [
        ("template.toml", manifest),
        ("subject.hbs", text.clone()),
        ("body.html.hbs", format!("<p>{text}</p>")),
        ("schema.json", "{\"number\": \"integer\"}".to_owned()),
        ("examples/first.json", "{\"number\": 1}".to_owned()),
    ] {
        std::fs::write(folder.join(file), content)?;
    }
    Ok(())
}

pub(crate) fn client(service: &ServiceProcess) -> anyhow::Result<IngestServiceClient<Channel>> {
    let channel = grpc::channel(&format!("http://{}", service.grpc()))?;
    Ok(IngestServiceClient::new(channel))
}

/// Hands message `number` of a template over.
pub(crate) async fn enqueue(
    mut client: IngestServiceClient<Channel>,
    template: &str,
    number: usize,
) -> Result<EnqueueResponse, Status> {
    let request = EnqueueRequest {
        tenant: TENANT.to_owned(),
        template: template.to_owned(),
        recipient: Some(Mailbox {
            address: format!("user{number}@example.com"),
            ..Mailbox::default()
        }),
        user_id: number.to_string(),
        data: format!("{{\"number\": {number}}}").into(),
        ..EnqueueRequest::default()
    };
    Ok(client.enqueue(request).await?.into_inner())
}
