//! Who bounced, complained or was suppressed by hand gets nothing more: from the provider's event, over the ledger, to the sender.

use std::net::SocketAddr;
use std::process::Output;

use anyhow::{Context as _, ensure};
use paceline_local::events::Webhooks;
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{ServiceProcess, TestPostgres, TestRedis, eventually};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::suppression_service_client::SuppressionServiceClient;
use paceline_wire::v1::{
    AddSuppressionsRequest, EnqueueRequest, GetRequest, Mailbox, NewSuppression, SuppressionReason,
};
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Channel;

use crate::binaries::binary;
use crate::stack::{IDENTITY, PATIENCE, TENANT, example_templates, welcome};

const LISTEN: &str = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
const KEY: &str = "address_key = \"0123456789abcdef0123456789abcdef\"\n";
const LINK_KEYS: &str =
    "unsubscribe.keys = [{ id = \"a\", secret = \"fedcba9876543210fedcba9876543210\" }]\n";
/// What SES's mailbox simulator bounces for good.
const BOUNCES: &str = "bounce@simulator.amazonses.com";

/// Everything that runs; all of it ends with this value.
struct Services {
    feedback: ServiceProcess,
    sender: Option<ServiceProcess>,
    _renderer: ServiceProcess,
    ingest: ServiceProcess,
    coordinator: ServiceProcess,
    lookalike: Lookalike,
    redis: TestRedis,
    _postgres: Option<TestPostgres>,
    directory: TempDir,
}

