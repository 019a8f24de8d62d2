//! What a service is run with.

use std::net::SocketAddr;

use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

/// The addresses that a service listens on, known once it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

type OnReady = Box<dyn FnOnce(Bound) + Send>;
type OnWeb = Box<dyn FnOnce(SocketAddr) + Send>;

/// The surroundings of one service: the same for a process of its own and for one among others.
pub struct Context {
    pub telemetry: Telemetry,
    pub shutdown: Shutdown,
    service: &'static str,
    on_ready: Option<OnReady>,
    on_web: Option<OnWeb>,
}

impl Context {
    #[must_use]
    pub fn new(service: &'static str, telemetry: Telemetry, shutdown: Shutdown) -> Self {
        Self {
            telemetry,
            shutdown,
            service,
            on_ready: None,
            on_web: None,
        }
    }

    /// Calls `hook` once the service is ready.
    #[must_use]
    pub fn on_ready(mut self, hook: impl FnOnce(Bound) + Send + 'static) -> Self {
        self.on_ready = Some(Box::new(hook));
        self
    }

    /// Calls `hook` once a service that has a listener for strangers has bound it.
    #[must_use]
    pub fn on_web(mut self, hook: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.on_web = Some(Box::new(hook));
        self
    }

    #[must_use]
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// Says that the service answers now: one structured log line, `message="ready"` with `service`, `grpc` and `admin`,
    /// by which whoever started the process learns its ports.
    pub fn ready(&mut self, bound: Bound) {
        tracing::info!(target: "paceline", service = self.service, grpc = %bound.grpc, admin = %bound.admin, "ready");
        if let Some(hook) = self.on_ready.take() {
            hook(bound);
        }
    }

    /// Says where strangers are answered: one structured log line, `message="serves web"` with `service` and `web`. Before `ready`.
    pub fn serves_web(&mut self, web: SocketAddr) {
        tracing::info!(target: "paceline", service = self.service, %web, "serves web");
        if let Some(hook) = self.on_web.take() {
            hook(web);
        }
    }
}
