//! Builds the sender from its settings and runs it until a stop is wished for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::stops::Stops;
use paceline_kit::{
    Bound, Context, Shutdown, Supervisor, admin, grpc, redis, redis_clock, redis_connections,
};

use crate::config::Config;
use crate::leases::Coordinators;
use crate::metrics;
use crate::pipeline::{Parts, Pipeline};
use crate::provider::Providers;
use crate::shared::Limits;

/// How often health looks at the sender.
const HEALTH_EVERY: Duration = Duration::from_millis(250);
/// How long calls, which only ask for health, may stay open after the shutdown.
const CALLS_MAX: Duration = Duration::from_secs(1);

/// Runs the sender until `context.shutdown`, then drains it.
///
/// # Errors
/// If a listener can't be bound or Redis can't be used, or one of the tasks is gone: then after the drain.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_service) = Health::new().await;
    let supervisor = Supervisor::new(&context.shutdown);
    // The admin listener outlives the drain: /readyz and /metrics are what one looks at while it lasts.
    let admin_stop = Shutdown::new();
    let entrance = config.entrance()?;
    let (listener, grpc_address) = entrance.bind().await.context("can't listen for gRPC")?;
    let (admin_address, admin_task) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        &supervisor,
        admin_stop.clone(),
    )
    .await
    .context("can't listen for health and metrics")?;
    let store = redis::connect(&config.redis.store()?, &supervisor)
        .await
        .context("can't use redis")?;
    let address_key = AddressKey::agreed(&config.address_key, &store).await?;
    let provider = Providers::connect(&config.identity, &config.ses, &config.mailgun()).await?;
    let limits = Limits::new(&config, name(&config));
    let deliver = config.deliver()?;
    let mode = deliver.mode().as_str();
    tracing::info!(name = limits.name, deliver = mode, "sender starts");
    let meter = context.telemetry.meter(metrics::METER);
    let parts = Parts {
        store: store.clone(),
        provider,
        clock: Arc::new(SystemClock),
        identities: config.identity,
        limits,
        deliver,
        address_key,
        stops: Stops::new(Arc::new(SystemClock)),
        meter: meter.clone(),
    };
    redis_connections::export(&meter, &store);
    let clocks = redis_clock::watch(
        meter.clone(),
        store.clone(),
        SystemClock,
        context.shutdown.clone(),
    );
    let clocks = supervisor.spawn("clock", clocks);
    let source = Coordinators::new(config.coordinators, config.client.read()?);
    let pipeline = Pipeline::start(parts, source, &supervisor);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let router = entrance.server(&meter)?.add_service(health_service);
    let serving = grpc::serve(router, listener, context.shutdown.clone(), CALLS_MAX);
    let served = supervisor.spawn("grpc", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "gRPC listener failed");
        }
    });
    look_after(&pipeline, &health, &context.shutdown).await;
    health.set_not_ready("draining").await;
    let drained = pipeline.drain().await;
    clocks.abort();
    store.close().await;
    served.await?;
    admin_stop.trigger();
    admin_task.await?;
    drained?;
    Ok(supervisor.outcome()?)
}

/// Says by health what is wrong, until the shutdown.
async fn look_after(pipeline: &Pipeline<Providers>, health: &Health, shutdown: &Shutdown) {
    while !shutdown.is_requested() {
        match pipeline.problem() {
            None => health.set_ready().await,
            Some(problem) => health.set_not_ready(problem).await,
        }
        tokio::select! {
            () = shutdown.requested() => {}
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
}

/// The configured name, or one that no other sender has.
fn name(config: &Config) -> String {
    if config.name.is_empty() {
        format!("sender-{:016x}", rand::random::<u64>())
    } else {
        config.name.clone()
    }
}
