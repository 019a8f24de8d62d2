//! Where providers tell of events: `POST /ses/sns` and `POST /mailgun`.
//!
//! 200 says that the effects are durable, or that there are none. What could not be stored is answered 503, and comes again: SNS takes
//! every 4xx for delivered. What is forged, or for others, is answered 403; what means nothing, 400, and 406 where Mailgun is to
//! stop repeating it. No answer has a body that a stranger could learn from.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use paceline_domain::record::Provider;
use paceline_kit::clock::Clock;
use paceline_providers::ProviderEvent;
use paceline_providers::events::{mailgun, ses};

use crate::event_metrics::Metrics;
use crate::intake::{Intake, Taken};
use crate::mailgun_signature::{Freshness, SignatureError, Signatures};
use crate::sns::{Envelope, Kind, SnsError, Verifier};

pub use settings::MailgunWebhookSettings;

/// SNS takes 256 KiB, which JSON may write twice as long; Mailgun's events are shorter.
const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_MAX: Duration = Duration::from_secs(10);
/// SNS waits 15 s for an answer.
const EFFECT_MAX: Duration = Duration::from_secs(12);

/// What the handlers share.
pub(crate) struct Webhooks {
    pub(crate) verifier: Verifier,
    pub(crate) signatures: Signatures,
    pub(crate) intake: Intake,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

impl Webhooks {
    /// The addresses.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/ses/sns", post(sns))
            .route("/mailgun", post(mailgun))
            .with_state(Arc::new(self))
    }

    fn refuse(&self, provider: Provider, reason: &'static str, status: StatusCode) -> StatusCode {
        self.metrics.refused(provider, reason);
        status
    }

    async fn store(&self, event: ProviderEvent) -> StatusCode {
        let provider = event.provider;
        match tokio::time::timeout(EFFECT_MAX, self.intake.take(event)).await {
            Ok(Ok(Taken::New | Taken::Again | Taken::Foreign)) => StatusCode::OK,
            Ok(Err(error)) => {
                tracing::debug!(%error, "event not stored");
                self.refuse(provider, "not_stored", StatusCode::SERVICE_UNAVAILABLE)
            }
            Err(_) => self.refuse(provider, "not_stored", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    async fn notification(&self, message: &str) -> StatusCode {
        if ses::is_greeting(message) {
            return StatusCode::OK;
        }
        match ses::parse(message.as_bytes()) {
            Ok(event) => self.store(event).await,
            Err(error) => {
                tracing::warn!(%error, "what SNS brought is no event of SES");
                self.refuse(Provider::Ses, "malformed", StatusCode::BAD_REQUEST)
            }
        }
    }

    fn refuse_sns(&self, error: &SnsError) -> StatusCode {
        if error.is_transient() {
            tracing::warn!(%error, "a message of SNS can't be checked");
            return self.refuse(Provider::Ses, "unchecked", StatusCode::SERVICE_UNAVAILABLE);
        }
        tracing::debug!(%error, "message refused");
        self.refuse(Provider::Ses, "forged", StatusCode::FORBIDDEN)
    }
}

async fn body(request: Request<Body>) -> Result<Bytes, StatusCode> {
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_MAX, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn sns(State(webhooks): State<Arc<Webhooks>>, request: Request<Body>) -> StatusCode {
    let refuse = |reason, status| webhooks.refuse(Provider::Ses, reason, status);
    let body = match body(request).await {
        Ok(body) => body,
        Err(status) => return refuse("body", status),
    };
    let Ok(envelope) = Envelope::parse(&body) else {
        return refuse("malformed", StatusCode::BAD_REQUEST);
    };
    if let Err(error) = webhooks.verifier.verify(&envelope).await {
        return webhooks.refuse_sns(&error);
    }
    match envelope.kind {
        Kind::Notification => webhooks.notification(&envelope.message).await,
        Kind::SubscriptionConfirmation => match webhooks.verifier.confirm(&envelope).await {
            Ok(()) => {
                tracing::info!(topic = envelope.topic_arn, "subscription confirmed");
                StatusCode::OK
            }
            Err(error) => webhooks.refuse_sns(&error),
        },
        Kind::UnsubscribeConfirmation => {
            tracing::warn!(topic = envelope.topic_arn, "the topic sends no more events");
            StatusCode::OK
        }
    }
}

async fn mailgun(State(webhooks): State<Arc<Webhooks>>, request: Request<Body>) -> StatusCode {
    let refuse = |reason, status| webhooks.refuse(Provider::Mailgun, reason, status);
    let body = match body(request).await {
        Ok(body) => body,
        Err(status) => return refuse("body", status),
    };
    let Ok(webhook) = mailgun::parse(&body) else {
        return refuse("malformed", StatusCode::NOT_ACCEPTABLE);
    };
    let signature = webhook.signature;
    match webhooks.signatures.check(&signature, webhooks.clock.wall()) {
        Ok(Freshness::New) => {}
        Ok(Freshness::Used) => return StatusCode::OK,
        Err(SignatureError::Forged) => return refuse("forged", StatusCode::FORBIDDEN),
        Err(SignatureError::OutOfWindow) => return refuse("out_of_window", StatusCode::FORBIDDEN),
    }
    let status = webhooks.store(webhook.event).await;
    if status == StatusCode::OK {
        webhooks.signatures.use_up(&signature, webhooks.clock.wall());
    }
    status
}
