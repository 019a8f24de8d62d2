//! Calls to other services: TLS by the address's scheme, a key with every call.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::grpc;
use crate::secret::Secret;
use crate::settings::SettingsError;
use crate::tls::{ClientFiles, ClientTls};

/// The `[client]` section. What is empty is not set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientSettings {
    /// The CAs that servers' certificates are checked against, PEM; not set: the system's.
    pub ca: PathBuf,
    /// The client's own certificate for servers that ask for one, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The name that a server's certificate must have; not set: the host of its URL.
    pub domain: String,
    /// The API key.
    pub api_key: Secret,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            domain: String::new(),
            api_key: Secret::new(""),
        }
    }
}

impl ClientSettings {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that can't be used, or a key that no header can carry; names the setting, never what it holds.
    pub fn read(&self) -> Result<Client, SettingsError> {
        let files = ClientFiles {
            ca: ("client.ca", &self.ca),
            certificate: ("client.certificate", &self.certificate),
            key: ("client.key", &self.key),
            domain: &self.domain,
        };
        let bearer = Bearer::new(&self.api_key).ok_or_else(|| {
            SettingsError::invalid(
                "client.api_key",
                "must be of printable ASCII characters without spaces",
            )
        })?;
        Ok(Client::new(files.read()?, bearer))
    }
}

/// How this process calls other services.
#[derive(Clone, Debug)]
pub struct Client {
    tls: ClientTls,
    bearer: Bearer,
}

/// A channel whose calls carry the client's key.
pub type Connection = InterceptedService<Channel, Bearer>;

/// An address that can't be called.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("is no http:// or https:// URL")]
    Scheme,
    #[error("can't be used")]
    Endpoint(#[source] tonic::transport::Error),
    /// Whoever listens on the way would have the key.
    #[error("is off loopback and not https://, so the API key would travel in the clear")]
    KeyInClear,
    /// Whoever set it relies on TLS. Holds the setting's name.
    #[error("is not https://, so the TLS setting {0} would not be used")]
    TlsUnused(&'static str),
}

impl Client {
    #[must_use]
    pub const fn new(tls: ClientTls, bearer: Bearer) -> Self {
        Self { tls, bearer }
    }

    /// A channel to `address` that connects when it is first used and again whenever it must: by TLS for `https://`, in plaintext
    /// for `http://`.
    ///
    /// # Errors
    /// If the address is no URL of the two, if there is a key and it would leave the machine in the clear, if TLS was set up and the
    /// address is without it, or if the system has no CAs and none were given.
    pub fn channel(&self, address: &str) -> Result<Connection, ChannelError> {
        let channel = self.endpoint(address)?.connect_lazy();
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }

    /// Checks an address of the settings before anything runs.
    ///
    /// # Errors
    /// As [`Client::channel`].
    pub fn check(&self, address: &str) -> Result<(), ChannelError> {
        self.endpoint(address).map(|_| ())
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, ChannelError> {
        let mut endpoint = grpc::endpoint(address).map_err(ChannelError::Endpoint)?;
        match endpoint.uri().scheme_str() {
            Some("https") => {
                endpoint = endpoint
                    .tls_config(self.tls.config())
                    .map_err(ChannelError::Endpoint)?;
            }
            Some("http") if self.bearer.0.is_some() && !is_loopback(endpoint.uri()) => {
                return Err(ChannelError::KeyInClear);
            }
            Some("http") => {
                if let Some(setting) = self.tls.set() {
                    return Err(ChannelError::TlsUnused(setting));
                }
            }
            _ => return Err(ChannelError::Scheme),
        }
        Ok(endpoint)
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The API key of every call, if there is one.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// `None` for a key that no header can carry; an empty one is none.
    #[must_use]
    pub fn new(key: &Secret) -> Option<Self> {
        let key = key.expose();
        if key.is_empty() {
            return Some(Self(None));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut value = MetadataValue::try_from(format!("Bearer {key}")).ok()?;
        // Neither shown by a debug print nor kept in HPACK's table.
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer" } else { "no key" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bearer, ChannelError, Client, ClientSettings};
    use crate::secret::Secret;

    fn client(key: &str) -> Client {
        let settings = ClientSettings {
            api_key: Secret::new(key),
            ..ClientSettings::default()
        };
        settings.read().expect("no files")
    }

    #[tokio::test]
    async fn a_key_never_leaves_the_machine_in_the_clear() {
        let client = client("swordfish");
        for address in [
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost:1",
            "https://ingest:1",
        ] {
            assert!(client.channel(address).is_ok(), "{address}");
        }
        for address in [
            "http://ingest:1",
            "http://10.0.0.1:1",
            "http://localhost.example:1",
            "http://0.0.0.0:1",
        ] {
            let refused = client.channel(address).expect_err(address);
            assert!(matches!(refused, ChannelError::KeyInClear), "{refused}");
        }
    }

    #[tokio::test]
    async fn other_addresses_than_urls_are_refused() {
        let client = client("");
        assert!(
            client.channel("http://ingest:1").is_ok(),
            "there is no key to lose"
        );
        for address in ["127.0.0.1:7070", "ftp://127.0.0.1", "not a uri", ""] {
            assert!(client.channel(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert!(!format!("{:?}", client("swordfish")).contains("swordfish"));
        assert!(Bearer::new(&Secret::new("two words")).is_none());
        assert!(Bearer::new(&Secret::new("two\nlines")).is_none());
    }
}
