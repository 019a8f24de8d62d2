//! What works beside the calls, and the order in which it ends: first what brings work in, then what works on it.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use opentelemetry::metrics::Meter;
use paceline_kit::clock::SystemClock;
use paceline_kit::{SettingsError, Shutdown, Supervisor};
use paceline_ledger::Ledger;
use paceline_providers::sqs::SqsQueue;
use paceline_store::{LogMode, Store};
use tokio::task::{JoinError, JoinHandle};

use crate::announce::Announcer;
use crate::audit::Auditor;
use crate::audit::share::Share;
use crate::config::Config;
use crate::coordinators::Coordinators;
use crate::copy::{Copier, CopyMetrics, Lag};
use crate::counts::Counts;
use crate::event_metrics::Metrics;
use crate::intake::{Effects, Intake};
use crate::queue::QueueReader;
use crate::retention;
use crate::sns::Verifier;
use crate::suppressions::Suppressions;
use crate::suppressions::keeper::Keeper;
use crate::unsubscribe::Unsubscribing;
use crate::webhooks::Webhooks;

/// Tasks by when they end.
pub(crate) struct Tasks<'a> {
    supervisor: &'a Supervisor,
    /// Set once what ends with the shutdown has ended.
    stop: &'a Shutdown,
    first: Vec<JoinHandle<()>>,
    last: Vec<JoinHandle<()>>,
    cut: Vec<JoinHandle<()>>,
}

impl<'a> Tasks<'a> {
    pub(crate) const fn new(supervisor: &'a Supervisor, stop: &'a Shutdown) -> Self {
        Self {
            supervisor,
            stop,
            first: Vec::new(),
            last: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// Brings work in: ends with the service's shutdown.
    pub(crate) fn until_shutdown(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.first.push(self.supervisor.spawn(name, task));
    }

    /// Works on what came in: ends once nothing brings in more.
    pub(crate) fn until_stop(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.last.push(self.supervisor.spawn(name, task));
    }

    /// May be cut off at any time.
    fn until_the_end(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.cut.push(self.supervisor.spawn(name, task));
    }

    /// Waits for all, in their order. The shutdown must have been requested.
    ///
    /// # Errors
    /// If one panicked.
    pub(crate) async fn end(self) -> Result<(), JoinError> {
        for task in self.first {
            task.await?;
        }
        self.stop.trigger();
        for task in self.last {
            task.await?;
        }
        for task in self.cut {
            task.abort();
        }
        Ok(())
    }
}

/// What the tasks and the services stand on.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) suppressions: Suppressions,
    pub(crate) auditor: Auditor,
    pub(crate) announcer: Announcer,
    pub(crate) meter: Meter,
    pub(crate) metrics: Metrics,
}

impl Parts {
    /// Starts what works beside the calls, and answers with what the web listener serves.
    ///
    /// # Errors
    /// If the settings of a webhook, a link or the queue can't be used.
    pub(crate) async fn start(&self, tasks: &mut Tasks<'_>) -> anyhow::Result<Router> {
        let (config, stop) = (&self.config, tasks.stop);
        self.copy_logs(tasks);
        let months = retention::keep(
            self.ledger.clone(),
            SystemClock,
            config.ledger.retention,
            stop.clone(),
        );
        tasks.until_the_end("retention", months);
        let keeper = Keeper::new(self.suppressions.clone(), stop.clone());
        tasks.until_stop("suppressions", keeper.run());
        let share = Share::new(self.auditor.clone(), config.audit, &self.meter);
        tasks.until_the_end("audit", share.run(SystemClock, stop.clone()));

        tasks.until_the_end("announcements", self.announcer.clone().run(stop.clone()));

        let counts = Arc::new(Counts::default());
        let (intake, worker) = Intake::new(Effects {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            suppressions: self.suppressions.clone(),
            counts: Arc::clone(&counts),
            clock: Arc::new(SystemClock),
            metrics: self.metrics.clone(),
        });
        tasks.until_stop("intake", worker.run(stop.clone()));
        let coordinators = Coordinators::new(config.coordinators.clone(), config.client.read()?);
        let telling = counts.run(coordinators, self.metrics.clone(), stop.clone());
        tasks.until_stop("counts", telling);
        self.read_queue(&intake, tasks).await?;
        Ok(self.webhooks(intake)?.routes().merge(self.links()?))
    }

    /// What answers links to unsubscribe: nothing, if no settings say by which keys.
    fn links(&self) -> Result<Router, SettingsError> {
        let settings = &self.config.unsubscribe;
        let unsubscribing = settings.read_keys()?.map(|keys| Unsubscribing {
            keys,
            settings: settings.clone(),
            suppressions: self.suppressions.clone(),
            metrics: self.metrics.clone(),
        });
        Ok(unsubscribing.map_or_else(Router::new, Unsubscribing::routes))
    }

    /// The readers of the queue of events, if there is one.
    async fn read_queue(&self, intake: &Intake, tasks: &mut Tasks<'_>) -> anyhow::Result<()> {
        let settings = &self.config.sqs;
        if !settings.is_set() {
            return Ok(());
        }
        let reader = QueueReader {
            queue: SqsQueue::connect(settings).await?,
            intake: intake.clone(),
            metrics: self.metrics.clone(),
        };
        let shutdown = tasks.supervisor.shutdown().clone();
        for _ in 0..settings.readers.get() {
            tasks.until_shutdown("queue", reader.clone().run(shutdown.clone()));
        }
        Ok(())
    }

    /// One copier for each shard, and the look at how far they are behind; nothing where the logs are rings. They end with the shutdown:
    /// what they leave, another process or the next start copies.
    fn copy_logs(&self, tasks: &mut Tasks<'_>) {
        if self.store.log_mode() == LogMode::Ring {
            tracing::warn!("redis.log is \"ring\": the ledger gets providers' events alone");
            return;
        }
        let metrics = CopyMetrics::new(&self.meter);
        let name: Arc<str> = format!("feedback-{:016x}", rand::random::<u64>()).into();
        let shutdown = tasks.supervisor.shutdown().clone();
        for shard in 0..self.store.shards() {
            let copier = Copier {
                shard,
                name: Arc::clone(&name),
                store: self.store.clone(),
                ledger: self.ledger.clone(),
                clock: SystemClock,
                settings: self.config.copy,
                metrics: metrics.clone(),
                stop: shutdown.clone(),
            };
            tasks.until_shutdown("copier", copier.run());
        }
        let lag = Lag {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            clock: SystemClock,
            metrics,
        };
        tasks.until_shutdown("lag", lag.run(shutdown));
    }

    fn webhooks(&self, intake: Intake) -> Result<Webhooks, SettingsError> {
        Ok(Webhooks {
            verifier: Verifier::new(&self.config.sns, Arc::new(SystemClock))?,
            signatures: self.config.mailgun.signatures(),
            intake,
            clock: Arc::new(SystemClock),
            metrics: self.metrics.clone(),
        })
    }
}
