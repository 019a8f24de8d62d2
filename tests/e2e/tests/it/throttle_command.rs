//! `paceline throttle` and `paceline warmup`, asked of a coordinator that does not lead.

use std::process::{Output, Stdio};

use anyhow::{Context as _, ensure};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use paceline_wire::v1::{RefreshItem, RefreshRequest, ThrottleKey};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::binaries::binary;
use crate::stack::PATIENCE;

/// A leader with a rate of 300/s, and one that follows it.
struct Coordinators {
    leader: ServiceProcess,
    follower: ServiceProcess,
    _redis: TestRedis,
}

impl Coordinators {
    async fn start() -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let leader = coordinator(&redis).await?;
        leads(&leader, &leader).await;
        let follower = coordinator(&redis).await?;
        leads(&follower, &leader).await;
        Ok(Self {
            leader,
            follower,
            _redis: redis,
        })
    }

    /// What the command prints, asked of the follower; it must succeed.
    async fn says(&self, line: &[&str]) -> anyhow::Result<String> {
        let output = run(&self.follower, line).await?;
        ensure!(output.status.success(), "{line:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same for one that must fail: what it complains of.
    async fn refuses(&self, line: &[&str]) -> anyhow::Result<String> {
        let output = run(&self.follower, line).await?;
        ensure!(output.status.code() == Some(1), "{line:?}: {output:?}");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// What is known of ses/main.
    async fn main(&self) -> anyhow::Result<Value> {
        let text = self.says(&["throttle", "main", "--senders", "--json"]).await?;
        let mut value: Value = serde_json::from_str(&text)?;
        ensure!(value["leader"] == true, "{text}");
        Ok(value["keys"][0].take())
    }

    /// A sender asks for a rate, once the leader gives any.
    async fn a_sender_asks(&self) -> anyhow::Result<()> {
        let channel = paceline_kit::grpc::channel(&format!("http://{}", self.leader.grpc()))?;
        let mut client = ThrottleServiceClient::new(channel);
        let key = ThrottleKey {
            provider: "ses".to_owned(),
            identity: "main".to_owned(),
        };
        let request = RefreshRequest {
            sender_id: "sender-1".to_owned(),
            incarnation: vec![1; 16].into(),
            sequence: 1,
            items: vec![RefreshItem {
                key: Some(key),
                wants: 50.0,
                ..RefreshItem::default()
            }],
            ..RefreshRequest::default()
        };
        client.refresh(request).await?;
        Ok(())
    }
}

async fn coordinator(redis: &TestRedis) -> anyhow::Result<ServiceProcess> {
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[rates]\nmode = \"static\"\nstart = 300.0\n\
         [redis]\nurl = {:?}\nallow_unsafe = true\n",
        redis.url()
    );
    ServiceProcess::start("throttle-coordinator", &config).await
}

/// Waits until the command, asked of one, finds the leader.
async fn leads(asked: &ServiceProcess, leader: &ServiceProcess) {
    let address = format!("http://{}", leader.grpc());
    eventually("the command finds the leader", PATIENCE, async || {
        let output = run(asked, &["throttle", "--json"]).await;
        let output = output.map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let is_found = said["leader"] == true && said["leader_address"] == address.as_str();
        is_found.then_some(()).ok_or_else(|| format!("{output:?}"))
    })
    .await;
}

async fn run(coordinator: &ServiceProcess, line: &[&str]) -> anyhow::Result<Output> {
    Ok(command(coordinator, line).output().await?)
}

fn command(coordinator: &ServiceProcess, line: &[&str]) -> Command {
    let mut command = Command::new(binary("paceline"));
    command
        .args(line)
        .env("PACELINE_COORDINATOR", format!("http://{}", coordinator.grpc()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_set_is_shown_and_taken_back() -> anyhow::Result<()> {
    let coordinators = Coordinators::start().await?;
    let by = ["--for", "1h", "--why", "a test", "--who", "ops"];
    let pause = [&["throttle", "pause", "main"], &by[..]].concat();
    let said = coordinators.says(&pause).await?;
    ensure!(said == "ses/main: pause for 1h, by ops: a test\n", "{said}");
    coordinators.a_sender_asks().await?;

    let main = coordinators.main().await?;
    ensure!(main["rate"] == 0.0 && main["limited_by"] == "paused", "{main}");
    let set = &main["overrides"][0];
    ensure!(set["kind"] == "pause" && set["who"] == "ops", "{main}");
    ensure!(main["sender_shares"][0]["sender_id"] == "sender-1", "{main}");
    let table = coordinators.says(&["throttle"]).await?;
    for part in ["ses/main", "paused", "ops", "a test"] {
        ensure!(table.contains(part), "no {part} in\n{table}");
    }

    let cleared = coordinators.says(&["throttle", "clear", "main", "pause"]).await?;
    ensure!(cleared == "ses/main: the pause is taken back\n", "{cleared}");
    let again = coordinators.says(&["throttle", "clear", "main", "pause"]).await?;
    ensure!(again == "ses/main: no pause was set\n", "{again}");
    let main = coordinators.main().await?;
    ensure!(main["limited_by"] != "paused", "{main}");
    ensure!(main["overrides"].as_array().is_some_and(Vec::is_empty), "{main}");

    let cap = |rate| [&["throttle", "cap", "ses/main", rate], &by[..]].concat();
    let said = coordinators.says(&cap("2.5")).await?;
    ensure!(said == "ses/main: cap 2.50 for 1h, by ops: a test\n", "{said}");
    let refused = coordinators.refuses(&cap("0")).await?;
    ensure!(
        refused.contains("cap.rate: a cap must be a rate above 0"),
        "{refused}"
    );
    let too_long = [&["throttle", "resume", "main", "--for", "31days"], &by[2..]].concat();
    let refused = coordinators.refuses(&too_long).await?;
    ensure!(refused.contains("for_ms: must be 1 s to 30 days"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_warmed_up_and_its_journal_replays() -> anyhow::Result<()> {
    let coordinators = Coordinators::start().await?;
    let warmup = async |verb| coordinators.says(&["warmup", verb, "main"]).await;
    let said = warmup("start").await?;
    ensure!(
        said == "ses/main: day 1, 0 of at most 100 recipients spent, what is above waits\n",
        "{said}"
    );
    ensure!(warmup("status").await? == said, "the status is another");
    let main = coordinators.main().await?;
    ensure!(main["warm_up"]["cap"] == 100, "{main}");
    let refused = coordinators.refuses(&["warmup", "start", "main"]).await?;
    ensure!(refused.contains("is being warmed up already"), "{refused}");
    let stopped = warmup("stop").await?;
    ensure!(stopped == "ses/main: warm\n", "{stopped}");
    let status = warmup("status").await?;
    ensure!(status == "ses/main: not being warmed up\n", "{status}");

    let replayed = coordinators.says(&["throttle", "replay"]).await?;
    ensure!(replayed.contains("the very state that is kept"), "{replayed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rates_are_watched_until_ctrl_c_and_drawn() -> anyhow::Result<()> {
    let coordinators = Coordinators::start().await?;
    coordinators.a_sender_asks().await?;
    let line = ["throttle", "--watch", "--json"];
    let mut child = command(&coordinators.follower, &line)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("it was asked for")?).lines();
    for _ in 0..2 {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
        let said: Value = serde_json::from_str(&line.context("it goes on")?)?;
        ensure!(said["keys"][0]["key"] == "ses/main", "{said}");
    }
    let pid = child.id().context("it has ended already")?;
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a pid")?;
    kill_process(pid, Signal::INT)?;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await??;
    ensure!(status.success(), "{status}");

    eventually("two seconds are drawn", PATIENCE, async || {
        let drawn = coordinators.says(&["throttle", "--plot"]).await;
        let drawn = drawn.map_err(|error| error.to_string())?;
        let is_drawn = drawn.contains(|dots| ('\u{2801}'..='\u{28ff}').contains(&dots));
        is_drawn.then_some(()).ok_or(drawn)
    })
    .await;
    Ok(())
}
