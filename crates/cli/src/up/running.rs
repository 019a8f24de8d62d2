//! One service that runs: a task of this process, or a process of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::settings::{self, Settings};
use paceline_kit::telemetry::Telemetry;
use paceline_kit::{Bound, Context, Shutdown};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::process::Process;

/// How long a drain may take before the service is ended hard.
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
    Task(Task),
    Process(Process),
}

impl Running {
    /// Starts the service with the settings of `file` and waits until it is ready. Dropped while it starts, it is ended.
    pub(super) async fn start(
        service: Service,
        file: &Path,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let started = async {
            if surroundings.separate {
                let (process, bound) = Process::start(service.binary(), file, &surroundings.data).await?;
                return anyhow::Ok((Form::Process(process), bound));
            }
            let telemetry = &surroundings.telemetry;
            let (task, bound) = match service {
                Service::Ingest => {
                    Task::start(
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
                    Task::start(
                        service,
                        file,
                        defaults,
                        telemetry,
                        paceline_throttle_coordinator::run,
                    )
                    .await
                }
                Service::Renderer => {
                    Task::start(
                        service,
                        file,
                        paceline_renderer::DEFAULTS,
                        telemetry,
                        paceline_renderer::run,
                    )
                    .await
                }
                Service::Sender => {
                    Task::start(
                        service,
                        file,
                        paceline_sender::DEFAULTS,
                        telemetry,
                        paceline_sender::run,
                    )
                    .await
                }
            }?;
            Ok((Form::Task(task), bound))
        };
        let (form, bound) = started
            .await
            .with_context(|| format!("{service} did not start"))?;
        Ok(Self { service, bound, form })
    }

    pub(super) const fn bound(&self) -> Bound {
        self.bound
    }

    /// Waits until the service ends, which it should not, and says how.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        let how = match &mut self.form {
            Form::Task(task) => task.ended().await,
            Form::Process(process) => process.ended().await,
        };
        anyhow::anyhow!("{} ended: {how}", self.service)
    }

    /// Drains the service.
    ///
    /// # Errors
    /// If it fails, or does not drain in time and is ended hard.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.form {
            Form::Task(task) => task.stop().await,
            Form::Process(process) => process.stop(DRAIN_MAX).await,
        }
        .with_context(|| self.service.to_string())
    }
}

/// A service as a task of this process.
struct Task {
    shutdown: Shutdown,
    /// `None` once its end was told.
    task: Option<AbortOnDropHandle<anyhow::Result<()>>>,
}

impl Task {
    async fn start<S, F>(
        service: Service,
        file: &Path,
        defaults: &str,
        telemetry: &Telemetry,
        run: impl FnOnce(S, Context) -> F,
    ) -> anyhow::Result<(Self, Bound)>
    where
        S: Settings,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let config: S = settings::load(service.binary(), defaults, Some(file))?;
        let shutdown = Shutdown::new();
        let (ready, bound) = oneshot::channel();
        let context =
            Context::new(service.binary(), telemetry.clone(), shutdown.clone()).on_ready(move |bound| {
                // Nobody waits any more where the start was given up.
                let _ = ready.send(bound);
            });
        let mut task = AbortOnDropHandle::new(tokio::spawn(run(config, context)));
        tokio::select! {
            Ok(bound) = bound => Ok((Self { shutdown, task: Some(task) }, bound)),
            ended = &mut task => {
                ended.context("it panicked")??;
                anyhow::bail!("it ended before it was ready")
            }
        }
    }

    async fn ended(&mut self) -> String {
        let Some(task) = &mut self.task else {
            return "before".to_owned();
        };
        let how = match task.await {
            Ok(Ok(())) => "it stopped".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        };
        self.task = None;
        how
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        let Some(task) = self.task else { return Ok(()) };
        let ended = tokio::time::timeout(DRAIN_MAX, task).await;
        ended
            .with_context(|| format!("it did not drain within {} s", DRAIN_MAX.as_secs()))?
            .context("it panicked")?
    }
}
