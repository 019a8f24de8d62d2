//! The services as separate processes against one Redis and one look-alike.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{ServiceProcess, TestRedis};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::{
    EnqueueBatchRequest, EnqueueRequest, GetRequest, Mailbox, Message, QueueRequest, QueueResponse,
    enqueue_result,
};
use tonic::transport::Channel;

pub(crate) const TENANT: &str = "demo";

/// How long anything that a test waits for may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A port that the system chooses.
const ANYWHERE: &str = "127.0.0.1:0";

pub(crate) const IDENTITY: &str = r#"
[[identity]]
name = "main"
from_domains = ["example.com"]
tenants = ["*"]

[identity.ses]
region = "eu-west-1"
configuration_set = "paceline"
"#;

/// The tests' own templates: transactional ones.
pub(crate) fn templates() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/templates").to_owned()
}

/// Those that people begin with; `welcome` is bulk, so what uses them needs feedback and links to it.
pub(crate) fn example_templates() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates").to_owned()
}

/// Notices what is left and who is silent sooner than by default, in the sections from `[redis]` on.
const HASTE: &str = "command_timeout = \"500ms\"\n";

/// Everything that runs; all of it ends with this value.
pub(crate) struct Stack {
    pub(crate) ingest: ServiceProcess,
    pub(crate) senders: Vec<ServiceProcess>,
    pub(crate) renderer: ServiceProcess,
    pub(crate) coordinator: ServiceProcess,
    pub(crate) lookalike: Lookalike,
    pub(crate) redis: TestRedis,
    /// By which every service reaches Redis.
    url: String,
    hasty: bool,
}

impl Stack {
    pub(crate) async fn start(senders: usize, options: LookalikeOptions) -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let url = redis.url().to_owned();
        Self::on((redis, url), senders, options, false).await
    }

    /// On a Redis that the services reach at `url`; they wait half a second for its answer, and take over after a second what
    /// others have left.
    pub(crate) async fn hasty(
        redis: TestRedis,
        url: &str,
        senders: usize,
        options: LookalikeOptions,
    ) -> anyhow::Result<Self> {
        Self::on((redis, url.to_owned()), senders, options, true).await
    }

    async fn on(
        (redis, url): (TestRedis, String),
        senders: usize,
        options: LookalikeOptions,
        hasty: bool,
    ) -> anyhow::Result<Self> {
        let lookalike = Lookalike::start("127.0.0.1:0".parse()?, options).await?;
        let haste = if hasty { HASTE } else { "" };
        let common = format!("{}{haste}", common(&url));
        // What is tested here is the accounting, not the learning of a rate.
        let coordinator = ServiceProcess::start(
            "throttle-coordinator",
            &format!("{common}\n[rates]\nmode = \"static\"\nstart = 5000.0\nceiling = 5000.0\n"),
        )
        .await?;
        let renderer = start_renderer(&url, &work(hasty)).await?;
        let mut stack = Self {
            ingest: start_ingest(&url, haste).await?,
            senders: Vec::new(),
            renderer,
            coordinator,
            lookalike,
            redis,
            url,
            hasty,
        };
        for _ in 0..senders {
            stack.add_sender().await?;
        }
        Ok(stack)
    }

    pub(crate) async fn add_sender(&mut self) -> anyhow::Result<()> {
        let number = self.senders.len() + 1;
        let haste = if self.hasty {
            format!("{HASTE}[read_ahead]\nreclaim_idle = \"1s\"\n")
        } else {
            String::new()
        };
        let config = format!(
            "name = \"sender-{number}\"\ndeliver = \"live\"\ncoordinators = [\"http://{}\"]\n{}{haste}\n[ses]\n\
             endpoint_url = \"{}\"\ncredentials = \"look_alike\"\nattempt_timeout = \"10s\"\n{IDENTITY}",
            self.coordinator.grpc(),
            common(&self.url),
            self.lookalike.url(),
        );
        self.senders.push(ServiceProcess::start("sender", &config).await?);
        Ok(())
    }

    /// Every service by its name.
    pub(crate) fn services(&self) -> Vec<(&'static str, &ServiceProcess)> {
        let mut services = vec![
            ("ingest", &self.ingest),
            ("renderer", &self.renderer),
            ("throttle-coordinator", &self.coordinator),
        ];
        services.extend(self.senders.iter().map(|sender| ("sender", sender)));
        services
    }

    /// Starts a further renderer as the first one.
    pub(crate) async fn another_renderer(&self) -> anyhow::Result<ServiceProcess> {
        start_renderer(&self.url, &work(self.hasty)).await
    }

    /// Starts a renderer in the place of the one before, which must have ended; with the Redis at `redis`, which may be a proxy
    /// before it, and further settings that begin in the section `[redis]`.
    pub(crate) async fn next_renderer(&mut self, redis: &str, settings: &str) -> anyhow::Result<()> {
        self.renderer = start_renderer(redis, settings).await?;
        Ok(())
    }

    /// Kills ingest and starts it again at the same address.
    pub(crate) async fn restart_ingest(&mut self) -> anyhow::Result<()> {
        let address = self.ingest.grpc().to_string();
        self.ingest.kill()?;
        self.ingest.wait(Duration::from_secs(10)).await?;
        self.ingest = start_ingest_at(&address, self.redis.url(), "").await?;
        Ok(())
    }

    /// Kills the renderer and waits for its end.
    pub(crate) async fn kill_renderer(&mut self) -> anyhow::Result<()> {
        self.renderer.kill()?;
        self.renderer.wait(Duration::from_secs(10)).await?;
        Ok(())
    }

    pub(crate) fn ingest(&self) -> anyhow::Result<IngestServiceClient<Channel>> {
        Ok(IngestServiceClient::new(self.channel()?))
    }

    pub(crate) async fn message(&self, id: &str) -> anyhow::Result<Message> {
        let request = GetRequest {
            tenant: TENANT.to_owned(),
            message_id: id.to_owned(),
        };
        let answer = MessagesServiceClient::new(self.channel()?).get(request).await?;
        answer.into_inner().message.context("an answer without a message")
    }

    pub(crate) async fn queue(&self) -> anyhow::Result<QueueResponse> {
        Ok(MessagesServiceClient::new(self.channel()?)
            .queue(QueueRequest {})
            .await?
            .into_inner())
    }

    /// Enqueues messages `0..count` in batches and returns their ids, in order.
    pub(crate) async fn enqueue_welcomes(&self, count: usize) -> anyhow::Result<Vec<String>> {
        self.enqueue_range(0..count).await
    }

    /// The same for the messages of these numbers.
    pub(crate) async fn enqueue_range(&self, numbers: Range<usize>) -> anyhow::Result<Vec<String>> {
        let mut ingest = self.ingest()?;
        let mut ids = Vec::with_capacity(numbers.len());
        while ids.len() < numbers.len() {
            let next = numbers.start + ids.len();
            let requests = (next..numbers.end.min(next + 500)).map(welcome).collect();
            let answer = ingest
                .enqueue_batch(EnqueueBatchRequest { requests })
                .await?
                .into_inner();
            for result in answer.results {
                match result.result.context("an empty result")? {
                    enqueue_result::Result::Response(response) => ids.push(response.message_id),
                    enqueue_result::Result::Error(error) => anyhow::bail!("refused: {}", error.message),
                }
            }
        }
        Ok(ids)
    }

    fn channel(&self) -> anyhow::Result<Channel> {
        Ok(paceline_kit::grpc::channel(&format!(
            "http://{}",
            self.ingest.grpc()
        ))?)
    }
}

