//! SES fails for three identities: the mail of the two that have a backup arrives by Mailgun, that of the third one waits for SES. Each
//! email arrives once. Once SES is well again, what has a backup comes back to it, too. What SES may have sent is never given to Mailgun.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use paceline_local::fault::{Action, Failure, Fault};
use paceline_local::{Lookalike, LookalikeOptions, Provider};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::{EnqueueBatchRequest, EnqueueRequest, GetRequest, MessageState, enqueue_result};
use tokio::sync::Mutex;

use crate::binaries::http_get;
use crate::stack::{PATIENCE, templates, welcome};

/// Of each identity.
const MESSAGES: usize = 300;
/// Sent at a time while the way back is awaited.
const FEW: usize = 10;
/// The number of the one of which nobody knows whether SES has sent it.
const DOUBTED: usize = 9_000;
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
pub(crate) struct Services {
    pub(crate) coordinator: ServiceProcess,
    _senders: Vec<ServiceProcess>,
    _renderer: ServiceProcess,
    ingest: ServiceProcess,
    pub(crate) lookalike: Lookalike,
    _redis: TestRedis,
    _key: tempfile::NamedTempFile,
}

impl Services {
    /// `pace` is of the coordinator's settings, and begins before the first section.
    pub(crate) async fn start(pace: &str) -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let lookalike = Lookalike::start("127.0.0.1:0".parse()?, LookalikeOptions::default()).await?;
        let url = lookalike.url();
        let key = tempfile::NamedTempFile::new()?;
        std::fs::write(key.path(), "key-of-a-test")?;
        let store = format!("[redis]\nurl = {:?}\nallow_unsafe = true\n", redis.url());
        let bundles = format!("[templates]\ndirectory = {:?}\n", templates());
        let coordinator =
            ServiceProcess::start("throttle-coordinator", &format!("{LISTEN}{pace}{store}")).await?;
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

    /// Enqueues a tenant's messages of these numbers, at most 500.
    pub(crate) async fn enqueue(&self, tenant: &str, numbers: Range<usize>) -> anyhow::Result<Vec<String>> {
        let channel = paceline_kit::grpc::channel(&format!("http://{}", self.ingest.grpc()))?;
        let request = |number| EnqueueRequest {
            tenant: tenant.to_owned(),
            ..welcome(number)
        };
        let requests = numbers.map(request).collect();
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
    pub(crate) fn arrived(&self) -> BTreeMap<String, Provider> {
        let mails = self.lookalike.inbox(0, 10_000).into_iter();
        let named = mails.map(|mail| (mail.tags["paceline_id"].clone(), mail.provider));
        named.collect()
    }

    pub(crate) async fn until_arrived(&self, ids: &[String], what: &str) {
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

    /// Waits until nobody knows whether SES has sent tenant a's message.
    async fn is_in_doubt(&self, id: &str) {
        let channel =
            paceline_kit::grpc::channel(&format!("http://{}", self.ingest.grpc())).expect("an address");
        let messages = MessagesServiceClient::new(channel);
        eventually("it is in doubt, at SES", PATIENCE, async || {
            let request = GetRequest {
                tenant: "a".to_owned(),
                message_id: id.to_owned(),
            };
            let answer = messages.clone().get(request).await;
            let answer = answer.map_err(|status| status.to_string())?.into_inner();
            let message = answer.message.ok_or("an answer without a message")?;
            if message.state() == MessageState::InDoubt && message.provider == "ses" {
                Ok(())
            } else {
                Err(format!("{:?} at {:?}", message.state(), message.provider))
            }
        })
        .await;
    }

    /// By which provider the coordinator says that an identity's mail goes.
    pub(crate) async fn goes_by(&self, identity: &str, provider: &str) -> Result<(), String> {
        let metrics = http_get(self.coordinator.admin(), "/metrics").await;
        let metrics = metrics.map_err(|error| error.to_string())?;
        let line = format!("throttle_route{{identity=\"{identity}\",provider=\"{provider}\"}} 1");
        if metrics.contains(&line) {
            Ok(())
        } else {
            Err(format!("no {line}"))
        }
    }

    /// Sends mail of an identity, for its breaker closes by what is sent, until a few go by SES together. The ids of all that it took.
    async fn comes_back(&self, tenant: &str) -> anyhow::Result<Vec<String>> {
        let ids = Mutex::new(Vec::new());
        eventually("the way back to SES", PATIENCE, async || {
            let next = MESSAGES + ids.lock().await.len();
            let few = self.enqueue(tenant, next..next + FEW).await;
            let few = few.map_err(|error| format!("{error:#}"))?;
            self.until_arrived(&few, "a few more").await;
            let arrived = self.arrived();
            let by_ses = few.iter().filter(|id| arrived[*id] == Provider::Ses).count();
            ids.lock().await.extend(few);
            if by_ses == FEW {
                Ok(())
            } else {
                Err(format!("{by_ses} went by SES"))
            }
        })
        .await;
        let ids = ids.into_inner();
        self.goes_by(tenant, "ses").await.map_err(anyhow::Error::msg)?;
        Ok(ids)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ses_fails_mail_with_a_backup_arrives_by_mailgun_and_the_rest_waits() -> anyhow::Result<()> {
    let services = Services::start("route_back_after = \"2s\"\n").await?;
    services.lookalike.add_fault(Fault::once(Action::AcceptThenReset));
    let doubted = services.enqueue("a", DOUBTED..DOUBTED + 1).await?.remove(0);
    services.is_in_doubt(&doubted).await;
    let down = Action::Refuse(Failure::new(503, Some("ServiceUnavailable"), "down"));
    services.lookalike.add_fault(Fault {
        provider: Some(Provider::Ses),
        ..Fault::always(down)
    });
    let mut with_backup = Vec::new();
    let mut without = Vec::new();
    for (tenant, has_backup) in IDENTITIES {
        let ids = services.enqueue(tenant, 0..MESSAGES).await?;
        if has_backup {
            with_backup.extend(ids);
        } else {
            without.extend(ids);
        }
    }
    services
        .until_arrived(&with_backup, "it arrives by mailgun")
        .await;
    let mut arrived = services.arrived();
    ensure!(
        arrived.remove(&doubted) == Some(Provider::Ses),
        "SES has taken it"
    );
    ensure!(
        arrived.values().all(|provider| *provider == Provider::Mailgun),
        "SES takes nothing"
    );
    ensure!(
        without.iter().all(|id| !arrived.contains_key(id)),
        "mail of an identity without a backup went by it"
    );
    for identity in ["a", "b"] {
        services
            .goes_by(identity, "mailgun")
            .await
            .map_err(anyhow::Error::msg)?;
    }

    services.lookalike.clear_faults();
    services.until_arrived(&without, "the rest arrives by SES").await;
    let arrived = services.arrived();
    ensure!(
        without.iter().all(|id| arrived[id] == Provider::Ses),
        "it waited for SES"
    );

    let mut all: Vec<String> = arrived.into_keys().collect();
    ensure!(all.len() == 3 * MESSAGES + 1, "{} arrived", all.len());
    for tenant in ["a", "b"] {
        all.extend(services.comes_back(tenant).await?);
    }
    services.is_in_doubt(&doubted).await;
    let stats = services.lookalike.stats();
    ensure!(stats.duplicates == 0, "{stats:?}");
    ensure!(
        services.arrived().len() == all.len(),
        "{} arrived",
        services.arrived().len()
    );
    Ok(())
}
