//! Builds the service from its settings, serves it, and drains it. The only place that names concrete adapters.

use anyhow::Context as _;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_connections, reflection};
use paceline_ledger::Ledger;

use crate::config::Config;
use crate::{health, retention};

/// What reflection lists beside health: the services that this process serves.
const SERVICES: [&str; 0] = [];

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
    let ledger = Ledger::connect(&config.ledger.connection())
        .await
        .context("the ledger can't be used")?;
    let store = redis::connect(&config.redis.store()?, &supervisor)
        .await
        .context("redis can't be used")?;
    let meter = context.telemetry.meter(METER);
    redis_connections::export(&meter, &store);

    let months = retention::keep(ledger.clone(), SystemClock, config.ledger.retention, stop.clone());
    let months = supervisor.spawn("retention", months);
    let looking = health::look_after(store.clone(), ledger.clone(), health, context.shutdown.clone());
    let looking = supervisor.spawn("health", looking);
    let router = entrance
        .server(&meter)?
        .add_service(health_server)
        .add_service(reflection::current(&SERVICES)?)
        .add_service(reflection::older(&SERVICES)?);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let served = grpc::serve(router, listener, context.shutdown.clone(), config.drain_max).await;

    stop.trigger();
    looking.await?;
    months.abort();
    store.close().await;
    ledger.close().await;
    admin_task.await?;
    served?;
    Ok(supervisor.outcome()?)
}
