//! The addresses of the look-alike: the APIs, what tests ask for, and the inbox page.
//!
//! | address | what |
//! |---|---|
//! | `POST /v2/email/outbound-emails`, `GET /v2/email/account` | the API of SES |
//! | `POST /v3/{domain}/messages` | the API of Mailgun |
//! | `GET /inbox.json?since=&limit=` | mails taken, oldest first |
//! | `GET /log.json?since=&limit=` | requests to send, oldest first |
//! | `GET /stats` | the counters |
//! | `GET`, `POST`, `DELETE /faults` | the faults in force; adds one fault or a list; clears them |
//! | `GET`, `PUT /limits?provider=` | the limits of the account at `ses` (if absent) or `mailgun`; replaces them |
//! | `GET`, `PUT /account` | how SES's `GetAccount` is answered, beside the limits; replaces it |
//! | `GET`, `PUT /webhooks` | who is told what becomes of mail; replaces them |
//! | `GET`, `POST`, `DELETE /event-faults` | how telling went; adds a fault of events; clears them |
//! | `POST /events` | tells of one event of a kept mail: `{"mail": id, "kind": "open"}` |
//! | `GET /sns/certificate.pem`, `/sns/ca.pem`, `/sns/confirm` | what SNS answers: the certificate of its signatures, its CA, a confirmation |
//! | `POST /reset` | forgets mails, log, counters and faults |
//! | `GET /` and below | the inbox page |

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{EventFault, EventKind, EventStats, Webhooks};
use super::fault::{FAULTS_MAX, Fault};
use super::limits::Limits;
use super::store::Stats;
use super::{Provider, Shared};
use crate::{inbox, mailgun, ses};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 10_000;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v2/email/outbound-emails", post(ses::send_email))
        .route("/v2/email/account", get(ses::account))
        .route("/v3/{domain}/messages", post(mailgun::send_message))
        .route("/inbox.json", get(mails))
        .route("/log.json", get(log))
        .route("/stats", get(stats))
        .route("/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/limits", get(limits).put(set_limits))
        .route("/account", get(ses::answer).put(ses::set_answer))
        .route("/webhooks", get(webhooks).put(set_webhooks))
        .route(
            "/event-faults",
            get(event_stats).post(add_event_fault).delete(clear_event_faults),
        )
        .route("/events", post(tell))
        .route("/sns/certificate.pem", get(sns_certificate))
        .route("/sns/ca.pem", get(sns_ca))
        .route("/sns/confirm", get(async || "confirmed"))
        .route("/reset", post(reset))
        .merge(inbox::router())
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

/// Refuses requests for another host name, by which a web page elsewhere could read the inbox through its visitor's browser
/// (DNS rebinding), and forbids caching and guessing of types.
async fn guard(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !is_loopback(host) {
        return (
            StatusCode::FORBIDDEN,
            "the look-alike answers on loopback names only",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)
    }
}

async fn mails(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Json<Value> {
    let mails = shared.state().store.mails_since(page.since, page.limit());
    let summaries: Vec<_> = mails.iter().map(|mail| mail.summary()).collect();
    Json(json!({ "mails": summaries }))
}

async fn log(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Json<Value> {
    let entries = shared.state().store.log_since(page.since, page.limit());
    Json(json!({ "requests": entries }))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Stats> {
    Json(shared.state().store.stats())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<Fault>),
    Many(Vec<Fault>),
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.state().faults.all().to_vec())
}

async fn add_faults(State(shared): State<Arc<Shared>>, Json(faults): Json<OneOrMany>) -> Response {
    let faults = match faults {
        OneOrMany::One(fault) => vec![*fault],
        OneOrMany::Many(faults) => faults,
    };
    if shared.state().faults.add(faults) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::BAD_REQUEST, format!("more than {FAULTS_MAX} faults")).into_response()
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    #[serde(default)]
    provider: Provider,
}

async fn limits(State(shared): State<Arc<Shared>>, Query(account): Query<Account>) -> Json<Limits> {
    Json(shared.state().meter(account.provider).limits().clone())
}

async fn set_limits(
    State(shared): State<Arc<Shared>>,
    Query(account): Query<Account>,
    Json(limits): Json<Limits>,
) -> StatusCode {
    shared.set_limits(account.provider, limits);
    StatusCode::NO_CONTENT
}

async fn reset(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.reset();
    StatusCode::NO_CONTENT
}

async fn webhooks(State(shared): State<Arc<Shared>>) -> Json<Webhooks> {
    Json(shared.state().events.webhooks.clone())
}

async fn set_webhooks(State(shared): State<Arc<Shared>>, Json(webhooks): Json<Webhooks>) -> StatusCode {
    shared.state().events.webhooks = webhooks;
    StatusCode::NO_CONTENT
}

async fn event_stats(State(shared): State<Arc<Shared>>) -> Json<EventStats> {
    Json(shared.state().events.stats)
}

async fn add_event_fault(State(shared): State<Arc<Shared>>, Json(fault): Json<EventFault>) -> StatusCode {
    if shared.state().events.add_fault(fault) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::BAD_REQUEST
    }
}

async fn clear_event_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().events.clear_faults();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    mail: String,
    kind: EventKind,
}

async fn tell(State(shared): State<Arc<Shared>>, Json(told): Json<Told>) -> StatusCode {
    if shared.tell(&told.mail, told.kind) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn sns_certificate(State(shared): State<Arc<Shared>>) -> String {
    shared.state().events.topic().certificate().to_owned()
}

async fn sns_ca(State(shared): State<Arc<Shared>>) -> String {
    shared.state().events.topic().ca().to_owned()
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["localhost", "localhost:8025", "127.0.0.1:1", "[::1]:9"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
