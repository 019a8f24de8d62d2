//! What every service's binary does besides its work: help, settings, exit codes, health and reflection.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use paceline_local::LookalikeOptions;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::stack::Stack;

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
            "sender" => identity.to_owned(),
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
            ("listen = \"0.0.0.0:1\"\n", "0.0.0.0:1"),
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
async fn health_and_metrics_are_served() -> anyhow::Result<()> {
    let stack = Stack::start(1, LookalikeOptions::default()).await?;
    let services = [
        &stack.ingest,
        &stack.renderer,
        &stack.coordinator,
        &stack.senders[0],
    ];
    for service in services {
        let channel = paceline_kit::grpc::channel(&format!("http://{}", service.grpc()))?;
        let answer = HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await?
            .into_inner();
        ensure!(
            answer.status() == ServingStatus::Serving,
            "{service:?}: {answer:?}"
        );
    }
    Ok(())
}
