//! Amazon SES, API version 2.
//!
//! The SDK's own retries are off: it repeats a call after a timeout or a broken connection, and each repetition is one
//! more email. One [`Ses`] is one region; clones share its connections.

mod classify;
mod request;
mod transmission;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::config::{
    BehaviorVersion, Builder, Credentials as StaticCredentials, Region, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use paceline_domain::reason::Reason;

use crate::message::OutgoingMessage;
use crate::outcome::SendOutcome;
use crate::settings::{Credentials, InvalidSetting, SesSettings};
use classify::Parties;
use transmission::Transmission;

/// A client for one region of SES.
#[derive(Clone, Debug)]
pub struct Ses {
    client: Client,
}

/// SES can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("bad configuration: {0}")]
    Settings(#[from] InvalidSetting),
    #[error("bad configuration: the region is empty")]
    NoRegion,
}

impl Ses {
    /// Sets the client up. Opens no connection and fetches no credentials: both happen with the first send.
    ///
    /// # Errors
    /// If the settings don't fit together.
    pub async fn connect(region: &str, settings: &SesSettings) -> Result<Self, ConnectError> {
        settings.validate()?;
        if region.is_empty() {
            return Err(ConnectError::NoRegion);
        }
        let region = Region::new(region.to_owned());
        let mut config = match settings.credentials {
            Credentials::Chain => {
                let shared = aws_config::defaults(BehaviorVersion::latest())
                    .region(region)
                    .load()
                    .await;
                Builder::from(&shared)
            }
            Credentials::LookAlike => Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .credentials_provider(StaticCredentials::new(
                    "look-alike",
                    "look-alike",
                    None,
                    None,
                    "look_alike",
                )),
        };
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        // On the service's own builder: what AWS_MAX_ATTEMPTS or a profile say about retries must not count here.
        let config = config
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(settings))
            // The attempt's timeout bounds a stalled answer, too.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http_client(settings))
            .build();
        Ok(Self {
            client: Client::from_conf(config),
        })
    }

    /// Makes one attempt to send one message.
    pub async fn send(&self, message: &OutgoingMessage<'_>) -> SendOutcome {
        let request = match request::build(self.client.send_email(), message) {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(message_id = %message.message_id, %error, "message can't be expressed as a request");
                return SendOutcome::Refused {
                    reason: Reason::MessageRefused,
                };
            }
        };
        let transmission = Transmission::new(message.traceparent);
        let answer = request
            .customize()
            .interceptor(transmission.clone())
            .send()
            .await;
        let outcome = classify::classify(&answer, Parties::of(message), transmission.started());
        if let Err(error) = &answer {
            // The provider's text may name an address, so only its code and the request's id are logged.
            tracing::debug!(
                message_id = %message.message_id,
                outcome = outcome.as_str(),
                reason = outcome.reason().as_str(),
                code = classify::code(error).unwrap_or_default(),
                "attempt failed"
            );
        }
        outcome
    }
}

fn timeouts(settings: &SesSettings) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(settings.attempt_timeout)
        .build()
}

/// The SDK's default client, but with a bound on idle connections, and no proxy on the way to this machine itself.
fn http_client(settings: &SesSettings) -> SharedHttpClient {
    let idle_max = settings.idle_connections_max;
    let local = settings.endpoint_is_loopback();
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |connector, components| {
        let mut builder = aws_smithy_http_client::Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .pool_max_idle_per_host(idle_max);
        builder.set_connector_settings(connector.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        let proxy = if local { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
        builder.set_proxy_config(Some(proxy));
        builder.build()
    })
}
