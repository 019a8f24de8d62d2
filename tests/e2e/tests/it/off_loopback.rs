//! The services as they stand in a network: ingest on every interface with TLS and keys, the coordinator with
//! keys and mTLS.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, ensure};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{ApiKeys, Authority, ServiceProcess, TestRedis, eventually};
use tempfile::TempDir;
use tokio::process::Command;

use crate::binaries::{binary, http_get};
use crate::stack::{IDENTITY, PATIENCE, says_accepted, templates};

const KEYS: &[(&str, &str, &[&str])] = &[
    ("shop", "shop", &["enqueue", "read", "operate"]),
    ("other", "other", &["enqueue", "read", "operate"]),
    ("sender", "*", &["throttle"]),
];

const SENDER_KEY: &str = "api_key = \"sender-key\"\n";

struct Network {
    authority: Authority,
    ingest: ServiceProcess,
    _sender: ServiceProcess,
    coordinator: ServiceProcess,
    _renderer: ServiceProcess,
    _lookalike: Lookalike,
    redis: TestRedis,
    _keys: ApiKeys,
    lookalike_url: String,
    folder: TempDir,
}

impl Network {
    async fn start() -> anyhow::Result<Self> {
        let authority = Authority::new();
        let folder = tempfile::tempdir()?;
        let keys = ApiKeys::of(KEYS);
        let lookalike = Lookalike::start("127.0.0.1:0".parse()?, LookalikeOptions::default()).await?;
        let lookalike_url = lookalike.url();
        let redis = TestRedis::on_loopback(&[]).await;
        let url = redis.url().to_owned();
        let server = authority.issue("127.0.0.1");
        let tls = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n",
            server.certificate, server.key
        );
        let coordinator = format!(
            "{}{tls}client_ca = {:?}\n[access]\nkeys = {:?}\n",
            common("127.0.0.1:0", &url),
            authority.ca(),
            keys.path()
        );
        let coordinator = ServiceProcess::start("throttle-coordinator", &coordinator).await?;
        let client = format!("{}{SENDER_KEY}", shown(&authority));
        let sender = sender(&coordinator, &authority, &client, (&url, &lookalike_url)).await?;
        let bundles = format!("[templates]\ndirectory = {:?}\n", templates());
        let renderer = format!("{}{bundles}", common("127.0.0.1:0", &url));
        let ingest = format!(
            "digest_key = \"{}\"\n{}{bundles}{tls}[access]\nkeys = {:?}\n{IDENTITY}",
            "k".repeat(64),
            common("0.0.0.0:0", &url),
            keys.path()
        );
        Ok(Self {
            ingest: ServiceProcess::start("ingest", &ingest).await?,
            _renderer: ServiceProcess::start("renderer", &renderer).await?,
            _sender: sender,
            coordinator,
            _lookalike: lookalike,
            lookalike_url,
            authority,
            redis,
            _keys: keys,
            folder,
        })
    }

    /// A file with this API key, ended by a newline as editors do.
    fn key_file(&self, key: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(key.replace("-key", ".txt"));
        std::fs::write(&path, format!("{key}\n"))?;
        Ok(path)
    }

    /// Runs `paceline` for the tenant shop, trusting the CA.
    fn paceline(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("paceline"));
        command
            .args([
                "--ingest",
                &format!("https://127.0.0.1:{}", self.ingest.grpc().port()),
            ])
            .args(["--tenant", "shop", "--tls-ca"])
            .arg(self.authority.ca())
            .args(arguments);
        command
    }
}

/// The settings by which a sender shows a certificate.
fn shown(authority: &Authority) -> String {
    let pair = authority.issue("sender");
    format!("certificate = {:?}\nkey = {:?}\n", pair.certificate, pair.key)
}

/// A sender that trusts the CA, with further settings of its calls.
async fn sender(
    coordinator: &ServiceProcess,
    authority: &Authority,
    client: &str,
    (redis, lookalike): (&str, &str),
) -> anyhow::Result<ServiceProcess> {
    let config = format!(
        "deliver = \"live\"\ncoordinators = [\"https://{}\"]\n{}[client]\nca = {:?}\n{client}\n[ses]\n\
         endpoint_url = \"{lookalike}\"\ncredentials = \"look_alike\"\n{IDENTITY}",
        coordinator.grpc(),
        common("127.0.0.1:0", redis),
        authority.ca(),
    );
    ServiceProcess::start("sender", &config).await
}