/// True of a line that ends with the state of accepted mail, by its sender's word or by an event that came before it.
pub(crate) fn says_accepted(line: &str) -> bool {
    ["accepted", "accepted (event_says_sent)"]
        .iter()
        .any(|end| line.ends_with(end))
}

/// Starts ingest with further settings, which begin in the section `[redis]`.
pub(crate) async fn start_ingest(redis: &str, settings: &str) -> anyhow::Result<ServiceProcess> {
    start_ingest_at(ANYWHERE, redis, settings).await
}

/// The same at an address, as after a restart.
async fn start_ingest_at(listen: &str, redis: &str, settings: &str) -> anyhow::Result<ServiceProcess> {
    let config = format!(
        "digest_key = \"{}\"\n{}{settings}{}{IDENTITY}",
        "k".repeat(64),
        common_at(listen, redis),
        templates_section()
    );
    ServiceProcess::start("ingest", &config).await
}

/// The same for a renderer.
pub(crate) async fn start_renderer(redis: &str, settings: &str) -> anyhow::Result<ServiceProcess> {
    let config = format!("{}{settings}{}", common(redis), templates_section());
    ServiceProcess::start("renderer", &config).await
}

fn work(hasty: bool) -> String {
    if hasty {
        format!("{HASTE}[work]\nreclaim_idle = \"1s\"\n")
    } else {
        String::new()
    }
}

fn templates_section() -> String {
    format!("[templates]\ndirectory = {:?}\n", templates())
}

fn common(redis: &str) -> String {
    common_at(ANYWHERE, redis)
}

fn common_at(listen: &str, redis: &str) -> String {
    format!(
        "listen = {listen:?}\nadmin_listen = \"127.0.0.1:0\"\n[redis]\nurl = {redis:?}\nallow_unsafe = true\n"
    )
}

/// The example of the template `welcome`, to one of many users.
pub(crate) fn welcome(number: usize) -> EnqueueRequest {
    let example = std::fs::read(format!("{}/welcome/examples/first.json", templates()));
    EnqueueRequest {
        tenant: TENANT.to_owned(),
        template: "welcome".to_owned(),
        recipient: Some(Mailbox {
            address: format!("user{number}@example.com"),
            ..Mailbox::default()
        }),
        user_id: number.to_string(),
        data: example.expect("an example of the template welcome").into(),
        ..EnqueueRequest::default()
    }
}
