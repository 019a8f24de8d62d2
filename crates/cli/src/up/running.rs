//! One service that runs: a task of this process, or a process of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::settings::{self, Settings};
use paceline_kit::telemetry::Telemetry;
use paceline_kit::{Bound, Context, Shutdown};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a drain may take before the process is killed.
const DRAIN_MAX: Duration = Duration::from_secs(45);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ingest,
    ThrottleCoordinator,
    Renderer,
    Sender,
}

impl Service {
    const fn binary(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::ThrottleCoordinator => "throttle-coordinator",
            Self::Renderer => "renderer",
            Self::Sender => "sender",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.binary())
    }
}

/// What all services of one machine share.
pub(super) struct Surroundings {
    pub(super) telemetry: Telemetry,
    pub(super) data: PathBuf,
    pub(super) separate: bool,
}

pub(super) struct Running {
    service: Service,
    bound: Bound,
    form: Form,
}

enum Form {
    Task {
        shutdown: Shutdown,
        task: JoinHandle<anyhow::Result<()>>,
    },
    Process {
        child: Child,
        log: JoinHandle<()>,
    },
}

impl Running {
    /// Starts the service with the settings of `file` and waits until it is ready.
    pub(super) async fn start(
        service: Service,
        file: &Path,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        if surroundings.separate {
            return Self::start_process(service, file, &surroundings.data).await;
        }
        let telemetry = surroundings.telemetry.clone();
        match service {
            Service::Ingest => {
                Self::start_task(
                    service,
                    file,
                    paceline_ingest::DEFAULTS,
                    telemetry,
                    paceline_ingest::run,
                )
                .await
            }
            Service::ThrottleCoordinator => {
                let defaults = paceline_throttle_coordinator::DEFAULTS;
                Self::start_task(
                    service,
                    file,
                    defaults,
                    telemetry,
                    paceline_throttle_coordinator::run,
                )
                .await
            }
            Service::Renderer => {
                Self::start_task(
                    service,
                    file,
                    paceline_renderer::DEFAULTS,
                    telemetry,
                    paceline_renderer::run,
                )
                .await
            }
            Service::Sender => {
                Self::start_task(
                    service,
                    file,
                    paceline_sender::DEFAULTS,
                    telemetry,
                    paceline_sender::run,
                )
                .await
            }
        }
    }

    async fn start_task<S, F>(
        service: Service,
        file: &Path,
        defaults: &str,
        telemetry: Telemetry,
        run: impl FnOnce(S, Context) -> F,
    ) -> anyhow::Result<Self>
    where
        S: Settings,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let config: S = settings::load(service.binary(), defaults, Some(file))?;
        let shutdown = Shutdown::new();
        let (ready, bound) = oneshot::channel();
        let context = Context::new(service.binary(), telemetry, shutdown.clone()).on_ready(move |bound| {
            // Nobody waits any more where the start was given up.
            let _ = ready.send(bound);
        });
        let mut task = tokio::spawn(run(config, context));
        tokio::select! {
            Ok(bound) = bound => Ok(Self { service, bound, form: Form::Task { shutdown, task } }),
            ended = &mut task => {
                ended.context("it panicked").flatten().with_context(|| format!("{service} did not start"))?;
                anyhow::bail!("{service} ended before it was ready")
            }
        }
    }

    async fn start_process(service: Service, file: &Path, data: &Path) -> anyhow::Result<Self> {
        let binary = std::env::current_exe()?.with_file_name(service.binary());
        anyhow::ensure!(
            binary.is_file(),
            "no {} beside this binary; `make build` makes it",
            service.binary()
        );
        // The kernel tells the child when this process dies, however it dies; Ctrl-C goes to this process alone, which
        // then stops its children in their order.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&binary)
            .arg("--config")
            .arg(file)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("can't run setpriv (Debian package util-linux)")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let name = file.file_stem().unwrap_or_default();
        let path = data.join(name).with_extension("log");
        let log = File::create(&path)
            .await
            .with_context(|| format!("can't make {}", path.display()))?;
        let (ready, bound) = oneshot::channel();
        let log = tokio::spawn(copy_log(BufReader::new(stderr), log, ready));
        let bound = bound
            .await
            .with_context(|| format!("{service} did not start; see {}", path.display()))?;
        Ok(Self {
            service,
            bound,
            form: Form::Process { child, log },
        })
    }

    pub(super) const fn bound(&self) -> Bound {
        self.bound
    }

    /// Waits until the service ends, which it should not, and says how.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        let how = match &mut self.form {
            Form::Task { task, .. } => match task.await {
                Ok(Ok(())) => "it stopped".to_owned(),
                Ok(Err(error)) => format!("{error:#}"),
                Err(error) => error.to_string(),
            },
            Form::Process { child, .. } => child
                .wait()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string()),
        };
        anyhow::anyhow!("{} ended: {how}", self.service)
    }

    /// Drains the service, and ends it hard if that takes too long.
    pub(super) async fn stop(self) {
        let Self { service, form, .. } = self;
        let drained = match form {
            Form::Task { shutdown, mut task } => {
                shutdown.trigger();
                let drained = task.is_finished() || tokio::time::timeout(DRAIN_MAX, &mut task).await.is_ok();
                task.abort();
                drained
            }
            Form::Process { mut child, log } => {
                terminate(&child);
                let drained = tokio::time::timeout(DRAIN_MAX, child.wait()).await.is_ok();
                if !drained && let Err(error) = child.kill().await {
                    eprintln!("paceline: {service} can't be killed: {error}");
                }
                let _ = log.await;
                drained
            }
        };
        if !drained {
            eprintln!(
                "paceline: {service} did not drain within {} s",
                DRAIN_MAX.as_secs()
            );
        }
    }
}

fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM)
    {
        eprintln!("paceline: can't signal process {pid:?}: {error}");
    }
}

/// Copies a service's log to its file, and tells the addresses of its line "ready".
async fn copy_log(
    stderr: BufReader<tokio::process::ChildStderr>,
    mut log: File,
    ready: oneshot::Sender<Bound>,
) {
    let mut ready = Some(ready);
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if ready.is_some()
            && let Some(bound) = bound_in(&line)
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(bound);
        }
        let written = log.write_all(format!("{line}\n").as_bytes()).await;
        if written.and(log.flush().await).is_err() {
            return;
        }
    }
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
    use super::bound_in;

    #[test]
    fn addresses_are_read_from_the_ready_line_alone() {
        let line = r#"{"level":"INFO","message":"ready","grpc":"127.0.0.1:1","admin":"127.0.0.1:2"}"#;
        let bound = bound_in(line).expect("the ready line");
        assert_eq!((bound.grpc.port(), bound.admin.port()), (1, 2));
        assert!(bound_in(r#"{"message":"draining"}"#).is_none());
        assert!(bound_in("not JSON").is_none());
    }
}
