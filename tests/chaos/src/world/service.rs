//! One service's process, and what lies between it and the others.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use paceline_testkit::{Link, NotStarted, Proxy, ServiceProcess};

use super::World;
use crate::site::Site;

const END_MAX: Duration = Duration::from_secs(60);

/// How often an orchestrator starts a process that ends by itself before it is ready, and its pause before each further start.
const STARTS_MAX: usize = 5;
const BETWEEN_STARTS: Duration = Duration::from_secs(1);
/// The status of a process that refuses its settings: its next start would end as this one.
const BAD_SETTINGS: i32 = 64;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Coordinator,
    Ingest,
    Renderer,
    Sender,
    Feedback,
}

impl Role {
    /// In the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::Coordinator,
        Self::Ingest,
        Self::Renderer,
        Self::Sender,
        Self::Feedback,
    ];

    /// How many run.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Ingest => 1,
            Self::Coordinator | Self::Renderer | Self::Sender | Self::Feedback => 2,
        }
    }

    /// Its binary.
    #[must_use]
    pub const fn binary(self) -> &'static str {
        match self {
            Self::Coordinator => "throttle-coordinator",
            Self::Ingest => "ingest",
            Self::Renderer => "renderer",
            Self::Sender => "sender",
            Self::Feedback => "feedback",
        }
    }
}

/// Of which build a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// This one.
    New,
    /// Another one, by the folder of its binaries.
    Old(PathBuf),
}

/// A process in its place; the place outlives it.
#[derive(Debug)]
pub struct Service {
    pub role: Role,
    pub number: usize,
    /// By which others reach it.
    pub front: Link,
    /// By which it reaches the provider.
    pub provider: Link,
    /// By which it reaches Redis, and what stops it at a command: on a single Redis alone.
    pub redis: Option<(Link, Proxy)>,
    pub(super) config: String,
    /// Of its next start.
    release: Release,
    process: Option<ServiceProcess>,
    /// Starts that were made anew, since the process had ended by itself, or was silent, before it was ready.
    starts_again: usize,
}

impl Service {
    pub(super) async fn new(role: Role, number: usize, world: &World) -> Self {
        let redis = match &world.site {
            Site::Single(single) => {
                let proxy = Proxy::start(single.redis.server().address().clone()).await;
                Some((Link::to(([127, 0, 0, 1], proxy.port()).into()).await, proxy))
            }
            Site::Pair(_) | Site::Cluster(_) => None,
        };
        Self {
            role,
            number,
            front: Link::start().await,
            provider: Link::to(world.provider.address()).await,
            redis,
            config: String::new(),
            release: world.release.clone(),
            process: None,
            starts_again: 0,
        }
    }

    /// False after its end.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// # Panics
    /// After its end.
    #[must_use]
    pub const fn process(&self) -> &ServiceProcess {
        self.process.as_ref().expect("it runs")
    }

    /// Starts that had to be made anew.
    #[must_use]
    pub const fn starts_again(&self) -> usize {
        self.starts_again
    }

    /// Starts it, or starts it again; and once more, as an orchestrator would, while it ends by itself.
    ///
    /// # Errors
    /// If it does not get ready after five starts, or refuses its settings.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let mut starts = 1;
        let process = loop {
            match self.launch().await {
                Ok(process) => break process,
                Err(error) if starts < STARTS_MAX && may_start_again(&error) => {
                    starts += 1;
                    self.starts_again += 1;
                    println!("{} {}: start {starts}: {error}", self.role.binary(), self.number);
                    tokio::time::sleep(BETWEEN_STARTS).await;
                }
                Err(error) => return Err(error).with_context(|| format!("start {starts}")),
            }
        };
        let reached_at = match self.role {
            Role::Feedback => process.web().context("feedback serves web")?,
            _ => process.grpc(),
        };
        self.front.lead_to(reached_at);
        self.process = Some(process);
        Ok(())
    }

    async fn launch(&self) -> anyhow::Result<ServiceProcess> {
        match &self.release {
            Release::New => ServiceProcess::start(self.role.binary(), &self.config).await,
            Release::Old(folder) => {
                ServiceProcess::start_from(folder, self.role.binary(), &self.config).await
            }
        }
    }

    /// Drains it, and starts it as one of that release.
    ///
    /// # Errors
    /// If the one does not end, or the other does not get ready.
    pub async fn replace(&mut self, release: Release) -> anyhow::Result<()> {
        self.drain().await?;
        self.release = release;
        self.start().await
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// If it has ended already, by itself.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it runs")?;
        process.kill()?;
        process.wait(END_MAX).await?;
        Ok(())
    }

    /// Asks it to drain, and waits until it has.
    ///
    /// # Errors
    /// If it does not end, or not well.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it runs")?;
        process.term()?;
        let status = process.wait(END_MAX).await?;
        anyhow::ensure!(status.success(), "{status}: {}", process.log_tail());
        Ok(())
    }

    pub(super) fn log(&self) -> String {
        let tail = self
            .process
            .as_ref()
            .map_or_else(String::new, ServiceProcess::log_tail);
        format!("-- {} {}\n{tail}", self.role.binary(), self.number)
    }
}

fn may_start_again(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<NotStarted>().map(|it| it.status);
    status.is_some_and(|status| status.and_then(|it| it.code()) != Some(BAD_SETTINGS))
}
