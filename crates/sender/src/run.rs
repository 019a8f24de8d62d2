//! Builds the sender from its settings and runs it until a stop is wished for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::clock::SystemClock;
use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, admin, grpc};
use paceline_store::{Store, StoreConfig};

use crate::config::Config;
use crate::leases::Coordinators;
use crate::metrics;
use crate::pipeline::{Parts, Pipeline};
use crate::provider::SesRegions;
use crate::shared::Limits;

/// How often health looks at the sender.
const HEALTH_EVERY: Duration = Duration::from_millis(250);

/// Runs the sender until `context.shutdown`, then drains it.
///
/// # Errors
/// If a listener can't be bound or Redis can't be used.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_service) = Health::new().await;
    let (listener, grpc_address) = grpc::bind(config.listen).await.context("can't listen for gRPC")?;
    let (admin_address, _) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        context.shutdown.clone(),
    )
    .await
    .context("can't listen for health and metrics")?;
    let store = Store::connect(&StoreConfig::from(&config.redis))
        .await
        .context("can't use redis")?;
    let provider = SesRegions::connect(&config.identity, &config.ses).await?;
    let limits = Limits::new(&config, name(&config));
    tracing::info!(name = limits.name, "sender starts");
    let parts = Parts {
        store: store.clone(),
        provider,
        clock: Arc::new(SystemClock),
        identities: config.identity,
        limits,
        meter: context.telemetry.meter(metrics::METER),
    };
    let source = Coordinators::new(config.coordinators);
    let pipeline = Pipeline::start(parts, source, &context.shutdown);
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    let router = grpc::server().add_service(health_service);
    let served = tokio::spawn(grpc::serve(
        router,
        listener,
        context.shutdown.clone(),
        Duration::from_secs(1),
    ));
    while !context.shutdown.is_requested() {
        match pipeline.problem() {
            None => health.set_ready().await,
            Some(problem) => health.set_not_ready(problem).await,
        }
        tokio::select! {
            () = context.shutdown.requested() => {}
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
    health.set_not_ready("draining").await;
    pipeline.drain().await;
    store.close().await;
    served.await.context("the gRPC listener panicked")??;
    Ok(())
}

/// The configured name, or one that no other sender has.
fn name(config: &Config) -> String {
    if config.name.is_empty() {
        format!("sender-{:016x}", rand::random::<u64>())
    } else {
        config.name.clone()
    }
}
