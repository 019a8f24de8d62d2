//! What people set by hand on keys whose mail is under way, by the command: each holds while it lasts, and is seen to pass.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use paceline_local::Provider;
use paceline_testkit::eventually;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use paceline_wire::v1::{JournalRequest, ThrottleKey};
use serde_json::Value;
use tokio::process::Command;

use crate::backup::Services;
use crate::binaries::binary;
use crate::stack::PATIENCE;

/// The rate of each key, so that mail is under way for a while.
const RATE: f64 = 50.0;
const PACE: &str = "[rates]\nmode = \"static\"\nstart = 50.0\nbreaker = false\n";
/// Some ten seconds of it.
const MESSAGES: usize = 500;
/// A lease that a sender holds is over by then, whatever it has heard.
const LEASE: Duration = Duration::from_millis(2_200);

async fn throttle(services: &Services, line: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary("paceline"))
        .arg("throttle")
        .args(line)
        .env(
            "PACELINE_COORDINATOR",
            format!("http://{}", services.coordinator.grpc()),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "{line:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn set(services: &Services, line: &[&str], lasts: &str) -> anyhow::Result<()> {
    let by = ["--for", lasts, "--why", "a test", "--who", "ops"];
    throttle(services, &[line, &by[..]].concat()).await?;
    Ok(())
}

/// What the command shows of a key.
async fn shown(services: &Services, key: &str) -> anyhow::Result<Value> {
    let said: Value = serde_json::from_str(&throttle(services, &[key, "--json"]).await?)?;
    Ok(said["keys"][0].clone())
}

/// Waits until nothing is set on the key any more and its rate is the whole one.
async fn passes(services: &Services, key: &str) {
    eventually("what was set has passed", PATIENCE, async || {
        let key = shown(services, key).await.map_err(|error| format!("{error:#}"))?;
        let nothing_is_set = key["overrides"].as_array().is_some_and(Vec::is_empty);
        let is_whole = key["rate"]
            .as_f64()
            .is_some_and(|rate| (rate - RATE).abs() < 1e-9);
        if nothing_is_set && is_whole {
            Ok(())
        } else {
            Err(key.to_string())
        }
    })
    .await;
}

/// When the mail of a tenant came, the first first.
fn times(services: &Services, ids: &[String]) -> anyhow::Result<Vec<Timestamp>> {
    let mails = services.lookalike.inbox(0, 10_000).into_iter();
    let mut times = mails
        .filter(|mail| ids.contains(&mail.tags["paceline_id"]))
        .map(|mail| Ok(mail.received_at.parse()?))
        .collect::<anyhow::Result<Vec<Timestamp>>>()?;
    times.sort();
    Ok(times)
}

