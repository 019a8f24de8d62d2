//! One service that runs: a task of this process, or a process of its own.

use std::fmt;
use std::net::SocketAddr;
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
    Feedback,
}

impl Service {
    const fn binary(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::ThrottleCoordinator => "throttle-coordinator",
            Self::Renderer => "renderer",
            Self::Sender => "sender",
            Self::Feedback => "feedback",
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

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) bound: Bound,
    /// Where strangers call, of those that let them.
    pub(super) web: Option<SocketAddr>,
}

pub(super) struct Running {
    service: Service,
    addresses: Addresses,
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
                let (process, addresses) = Process::start(service.binary(), file, &surroundings.data).await?;
                return anyhow::Ok((Form::Process(process), addresses));
            }
            let (task, addresses) = Task::of(service, file, &surroundings.telemetry).await?;
            Ok((Form::Task(task), addresses))
        };
        let (form, addresses) = started
            .await
            .with_context(|| format!("{service} did not start"))?;
        Ok(Self {
            service,
            addresses,
            form,
        })
    }

    pub(super) const fn addresses(&self) -> Addresses {
        self.addresses
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
    /// Starts the service's own function with its own defaults.
    async fn of(service: Service, file: &Path, telemetry: &Telemetry) -> anyhow::Result<(Self, Addresses)> {
        match service {
            Service::Ingest => {
                let defaults = paceline_ingest::DEFAULTS;
                Self::start(service, file, defaults, telemetry, paceline_ingest::run).await
            }
            Service::ThrottleCoordinator => {
                let defaults = paceline_throttle_coordinator::DEFAULTS;
                Self::start(
                    service,
                    file,
                    defaults,
                    telemetry,
                    paceline_throttle_coordinator::run,
                )
                .await
            }
            Service::Renderer => {
                let defaults = paceline_renderer::DEFAULTS;
                Self::start(service, file, defaults, telemetry, paceline_renderer::run).await
            }
            Service::Sender => {
                let defaults = paceline_sender::DEFAULTS;
                Self::start(service, file, defaults, telemetry, paceline_sender::run).await
            }
            Service::Feedback => {
                let defaults = paceline_feedback::DEFAULTS;
                Self::start(service, file, defaults, telemetry, paceline_feedback::run).await
            }
        }
    }

    async fn start<S, F>(
        service: Service,
        file: &Path,
        defaults: &str,
        telemetry: &Telemetry,
        run: impl FnOnce(S, Context) -> F,
    ) -> anyhow::Result<(Self, Addresses)>
    where
        S: Settings,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let config: S = settings::load(service.binary(), defaults, Some(file))?;
        let shutdown = Shutdown::new();
        let (ready, bound) = oneshot::channel();
        let (serves, mut web) = oneshot::channel();
        let context =
            Context::new(service.binary(), telemetry.clone(), shutdown.clone()).on_ready(move |bound| {
                // Nobody waits any more where the start was given up.
                let _ = ready.send(bound);
            });
        let context = context.on_web(move |web| {
            let _ = serves.send(web);
        });
        let mut task = AbortOnDropHandle::new(tokio::spawn(run(config, context)));
        tokio::select! {
            Ok(bound) = bound => {
                let addresses = Addresses { bound, web: web.try_recv().ok() };
                Ok((Self { shutdown, task: Some(task) }, addresses))
            }
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
