//! Amazon SES, API version 2.
//!
//! The SDK's own retries are off: it repeats a call after a timeout or a broken connection, and each repetition is one
//! more email. One [`Ses`] is one region; clones share its connections.

mod account;
mod classify;
mod request;
mod texts;
mod transmission;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::config::{
    BehaviorVersion, Builder, Credentials as StaticCredentials, Region, StalledStreamProtectionConfig,
};
use paceline_domain::reason::Reason;

pub use account::{AccountError, AccountPause, SesAccount};

use crate::answer::Parties;
use crate::http_client::http_client;
use crate::message::OutgoingMessage;
use crate::outcome::SendOutcome;
use crate::settings::{Credentials, InvalidSetting, SesSettings};
use request::Request;
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
        let config = match settings.credentials {
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
        Ok(Self::assemble(config, settings))
    }

    fn assemble(mut config: Builder, settings: &SesSettings) -> Self {
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        // On the service's own builder: what AWS_MAX_ATTEMPTS or a profile say about retries must not count here.
        let config = config
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(settings))
            // The attempt's timeout bounds a stalled answer, too.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http_client(
                settings.idle_connections_max,
                settings.endpoint_is_loopback(),
            ))
            .build();
        let client = Client::from_conf(config);
        Self { client }
    }

    /// Makes one attempt to send one message.
    pub async fn send(&self, message: &OutgoingMessage<'_>) -> SendOutcome {
        let built = request::build(self.client.send_email(), message);
        let Request { form, texts } = match built {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(message_id = %message.message_id, %error, "message can't be expressed as a request");
                return SendOutcome::Refused {
                    reason: Reason::MessageRefused,
                };
            }
        };
        let transmission = Transmission::new(message.traceparent, message.gate.clone());
        let request = form.customize().interceptor(texts);
        let answer = request.interceptor(transmission.clone()).send().await;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future::ProvideCredentials as ProvidedCredentials;
    use aws_sdk_sesv2::config::{BehaviorVersion, Builder, ProvideCredentials, Region};
    use paceline_domain::id::MessageId;
    use paceline_domain::reason::Reason;
    use paceline_domain::time::Millis;

    use super::Ses;
    use crate::message::{Mailbox, OutgoingMessage, WriteGate};
    use crate::outcome::SendOutcome;
    use crate::settings::SesSettings;

    /// A chain that finds no credentials, or never comes back.
    #[derive(Debug)]
    struct Broken {
        hangs: bool,
    }

    impl ProvideCredentials for Broken {
        fn provide_credentials<'a>(&'a self) -> ProvidedCredentials<'a>
        where
            Self: 'a,
        {
            if self.hangs {
                ProvidedCredentials::new(std::future::pending())
            } else {
                ProvidedCredentials::ready(Err(CredentialsError::not_loaded("none")))
            }
        }
    }

    async fn send_with(provider: Broken) -> SendOutcome {
        let settings = SesSettings {
            // Nothing listens there, and nothing is to be sent there.
            endpoint_url: Some("http://127.0.0.1:9".to_owned()),
            connect_timeout: Duration::from_millis(100),
            attempt_timeout: Duration::from_millis(200),
            ..SesSettings::default()
        };
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(provider);
        let mailbox = Mailbox {
            address: "a@x.example",
            display_name: "",
        };
        let message = OutgoingMessage {
            message_id: MessageId([1; 16]),
            accepted_at: Millis(1),
            attempt: 1,
            tenant: "t",
            template: "welcome",
            from: mailbox,
            reply_to: None,
            to: mailbox,
            subject: "s",
            html: "",
            text: "t",
            headers: Vec::new(),
            tags: Vec::new(),
            attachments: Vec::new(),
            tracking: None,
            configuration_set: "events",
            tenant_name: None,
            via: "",
            traceparent: "",
            gate: WriteGate::default(),
        };
        Ses::assemble(config, &settings).send(&message).await
    }

    #[tokio::test]
    async fn missing_credentials_are_the_accounts_trouble() {
        let outcome = send_with(Broken { hangs: false }).await;
        let reason = Reason::CredentialsRefused;
        assert_eq!(outcome, SendOutcome::AccountRefused { reason });
    }

    #[tokio::test]
    async fn a_timeout_before_anything_was_written_is_no_doubt() {
        let outcome = send_with(Broken { hangs: true }).await;
        let reason = Reason::NotWritten;
        assert_eq!(outcome, SendOutcome::Transient { reason });
    }
}