async fn begins(services: &Services, ids: &[String]) {
    eventually("mail is under way", PATIENCE, async || {
        let count = times(services, ids).map_err(|error| format!("{error:#}"))?.len();
        if count > 0 {
            Ok(())
        } else {
            Err(format!("{count} came"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_mail_until_it_passes_or_somebody_resumes() -> anyhow::Result<()> {
    let services = Services::start(PACE).await?;
    let ids = services.enqueue("c", 0..MESSAGES).await?;
    begins(&services, &ids).await;

    let asked = Timestamp::now();
    set(&services, &["pause", "c"], "6s").await?;
    let holds = Timestamp::now() + LEASE;
    let key = shown(&services, "c").await?;
    ensure!(key["rate"] == 0.0 && key["limited_by"] == "paused", "{key}");
    ensure!(
        key["overrides"][0]["who"] == "ops" && key["overrides"][0]["why"] == "a test",
        "{key}"
    );
    passes(&services, "c").await;
    let passed = asked + Duration::from_secs(6);
    let before = times(&services, &ids)?.len();
    ensure!(before < MESSAGES, "nothing was left to hold back");
    eventually("mail goes on by itself", PATIENCE, async || {
        let count = times(&services, &ids)
            .map_err(|error| format!("{error:#}"))?
            .len();
        if count > before {
            Ok(())
        } else {
            Err(format!("{count} came"))
        }
    })
    .await;
    let early = times(&services, &ids)?
        .into_iter()
        .filter(|at| (holds..passed).contains(at))
        .count();
    ensure!(early == 0, "{early} were sent during the pause");

    // A pause of an hour ends by a resume, and does not come back after it.
    set(&services, &["pause", "c"], "1h").await?;
    ensure!(shown(&services, "c").await?["limited_by"] == "paused", "no pause");
    set(&services, &["resume", "c"], "2s").await?;
    let key = shown(&services, "c").await?;
    ensure!(
        key["overrides"][0]["kind"] == "resume" && key["limited_by"] != "paused",
        "{key}"
    );
    passes(&services, "c").await;
    services.until_arrived(&ids, "all of it").await;
    ensure!(services.lookalike.stats().duplicates == 0, "doubles");

    let journal = journal(&services, "c").await?;
    for part in ["\"ops\"", "\"a test\""] {
        ensure!(journal.contains(part), "no {part} in\n{journal}");
    }
    let replayed = throttle(&services, &["replay", "c"]).await?;
    for part in ["Set(Pause)", "Expired(Pause)", "Set(Resume)", "Expired(Resume)"] {
        ensure!(replayed.contains(part), "no {part} in\n{replayed}");
    }
    Ok(())
}

/// What the coordinator keeps of what happened to an identity's key.
async fn journal(services: &Services, identity: &str) -> anyhow::Result<String> {
    let channel = paceline_kit::grpc::channel(&format!("http://{}", services.coordinator.grpc()))?;
    let key = ThrottleKey {
        provider: "ses".to_owned(),
        identity: identity.to_owned(),
    };
    let request = JournalRequest { key: Some(key) };
    let answer = ThrottleServiceClient::new(channel).journal(request).await?;
    let parts: Vec<_> = answer.into_inner().try_collect().await?;
    Ok(format!("{:?}", parts).replace("\\\"", "\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_and_a_route_hold_until_they_pass_or_are_taken_back() -> anyhow::Result<()> {
    let services = Services::start(PACE).await?;
    // The identities' backups are known once a sender has asked.
    let first = services.enqueue("a", 0..1).await?;
    services.until_arrived(&first, "the first").await;

    set(&services, &["route", "a", "backup"], "4s").await?;
    set(&services, &["cap", "b", "5"], "4s").await?;
    let key = shown(&services, "b").await?;
    ensure!(key["rate"] == 5.0 && key["limited_by"] == "cap", "{key}");
    goes_by(&services, "a", "mailgun").await;
    goes_by(&services, "a", "ses").await;
    passes(&services, "b").await;

    // Until somebody takes it back: one of an hour.
    set(&services, &["route", "a", "backup"], "1h").await?;
    goes_by(&services, "a", "mailgun").await;
    let by_mailgun = until_all_go_by(&services, Provider::Mailgun, 100).await?;
    throttle(&services, &["clear", "a", "route"]).await?;
    goes_by(&services, "a", "ses").await;
    let by_ses = until_all_go_by(&services, Provider::Ses, 5_000).await?;
    let stats = services.lookalike.stats();
    ensure!(stats.duplicates == 0, "{stats:?}");
    ensure!(
        stats.distinct_ids == (1 + by_mailgun + by_ses) as u64,
        "{stats:?}"
    );
    Ok(())
}

async fn goes_by(services: &Services, identity: &str, provider: &str) {
    eventually("the route's word", PATIENCE, async || {
        services.goes_by(identity, provider).await
    })
    .await;
}

/// Sends a few at a time until they go by this provider, for each sender hears of a route with its next call. How many it took.
async fn until_all_go_by(services: &Services, provider: Provider, first: usize) -> anyhow::Result<usize> {
    let sent = AtomicUsize::new(0);
    eventually("mail goes the new way", PATIENCE, async || {
        let next = first + sent.load(Ordering::Relaxed);
        let few = services.enqueue("a", next..next + 10).await;
        let few = few.map_err(|error| format!("{error:#}"))?;
        services.until_arrived(&few, "a few more").await;
        sent.fetch_add(few.len(), Ordering::Relaxed);
        let arrived = services.arrived();
        let right = few.iter().filter(|id| arrived[*id] == provider).count();
        if right == few.len() {
            Ok(())
        } else {
            Err(format!("{right} went so"))
        }
    })
    .await;
    let key = shown(services, "a").await.context("nothing is shown")?;
    ensure!(key["route"] == provider.label().to_lowercase(), "{key}");
    Ok(sent.into_inner())
}
