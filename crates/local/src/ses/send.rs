//! `SendEmail` and `GetAccount`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::api::{self, SentEmail};
use super::connection::{ConnectionHandle, WireFault};
use super::fault::{Action, Failure, Fault};
use super::lookalike::Shared;
use super::store::LogEntry;
use super::validate;

/// SES's limit on a message, after base64, with room for the JSON around it.
const BODY_BYTES_MAX: usize = 56 << 20;

/// An answer that promises more than it holds.
const TRUNCATED: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"MessageId\": \"look";

pub(super) async fn send_email(
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
    let parsed = authorize(&parts.headers).and_then(|()| parse(&body));
    let traceparent = header(&parts.headers, "traceparent");
    let (answer, delay) = answer(&shared, parsed, traceparent);
    wait(&shared, delay).await;
    match answer {
        Answer::Http(response) => response,
        Answer::Never => {
            shared.stopping.cancelled().await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Answer::Broken(fault) => {
            connection.break_with(fault);
            StatusCode::OK.into_response()
        }
    }
}

enum Answer {
    Http(Response),
    Never,
    Broken(WireFault),
}

async fn wait(shared: &Shared, delay: Duration) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = shared.stopping.cancelled() => {}
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn authorize(headers: &HeaderMap) -> Result<(), Failure> {
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

fn parse(body: &[u8]) -> Result<SentEmail, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(400, Some("SerializationException"), &error.to_string()))
}

/// Decides, takes and logs, all under one lock: what the counters say is what happened.
fn answer(
    shared: &Shared,
    parsed: Result<SentEmail, Failure>,
    traceparent: Option<String>,
) -> (Answer, Duration) {
    let (now, uptime) = (Timestamp::now(), shared.uptime());
    let mut state = shared.state();
    let mut entry = LogEntry {
        sequence: state.store.request(),
        received_at: now.to_string(),
        to: Vec::new(),
        paceline_id: None,
        attempt: None,
        accepted: None,
        status: None,
        note: None,
    };
    let latency = Duration::from_millis(state.meter.limits().latency_ms);
    let email = match parsed {
        Ok(email) => email,
        Err(refusal) => return (refuse(&mut state.store, entry, &refusal), latency),
    };
    entry.to = email.recipients().map(str::to_owned).collect();
    entry.paceline_id = email.tag("paceline_id").map(str::to_owned);
    entry.attempt = email.tag("paceline_attempt").map(str::to_owned);
    let fault = state.faults.for_call(email.recipients());
    let delay = latency + Duration::from_millis(fault.as_ref().map_or(0, |fault| fault.delay_ms));
    if let Some(Fault {
        action: Action::Refuse(refusal),
        ..
    }) = &fault
    {
        return (refuse(&mut state.store, entry, refusal), delay);
    }
    let recipients = entry.to.len() as u64;
    if let Err(refusal) = validate::email(&email).and_then(|()| state.meter.take(recipients, uptime)) {
        return (refuse(&mut state.store, entry, &refusal), delay);
    }
    let id = state.store.accept(email, traceparent, now, uptime);
    let (answer, status, note) = taken(fault.map(|fault| fault.action), &id);
    entry.accepted = Some(id);
    entry.status = status;
    entry.note = note.map(str::to_owned);
    state.store.record(entry);
    (answer, delay)
}

fn refuse(store: &mut super::store::Store, mut entry: LogEntry, refusal: &Failure) -> Answer {
    entry.status = Some(refusal.status);
    entry.note = refusal.code.clone();
    store.record(entry);
    Answer::Http(api::failure(refusal))
}

/// How a mail that was taken is answered: the answer, its status, and what to note of it.
fn taken(action: Option<Action>, id: &str) -> (Answer, Option<u16>, Option<&'static str>) {
    let taken = || Json(json!({ "MessageId": id })).into_response();
    match action {
        None | Some(Action::Accept | Action::Refuse(_) | Action::ResetBeforeReading) => {
            (Answer::Http(taken()), Some(200), None)
        }
        Some(Action::AcceptThenFail(failure)) => {
            let status = failure.status;
            (
                Answer::Http(api::failure(&failure)),
                Some(status),
                Some("taken, then failed"),
            )
        }
        Some(Action::AcceptThenHang) => (Answer::Never, None, Some("taken, then silent")),
        Some(Action::AcceptThenReset) => (Answer::Broken(WireFault::Reset), None, Some("taken, then reset")),
        Some(Action::AcceptThenClose) => (Answer::Broken(WireFault::Close), None, Some("taken, then closed")),
        Some(Action::AcceptThenTruncate) => (
            Answer::Broken(WireFault::Raw(TRUNCATED.to_vec())),
            None,
            Some("taken, then truncated"),
        ),
        Some(Action::AcceptThenGarble) => (
            Answer::Http("<html>welcome to the hotel's network</html>".into_response()),
            Some(200),
            Some("taken, then garbled"),
        ),
    }
}

pub(super) async fn account(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = authorize(&headers) {
        return api::failure(&refusal);
    }
    let state = shared.state();
    let limits = state.meter.limits();
    let status = if limits.suspended { "SHUTDOWN" } else { "HEALTHY" };
    Json(json!({
        "DedicatedIpAutoWarmupEnabled": false,
        "EnforcementStatus": status,
        "ProductionAccessEnabled": true,
        "SendQuota": {
            "Max24HourSend": limits.daily_max.map_or(-1.0, |max| max as f64),
            "MaxSendRate": limits.rate.unwrap_or(1e6),
            "SentLast24Hours": state.meter.sent_today() as f64,
        },
        "SendingEnabled": !limits.paused && !limits.suspended,
    }))
    .into_response()
}
