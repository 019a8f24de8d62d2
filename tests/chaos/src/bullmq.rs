//! The same faults for BullMQ, on the same look-alike and the same Redis: what a queue without doubt and without a fence does.
//!
//! Two workers as its guide has them, each job tried three times, each job's id its means against a second copy. The harness needs node;
//! `tests/chaos/bullmq` has its scripts and its lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use paceline_local::ses::fault::{Action, Fault};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::TestRedis;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::faults::lasts;
use crate::site::SingleSite;
use crate::world::now;

const WORKERS: usize = 2;
const JOBS: u64 = 100;
/// Calls that a provider's fault meets.
const CALLS: u64 = 8;
/// A worker gets ready in this time; the first one may have to install BullMQ.
const READY_MAX: Duration = Duration::from_secs(120);
/// BullMQ gives a job to another worker 30 s after its worker fell silent, and looks every 30 s.
const REST_MAX: Duration = Duration::from_secs(150);
/// Longer than that.
const STANDS: Duration = Duration::from_secs(35);

/// Five of the suite's faults, for the same figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trial {
    WorkerKilled,
    WorkerStands,
    NeverAnswers,
    ResetsAfter,
    PowerFails,
}

impl Trial {
    pub const ALL: [Self; 5] = [
        Self::WorkerKilled,
        Self::WorkerStands,
        Self::NeverAnswers,
        Self::ResetsAfter,
        Self::PowerFails,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "kill -9 of a sender with requests at the provider",
            Self::WorkerStands => "SIGSTOP of a sender for 35 s with requests at the provider",
            Self::NeverAnswers => "provider takes and never answers",
            Self::ResetsAfter => "provider resets after the request",
            Self::PowerFails => "Redis: power failure, the last second not synced (everysec)",
        }
    }
}

/// What came of one trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub acknowledged: usize,
    /// Acknowledged, and the provider never got it.
    pub lost: usize,
    /// Jobs of which the provider got more than one email.
    pub twice: usize,
}

impl std::ops::AddAssign for Comparison {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.twice += other.twice;
    }
}

/// # Errors
/// Without node, or if BullMQ does not come to rest.
pub async fn run(trial: Trial) -> anyhow::Result<Comparison> {
    let fsync = if trial == Trial::PowerFails {
        "everysec"
    } else {
        "always"
    };
    let mut single = SingleSite::start(fsync).await;
    let provider = Lookalike::start(([127, 0, 0, 1], 0).into(), LookalikeOptions::default()).await?;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(worker(&single.redis, &provider).await?);
    }
    let action = match trial {
        Trial::NeverAnswers => Some(Action::AcceptThenHang),
        Trial::ResetsAfter => Some(Action::AcceptThenReset),
        _ => None,
    };
    if let Some(action) = action {
        provider.add_fault(Fault {
            calls: Some(CALLS),
            ..Fault::always(action)
        });
    }
    let producing = tokio::spawn(acknowledged(single.redis.port()));
    strike(trial, &mut single, &provider, &mut workers).await?;
    let told = producing.await??;
    is_idle(single.redis.port()).await?;
    let mut sent = BTreeMap::<String, usize>::new();
    for mail in provider.inbox(0, usize::MAX) {
        *sent.entry(mail.tags["paceline_id"].clone()).or_default() += 1;
    }
    Ok(Comparison {
        acknowledged: told.len(),
        lost: told.iter().filter(|&id| !sent.contains_key(id)).count(),
        twice: sent.values().filter(|&&count| count > 1).count(),
    })
}

async fn strike(
    trial: Trial,
    single: &mut SingleSite,
    provider: &Lookalike,
    workers: &mut [Child],
) -> anyhow::Result<()> {
    reaches(provider, 20).await;
    match trial {
        Trial::WorkerKilled | Trial::WorkerStands => {
            provider.hold_answers();
            reaches(provider, 30).await;
            if trial == Trial::WorkerKilled {
                workers[0].kill().await?;
                provider.release_answers();
                workers[0] = worker(&single.redis, provider).await?;
            } else {
                let id = workers[0].id().context("it runs")?;
                let pid = Pid::from_raw(id.cast_signed()).context("a pid")?;
                kill_process(pid, Signal::STOP)?;
                provider.release_answers();
                lasts(STANDS).await;
                kill_process(pid, Signal::CONT)?;
            }
        }
        Trial::NeverAnswers | Trial::ResetsAfter => {}
        Trial::PowerFails => {
            let synced = single.written().await?;
            lasts(Duration::from_secs(1)).await;
            single.redis.crash().await;
            synced.cut()?;
            single.redis.start_again().await;
        }
    }
    Ok(())
}

async fn reaches(provider: &Lookalike, sent: u64) {
    let began = now();
    while provider.stats().accepted < sent && now().saturating_sub(began) < REST_MAX {
        lasts(Duration::from_millis(5)).await;
    }
}

async fn worker(redis: &TestRedis, provider: &Lookalike) -> anyhow::Result<Child> {
    let mut worker = script("worker.mjs", &[&redis.port().to_string(), &provider.url()])?;
    let lines = BufReader::new(worker.stdout.take().context("stdout was asked for")?);
    let mut lines = lines.lines();
    let ready = tokio::time::timeout(READY_MAX, lines.next_line()).await;
    let ready = ready.context("a worker did not get ready in time")??;
    anyhow::ensure!(ready.as_deref() == Some("ready"), "a worker did not start");
    Ok(worker)
}

/// The ids that BullMQ acknowledged.
async fn acknowledged(port: u16) -> anyhow::Result<BTreeSet<String>> {
    let producer = script("producer.mjs", &[&port.to_string(), "0", &JOBS.to_string()])?;
    let output = tokio::time::timeout(REST_MAX, producer.wait_with_output()).await??;
    let told = String::from_utf8(output.stdout)?;
    Ok(told.lines().map(str::to_owned).collect())
}

async fn is_idle(port: u16) -> anyhow::Result<()> {
    let idle = script("producer.mjs", &[&port.to_string(), "idle"])?;
    match tokio::time::timeout(REST_MAX, idle.wait_with_output()).await {
        Ok(ended) => anyhow::ensure!(ended?.status.success(), "bullmq can't be asked"),
        Err(_) => bail!("bullmq does not come to rest within {REST_MAX:?}"),
    }
    Ok(())
}

fn script(name: &str, arguments: &[&str]) -> anyhow::Result<Child> {
    let run: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("bullmq/run");
    Command::new(run)
        .arg(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("can't start node")
}
