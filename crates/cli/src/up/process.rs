//! A service as a process of its own: started from the binary beside this one, known by its line "ready".

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::Bound;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::running::Addresses;

pub(super) struct Process {
    child: Child,
    log: JoinHandle<()>,
}

impl Process {
    /// Starts `binary` with its settings file and waits until it says that it is ready; its log goes to a file in `data`.
    pub(super) async fn start(binary: &str, file: &Path, data: &Path) -> anyhow::Result<(Self, Addresses)> {
        let path = std::env::current_exe()?.with_file_name(binary);
        anyhow::ensure!(
            path.is_file(),
            "no {binary} beside this binary; `make build` makes it"
        );
        // The kernel kills the child when this process dies, however it dies. Ctrl-C goes to this process alone, which then
        // stops its children in their order.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&path)
            .arg("--config")
            .arg(file)
            .process_group(0);
        // What is set for a service elsewhere must not change the one that is started here.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PACELINE_") {
                command.env_remove(name);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .context("can't run setpriv (Debian package util-linux)")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let path = data
            .join(file.file_stem().unwrap_or_default())
            .with_extension("log");
        let log = File::create(&path)
            .await
            .with_context(|| format!("can't make {}", path.display()))?;
        let (ready, bound) = oneshot::channel();
        let log = tokio::spawn(copy_log(BufReader::new(stderr), log, ready));
        let bound = bound
            .await
            .with_context(|| format!("it ended; see {}", path.display()))?;
        Ok((Self { child, log }, bound))
    }

    /// Waits until it ends, and says how.
    pub(super) async fn ended(&mut self) -> String {
        self.child
            .wait()
            .await
            .map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Ends it by SIGTERM, and by SIGKILL when `drain_max` is over.
    pub(super) async fn stop(mut self, drain_max: Duration) -> anyhow::Result<()> {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        {
            kill_process(pid, Signal::TERM).context("it can't be signalled")?;
        }
        let Ok(status) = tokio::time::timeout(drain_max, self.child.wait()).await else {
            self.child.kill().await.context("it can't be killed")?;
            anyhow::bail!("it did not drain within {} s", drain_max.as_secs());
        };
        let status = status?;
        // The log ends with the process.
        self.log.await.context("its log was not copied")?;
        anyhow::ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// Copies a service's log to its file, and tells the addresses of its line "ready". Goes on reading when the file can't be
/// written: a service must not stand still for its log.
async fn copy_log(stderr: BufReader<ChildStderr>, mut log: File, ready: oneshot::Sender<Addresses>) {
    let mut ready = Some(ready);
    let mut web = None;
    let mut complained = false;
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if ready.is_some() {
            web = web.or_else(|| web_in(&line));
            if let Some(bound) = bound_in(&line)
                && let Some(ready) = ready.take()
            {
                // Nobody waits any more where the start was given up.
                let _ = ready.send(Addresses { bound, web });
            }
        }
        let written = log.write_all(format!("{line}\n").as_bytes()).await;
        if let Err(error) = written.and(log.flush().await)
            && !complained
        {
            complained = true;
            eprintln!("paceline: a service's log can't be written: {error}");
        }
    }
}

/// Comes before the line "ready".
fn web_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "serves web" {
        return None;
    }
    line.get("web")?.as_str()?.parse().ok()
}

fn bound_in(line: &str) -> Option<Bound> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "ready" {
        return None;
    }
    Some(Bound {
        grpc: line.get("grpc")?.as_str()?.parse().ok()?,
        admin: line.get("admin")?.as_str()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{bound_in, web_in};

    #[test]
    fn addresses_are_read_from_the_ready_line_alone() {
        let line = r#"{"level":"INFO","message":"ready","grpc":"127.0.0.1:1","admin":"127.0.0.1:2"}"#;
        let bound = bound_in(line).expect("the ready line");
        assert_eq!((bound.grpc.port(), bound.admin.port()), (1, 2));
        let line = r#"{"level":"INFO","message":"serves web","web":"127.0.0.1:3"}"#;
        assert_eq!(web_in(line).map(|web| web.port()), Some(3));
        assert!(bound_in(r#"{"message":"draining"}"#).is_none());
        assert!(bound_in("not JSON").is_none());
    }
}
