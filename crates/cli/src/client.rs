//! Calls to ingest, and their errors as sentences.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use paceline_kit::client::{Bearer, Client, Connection};
use paceline_kit::secret::Secret;
use paceline_kit::tls::ClientFiles;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::args::Target;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);

/// The variable that holds the API key.
const KEY_VARIABLE: &str = "PACELINE_KEY";

pub(crate) fn ingest(target: &Target) -> anyhow::Result<IngestServiceClient<Connection>> {
    Ok(IngestServiceClient::new(connect(target)?))
}

pub(crate) fn messages(target: &Target) -> anyhow::Result<MessagesServiceClient<Connection>> {
    Ok(MessagesServiceClient::new(connect(target)?))
}

/// Connects to ingest.
pub(crate) fn connect(target: &Target) -> anyhow::Result<Connection> {
    connect_to(target, &target.ingest, "--ingest")
}

/// Connects to `address` with the target's files and key; `what` names it in errors.
pub(crate) fn connect_to(target: &Target, address: &str, what: &str) -> anyhow::Result<Connection> {
    let files = ClientFiles {
        ca: ("--tls-ca", given(&target.tls_ca)),
        certificate: ("--tls-certificate", given(&target.tls_certificate)),
        key: ("--tls-key", given(&target.tls_key)),
        domain: target.tls_domain.as_deref().unwrap_or_default(),
    };
    let bearer = Bearer::new(&api_key(target)?)
        .context("the API key is not of printable ASCII characters without spaces")?;
    Client::new(files.read()?, bearer)
        .channel(address)
        .with_context(|| format!("{what} {address}"))
}

fn given(path: &Option<PathBuf>) -> &Path {
    path.as_deref().unwrap_or_else(|| Path::new(""))
}

fn api_key(target: &Target) -> anyhow::Result<Secret> {
    let key = match &target.key_file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("can't read --key-file {}", path.display()))?,
        None => std::env::var_os(KEY_VARIABLE)
            .unwrap_or_default()
            .into_string()
            .map_err(|_| anyhow::anyhow!("{KEY_VARIABLE} is no UTF-8"))?,
    };
    Ok(Secret::new(key.trim_end()))
}

/// A request with our deadline.
pub(crate) fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_MAX);
    request
}

/// What went wrong: every field that was refused, or the reason; and when to try again.
pub(crate) fn explain(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{}{}", status.code(), problem(status))
}

/// The same without its kind: a sentence after a colon, or a line for each field.
pub(crate) fn problem(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = details
        .bad_request()
        .map(|request| request.field_violations.as_slice())
        .unwrap_or_default();
    let mut text = String::new();
    if violations.is_empty() {
        text.push_str(&format!(": {}", status.message()));
        // Of a call that did not arrive the status says little: a certificate that is not trusted stands below it.
        let mut cause = std::error::Error::source(status);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
    }
    for violation in violations {
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        text.push_str(&format!("\n  try again in {}", humantime::format_duration(delay)));
    }
    text
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
