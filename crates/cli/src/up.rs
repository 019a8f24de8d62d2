//! `paceline up`: everything on one machine, for a first email and for development.
//!
//! A private redis-server (AOF on, `appendfsync always`), an SQLite ledger, a look-alike of SES with an inbox page, and the five
//! services: in this process, or with `--separate` as processes of their own. Both forms read the same settings files, which are
//! written to the data folder and can be read there. Nothing outlives this process: the kernel kills its children when it
//! dies.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::telemetry::{LogFormat, Telemetry, TelemetrySettings};
use paceline_kit::{Bound, Shutdown};
use paceline_local::events::Webhooks;
use paceline_local::private_redis::{PrivateRedis, RedisOptions};
use paceline_local::{Lookalike, LookalikeOptions};

use crate::args::UpOptions;

mod examples;
mod files;
mod lock;
mod process;
mod running;

use files::Files;
use running::{Addresses, Running, Service, Surroundings};

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
    private_folder(&options.data)?;
    let _lock = lock::take(&options.data)?;

    let redis_folder = options.data.join("redis");
    let redis_options = RedisOptions::default();
    let redis = tokio::select! {
        redis = PrivateRedis::start(&redis_folder, &redis_options) => redis?,
        () = shutdown.requested() => return Ok(()),
    };
    let lookalike = Lookalike::start(options.inbox, LookalikeOptions::default()).await?;
    let files = Files::new(&options, redis.url(), lookalike.address())?;
    let surroundings = Surroundings {
        telemetry,
        data: options.data.clone(),
        separate: options.separate,
    };

    let mut stack = Stack::default();
    // Wherever the start stands, a wish to stop ends it; what has been started is drained.
    let outcome = tokio::select! {
        ended = stack.run(&options, &files, &surroundings, &lookalike) => ended,
        () = shutdown.requested() => Ok(()),
    };
    let drained = stack.stop().await;
    lookalike.stop().await;
    redis.stop().await;
    outcome.and(drained)?;
    println!("stopped");
    Ok(())
}

/// Makes the folder for its owner alone: Redis writes recipients and bodies into it.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
        .with_context(|| format!("can't close {} to others", folder.display()))
}

/// The running services, in the order in which they were started.
#[derive(Default)]
struct Stack(Vec<Running>);

impl Stack {
    /// Starts them all; returns only when one of them ends or can't be started.
    async fn run(
        &mut self,
        options: &UpOptions,
        files: &Files,
        surroundings: &Surroundings,
        lookalike: &Lookalike,
    ) -> anyhow::Result<()> {
        let coordinator = self
            .start(Service::ThrottleCoordinator, &files.coordinator()?, surroundings)
            .await?
            .bound;
        let (topic, ca) = lookalike.topic();
        let file = files.feedback(coordinator.grpc, (&topic, &ca))?;
        let feedback = self.start(Service::Feedback, &file, surroundings).await?;
        let web = feedback.web.context("feedback does not say where it is called")?;
        lookalike.set_webhooks(webhooks(web));
        for number in 1..=options.senders {
            self.start(
                Service::Sender,
                &files.sender(number, coordinator.grpc)?,
                surroundings,
            )
            .await?;
        }
        let renderer = self
            .start(Service::Renderer, &files.renderer(web)?, surroundings)
            .await?
            .bound;
        let ingest = self
            .start(Service::Ingest, &files.ingest(web)?, surroundings)
            .await?
            .bound;
        say_where(options, files, [ingest, coordinator, renderer, feedback.bound]);
        if options.examples
            && let Err(error) = examples::send(ingest.grpc, &options.templates).await
        {
            eprintln!("paceline: the examples were not sent: {error:#}");
        }
        println!("Ctrl-C stops it all.");
        Err(first_to_end(&mut self.0).await)
    }

    async fn start(
        &mut self,
        service: Service,
        file: &Path,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Addresses> {
        let started = Running::start(service, file, surroundings);
        let running = tokio::time::timeout(START_MAX, started)
            .await
            .with_context(|| format!("{service} was not ready within {} s", START_MAX.as_secs()))??;
        let addresses = running.addresses();
        self.0.push(running);
        Ok(addresses)
    }

    /// Drains what feeds before what it feeds: the last started first. Tells of those that did not end well.
    async fn stop(self) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        for running in self.0.into_iter().rev() {
            if let Err(problem) = running.stop().await {
                problems.push(format!("{problem:#}"));
            }
        }
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(())
    }
}

async fn first_to_end(running: &mut [Running]) -> anyhow::Error {
    let ends = running.iter_mut().map(|service| Box::pin(service.ended()));
    futures_util::future::select_all(ends).await.0
}

/// Where the look-alike tells what became of mail.
fn webhooks(web: SocketAddr) -> Webhooks {
    Webhooks {
        sns: Some(format!("http://{web}/ses/sns")),
        mailgun: Some(format!("http://{web}/mailgun")),
        mailgun_key: files::MAILGUN_SIGNING_KEY.to_owned(),
    }
}

fn say_where(options: &UpOptions, files: &Files, [ingest, coordinator, renderer, feedback]: [Bound; 4]) {
    println!("Paceline is up.");
    println!("  inbox     http://{}/", files.lookalike());
    println!("  ingest    {} (gRPC, reflection on)", ingest.grpc);
    println!("  pacing    {} (for paceline throttle)", coordinator.grpc);
    println!("  templates {} (for paceline templates)", renderer.grpc);
    println!("  ledger    {} (gRPC, reflection on)", feedback.grpc);
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