impl Services {
    /// With PostgreSQL or SQLite as the ledger; without a sender.
    async fn start(postgres: bool) -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let lookalike = Lookalike::start(any, LookalikeOptions::default()).await?;
        let directory = tempfile::tempdir()?;
        let postgres = if postgres {
            Some(TestPostgres::start().await)
        } else {
            None
        };
        let file = directory.path().join("ledger.db");
        let ledger = postgres
            .as_ref()
            .map_or_else(|| format!("sqlite:{}", file.display()), TestPostgres::url);
        let store = store(&redis);
        let bundles = format!("[templates]\ndirectory = {:?}\n", example_templates());
        let (topic, ca) = lookalike.topic();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca)?;
        let feedback = ServiceProcess::start(
            "feedback",
            &format!(
                "{LISTEN}{KEY}{LINK_KEYS}web.listen = \"127.0.0.1:0\"\nledger.url = {ledger:?}\nsns.topics = [{topic:?}]\nsns.ca = {:?}\n\
                 sns.loopback = \"{}\"\n{store}",
                ca_file,
                lookalike.address()
            ),
        )
        .await?;
        let web = feedback.web().context("it has a web listener")?;
        lookalike.set_webhooks(Webhooks {
            sns: Some(format!("http://{web}/ses/sns")),
            ..Webhooks::default()
        });
        let base_url = format!("unsubscribe.base_url = \"http://{web}\"\n");
        let renderer = format!("{LISTEN}{KEY}{base_url}{LINK_KEYS}{store}{bundles}");
        let rates = "[rates]\nmode = \"static\"\nstart = 1000.0\nceiling = 1000.0\n";
        Ok(Self {
            feedback,
            sender: None,
            _renderer: ServiceProcess::start("renderer", &renderer).await?,
            ingest: ServiceProcess::start(
                "ingest",
                &format!(
                    "digest_key = \"{}\"\n{LISTEN}{base_url}{store}{bundles}{IDENTITY}",
                    "k".repeat(64)
                ),
            )
            .await?,
            coordinator: ServiceProcess::start("throttle-coordinator", &format!("{LISTEN}{store}{rates}"))
                .await?,
            lookalike,
            redis,
            _postgres: postgres,
            directory,
        })
    }

    async fn start_sender(&mut self) -> anyhow::Result<()> {
        let config = format!(
            "name = \"sender-1\"\ndeliver = \"live\"\ncoordinators = [\"http://{}\"]\n{LISTEN}{KEY}{}[ses]\n\
             endpoint_url = {:?}\ncredentials = \"look_alike\"\n{IDENTITY}",
            self.coordinator.grpc(),
            store(&self.redis),
            self.lookalike.url(),
        );
        self.sender = Some(ServiceProcess::start("sender", &config).await?);
        Ok(())
    }

    async fn enqueue(&self, number: usize, address: &str) -> anyhow::Result<String> {
        let request = EnqueueRequest {
            recipient: Some(Mailbox {
                address: address.to_owned(),
                ..Mailbox::default()
            }),
            ..welcome(number)
        };
        let mut ingest = IngestServiceClient::new(channel(&self.ingest)?);
        Ok(ingest.enqueue(request).await?.into_inner().message_id)
    }

    /// Waits for the state, and for the reason where `expected` names one: what is accepted may be so by its sender's word or by an event.
    async fn until(&self, id: &str, expected: &str) -> anyhow::Result<()> {
        let messages = MessagesServiceClient::new(channel(&self.ingest)?);
        eventually(&format!("the message is {expected}"), PATIENCE, || async {
            let request = GetRequest {
                tenant: TENANT.to_owned(),
                message_id: id.to_owned(),
            };
            let answer = messages
                .clone()
                .get(request)
                .await
                .map_err(|error| error.to_string())?;
            let message = answer.into_inner().message.unwrap_or_default();
            let is = format!("{} {}", message.state().as_str_name(), message.reason);
            if is.starts_with(expected) { Ok(()) } else { Err(is) }
        })
        .await;
        Ok(())
    }

    async fn suppress(&self, addresses: &[String]) -> anyhow::Result<()> {
        let suppression = |address: &String| NewSuppression {
            address: address.clone(),
            reason: SuppressionReason::Manual.into(),
            ..NewSuppression::default()
        };
        let request = AddSuppressionsRequest {
            tenant: TENANT.to_owned(),
            suppressions: addresses.iter().map(suppression).collect(),
            who: "ann".to_owned(),
            why: "they asked".to_owned(),
        };
        let mut client = SuppressionServiceClient::new(channel(&self.feedback)?);
        client.add_suppressions(request).await?;
        Ok(())
    }

    /// `paceline suppression ...`.
    async fn command(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(binary("paceline"))
            .args(["--tenant", TENANT, "suppression"])
            .args(arguments)
            .args(["--feedback", &format!("http://{}", self.feedback.grpc())])
            .output()
            .await?;
        Ok(output)
    }

    /// What it says, where it succeeds.
    async fn said(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).await?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn received(&self, address: &str) -> usize {
        let mails = self.lookalike.inbox(0, 1_000).into_iter();
        mails.filter(|mail| mail.to == [address]).count()
    }
}

fn store(redis: &TestRedis) -> String {
    format!(
        "[redis]\nurl = {:?}\nallow_unsafe = true\ncommand_timeout = \"500ms\"\nlog = \"ring\"\n",
        redis.url()
    )
}

