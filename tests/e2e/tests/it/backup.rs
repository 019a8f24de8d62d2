//! SES fails for three identities: the mail of the two that have a backup arrives by Mailgun, that of the third one waits for SES. Each
//! email arrives once.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use paceline_local::fault::{Action, Failure, Fault};
use paceline_local::{Lookalike, LookalikeOptions, Provider};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{EnqueueBatchRequest, EnqueueRequest, enqueue_result};

use crate::binaries::http_get;
use crate::stack::{PATIENCE, templates, welcome};

/// Of each identity.
const MESSAGES: usize = 300;
/// Identities, which are named as their tenants, and whether each has a backup.
const IDENTITIES: [(&str, bool); 3] = [("a", true), ("b", true), ("c", false)];
const LISTEN: &str = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";

fn identities() -> String {
    let identity = |(name, has_backup): (&str, bool)| {
        let backup = if has_backup {
            format!("[identity.mailgun]\ndomain = \"mg.{name}.example\"\n")
        } else {
            String::new()
        };
        format!(
            "[[identity]]\nname = \"{name}\"\nfrom_domains = [\"example.com\"]\ntenants = [\"{name}\"]\n\
             [identity.ses]\nregion = \"eu-west-1\"\nconfiguration_set = \"paceline\"\n{backup}"
        )
    };
    IDENTITIES.map(identity).concat()
}

/// Everything that runs; all of it ends with this value.
struct Services {
    coordinator: ServiceProcess,
    _senders: Vec<ServiceProcess>,
    _renderer: ServiceProcess,
    ingest: ServiceProcess,
    lookalike: Lookalike,
    _redis: TestRedis,
    _key: tempfile::NamedTempFile,
}

impl Services {
    async fn start() -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let lookalike = Lookalike::start("127.0.0.1:0".parse()?, LookalikeOptions::default()).await?;
        let url = lookalike.url();
        let key = tempfile::NamedTempFile::new()?;
        std::fs::write(key.path(), "key-of-a-test")?;
        let store = format!("[redis]\nurl = {:?}\nallow_unsafe = true\n", redis.url());
        let bundles = format!("[templates]\ndirectory = {:?}\n", templates());
        let coordinator = ServiceProcess::start("throttle-coordinator", &format!("{LISTEN}{store}")).await?;
        let mut senders = Vec::new();
        for number in 1..=2 {
            let config = format!(
                "{LISTEN}name = \"sender-{number}\"\ndeliver = \"live\"\ncoordinators = [\"http://{}\"]\n{store}\
                 [ses]\nendpoint_url = {url:?}\ncredentials = \"look_alike\"\n\
                 [mailgun]\nendpoint_url = {url:?}\nkey_file = {:?}\n{}",
                coordinator.grpc(),
                key.path(),
                identities(),
            );
            senders.push(ServiceProcess::start("sender", &config).await?);
        }
        let renderer = ServiceProcess::start("renderer", &format!("{LISTEN}{store}{bundles}")).await?;
        let ingest = format!(
            "digest_key = \"{}\"\n{LISTEN}{store}{bundles}{}",
            "k".repeat(64),
            identities()
        );
        Ok(Self {
            coordinator,
            _senders: senders,
            _renderer: renderer,
            ingest: ServiceProcess::start("ingest", &ingest).await?,
            lookalike,
            _redis: redis,
            _key: key,
        })
    }

    async fn enqueue(&self, tenant: &str) -> anyhow::Result<Vec<String>> {
        let channel = paceline_kit::grpc::channel(&format!("http://{}", self.ingest.grpc()))?;
        let request = |number| EnqueueRequest {
            tenant: tenant.to_owned(),
            ..welcome(number)
        };
        let requests = (0..MESSAGES).map(request).collect();
        let mut ingest = IngestServiceClient::new(channel);
        let answer = ingest.enqueue_batch(EnqueueBatchRequest { requests }).await?;
        let results = answer.into_inner().results.into_iter();
        let ids = results.map(|result| match result.result.context("an empty result")? {
            enqueue_result::Result::Response(response) => Ok(response.message_id),
            enqueue_result::Result::Error(error) => anyhow::bail!("refused: {}", error.message),
        });
        ids.collect()
    }

    /// Who has taken each message; the look-alike counts doubles itself.
    fn arrived(&self) -> BTreeMap<String, Provider> {
        let mails = self.lookalike.inbox(0, 10_000).into_iter();
        let named = mails.map(|mail| (mail.tags["paceline_id"].clone(), mail.provider));
        named.collect()
    }

    async fn until_arrived(&self, ids: &[String], what: &str) {
        eventually(what, PATIENCE, async || {
            let arrived = self.arrived();
            let missing = ids.iter().filter(|id| !arrived.contains_key(*id)).count();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{missing} are missing"))
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ses_fails_mail_with_a_backup_arrives_by_mailgun_and_the_rest_waits() -> anyhow::Result<()> {
    let services = Services::start().await?;
    let down = Action::Refuse(Failure::new(503, Some("ServiceUnavailable"), "down"));
    services.lookalike.add_fault(Fault {
        provider: Some(Provider::Ses),
        ..Fault::always(down)
    });
    let mut with_backup = Vec::new();
    let mut without = Vec::new();
    for (tenant, has_backup) in IDENTITIES {
        let ids = services.enqueue(tenant).await?;
        if has_backup {
            with_backup.extend(ids);
        } else {
            without.extend(ids);
        }
    }
    services
        .until_arrived(&with_backup, "it arrives by mailgun")
        .await;
    let arrived = services.arrived();
    ensure!(
        arrived.values().all(|provider| *provider == Provider::Mailgun),
        "SES takes nothing"
    );
    ensure!(
        without.iter().all(|id| !arrived.contains_key(id)),
        "mail of an identity without a backup went by it"
    );
    let metrics = http_get(services.coordinator.admin(), "/metrics").await?;
    for identity in ["a", "b"] {
        let line = format!("throttle_route{{identity=\"{identity}\",provider=\"mailgun\"}} 1");
        ensure!(metrics.contains(&line), "no {line} in\n{metrics}");
    }

    services.lookalike.clear_faults();
    services.until_arrived(&without, "the rest arrives by SES").await;
    let arrived = services.arrived();
    ensure!(
        without.iter().all(|id| arrived[id] == Provider::Ses),
        "it waited for SES"
    );
    let stats = services.lookalike.stats();
    ensure!(stats.duplicates == 0, "{stats:?}");
    ensure!(arrived.len() == 3 * MESSAGES, "{} arrived", arrived.len());
    Ok(())
}
