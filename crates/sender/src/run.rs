//! Builds the sender from its settings and runs it until a stop is wished for.

use paceline_kit::health::Health;
use paceline_kit::{Bound, Context, admin, grpc};

use crate::config::Config;

/// Runs the sender until `context.shutdown`, then drains it.
///
/// # Errors
/// If a listener can't be bound or Redis can't be used.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let (health, health_service) = Health::new().await;
    let (listener, grpc_address) = grpc::bind(config.listen).await?;
    let (admin_address, _) = admin::serve(
        config.admin_listen,
        health.clone(),
        context.telemetry.clone(),
        context.shutdown.clone(),
    )
    .await?;
    let router = grpc::server().add_service(health_service);
    health.set_ready().await;
    context.ready(Bound {
        grpc: grpc_address,
        admin: admin_address,
    });
    grpc::serve(router, listener, context.shutdown.clone(), config.drain_max).await?;
    Ok(())
}
