//! Health and metrics for people and machines that operate a service, over plain HTTP on a
//! listener of their own.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::health::Health;
use crate::listen::ListenAddress;
use crate::shutdown::Shutdown;
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;

/// Serves `/livez` (the process answers), `/readyz` (200, or 503 with the problem; then a note, if there is one) and `/metrics` (Prometheus' text format)
/// until `shutdown`, which comes after the supervisor's own.
///
/// # Errors
/// If the address can't be bound.
pub async fn serve(
    listen: ListenAddress,
    health: Health,
    telemetry: Telemetry,
    supervisor: &Supervisor,
    shutdown: Shutdown,
) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen.socket()).await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(metrics).with_state(telemetry));
    let task = supervisor.spawn("admin", async move {
        let served =
            axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.requested().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "admin listener failed");
        }
    });
    Ok((address, task))
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let note = match health.note() {
        note if note.is_empty() => note,
        note => format!("note: {note}\n"),
    };
    match health.problem() {
        None => (StatusCode::OK, format!("ready\n{note}")),
        Some(problem) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {problem}\n{note}"),
        ),
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        telemetry.scrape(),
    )
}
