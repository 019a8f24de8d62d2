//! Calls to ingest, and their errors as sentences.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::args::Target;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);

pub(crate) fn ingest(target: &Target) -> anyhow::Result<IngestServiceClient<Channel>> {
    Ok(IngestServiceClient::new(channel(target)?))
}

pub(crate) fn messages(target: &Target) -> anyhow::Result<MessagesServiceClient<Channel>> {
    Ok(MessagesServiceClient::new(channel(target)?))
}

fn channel(target: &Target) -> anyhow::Result<Channel> {
    paceline_kit::grpc::channel(&target.ingest)
        .with_context(|| format!("--ingest {} is no URL", target.ingest))
}

/// A request with our deadline.
pub(crate) fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_MAX);
    request
}

/// What went wrong: every field that was refused, or the reason; and when to try again.
pub(crate) fn explain(status: &Status) -> anyhow::Error {
    let details = status.get_error_details();
    let violations = details
        .bad_request()
        .map(|request| request.field_violations.as_slice())
        .unwrap_or_default();
    let mut text = status.code().to_string();
    if violations.is_empty() {
        text.push_str(&format!(": {}", status.message()));
    }
    for violation in violations {
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        text.push_str(&format!("\n  try again in {}", humantime::format_duration(delay)));
    }
    anyhow::anyhow!(text)
}

pub(crate) fn to_timestamp(time: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(time)
}

/// RFC 3339 with milliseconds, in UTC.
pub(crate) fn show_time(time: Option<prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| SystemTime::try_from(time).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| humantime::format_rfc3339_millis(time).to_string(),
    )
}
