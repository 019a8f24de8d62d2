//! One GET to an address that was checked: bounded in time and size, by the system's CAs, without redirects.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A chain of certificates has some thousand bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// SNS waits 15 s for its own answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer to use. Each may pass.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no whole answer in time")]
    Timeout,
    #[error("no connection, or it broke")]
    Connection(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off, or is longer than {ANSWER_BYTES_MAX} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("answered {0}")]
    Status(u16),
}

#[derive(Clone, Debug)]
pub(super) struct Fetch(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetch {
    /// # Errors
    /// If the system's CAs can't be read.
    pub(super) fn new() -> std::io::Result<Self> {
        // What may be asked by http is on this machine: see `endpoint`.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    pub(super) async fn get(&self, uri: Uri) -> Result<Bytes, FetchError> {
        tokio::time::timeout(ANSWER_MAX, self.ask(uri))
            .await
            .unwrap_or(Err(FetchError::Timeout))
    }

    async fn ask(&self, uri: Uri) -> Result<Bytes, FetchError> {
        let request = Request::get(uri)
            .body(Empty::new())
            .expect("a GET of an address that was read");
        let response = self.0.request(request).await.map_err(FetchError::Connection)?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        Ok(body.map_err(FetchError::Body)?.to_bytes())
    }
}
