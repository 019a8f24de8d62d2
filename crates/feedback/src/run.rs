//! Builds the service from its settings, serves it, and drains it. The only place that names concrete adapters.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use opentelemetry::metrics::Meter;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::{
    Bound, Context, SettingsError, Shutdown, Supervisor, admin, grpc, redis, redis_connections, reflection,
};
use paceline_ledger::Ledger;
use paceline_providers::sqs::SqsQueue;
use paceline_store::{LogMode, Store};
use paceline_wire::v1::audit_service_server::AuditServiceServer;
use paceline_wire::v1::events_service_server::EventsServiceServer;
use paceline_wire::v1::suppression_service_server::SuppressionServiceServer;
use tokio::task::JoinHandle;

use crate::audit::share::Share;
use crate::audit::{AuditOf, Auditor};
use crate::config::Config;
use crate::coordinators::Coordinators;
use crate::copy::{Copier, CopyMetrics, Lag};
use crate::counts::Counts;
use crate::event_metrics::Metrics;
use crate::intake::{Effects, Intake};
use crate::people::People;
use crate::queue::QueueReader;
use crate::sns::Verifier;
use crate::subscribe::EventsOf;
use crate::suppression_service::SuppressionsOf;
use crate::suppressions::Suppressions;
use crate::suppressions::keeper::Keeper;
use crate::unsubscribe::Unsubscribing;
use crate::webhooks::Webhooks;
use crate::{health, retention};

/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 3] = [
    "paceline.v1.EventsService",
    "paceline.v1.SuppressionService",
    "paceline.v1.AuditService",
];

/// Under which meter its instruments are.
const METER: &str = "paceline_feedback";

/// Serves until the context's shutdown, then drains: calls first, then what is being copied.
///
/// # Errors
/// If the ledger or Redis can't be used at the start, an address can't be bound, or a listener fails or a task is gone: then after
/// the drain.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_server) = Health::new().await;
    // The admin listener outlives the drain, and so do the tasks that calls lean on.
    let stop = Shutdown::new();
    let supervisor = Supervisor::new(&context.shutdown);
    let (admin_address, admin_task) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        &supervisor,
        stop.clone(),
    )
    .await?;
    let entrance = config.entrance()?;
    let (listener, grpc_address) = entrance.bind().await?;
    let (web, web_address) = config.web.read()?.bind().await?;
    let ledger = Ledger::connect(&config.ledger.connection())
        .await
        .context("the ledger can't be used")?;
    retention::prepare(&ledger, &SystemClock).await;
    let store = redis::connect(&config.redis.store()?, &supervisor)
        .await
        .context("redis can't be used")?;
    let suppressions = suppressions(&config, &store, &ledger).await?;
    let meter = context.telemetry.meter(METER);
    redis_connections::export(&meter, &store);

    let copying = copy_logs(&config, &store, &ledger, &meter, (&supervisor, &context.shutdown));
    let months = retention::keep(ledger.clone(), SystemClock, config.ledger.retention, stop.clone());
    let months = supervisor.spawn("retention", months);
    let counts = Arc::new(Counts::default());
    let metrics = Metrics::new(&meter);
    let keeper = Keeper::new(suppressions.clone(), stop.clone());
    let keeper = supervisor.spawn("suppressions", keeper.run());
    let suppressing = SuppressionsOf::new(suppressions.clone());
    let links = links(&config, suppressions.clone(), metrics.clone())?;
    let (intake, worker) = Intake::new(Effects {
        store: store.clone(),
        ledger: ledger.clone(),
        suppressions,
        counts: Arc::clone(&counts),
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
    });
    let queue = queue(&config, (&intake, &metrics), &supervisor, &context.shutdown).await?;
    let webhooks = webhooks(&config, intake, metrics.clone())?;
    let worker = supervisor.spawn("intake", worker.run(stop.clone()));
    let coordinators = Coordinators::new(config.coordinators.clone(), config.client.read()?);
    let telling = supervisor.spawn("counts", counts.run(coordinators, metrics, stop.clone()));
    let routes = webhooks.routes().merge(links);
    let web = supervisor.spawn("web", web.serve(routes, context.shutdown.clone()));
    let auditor = Auditor::new(ledger.clone());
    let share = Share::new(auditor.clone(), config.audit, &meter).run(SystemClock, stop.clone());
    let share = supervisor.spawn("audit", share);
    let looking = health::look_after(store.clone(), ledger.clone(), health, context.shutdown.clone());
    let looking = supervisor.spawn("health", looking);
    let events = EventsOf::new(ledger.clone(), context.shutdown.clone());
    let router = entrance
        .server(&meter)?
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?)
        .add_service(EventsServiceServer::new(events))
        .add_service(SuppressionServiceServer::new(suppressing))
        .add_service(AuditServiceServer::new(AuditOf::new(auditor, SystemClock)));
    context.serves_web(web_address);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let served = grpc::serve(router, listener, context.shutdown.clone(), config.drain_max).await;

    context.shutdown.trigger();
    web.await?;
    for reader in queue {
        reader.await?;
    }
    for copier in copying {
        copier.await?;
    }
    stop.trigger();
    looking.await?;
    worker.await?;
    keeper.await?;
    telling.await?;
    months.abort();
    share.abort();
    store.close().await;
    ledger.close().await;
    admin_task.await?;
    served?;
    Ok(supervisor.outcome()?)
}

