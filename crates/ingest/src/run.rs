//! Builds the service from its settings, serves it, and drains it. The only place that names concrete adapters.

use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, Shutdown, admin, grpc};
use paceline_wire::DESCRIPTORS;

use crate::config::Config;

/// What reflection lists: the services that this process serves.
const SERVICES: [&str; 3] = [
    "paceline.v1.IngestService",
    "paceline.v1.MessagesService",
    "grpc.health.v1.Health",
];

/// Serves until the context's shutdown, then drains.
///
/// # Errors
/// If an address can't be bound, or a listener fails.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_server) = Health::new().await;
    // The admin listener outlives the drain: /readyz and /metrics are what one looks at while it lasts.
    let admin_stop = Shutdown::new();
    let (admin_address, admin_task) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        admin_stop.clone(),
    )
    .await?;
    let (listener, grpc_address) = grpc::bind(config.listen).await?;

    let serving_stop = Shutdown::new();
    let router = grpc::server()
        .add_service(health_server)
        .add_service(reflection()?.build_v1()?)
        .add_service(reflection()?.build_v1alpha()?);
    health.set_ready().await;
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });

    let notice = {
        let (shutdown, stop, health) = (context.shutdown.clone(), serving_stop.clone(), health.clone());
        async move {
            shutdown.requested().await;
            health.set_not_ready("draining").await;
            tokio::time::sleep(config.drain_notice).await;
            stop.trigger();
        }
    };
    let (served, ()) = tokio::join!(
        grpc::serve(router, listener, serving_stop, config.drain_max),
        notice
    );
    admin_stop.trigger();
    admin_task.await?;
    Ok(served?)
}

fn reflection() -> anyhow::Result<tonic_reflection::server::Builder<'static>> {
    let builder =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    Ok(SERVICES
        .into_iter()
        .fold(builder, |builder, service| builder.with_service_name(service)))
}
