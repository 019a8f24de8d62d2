//! "The wrong email is going to 500,000 people": stopped while it is being sent, by the command, with real processes.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use paceline_local::LookalikeOptions;
use paceline_testkit::eventually;
use paceline_wire::v1::set_override_request::{Action, Cap};
use paceline_wire::v1::stops_service_client::StopsServiceClient;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use paceline_wire::v1::{
    EnqueueBatchRequest, EnqueueRequest, ListStopsRequest, Mailbox, MessageState, SetOverrideRequest, Stop,
    Tag, ThrottleKey, enqueue_result,
};
use tokio::process::Command;

use crate::binaries::binary;
use crate::stack::{PATIENCE, Stack, TENANT, templates, welcome};

/// Recipients per second, so that the flood lasts.
const RATE: f64 = 200.0;
const FLOOD: usize = 3_000;
/// Mail of the size that stops are for, and a rate at which little of it is gone before it is stopped.
const MANY: usize = 20_000;
const MANY_SCHEDULED: usize = 2_000;
const SLOW: f64 = 50.0;
/// How many are let go before somebody notices.
const NOTICED: u64 = 100;
/// Within this time of the command's answer nothing more may go.
const STOPPED_AFTER: Duration = Duration::from_secs(2);

async fn stack() -> anyhow::Result<Stack> {
    stack_at(RATE).await
}

async fn stack_at(rate: f64) -> anyhow::Result<Stack> {
    let options = LookalikeOptions {
        keep_max: 4 * FLOOD,
        ..LookalikeOptions::default()
    };
    let stack = Stack::start(2, options).await?;
    let lasts = Duration::from_secs(3_600);
    set_by_hand(&stack, Action::Cap(Cap { rate }), lasts).await?;
    Ok(stack)
}

/// Sets something of the one key's rate.
pub(crate) async fn set_by_hand(stack: &Stack, action: Action, lasts: Duration) -> anyhow::Result<()> {
    let channel = paceline_kit::grpc::channel(&format!("http://{}", stack.coordinator.grpc()))?;
    let wished = SetOverrideRequest {
        key: Some(ThrottleKey {
            provider: "ses".to_owned(),
            identity: "main".to_owned(),
        }),
        action: Some(action),
        who: "test".to_owned(),
        why: "test".to_owned(),
        for_ms: u64::try_from(lasts.as_millis())?,
    };
    eventually("it is set by hand", PATIENCE, async || {
        let mut coordinator = ThrottleServiceClient::new(channel.clone());
        let set = coordinator.set_override(wished.clone()).await;
        set.map_err(|status| status.to_string())
    })
    .await;
    Ok(())
}

pub(crate) fn reset(number: usize) -> EnqueueRequest {
    let example = std::fs::read(format!("{}/password-reset/examples/first.json", templates()));
    EnqueueRequest {
        template: "password-reset".to_owned(),
        recipient: Some(Mailbox {
            address: format!("reset{number}@example.com"),
            ..Mailbox::default()
        }),
        data: example.expect("an example of the template").into(),
        ..welcome(number)
    }
}

fn tagged(number: usize, campaign: &str) -> EnqueueRequest {
    EnqueueRequest {
        tags: vec![Tag {
            name: "campaign".to_owned(),
            value: campaign.to_owned(),
        }],
        ..welcome(number)
    }
}

pub(crate) async fn enqueue(stack: &Stack, requests: Vec<EnqueueRequest>) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::with_capacity(requests.len());
    for requests in requests.chunks(500) {
        let requests = requests.to_vec();
        let answer = stack
            .ingest()?
            .enqueue_batch(EnqueueBatchRequest { requests })
            .await?;
        for result in answer.into_inner().results {
            match result.result.context("an empty result")? {
                enqueue_result::Result::Response(response) => ids.push(response.message_id),
                enqueue_result::Result::Error(error) => anyhow::bail!("refused: {}", error.message),
            }
        }
    }
    Ok(ids)
}

pub(crate) async fn run(stack: &Stack, line: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("paceline"));
    command
        .args(line)
        .env("PACELINE_INGEST", format!("http://{}", stack.ingest.grpc()))
        .env_remove("PACELINE_TENANT")
        .kill_on_drop(true);
    Ok(command.output().await?)
}