/// What changes suppressions, once Redis is known to have hashes under the same key.
async fn suppressions(config: &Config, store: &Store, ledger: &Ledger) -> anyhow::Result<Suppressions> {
    let key = AddressKey::agreed(&config.address_key, store).await?;
    let key = key.context("address_key is empty")?;
    Ok(Suppressions::new(
        store.clone(),
        ledger.clone(),
        People::new(key),
        Arc::new(SystemClock),
    ))
}

/// What answers links to unsubscribe: nothing, if no settings say by which keys.
fn links(config: &Config, suppressions: Suppressions, metrics: Metrics) -> Result<Router, SettingsError> {
    let keys = config.unsubscribe.read_keys()?;
    let unsubscribing = keys.map(|keys| Unsubscribing {
        keys,
        settings: config.unsubscribe.clone(),
        suppressions,
        metrics,
    });
    Ok(unsubscribing.map_or_else(Router::new, Unsubscribing::routes))
}

/// The readers of the queue of events, if there is one.
async fn queue(
    config: &Config,
    (intake, metrics): (&Intake, &Metrics),
    supervisor: &Supervisor,
    stop: &Shutdown,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    if !config.sqs.is_set() {
        return Ok(Vec::new());
    }
    let reader = QueueReader {
        queue: SqsQueue::connect(&config.sqs).await?,
        intake: intake.clone(),
        metrics: metrics.clone(),
    };
    let readers = 0..config.sqs.readers.get();
    Ok(readers
        .map(|_| supervisor.spawn("queue", reader.clone().run(stop.clone())))
        .collect())
}

/// One copier for each shard, and the look at how far they are behind; nothing where the logs are rings. They end when the drain begins:
/// what they leave, another process or the next start copies.
fn copy_logs(
    config: &Config,
    store: &Store,
    ledger: &Ledger,
    meter: &Meter,
    (supervisor, stop): (&Supervisor, &Shutdown),
) -> Vec<JoinHandle<()>> {
    if store.log_mode() == LogMode::Ring {
        tracing::warn!("redis.log is \"ring\": the ledger gets providers' events alone");
        return Vec::new();
    }
    let metrics = CopyMetrics::new(meter);
    let name: Arc<str> = format!("feedback-{:016x}", rand::random::<u64>()).into();
    let copier = |shard| Copier {
        shard,
        name: Arc::clone(&name),
        store: store.clone(),
        ledger: ledger.clone(),
        clock: SystemClock,
        settings: config.copy,
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    let mut tasks: Vec<_> = (0..store.shards())
        .map(|shard| supervisor.spawn("copier", copier(shard).run()))
        .collect();
    let lag = Lag {
        store: store.clone(),
        ledger: ledger.clone(),
        clock: SystemClock,
        metrics,
    };
    tasks.push(supervisor.spawn("lag", lag.run(stop.clone())));
    tasks
}

fn webhooks(config: &Config, intake: Intake, metrics: Metrics) -> Result<Webhooks, SettingsError> {
    Ok(Webhooks {
        verifier: Verifier::new(&config.sns, Arc::new(SystemClock))?,
        signatures: config.mailgun.signatures(),
        intake,
        clock: Arc::new(SystemClock),
        metrics,
    })
}
