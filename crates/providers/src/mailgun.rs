//! Mailgun, its API of version 3.
//!
//! As with SES, a call is made once: Mailgun knows no idempotency key, and each repetition would be one more email. A message
//! carries its id, acceptance and attempt as variables, by which Mailgun's events are matched. One [`Mailgun`] is one API
//! key; clones, and the domains made of it, share its connections.

mod api_key;
mod classify;
mod exchange;
mod form;
mod request;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;

use crate::answer::Parties;
use crate::message::OutgoingMessage;
use crate::outcome::SendOutcome;
use crate::settings::InvalidSetting;
use api_key::ApiKey;
use exchange::{Connections, Exchange};

pub use api_key::KeyError;
pub use settings::{MailgunRegion, MailgunSettings};

const DOMAIN_BYTES_MAX: usize = 253;

/// A client with one API key.
#[derive(Clone, Debug)]
pub struct Mailgun {
    connections: Connections,
    key: ApiKey,
    settings: Arc<MailgunSettings>,
}

/// One sending domain of the account, in its region.
#[derive(Clone, Debug)]
pub struct MailgunDomain {
    mailgun: Mailgun,
    url: Uri,
}

/// Mailgun can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("bad configuration: {0}")]
    Settings(#[from] InvalidSetting),
    #[error("bad configuration: mailgun.key_file: {path}")]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("bad configuration: {0:?} is no domain")]
    Domain(String),
    #[error("can't set TLS up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Mailgun {
    /// Reads the key and sets the client up. Opens no connection: that happens with the first send.
    ///
    /// # Errors
    /// If the settings don't fit together, or the key or the system's certificates can't be read.
    pub fn connect(settings: &MailgunSettings) -> Result<Self, ConnectError> {
        settings.validate()?;
        let path = settings.key_file.clone().unwrap_or_default();
        let key = match ApiKey::read(&path) {
            Ok(key) => key,
            Err(source) => return Err(ConnectError::Key { path, source }),
        };
        Ok(Self {
            connections: Connections::new(settings).map_err(ConnectError::Tls)?,
            key,
            settings: Arc::new(settings.clone()),
        })
    }

    /// A sending domain, in `region` or else in that of the settings.
    ///
    /// # Errors
    /// If `domain` is none.
    pub fn domain(&self, domain: &str, region: Option<MailgunRegion>) -> Result<MailgunDomain, ConnectError> {
        // It becomes a part of the path, where Mailgun would take a slash for another address of its API.
        let good = (1..=DOMAIN_BYTES_MAX).contains(&domain.len())
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
        let base = self.settings.base_url(region.unwrap_or(self.settings.region));
        match format!("{base}/v3/{domain}/messages").parse() {
            Ok(url) if good => Ok(MailgunDomain {
                mailgun: self.clone(),
                url,
            }),
            _ => Err(ConnectError::Domain(domain.to_owned())),
        }
    }
}

impl MailgunDomain {
    /// Makes one attempt to send one message.
    pub async fn send(&self, message: &OutgoingMessage<'_>) -> SendOutcome {
        let form = match request::build(message, &self.mailgun.settings) {
            Ok(form) => form,
            Err(error) => {
                tracing::info!(message_id = %message.message_id, %error, "message can't be expressed as a request");
                return SendOutcome::Refused {
                    reason: error.reason(),
                };
            }
        };
        let request = self.request(form, message.traceparent);
        // The last thing before the connection.
        let exchange = if message.gate.is_open() {
            self.mailgun.connections.exchange(request).await
        } else {
            Exchange::NotWritten
        };
        let outcome = classify::classify(&exchange, Parties::of(message));
        if !matches!(outcome, SendOutcome::Accepted { .. }) {
            // The provider's text may name an address, so only its status is logged.
            let status = match &exchange {
                Exchange::Answered(answer) => answer.status,
                _ => 0,
            };
            tracing::debug!(
                message_id = %message.message_id,
                outcome = outcome.as_str(),
                reason = outcome.reason().as_str(),
                status,
                "attempt failed"
            );
        }
        outcome
    }

    fn request(&self, form: form::Form, traceparent: &str) -> Request<Full<bytes::Bytes>> {
        let (content_type, body) = form.finish();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.mailgun.key.authorization());
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("paceline"));
        if !traceparent.is_empty()
            && let Ok(traceparent) = HeaderValue::from_str(traceparent)
        {
            headers.insert("traceparent", traceparent);
        }
        request
    }
}