/// What the command says; it must succeed.
pub(crate) async fn says(stack: &Stack, line: &[&str]) -> anyhow::Result<String> {
    let output = run(stack, line).await?;
    ensure!(output.status.success(), "{line:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn stops(stack: &Stack) -> Result<Vec<Stop>, String> {
    let channel = paceline_kit::grpc::channel(&format!("http://{}", stack.ingest.grpc()));
    let mut client = StopsServiceClient::new(channel.map_err(|error| error.to_string())?);
    let listed = client.list_stops(ListStopsRequest::default()).await;
    Ok(listed.map_err(|status| status.to_string())?.into_inner().stops)
}

/// How often each id arrived, and when last.
pub(crate) fn arrived(stack: &Stack) -> anyhow::Result<BTreeMap<String, (usize, SystemTime)>> {
    let mut arrived = BTreeMap::new();
    for mail in stack.lookalike.inbox(0, 4 * FLOOD) {
        let at = humantime::parse_rfc3339(&mail.received_at)?;
        let (count, last) = arrived.entry(mail.tags["paceline_id"].clone()).or_insert((0, at));
        *count += 1;
        *last = at.max(*last);
    }
    Ok(arrived)
}

pub(crate) async fn arrive(stack: &Stack, ids: &[String]) {
    eventually("they arrive", PATIENCE, async || {
        let arrived = arrived(stack).map_err(|error| error.to_string())?;
        let missing = ids.iter().filter(|id| !arrived.contains_key(*id)).count();
        (missing == 0)
            .then_some(())
            .ok_or_else(|| format!("{missing} are missing"))
    })
    .await;
}

async fn is_noticed(stack: &Stack) {
    eventually("the flood is under way", PATIENCE, async || {
        let accepted = stack.lookalike.stats().accepted;
        (accepted >= NOTICED).then_some(()).ok_or(accepted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_held_within_two_seconds_and_sent_once_after_its_release() -> anyhow::Result<()> {
    let stack = stack().await?;
    let flood = enqueue(&stack, (0..FLOOD).map(welcome).collect()).await?;
    is_noticed(&stack).await;
    let stop = ["stop", "--template", "welcome", "--why", "the wrong email"];
    says(&stack, &stop).await?;
    let stopped_at = wall_clock();

    // Others flow on, and what comes anew is held, too.
    let resets = enqueue(&stack, (0..300).map(reset).collect()).await?;
    let late = enqueue(&stack, (FLOOD..FLOOD + 100).map(welcome).collect()).await?;
    arrive(&stack, &resets).await;
    let held = eventually("all that did not go is held", PATIENCE, async || {
        let gone = arrived(&stack).map_err(|error| error.to_string())?;
        let gone = gone.len() - resets.len();
        let all = flood.len() + late.len();
        match &stops(&stack).await?[..] {
            [stop] if stop.held as usize + gone == all => Ok(stop.clone()),
            other => Err(format!("{gone} of {all} are gone: {other:?}")),
        }
    })
    .await;
    let before = arrived(&stack)?;
    for id in flood.iter().chain(&late) {
        if let Some((_, at)) = before.get(id) {
            let after = at.duration_since(stopped_at).unwrap_or_default();
            ensure!(after < STOPPED_AFTER, "{id} went {after:?} after the stop");
        }
    }
    ensure!(held.held >= 1_000, "the flood was over before the stop: {held:?}");

    let release = [
        "stop",
        "release",
        &held.stop_id,
        "--why",
        "it was right after all",
    ];
    let would = says(&stack, &[&release[..], &["--dry-run"]].concat()).await?;
    ensure!(
        would == format!("{} held messages would be sent\n", held.held),
        "{would}"
    );
    ensure!(
        stops(&stack).await.map_err(anyhow::Error::msg)? == std::slice::from_ref(&held),
        "a dry run changes nothing"
    );
    says(&stack, &release).await?;
    arrive(&stack, &flood).await;
    arrive(&stack, &late).await;
    eventually("the stop is forgotten", PATIENCE, async || {
        let stops = stops(&stack).await?;
        stops.is_empty().then_some(()).ok_or_else(|| format!("{stops:?}"))
    })
    .await;
    let arrived = arrived(&stack)?;
    ensure!(
        arrived.values().all(|(count, _)| *count == 1),
        "something arrived twice"
    );
    ensure!(
        arrived.len() == flood.len() + late.len() + resets.len(),
        "{}",
        arrived.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_cancels_is_never_sent_scheduled_mail_too() -> anyhow::Result<()> {
    let stack = stack().await?;
    let in_an_hour = wall_clock() + Duration::from_secs(3_600);
    let scheduled = (FLOOD..FLOOD + 200).map(|number| EnqueueRequest {
        send_at: Some(in_an_hour.into()),
        ..tagged(number, "wrong")
    });
    let scheduled = enqueue(&stack, scheduled.collect()).await?;
    let flood = enqueue(&stack, (0..FLOOD).map(|number| tagged(number, "wrong")).collect()).await?;
    is_noticed(&stack).await;
    let why = ["--why", "the wrong email", "--who", "ops"];
    says(
        &stack,
        &[&["stop", "--tag", "campaign=wrong", "--cancel"], &why[..]].concat(),
    )
    .await?;
    let stopped_at = wall_clock();
    // Of the same template and tenant, in the same stream.
    let right = 2 * FLOOD..2 * FLOOD + 200;
    let right = enqueue(&stack, right.map(|number| tagged(number, "right")).collect()).await?;
    arrive(&stack, &right).await;

    let mut cancelled = 0;
    let all: Vec<&String> = flood.iter().chain(&scheduled).collect();
    for id in &all {
        let message = eventually("it is sent or cancelled", PATIENCE, async || {
            let message = stack.message(id).await.map_err(|error| error.to_string())?;
            match message.state() {
                MessageState::Accepted | MessageState::Cancelled => Ok(message),
                state => Err(format!("{state:?}")),
            }
        })
        .await;
        if message.state() == MessageState::Cancelled {
            ensure!(message.reason == "stopped", "{message:?}");
            cancelled += 1;
        }
    }
    let arrived = arrived(&stack)?;
    let gone = all.iter().filter(|id| arrived.contains_key(**id)).count();
    ensure!(
        gone + cancelled == all.len(),
        "{gone} went, {cancelled} are cancelled"
    );
    ensure!(cancelled >= 1_000, "the flood was over before the stop");
    ensure!(
        scheduled.iter().all(|id| !arrived.contains_key(id)),
        "scheduled mail was sent"
    );
    for id in &flood {
        if let Some((_, at)) = arrived.get(id) {
            let after = at.duration_since(stopped_at).unwrap_or_default();
            ensure!(after < STOPPED_AFTER, "{id} went {after:?} after the stop");
        }
    }
    let listed = says(&stack, &["stop", "list", "--tenant", TENANT]).await?;
    ensure!(
        listed == "nothing is stopped\n",
        "no stop names the tenant: {listed}"
    );
    let listed = says(&stack, &["stop", "list"]).await?;
    for part in ["cancels", "tag campaign=wrong", "by ops", "the wrong email"] {
        ensure!(listed.contains(part), "no {part} in {listed}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_and_then_cancelled_ends_wherever_it_waits_however_much_it_is() -> anyhow::Result<()>
{
    let stack = stack_at(SLOW).await?;
    let in_an_hour = wall_clock() + Duration::from_secs(3_600);
    let scheduled = (MANY..MANY + MANY_SCHEDULED).map(|number| EnqueueRequest {
        send_at: Some(in_an_hour.into()),
        ..welcome(number)
    });
    let scheduled = enqueue(&stack, scheduled.collect()).await?;
    let flood = enqueue(&stack, (0..MANY).map(welcome).collect()).await?;
    is_noticed(&stack).await;
    let why = ["--why", "the wrong email"];
    says(&stack, &[&["stop", "--template", "welcome"], &why[..]].concat()).await?;
    let stopped_at = wall_clock();
    // At once: most of it is not held yet.
    let stop_id = stops(&stack).await.map_err(anyhow::Error::msg)?[0]
        .stop_id
        .clone();
    says(
        &stack,
        &[&["stop", "release", &stop_id, "--cancel"], &why[..]].concat(),
    )
    .await?;
    eventually("the stop is done", PATIENCE, async || {
        let stops = stops(&stack).await?;
        stops.is_empty().then_some(()).ok_or_else(|| format!("{stops:?}"))
    })
    .await;
    let took = wall_clock().duration_since(stopped_at)?;

    let arrived = arrived(&stack)?;
    let mut cancelled = 0;
    for id in flood.iter().chain(&scheduled) {
        let message = stack.message(id).await?;
        let state = message.state();
        match arrived.get(id) {
            Some((count, at)) => {
                let after = at.duration_since(stopped_at).unwrap_or_default();
                ensure!(
                    *count == 1 && after < STOPPED_AFTER,
                    "{id} went {count} times, last {after:?} after the stop"
                );
            }
            None => {
                ensure!(state == MessageState::Cancelled, "{message:?}");
                cancelled += 1;
            }
        }
    }
    ensure!(cancelled > MANY / 2, "the flood was over before the stop");
    ensure!(
        scheduled.iter().all(|id| !arrived.contains_key(id)),
        "scheduled mail was sent"
    );
    println!(
        "{cancelled} messages ended in {took:?}, {:?} each",
        took / u32::try_from(cancelled)?
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the look-alike's wall clock"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
