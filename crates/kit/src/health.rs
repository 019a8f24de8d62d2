//! Whether a service can do its work, said over gRPC (`grpc.health.v1`) and over HTTP alike.

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

/// The handle by which a service says how it is. Starts as not ready.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    /// Why it is not ready; `None` when it is.
    problem: watch::Sender<Option<&'static str>>,
}

impl Health {
    /// The handle, and the gRPC service that reports it under the empty service name.
    #[must_use]
    pub async fn new() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = tonic_health::server::health_reporter();
        reporter.set_service_status("", ServingStatus::NotServing).await;
        let (problem, _) = watch::channel(Some("starting"));
        (Self { reporter, problem }, server)
    }

    /// Says that the service can do its work.
    pub async fn set_ready(&self) {
        self.set(None).await;
    }

    /// Says that it can't, and why: a few words without personal data.
    pub async fn set_not_ready(&self, problem: &'static str) {
        self.set(Some(problem)).await;
    }

    /// Why the service is not ready, if it isn't.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        *self.problem.borrow()
    }

    async fn set(&self, problem: Option<&'static str>) {
        if self.problem.send_replace(problem) == problem {
            return;
        }
        let status = if problem.is_none() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status("", status).await;
        match problem {
            None => tracing::info!("health is serving"),
            Some(problem) => tracing::warn!(problem, "health is not serving"),
        }
    }
}