fn channel(service: &ServiceProcess) -> anyhow::Result<Channel> {
    Ok(paceline_kit::grpc::channel(&format!(
        "http://{}",
        service.grpc()
    ))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounced_hard_gets_nothing_more_until_somebody_says_so() -> anyhow::Result<()> {
    for postgres in [false, true] {
        let mut services = Services::start(postgres).await?;
        services.start_sender().await?;
        let first = services.enqueue(1, BOUNCES).await?;
        services.until(&first, "MESSAGE_STATE_ACCEPTED ").await?;
        eventually("the bounce is known", PATIENCE, || async {
            let said = services
                .said(&["check", BOUNCES])
                .await
                .map_err(|error| error.to_string())?;
            if said.contains("bulk mail is stopped: hard_bounced") {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
        let second = services.enqueue(2, "Bounce@simulator.amazonses.com").await?;
        services
            .until(&second, "MESSAGE_STATE_SUPPRESSED hard_bounced")
            .await?;
        ensure!(services.received(BOUNCES) == 1);

        let removed = services
            .said(&["remove", BOUNCES, "--why", "it was full", "--who", "ann"])
            .await?;
        ensure!(removed.contains("removed: hard_bounce"), "{removed}");
        let third = services.enqueue(3, BOUNCES).await?;
        services.until(&third, "MESSAGE_STATE_ACCEPTED ").await?;
        ensure!(services.received(BOUNCES) == 2);
        let listed = services.said(&["list", "--removed"]).await?;
        ensure!(!listed.contains('@'), "an address in clear: {listed}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_waited_for_long_goes_to_nobody_who_was_suppressed_meanwhile() -> anyhow::Result<()> {
    let mut services = Services::start(false).await?;
    let address = |number: usize| format!("user{number}@example.com");
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(services.enqueue(number, &address(number)).await?);
    }
    eventually("everything is rendered", PATIENCE, || async {
        let client =
            MessagesServiceClient::new(channel(&services.ingest).map_err(|error| error.to_string())?);
        let queue = client.clone().queue(paceline_wire::v1::QueueRequest {}).await;
        let queue = queue.map_err(|error| error.to_string())?.into_inner();
        let ready = queue.depths.iter().filter(|depth| depth.stage == "ready");
        let ready: u64 = ready.map(|depth| depth.backlog).sum();
        if ready == 30 {
            Ok(())
        } else {
            Err(format!("{ready} are"))
        }
    })
    .await;
    let suppressed: Vec<String> = (0..10).map(address).collect();
    services.suppress(&suppressed).await?;
    // Redis comes back without anything that was said of people: the ledger is the source.
    for bucket in 0..256 {
        services
            .redis
            .command(&["DEL", &format!("{{pl1:sup:{bucket}}}")])
            .await;
    }
    services.start_sender().await?;
    for (number, id) in ids.iter().enumerate() {
        let expected = if number < 10 {
            "MESSAGE_STATE_SUPPRESSED address_suppressed"
        } else {
            "MESSAGE_STATE_ACCEPTED "
        };
        services.until(id, expected).await?;
        ensure!(services.received(&address(number)) == usize::from(number >= 10));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_in_and_goes_out_again() -> anyhow::Result<()> {
    let services = Services::start(true).await?;
    let file = services.directory.path().join("bounces.csv");
    let text = "address,code,error,created_at\n\
                ada@example.com,550,\"no, such user\",\"Mon, 06 May 2024 18:11:58 UTC\"\n\
                not an address,550,,\n\
                eve@example.com,550,,yesterday\n\
                Bob@Example.com,550,,\n";
    std::fs::write(&file, text)?;
    let path = file.to_str().context("UTF-8")?;
    let import = ["import", path, "--why", "we move", "--who", "ann"];
    for (added, already) in [(2, 0), (0, 2)] {
        let output = services.command(&import).await?;
        ensure!(
            output.status.code() == Some(1),
            "two lines are refused: {output:?}"
        );
        let said = String::from_utf8(output.stdout)?;
        ensure!(
            said.contains(&format!(
                "added {added}, there already {already}, removed since 0, refused 2"
            )),
            "{said}"
        );
        let report = String::from_utf8(output.stderr)?;
        ensure!(
            report.contains("line 3: address: ") && report.contains("line 4: at: "),
            "{report}"
        );
        ensure!(
            !report.contains("yesterday") && !report.contains("not an address"),
            "{report}"
        );
    }
    let hashes = services.said(&["export"]).await?;
    ensure!(hashes.lines().count() == 3 && !hashes.contains('@'), "{hashes}");
    let clear = services.said(&["export", "--addresses"]).await?;
    ensure!(
        clear.contains(",ada@example.com,hard_bounce,,2024-05-06T18:11:58.000Z,import")
            && clear.contains(",Bob@example.com,hard_bounce,,"),
        "{clear}"
    );
    // What was written can be read.
    std::fs::write(&file, clear)?;
    let said = services.said(&import).await?;
    ensure!(said.contains("added 0, there already 2"), "{said}");
    let said = services.said(&["check", "ADA@example.com"]).await?;
    ensure!(
        said.contains("transactional mail is stopped: hard_bounced") && said.contains("we move"),
        "{said}"
    );
    Ok(())
}
