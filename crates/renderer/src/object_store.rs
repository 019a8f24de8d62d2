//! One file from an object store: bounded in time and in size, by the system's CAs, without redirects.
//!
//! A GET changes nothing, so it may be made again: by us after a renderer died, or by the client on a connection that turned out to be closed.
//! Errors tell what may pass from what will not, and never where it was.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{BoxError, Service};

/// Shorter than stores keep an idle connection, so that few are found closed.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoFile {
    /// The store will say the same again.
    #[error("its store answers {0}")]
    Refused(u16),
    #[error("its store sends it elsewhere ({0}), and redirects are not followed")]
    Redirect(u16),
    #[error("it has more than {0} bytes, which is what the message's attachments leave of 7 MiB")]
    TooLarge(usize),
    /// The store may say otherwise later.
    #[error("its store answers {0}")]
    Busy(u16),
    #[error("no connection to its store, or it broke")]
    Connection(#[source] hyper_util::client::legacy::Error),
    #[error("the answer of its store broke off")]
    Broken(#[source] hyper::Error),
}

/// A file, and whether its end is known to be its end: else the connection's end was taken for it.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) bytes: Bytes,
    pub(crate) is_whole: bool,
}

/// Connections to the stores.
#[derive(Clone, Debug)]
pub(crate) struct ObjectStore(Client<Connector, Empty<Bytes>>);

/// Makes each connection, TLS included, in a bounded time: the client goes on with one whose caller has gone.
#[derive(Clone, Debug)]
struct Connector {
    https: Https,
    timeout: Duration,
}

type Https = HttpsConnector<HttpConnector>;

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.https.call(uri));
        Box::pin(async move { connecting.await? })
    }
}

impl ObjectStore {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// If the system's CAs can't be read.
    pub(crate) fn new(connect_timeout: Duration) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // What may be asked by http is on this machine: see `kit::object_url`.
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connector = Connector {
            https,
            timeout: connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self(client))
    }

    /// The file at `uri`, of at most so many bytes. The caller bounds the time: dropped, the call closes its connection.
    ///
    /// # Errors
    /// As [`NoFile`].
    pub(crate) async fn get(&self, uri: Uri, bytes_max: usize) -> Result<File, NoFile> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("paceline"));
        // The digest is that of the file, not of what a proxy makes of it.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = self.0.request(request).await.map_err(NoFile::Connection)?;
        let (parts, body) = response.into_parts();
        judge(parts.status)?;
        read(&parts.headers, body, bytes_max).await
    }
}

fn judge(status: StatusCode) -> Result<(), NoFile> {
    let number = status.as_u16();
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(NoFile::Busy(number)),
        status if status.is_server_error() => Err(NoFile::Busy(number)),
        status if status.is_redirection() => Err(NoFile::Redirect(number)),
        _ => Err(NoFile::Refused(number)),
    }
}

async fn read(headers: &HeaderMap, mut body: Incoming, bytes_max: usize) -> Result<File, NoFile> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Err(NoFile::TooLarge(bytes_max));
    }
    let mut bytes = BytesMut::with_capacity(length.unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(NoFile::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(NoFile::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(data);
    }
    Ok(File {
        bytes: bytes.freeze(),
        is_whole: length.is_some() || headers.contains_key(header::TRANSFER_ENCODING),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::{NoFile, ObjectStore};

    #[tokio::test]
    async fn who_takes_a_connection_and_never_answers_for_tls_is_given_up() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let uri = format!("https://{}/a", silent.local_addr().expect("an address"));
        let store = ObjectStore::new(Duration::from_millis(300)).expect("the system's CAs");
        let asked = store.get(uri.parse().expect("a URI"), 1);
        let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
        let error = answer.expect("by itself").expect_err("no TLS");
        assert!(matches!(error, NoFile::Connection(_)), "{error:?}");
    }
}
