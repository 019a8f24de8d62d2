//! Builds the service from its settings, serves it, and drains it. The only place that names concrete adapters.

use std::sync::Arc;

use anyhow::Context as _;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_connections, reflection};
use paceline_ledger::Ledger;
use paceline_store::Store;
use paceline_wire::v1::audit_service_server::AuditServiceServer;
use paceline_wire::v1::events_service_server::EventsServiceServer;
use paceline_wire::v1::ledger_service_server::LedgerServiceServer;
use paceline_wire::v1::publish_service_server::PublishServiceServer;
use paceline_wire::v1::replay_service_server::ReplayServiceServer;
use paceline_wire::v1::stats_service_server::StatsServiceServer;
use paceline_wire::v1::suppression_service_server::SuppressionServiceServer;

use crate::announce::Announcer;
use crate::asked::PeopleKey;
use crate::audit::{AuditOf, Auditor};
use crate::config::Config;
use crate::event_metrics::Metrics;
use crate::ledger_service::LedgerOf;
use crate::people::People;
use crate::publish::PublishOf;
use crate::replay::ReplayOf;
use crate::stats::StatsOf;
use crate::subscribe::EventsOf;
use crate::suppression_service::SuppressionsOf;
use crate::suppressions::Suppressions;
use crate::tasks::{Parts, Tasks};
use crate::{health, retention};

/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 7] = [
    "paceline.v1.EventsService",
    "paceline.v1.LedgerService",
    "paceline.v1.StatsService",
    "paceline.v1.SuppressionService",
    "paceline.v1.AuditService",
    "paceline.v1.ReplayService",
    "paceline.v1.PublishService",
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
    let meter = context.telemetry.meter(METER);
    redis_connections::export(&meter, &store);
    let parts = Parts {
        suppressions: suppressions(&config, &store, &ledger).await?,
        auditor: Auditor::new(ledger.clone()),
        announcer: Announcer::new(ledger.clone(), store.clone()),
        metrics: Metrics::new(&meter),
        meter,
        ledger,
        store,
        config,
    };
    let mut tasks = Tasks::new(&supervisor, &stop);
    let routes = parts.start(&mut tasks).await?;
    tasks.until_shutdown("web", web.serve(routes, context.shutdown.clone()));
    let until = context.shutdown.clone();
    let looking = health::look_after(parts.store.clone(), parts.ledger.clone(), health, until);
    tasks.until_stop("health", looking);
    let events = EventsOf::new(parts.ledger.clone(), context.shutdown.clone());
    let suppressing = SuppressionsOf::new(parts.suppressions.clone());
    let auditing = AuditOf::new(parts.auditor.clone(), SystemClock);
    let router = entrance
        .server(&parts.meter)?
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?)
        .add_service(EventsServiceServer::new(events))
        .add_service(SuppressionServiceServer::new(suppressing))
        .add_service(AuditServiceServer::new(auditing))
        .add_service(ReplayServiceServer::new(ReplayOf::new(parts.ledger.clone())))
        .add_service(PublishServiceServer::new(publishing(&parts)))
        .add_service(LedgerServiceServer::new(histories(&parts)?))
        .add_service(StatsServiceServer::new(StatsOf(parts.ledger.clone())));
    context.serves_web(web_address);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let served = grpc::serve(router, listener, context.shutdown.clone(), parts.config.drain_max).await;

    context.shutdown.trigger();
    tasks.end().await?;
    parts.store.close().await;
    parts.ledger.close().await;
    admin_task.await?;
    served?;
    Ok(supervisor.outcome()?)
}

fn publishing(parts: &Parts) -> PublishOf {
    let (ledger, announcer) = (parts.ledger.clone(), parts.announcer.clone());
    PublishOf::new(ledger, announcer, Arc::new(SystemClock))
}

fn histories(parts: &Parts) -> anyhow::Result<LedgerOf> {
    let key = AddressKey::read(&parts.config.address_key)?;
    Ok(LedgerOf {
        ledger: parts.ledger.clone(),
        store: parts.store.clone(),
        people: PeopleKey(key.context("address_key is empty")?),
        clock: Arc::new(SystemClock),
    })
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
