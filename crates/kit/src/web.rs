//! A listener for HTTP/1.1 that strangers may reach: providers' webhooks, links in mail.
//!
//! Nobody there has a key, so whoever serves by it must know its callers otherwise. What it bounds: connections, the time of a TLS
//! handshake and of a request's head, and so idle connections. Bodies and answers are bounded by their handlers.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::listen::ListenAddress;
use crate::settings::SettingsError;
use crate::shutdown::Shutdown;
use crate::tls;

/// Who connects must say what it wants within it; an idle connection ends after it, too.
const HEAD_MAX: Duration = Duration::from_secs(10);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long open requests may take to end at a stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// After a failed accept: no file descriptor is left, and none comes back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// No provider sends more.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The section of a listener that strangers reach. An empty path is one that is not set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebSettings {
    /// Off loopback only with a certificate.
    pub listen: ListenAddress,
    /// The certificate and what leads from it to its CA, PEM.
    #[serde(default)]
    pub certificate: PathBuf,
    /// Its private key, PEM.
    #[serde(default)]
    pub key: PathBuf,
    /// A further connection is closed.
    pub connections_max: NonZeroU32,
}

impl WebSettings {
    /// Reads the files and checks that they are enough for the address.
    ///
    /// # Errors
    /// Names the setting that can't be used, or is missing.
    pub fn read(&self) -> Result<Web, SettingsError> {
        let certificate = ("web.certificate", self.certificate.as_path());
        let key = ("web.key", self.key.as_path());
        let tls = tls::pair(certificate, key)?
            .map(|(certificate, key_pem)| {
                server_config(&certificate, &key_pem).ok_or_else(|| tls::not_a_pair("web.key", &self.key))
            })
            .transpose()?;
        if tls.is_none() && !self.listen.is_loopback() {
            let problem = format!("is not set, and web.listen = \"{}\" is off loopback", self.listen);
            return Err(SettingsError::invalid("web.certificate", problem));
        }
        Ok(Web {
            listen: self.listen,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            connections: Arc::new(Semaphore::new(self.connections_max.get() as usize)),
        })
    }
}

fn server_config(certificate: &[u8], key: &[u8]) -> Option<ServerConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain.ok()?, key)
        .ok()
}

/// A listener whose files were read.
#[derive(Clone)]
pub struct Web {
    listen: ListenAddress,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
}

/// A listener that is bound.
pub struct WebListener {
    tcp: TcpListener,
    web: Web,
}

impl Web {
    /// Binds the listener.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn bind(&self) -> std::io::Result<(WebListener, SocketAddr)> {
        let tcp = TcpListener::bind(self.listen.socket()).await?;
        let address = tcp.local_addr()?;
        let web = self.clone();
        Ok((WebListener { tcp, web }, address))
    }
}

impl WebListener {
    /// Serves until `shutdown`, and what is open then for at most 10 s more.
    pub async fn serve(self, routes: Router, shutdown: Shutdown) {
        let open = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = shutdown.requested() => break,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // No room: dropped, and so closed.
            let Ok(room) = Arc::clone(&self.web.connections).try_acquire_owned() else {
                continue;
            };
            let (tls, routes, watcher) = (self.web.tls.clone(), routes.clone(), open.watcher());
            tokio::spawn(async move {
                converse(stream, tls, routes, watcher).await;
                drop(room);
            });
        }
        if tokio::time::timeout(DRAIN_MAX, open.shutdown()).await.is_err() {
            tracing::warn!("requests are cut off by the stop");
        }
    }
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, routes: Router, watcher: Watcher) {
    let Some(tls) = tls else {
        return answer(stream, routes, watcher).await;
    };
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        answer(stream, routes, watcher).await;
    }
}

/// Errors are the peer's: it went away, or does not speak HTTP.
async fn answer<S>(stream: S, routes: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}
