//! `SendEmail`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::api::{self, SentEmail};
use super::validate;
use crate::lookalike::exchange::{self, Incoming, Wording, header};
use crate::lookalike::fault::Failure;
use crate::lookalike::limits::Limit;
use crate::lookalike::{ConnectionHandle, Provider, Shared};

/// SES's limit on a message, after base64, with room for the JSON around it.
const BODY_BYTES_MAX: usize = 56 << 20;

struct Ses;

impl Wording for Ses {
    const PROVIDER: Provider = Provider::Ses;
    const TRUNCATED: &'static [u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"MessageId\": \"look";

    fn taken(&self, id: &str) -> Response {
        Json(json!({ "MessageId": id })).into_response()
    }

    fn failure(failure: &Failure) -> Response {
        api::failure(failure)
    }

    fn limit(&self, limit: Limit, _: Timestamp) -> Failure {
        let (status, code, message) = match limit {
            Limit::Suspended => (
                400,
                "AccountSuspendedException",
                "This account is permanently restricted from sending email.",
            ),
            Limit::Paused => (
                400,
                "SendingPausedException",
                "Email sending is paused for this account.",
            ),
            Limit::Daily => (429, "TooManyRequestsException", "Daily message quota exceeded."),
            Limit::Rate { .. } => (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
        };
        Failure::new(status, Some(code), message)
    }
}

pub(crate) async fn send_email(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return api::failure(&Failure::new(
            413,
            Some("RequestEntityTooLargeException"),
            "Too large.",
        ));
    };
    let incoming = authorize(&parts.headers).and_then(|()| parse(&body));
    let traceparent = header(&parts.headers, "traceparent");
    exchange::answer(&Ses, &shared, &connection, incoming, traceparent).await
}

pub(super) fn authorize(headers: &HeaderMap) -> Result<(), Failure> {
    let signed = header(headers, "authorization").is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "));
    if signed {
        Ok(())
    } else {
        Err(Failure::new(
            403,
            Some("MissingAuthenticationTokenException"),
            "Missing Authentication Token",
        ))
    }
}

fn parse(body: &[u8]) -> Result<Incoming, Failure> {
    let sent: SentEmail = serde_json::from_slice(body)
        .map_err(|error| Failure::new(400, Some("SerializationException"), &error.to_string()))?;
    Ok(Incoming {
        checked: validate::email(&sent),
        email: sent.into_email(),
    })
}
