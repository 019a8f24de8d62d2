//! `GetAccount`: what the account's limits say, and what a test wants to be said instead.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{api, send};
use crate::lookalike::Shared;
use crate::lookalike::fault::Failure;

/// How `GetAccount` is answered. What is absent is as the account's limits have it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountAnswer {
    /// Recipients per second.
    pub max_send_rate: Option<f64>,
    /// Recipients in 24 hours; -1 for no limit.
    pub max_24_hour_send: Option<f64>,
    pub sent_last_24_hours: Option<f64>,
    /// "HEALTHY", "PROBATION" or "SHUTDOWN".
    pub enforcement_status: Option<String>,
    pub sending_enabled: Option<bool>,
    /// Not answered, but refused with this error.
    pub failure: Option<Failure>,
    /// How long the answer waits.
    pub latency_ms: u64,
    /// There is no answer ever.
    pub hangs: bool,
}

/// `GET /v2/email/account`.
pub(crate) async fn account(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = send::authorize(&headers) {
        return api::failure(&refusal);
    }
    let answer = {
        let mut state = shared.state();
        state.looks += 1;
        state.account.clone()
    };
    if answer.hangs {
        shared.stopping.cancelled().await;
    }
    tokio::time::sleep(Duration::from_millis(answer.latency_ms)).await;
    if let Some(failure) = &answer.failure {
        return api::failure(failure);
    }
    let state = shared.state();
    let limits = state.ses.limits();
    let status = if limits.suspended { "SHUTDOWN" } else { "HEALTHY" };
    let daily = limits.daily_max.map_or(-1.0, |max| max as f64);
    let enabled = !limits.paused && !limits.suspended;
    Json(json!({
        "DedicatedIpAutoWarmupEnabled": false,
        "EnforcementStatus": answer.enforcement_status.as_deref().unwrap_or(status),
        "ProductionAccessEnabled": true,
        "SendQuota": {
            "Max24HourSend": answer.max_24_hour_send.unwrap_or(daily),
            "MaxSendRate": answer.max_send_rate.or(limits.rate).unwrap_or(1e6),
            "SentLast24Hours": answer.sent_last_24_hours.unwrap_or_else(|| state.ses.sent_today() as f64),
        },
        "SendingEnabled": answer.sending_enabled.unwrap_or(enabled),
    }))
    .into_response()
}

/// `GET /account`: how it is answered.
pub(crate) async fn answer(State(shared): State<Arc<Shared>>) -> Json<AccountAnswer> {
    Json(shared.state().account.clone())
}

/// `PUT /account`: from here on it is answered so.
pub(crate) async fn set_answer(
    State(shared): State<Arc<Shared>>,
    Json(answer): Json<AccountAnswer>,
) -> StatusCode {
    shared.state().account = answer;
    StatusCode::NO_CONTENT
}
