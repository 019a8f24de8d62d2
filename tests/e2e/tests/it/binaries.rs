//! What every service's binary does besides its work: help, settings, exit codes, health and reflection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use paceline_local::LookalikeOptions;
use paceline_local::ses::fault::{Action, Failure, Fault};
use paceline_testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::stack::{PATIENCE, Stack};

const SERVICES: [&str; 4] = ["ingest", "throttle-coordinator", "renderer", "sender"];

/// A binary of the workspace, which lies two folders above this test's own.
pub(crate) fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let path = own
        .ancestors()
        .nth(2)
        .expect("target/PROFILE/deps/TEST")
        .join(name);
    assert!(path.is_file(), "no {name}: `make build` makes it");
    path
}

fn run(service: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new(binary(service))
        .args(arguments)
        .output()
        .with_context(|| format!("{service} does not run"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_service_explains_itself() -> anyhow::Result<()> {
    for service in SERVICES {
        let help = run(service, &["--help"])?;
        ensure!(help.status.success(), "{service}: {help:?}");
        for option in ["--config", "--check-config", "--dump-config", "--default-config"] {
            ensure!(
                stdout(&help).contains(option),
                "{service} --help does not name {option}"
            );
        }
    }
    Ok(())
}

#[test]
fn settings_are_checked_and_shown_without_secrets() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let identity = "[[identity]]\nname = \"main\"\nfrom_domains = [\"example.com\"]\ntenants = [\"*\"]\n[identity.ses]\n\
                    region = \"eu-west-1\"\nconfiguration_set = \"events\"\n";
    let secret = "swordfish-".repeat(6);
    for service in SERVICES {
        let file = folder.path().join(service);
        let own = match service {
            "ingest" => format!("digest_key = \"{secret}\"\n{identity}"),
            "sender" => format!("client.api_key = \"{secret}\"\n{identity}"),
            _ => String::new(),
        };
        std::fs::write(
            &file,
            format!("{own}[redis]\nurl = \"redis://:{secret}@127.0.0.1:6379\"\n"),
        )?;
        let file = file.to_str().context("a UTF-8 path")?;

        let checked = run(service, &["--config", file, "--check-config"])?;
        ensure!(checked.status.success(), "{service}: {checked:?}");
        let dumped = run(service, &["--config", file, "--dump-config"])?;
        ensure!(
            dumped.status.success() && stdout(&dumped).contains("admin_listen"),
            "{service}: {dumped:?}"
        );
        ensure!(
            !stdout(&dumped).contains("swordfish"),
            "{service} prints a secret"
        );
        let defaults = run(service, &["--default-config"])?;
        ensure!(
            stdout(&defaults).contains("# "),
            "{service}: the defaults are not commented"
        );
    }
    Ok(())
}

#[test]
fn a_bad_configuration_ends_with_64_and_names_the_key() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bad.toml");
    let path = file.to_str().context("a UTF-8 path")?;
    for service in SERVICES {
        for (text, named) in [
            ("no_such_key = 1\n", "no_such_key"),
            ("listen = \"0.0.0.0:1\"\n", "tls.certificate"),
            (
                "tls.certificate = \"/nowhere.pem\"\ntls.key = \"/nowhere.pem\"\n",
                "tls.certificate",
            ),
            ("access.keys = \"/nowhere.toml\"\n", "access.keys"),
        ] {
            std::fs::write(&file, text)?;
            let refused = run(service, &["--config", path])?;
            let said = String::from_utf8_lossy(&refused.stderr);
            ensure!(
                refused.status.code() == Some(64),
                "{service} with {text:?}: {refused:?}"
            );
            ensure!(said.contains(named), "{service} does not name {named}: {said}");
        }
        ensure!(
            run(service, &["--no-such-option"])?.status.code() == Some(64),
            "{service}: an unknown option"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_served_over_grpc_and_http() -> anyhow::Result<()> {
    let stack = Stack::start(1, LookalikeOptions::default()).await?;
    let services = [
        &stack.ingest,
        &stack.renderer,
        &stack.coordinator,
        &stack.senders[0],
    ];
    for service in services {
        let channel = paceline_kit::grpc::channel(&format!("http://{}", service.grpc()))?;
        let client = HealthClient::new(channel);
        eventually("health is serving", PATIENCE, async || {
            let answer = client.clone().check(HealthCheckRequest::default()).await;
            let status = answer.map_err(|error| error.to_string())?.into_inner().status();
            if status == ServingStatus::Serving {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        ensure!(
            http_get(service.admin(), "/readyz").await?.contains("200 OK"),
            "not ready over HTTP"
        );
    }
    Ok(())
}

/// The names that dashboards and alerts are built on, as Prometheus sees them.
#[tokio::test(flavor = "multi_thread")]
async fn the_published_metrics_are_scraped() -> anyhow::Result<()> {
    let stack = Stack::start(1, LookalikeOptions::default()).await?;
    let throttled = Failure::new(
        429,
        Some("TooManyRequestsException"),
        "Maximum sending rate exceeded.",
    );
    stack.lookalike.add_fault(Fault::once(Action::Refuse(throttled)));
    stack.enqueue_welcomes(20).await?;
    stack.enqueue_welcomes(20).await?;
    let sender = &[
        "email_send_duration_seconds_count{",
        "email_error_rate_total{",
        "throttle_tokens_available{",
    ];
    for (service, names) in [
        (
            &stack.ingest,
            &["email_enqueue_rate_total{", "email_idempotency_skip_count_total{"][..],
        ),
        (&stack.renderer, &["renderer_messages_total{"]),
        (&stack.senders[0], sender),
        (&stack.coordinator, &["throttle_current_rate{"]),
    ] {
        eventually("the metrics are there", PATIENCE, async || {
            let metrics = http_get(service.admin(), "/metrics")
                .await
                .map_err(|error| error.to_string())?;
            let missing: Vec<_> = names.iter().filter(|name| !metrics.contains(**name)).collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("{missing:?} are missing in:\n{metrics}"))
            }
        })
        .await;
    }
    Ok(())
}

/// The answer to a plain request, head and body.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
