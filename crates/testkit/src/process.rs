//! A service as a process of its own, as it runs in production: started from its binary, with a configuration file, known by
//! the line in which it says that it is ready.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// A start may have to wait for Redis and for a debug build's templates.
const READY_MAX: Duration = Duration::from_secs(30);
/// From the end of its log to its own.
const ENDS_MAX: Duration = Duration::from_secs(1);
/// Log lines that are kept for a failure's message.
const LOG_LINES_MAX: usize = 2_000;
const TAIL_LINES: usize = 40;

type Log = Arc<Mutex<VecDeque<String>>>;

/// A process that did not get ready.
#[derive(Debug)]
pub struct NotStarted {
    name: String,
    /// How it ended by itself; `None` if it was silent for too long, and was killed.
    pub status: Option<ExitStatus>,
    log: String,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, status, log } = self;
        match status {
            Some(status) => write!(f, "{name} ended with {status}")?,
            None => write!(f, "{name} did not get ready within {READY_MAX:?}")?,
        }
        write!(f, "; the end of its log:\n{log}")
    }
}

impl std::error::Error for NotStarted {}

/// A running service. Dropped, it is killed.
#[derive(Debug)]
pub struct ServiceProcess {
    name: String,
    child: Child,
    grpc: SocketAddr,
    admin: SocketAddr,
    log: Log,
    _directory: TempDir,
}

impl ServiceProcess {
    /// Starts the workspace's binary `name` with `config` (TOML) and waits until it is ready.
    ///
    /// # Errors
    /// If the binary is not built; [`NotStarted`] if it ends or stays silent instead of getting ready, with the end of its log.
    pub async fn start(name: &str, config: &str) -> anyhow::Result<Self> {
        Self::start_from(&beside_the_test()?, name, config).await
    }

    /// The same with the binary of another build, by the folder that has it.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn start_from(folder: &Path, name: &str, config: &str) -> anyhow::Result<Self> {
        let binary = folder.join(name);
        ensure!(
            binary.is_file(),
            "no binary at {}: run `make build` first",
            binary.display()
        );
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let file = directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, config).with_context(|| format!("can't write {}", file.display()))?;
        let mut child = Command::new(&binary)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {}", binary.display()))?;
        let stderr = child.stderr.take().context("stderr was asked for")?;
        let log = Log::default();
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(follow(stderr, Arc::clone(&log), ready));
        // A closed channel means that the log has ended, and with it the process.
        let Ok(Ok((grpc, admin))) = tokio::time::timeout(READY_MAX, is_ready).await else {
            return Err(NotStarted {
                name: name.to_owned(),
                status: ended(&mut child).await,
                log: tail(&log),
            }
            .into());
        };
        Ok(Self {
            name: name.to_owned(),
            child,
            grpc,
            admin,
            log,
            _directory: directory,
        })
    }

    /// Where it answers gRPC.
    #[must_use]
    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where it answers health and metrics.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where it answers strangers, if it does.
    #[must_use]
    pub fn web(&self) -> Option<SocketAddr> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line.get("message")? == "serves web").then(|| line.get("web")?.as_str()?.parse().ok())?
        })
    }

    /// Its process id.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{} has ended already", self.name))
    }

    /// Asks it to drain and leave (SIGTERM).
    ///
    /// # Errors
    /// If it is gone already.
    pub fn term(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills it (SIGKILL): the crash that every promise must outlive.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Freezes it (SIGSTOP), as a long pause of the machine would.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it run again (SIGCONT).
    ///
    /// # Errors
    /// If it is gone already.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If that takes longer than `at_most`; with the end of its log.
    pub async fn wait(&mut self, at_most: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(at_most, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                bail!(
                    "{} still runs after {at_most:?}; the end of its log:\n{}",
                    self.name,
                    tail(&self.log)
                )
            }
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Whether a kept line of its log, of which there are 2,000, holds `text`.
    #[must_use]
    pub fn has_logged(&self, text: &str) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().any(|line| line.contains(text))
    }

    /// The process id is ours as long as the child has not been waited for: `Child::id` is `None` after that.
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} is gone", self.name))?;
        let pid = Pid::from_raw(id.cast_signed()).context("a child's process id is not 0")?;
        kill_process(pid, signal).with_context(|| format!("can't signal {}", self.name))
    }
}

/// The folder of the build that the running test is of: `target/debug/deps/test-...` -> `target/debug`.
fn beside_the_test() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("the test does not know its own path")?;
    let profile = test
        .ancestors()
        .nth(2)
        .ok_or_else(|| anyhow!("{} is not in a target folder", test.display()))?;
    Ok(profile.to_owned())
}

/// How the process ended, if it did: its log may end a moment before it does.
async fn ended(child: &mut Child) -> Option<ExitStatus> {
    let status = tokio::time::timeout(ENDS_MAX, child.wait()).await;
    status.ok()?.ok()
}

/// Keeps the end of the log, and reads the addresses from the line that says "ready".
async fn follow(stderr: impl AsyncRead + Unpin, log: Log, ready: oneshot::Sender<(SocketAddr, SocketAddr)>) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if ready.is_some()
            && let Some(addresses) = addresses(&line)
            && let Some(ready) = ready.take()
        {
            // Whoever waited may have given up.
            let _ = ready.send(addresses);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name)?.as_str();
    if field("message")? != "ready" {
        return None;
    }
    Some((field("grpc")?.parse().ok()?, field("admin")?.parse().ok()?))
}

fn tail(log: &Log) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let skip = log.len().saturating_sub(TAIL_LINES);
    let lines: Vec<&str> = log.iter().skip(skip).map(String::as_str).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{ServiceProcess, addresses};

    #[test]
    fn the_ready_line_gives_the_addresses() {
        let line = r#"{"level":"INFO","message":"ready","service":"ingest","grpc":"127.0.0.1:7","admin":"127.0.0.1:8"}"#;
        let (grpc, admin) = addresses(line).expect("both");
        assert_eq!((grpc.port(), admin.port()), (7, 8));
        assert!(addresses(&line.replace("ready", "drained")).is_none());
        assert!(addresses("ready").is_none());
    }

    #[tokio::test]
    async fn a_missing_binary_says_what_to_do() {
        let error = ServiceProcess::start("no-such-service", "")
            .await
            .expect_err("not there");
        assert!(error.to_string().contains("make build"), "{error}");
    }
}
