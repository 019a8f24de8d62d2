//! What a call brings beside its request: until when its caller waits, and the trace that it is part of.

use std::time::Duration;

use paceline_kit::grpc::REQUEST_TIME_MAX;
use paceline_kit::trace;
use paceline_wire::status::RpcError;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tracing::Span;

use crate::error;

const TIMEOUT: &str = "grpc-timeout";
/// Kept back from a caller's patience, so that our answer, which says what is known, comes before the transport's, which
/// says nothing.
const RESERVE: Duration = Duration::from_millis(5);

/// When the caller's time is over, or ours if that is sooner.
pub(crate) fn deadline(metadata: &MetadataMap) -> Instant {
    let patience = metadata
        .get(TIMEOUT)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .map_or(REQUEST_TIME_MAX, |timeout| timeout.min(REQUEST_TIME_MAX));
    Instant::now() + patience.saturating_sub(RESERVE.min(patience / 4))
}

/// Ends with the caller's patience. Nothing is lost by it: the call can be repeated.
pub(crate) async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, RpcError>>,
) -> Result<T, RpcError> {
    tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| Err(error::deadline()))
}

/// Makes `span` part of the caller's trace.
pub(crate) fn adopt(span: Span, metadata: &MetadataMap) -> Span {
    trace::set_parent_from_metadata(&span, metadata);
    span
}

/// A timeout as gRPC writes it: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tonic::metadata::MetadataMap;

    use super::{deadline, parse_timeout};

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("2S", Some(Duration::from_secs(2))),
            ("150m", Some(Duration::from_millis(150))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("1H", Some(Duration::from_secs(3_600))),
            ("0n", Some(Duration::ZERO)),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("5", None),
            ("5ä", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_deadline_counts_less_a_reserve() {
        let with = |timeout: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", timeout.parse().expect("ASCII"));
            deadline(&metadata) - Instant::now()
        };
        assert_eq!(with("200m"), Duration::from_millis(195));
        assert_eq!(with("4m"), Duration::from_millis(3));
        assert_eq!(with("9H"), Duration::from_millis(29_995));
        assert_eq!(
            deadline(&MetadataMap::new()) - Instant::now(),
            Duration::from_millis(29_995)
        );
    }
}
