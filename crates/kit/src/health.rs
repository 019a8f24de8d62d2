//! Whether a service can do its work, said over gRPC (`grpc.health.v1`) and over HTTP alike.

use std::future::pending;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, once};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as WireStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService as Reported};

use crate::connection::Served;

/// A request names a service at the most. Callers need no key for it.
const REQUEST_BYTES_MAX: usize = 1024;

/// The handle by which a service says how it is. Starts as not ready.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    /// Why it is not ready; `None` when it is.
    problem: watch::Sender<Option<&'static str>>,
    /// What is to be known of it, ready or not; empty for nothing.
    note: watch::Sender<String>,
}

impl Health {
    /// The handle, and the gRPC service that reports it under the empty service name. A watch ends when the
    /// [server](crate::grpc::serve) stops, with a last "not serving": clients hold theirs open for good, and no drain could outlast them.
    #[must_use]
    pub async fn new() -> (Self, HealthServer<impl HealthService>) {
        let reporter = HealthReporter::new();
        let server = HealthServer::new(EndingWatches(Reported::from_health_reporter(reporter.clone())))
            .max_decoding_message_size(REQUEST_BYTES_MAX);
        reporter.set_service_status("", ServingStatus::NotServing).await;
        let (problem, _) = watch::channel(Some("starting"));
        let note = watch::Sender::default();
        (
            Self {
                reporter,
                problem,
                note,
            },
            server,
        )
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

    /// What people should know of a service that does its work, in a few words without personal data; empty for nothing.
    pub fn set_note(&self, note: &str) {
        self.note.send_if_modified(|before| {
            let is_new = before != note;
            note.clone_into(before);
            is_new
        });
    }

    /// What [`Health::set_note`] said last.
    #[must_use]
    pub fn note(&self) -> String {
        self.note.borrow().clone()
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

/// The health service, but its watches end when their server stops.
struct EndingWatches(Reported);

#[tonic::async_trait]
impl HealthService for EndingWatches {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let served = request.extensions().get::<Served>().cloned();
        let stopped = async move {
            match served {
                Some(served) => served.until.requested().await,
                None => pending().await,
            }
        };
        let statuses = self.0.watch(request).await?.into_inner();
        let last = HealthCheckResponse {
            status: WireStatus::NotServing.into(),
        };
        let statuses = statuses.take_until(stopped).chain(once(async move { Ok(last) }));
        Ok(Response::new(statuses.boxed()))
    }
}