fn common(listen: &str, redis: &str) -> String {
    format!(
        "listen = \"{listen}\"\nadmin_listen = \"{listen}\"\n[redis]\nurl = {redis:?}\nallow_unsafe = true\n"
    )
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Arguments that send one message.
fn send() -> [String; 8] {
    let data = format!("@{}/welcome/examples/first.json", templates());
    let arguments = [
        "send",
        "welcome",
        "--to",
        "ada@example.com",
        "--user",
        "7",
        "--data",
        &data,
    ];
    arguments.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_over_tls_by_a_key_of_its_tenant_alone() -> anyhow::Result<()> {
    let network = Network::start().await?;
    let send = send();
    let send: Vec<&str> = send.iter().map(String::as_str).collect();
    let key = network.key_file("shop-key")?;

    let sent = network
        .paceline(&send)
        .arg("--wait")
        .arg("--key-file")
        .arg(&key)
        .output()
        .await?;
    ensure!(sent.status.success(), "{}", said(&sent));
    ensure!(says_accepted(said(&sent).trim_end()), "{}", said(&sent));
    let by_variable = network
        .paceline(&send)
        .env("PACELINE_KEY", "shop-key")
        .output()
        .await?;
    ensure!(
        said(&by_variable).contains("a duplicate"),
        "{}",
        said(&by_variable)
    );

    let strangers = Authority::new();
    let other = network.key_file("other-key")?;
    let unknown = network.key_file("swordfish-key")?;
    let id = said(&sent).split_whitespace().next().context("an id")?.to_owned();
    let plaintext = format!("http://127.0.0.1:{}", network.ingest.grpc().port());
    let with = |option: &str, value: &Path| {
        let mut command = network.paceline(&send);
        command.arg(option).arg(value);
        command
    };
    let mut of_other = network.paceline(&["status", &id]);
    of_other.arg("--key-file").arg(&other);
    let mut in_the_clear = with("--key-file", &key);
    in_the_clear.args(["--ingest", "http://ingest.example:1"]);
    // On loopback a key may travel in the clear: a listener that spoke plaintext as well would take the message.
    let mut to_tls = Command::new(binary("paceline"));
    to_tls
        .args(["--ingest", &plaintext, "--tenant", "shop"])
        .args(&send)
        .arg("--key-file")
        .arg(&key);
    for (why, words, mut command) in [
        ("without a key", "authorization", network.paceline(&send)),
        ("an unknown key", "not known", with("--key-file", &unknown)),
        (
            "another tenant's key",
            "not for this tenant",
            with("--key-file", &other),
        ),
        ("another tenant's message", "no such message", of_other),
        ("a stranger's CA", "certificate", with("--tls-ca", strangers.ca())),
        ("a key without TLS", "in the clear", in_the_clear),
        ("plaintext to TLS", "transport error", to_tls),
    ] {
        let output = command.output().await?;
        ensure!(output.status.code() == Some(1), "{why}: {}", said(&output));
        ensure!(said(&output).contains(words), "{why}: {}", said(&output));
        let keys = ["shop-key", "other-key", "swordfish-key"];
        let shown = keys.iter().any(|key| said(&output).contains(key));
        ensure!(!shown, "{why} shows a key: {}", said(&output));
    }
    let ready = http_get(([127, 0, 0, 1], network.ingest.admin().port()).into(), "/readyz").await?;
    ensure!(
        ready.contains("200 OK"),
        "probes need neither TLS nor a key: {ready}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_its_certificate_or_its_key_gets_no_rate() -> anyhow::Result<()> {
    let network = Network::start().await?;
    let pair = (network.redis.url(), network.lookalike_url.as_str());
    let shown = shown(&network.authority);
    let (coordinator, authority) = (&network.coordinator, &network.authority);
    let strangers = [
        (
            "without a certificate",
            sender(coordinator, authority, SENDER_KEY, pair).await?,
        ),
        (
            "without a key",
            sender(coordinator, authority, &shown, pair).await?,
        ),
    ];
    let client = format!("{shown}{SENDER_KEY}");
    let known = sender(coordinator, authority, &client, pair).await?;
    eventually("the sender that came later is ready", PATIENCE, async || {
        let ready = http_get(known.admin(), "/readyz").await;
        let ready = ready.map_err(|error| error.to_string())?;
        if ready.contains("200 OK") {
            Ok(())
        } else {
            Err(ready)
        }
    })
    .await;
    for (why, stranger) in strangers {
        let ready = http_get(stranger.admin(), "/readyz").await?;
        ensure!(ready.contains("no coordinator grants leases"), "{why}: {ready}");
    }
    Ok(())
}
