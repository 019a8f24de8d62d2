//! A listener with health alone, and a client of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use paceline_kit::access::AccessSettings;
use paceline_kit::client::{Client, ClientSettings, Connection};
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::health::Health;
use paceline_kit::listen::ListenAddress;
use paceline_kit::secret::Secret;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::{Shutdown, grpc};
use paceline_testkit::authority::Pair;
use tokio::task::JoinHandle;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

/// The listener; stops with the value.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) telemetry: Telemetry,
    stop: Shutdown,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

pub(crate) fn loopback() -> ListenAddress {
    serde_json::from_str("\"127.0.0.1:0\"").expect("an address")
}

impl Listener {
    pub(crate) async fn start(tls: &ServerTlsSettings, access: &AccessSettings) -> Self {
        Self::with_drain(tls, access, Duration::ZERO).await
    }

    pub(crate) async fn with_drain(
        tls: &ServerTlsSettings,
        access: &AccessSettings,
        drain_max: Duration,
    ) -> Self {
        let entrance = Entrance::new(loopback(), tls, access, Callers::Tenants).expect("good files");
        let telemetry = Telemetry::new("kit", &TelemetrySettings::default()).expect("no endpoint");
        let (listener, address) = entrance.bind().await.expect("a free port");
        let (health, service) = Health::new().await;
        health.set_ready().await;
        let server = entrance.server(&telemetry.meter("test"));
        let router = server.expect("files that were tried").add_service(service);
        let stop = Shutdown::new();
        let served = tokio::spawn(grpc::serve(router, listener, stop.clone(), drain_max));
        Self {
            address,
            telemetry,
            stop,
            served,
        }
    }

    /// Stops it and waits until nothing is served any more.
    pub(crate) async fn stop(&mut self) {
        self.stop.trigger();
        let served = (&mut self.served).await.expect("no panic");
        served.expect("a listener that works");
    }

    /// What it says of its health over TLS to a client with these settings.
    pub(crate) async fn health(&self, settings: &ClientSettings) -> Result<ServingStatus, tonic::Status> {
        let client = settings.read().expect("good files");
        let connection = client.channel(&format!("https://{}", self.address));
        check(connection.expect("a URL")).await
    }

    pub(crate) fn connect(&self, client: &Client) -> Connection {
        let connection = client.channel(&format!("http://{}", self.address));
        connection.expect("a URL")
    }
}

pub(crate) async fn check(connection: Connection) -> Result<ServingStatus, tonic::Status> {
    let mut health = HealthClient::new(connection);
    let answer = health.check(HealthCheckRequest::default()).await;
    Ok(answer?.into_inner().status())
}

pub(crate) fn served(pair: &Pair, client_ca: Option<&Path>) -> ServerTlsSettings {
    ServerTlsSettings {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
        client_ca: client_ca.map(Path::to_owned).unwrap_or_default(),
    }
}

/// A client that trusts `ca`.
pub(crate) fn trusting(ca: &Path) -> ClientSettings {
    ClientSettings {
        ca: ca.to_owned(),
        ..ClientSettings::default()
    }
}

pub(crate) fn with_key(key: &str) -> Client {
    let settings = ClientSettings {
        api_key: Secret::new(key),
        ..ClientSettings::default()
    };
    settings.read().expect("no files")
}
