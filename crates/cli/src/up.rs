//! `paceline up`: everything on one machine, for a first email and for development.
//!
//! A private redis-server (AOF on, `appendfsync always`), a look-alike of SES with an inbox page, and the four services:
//! in this process, or with `--separate` as processes of their own. Both forms read the same settings files, which are
//! written to the data folder and can be read there. Nothing outlives this process: children are told by the kernel when
//! it dies.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::telemetry::{LogFormat, Telemetry, TelemetrySettings};
use paceline_kit::{Bound, Shutdown};
use paceline_local::private_redis::{PrivateRedis, RedisOptions};
use paceline_local::{Lookalike, LookalikeOptions};

use crate::args::UpOptions;

mod examples;
mod files;
mod lock;
mod running;

use files::Files;
use running::{Running, Service, Surroundings};

/// How long a service may take to become ready.
const START_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn run(options: UpOptions) -> anyhow::Result<()> {
    let quiet = TelemetrySettings {
        log: "warn,paceline_kit::health=error".to_owned(),
        log_format: LogFormat::Text,
        ..TelemetrySettings::default()
    };
    let telemetry = Telemetry::install("paceline", &quiet)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    std::fs::create_dir_all(&options.data)
        .with_context(|| format!("can't make {}", options.data.display()))?;
    let _lock = lock::take(&options.data)?;

    let redis = PrivateRedis::start(&options.data.join("redis"), &RedisOptions::default()).await?;
    let lookalike = Lookalike::start(options.inbox, LookalikeOptions::default()).await?;
    let files = Files::new(&options, redis.url(), lookalike.address())?;
    let surroundings = Surroundings {
        telemetry,
        data: options.data.clone(),
        separate: options.separate,
    };

    let mut stack = Stack::default();
    let outcome = stack.run(&options, &files, &surroundings, &shutdown).await;
    stack.stop().await;
    lookalike.stop().await;
    redis.stop().await;
    println!("stopped");
    outcome
}

/// The running services, in the order in which they were started.
#[derive(Default)]
struct Stack(Vec<Running>);

impl Stack {
    async fn run(
        &mut self,
        options: &UpOptions,
        files: &Files,
        surroundings: &Surroundings,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let coordinator = self
            .start(Service::ThrottleCoordinator, &files.coordinator()?, surroundings)
            .await?;
        self.start(Service::Renderer, &files.renderer()?, surroundings)
            .await?;
        for number in 1..=options.senders {
            self.start(
                Service::Sender,
                &files.sender(number, coordinator.grpc)?,
                surroundings,
            )
            .await?;
        }
        let ingest = self
            .start(Service::Ingest, &files.ingest()?, surroundings)
            .await?;
        say_where(options, files, ingest);
        if options.examples {
            examples::send(ingest.grpc, &options.templates).await?;
        }
        println!("Ctrl-C stops it all.");
        tokio::select! {
            () = shutdown.requested() => Ok(()),
            ended = first_to_end(&mut self.0) => Err(ended),
        }
    }

    async fn start(
        &mut self,
        service: Service,
        file: &Path,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Bound> {
        let started = Running::start(service, file, surroundings);
        let running = tokio::time::timeout(START_MAX, started)
            .await
            .with_context(|| format!("{service} was not ready within {} s", START_MAX.as_secs()))??;
        let bound = running.bound();
        self.0.push(running);
        Ok(bound)
    }

    /// Drains what feeds before what it feeds: the last started first.
    async fn stop(self) {
        for running in self.0.into_iter().rev() {
            running.stop().await;
        }
    }
}

async fn first_to_end(running: &mut [Running]) -> anyhow::Error {
    let ends = running.iter_mut().map(|service| Box::pin(service.ended()));
    futures_util::future::select_all(ends).await.0
}

fn say_where(options: &UpOptions, files: &Files, ingest: Bound) {
    println!("Paceline is up.");
    println!("  inbox     http://{}/", files.lookalike());
    println!("  ingest    {} (gRPC, reflection on)", ingest.grpc);
    println!("  metrics   http://{}/metrics", ingest.admin);
    println!("  settings  {}", files.folder().display());
    println!(
        "  send one  paceline --ingest http://{} send welcome --to you@example.com --user 1 \\",
        ingest.grpc
    );
    println!(
        "              --data @{}/welcome/examples/first.json",
        options.templates.display()
    );
}
