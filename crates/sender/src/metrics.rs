//! What the sender counts. Labels are enums and configured names, never a recipient or an id.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::Provider;
use paceline_providers::SendOutcome;
use paceline_store::Change;

/// The meter's name.
pub(crate) const METER: &str = "paceline_sender";

pub(crate) const SEND_DURATION: &str = "email.send.duration";
pub(crate) const ERROR_RATE: &str = "email.error.rate";
pub(crate) const IN_DOUBT: &str = "sender.in_doubt";
pub(crate) const CLAIMS: &str = "sender.claims";
pub(crate) const SUPPRESSED: &str = "sender.suppressed";
pub(crate) const NOT_WRITTEN: &str = "sender.not_written";
pub(crate) const REPORTS: &str = "sender.reports";
pub(crate) const STORE_ERRORS: &str = "sender.store.errors";
pub(crate) const GIVEN_BACK: &str = "sender.read_ahead.given_back";
pub(crate) const READ_AHEAD: &str = "sender.read_ahead.entries";
pub(crate) const IN_FLIGHT: &str = "sender.in_flight";
pub(crate) const OPEN: &str = "sender.requests.open";
pub(crate) const UNWRITABLE: &str = "sender.shards.unwritable";
pub(crate) const HELD: &str = "sender.shards.held";
pub(crate) const ASSERTIONS: &str = "sender.assertions";
pub(crate) const CUTS: &str = "throttle.cuts.heard";
pub(crate) const TOKENS: &str = "throttle.tokens.available";
pub(crate) const SAFE: &str = "throttle.safe.rate";
pub(crate) const PAUSED: &str = "sender.key.paused";

/// Bounds of a provider call's duration, in seconds.
const DURATION_BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The instruments of one sender. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    send_duration: Histogram<f64>,
    error_rate: Counter<u64>,
    in_doubt: Counter<u64>,
    claims: Counter<u64>,
    suppressed: Counter<u64>,
    not_written: Counter<u64>,
    reports: Counter<u64>,
    store_errors: Counter<u64>,
    given_back: Counter<u64>,
    assertions: Counter<u64>,
    cuts: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        Self {
            send_duration: meter
                .f64_histogram(SEND_DURATION)
                .with_unit("s")
                .with_description("How long a call to the provider took, by its outcome")
                .with_boundaries(DURATION_BOUNDS.to_vec())
                .build(),
            error_rate: counter(ERROR_RATE, "Attempts that were not accepted, by type"),
            in_doubt: counter(IN_DOUBT, "Messages whose outcome became unknown, by reason"),
            claims: counter(CLAIMS, "Entries that a claim was made for, by what came of it"),
            suppressed: counter(SUPPRESSED, "Messages ended unsent for their address, by reason"),
            not_written: counter(
                NOT_WRITTEN,
                "Claims given up before the request was written, by reason",
            ),
            reports: counter(REPORTS, "Results written to Redis, by what they changed"),
            store_errors: counter(STORE_ERRORS, "Operations on Redis that failed, by operation"),
            given_back: counter(GIVEN_BACK, "Entries read ahead and given back"),
            assertions: counter(
                ASSERTIONS,
                "Claims that another Redis than before was told of, by what that changed",
            ),
            cuts: counter(CUTS, "Cuts of a rate that were broadcast, by what they did"),
        }
    }

    /// Entries that a stop has met.
    pub(crate) fn stopped(&self, changes: &[Change]) {
        for change in changes {
            self.claim(match change {
                Change::Moved(_) => "stopped",
                Change::Newer => "newer",
                Change::Corrupt => "corrupt",
                Change::Unchanged(_) | Change::Missing => "dropped",
            });
        }
    }

    pub(crate) fn attempt(&self, provider: Provider, lane: Lane, answer: &SendOutcome, took: Duration) {
        let labels = [
            KeyValue::new("provider", provider.as_str()),
            KeyValue::new("outcome", answer.as_str()),
            KeyValue::new("lane", lane.as_str()),
        ];
        self.send_duration.record(took.as_secs_f64(), &labels);
        if let Some(kind) = error_type(answer) {
            let labels = [
                KeyValue::new("provider", provider.as_str()),
                KeyValue::new("type", kind),
            ];
            self.error_rate.add(1, &labels);
        }
        if let SendOutcome::Unknown { reason } = answer {
            self.doubt(*reason);
        }
    }

    pub(crate) fn doubt(&self, reason: Reason) {
        self.in_doubt.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn claim(&self, result: &'static str) {
        self.claims.add(1, &[KeyValue::new("result", result)]);
    }

    pub(crate) fn suppressed(&self, reason: Reason) {
        self.suppressed
            .add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn not_written(&self, reason: Reason) {
        self.not_written
            .add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn report(&self, change: &'static str) {
        self.reports.add(1, &[KeyValue::new("change", change)]);
    }

    pub(crate) fn store_error(&self, operation: &'static str) {
        self.store_errors.add(1, &[KeyValue::new("operation", operation)]);
    }

    pub(crate) fn assertion(&self, change: &'static str) {
        self.assertions.add(1, &[KeyValue::new("change", change)]);
    }

    pub(crate) fn cut(&self, result: &'static str) {
        self.cuts.add(1, &[KeyValue::new("result", result)]);
    }

    pub(crate) fn given_back(&self, entries: usize) {
        self.given_back.add(entries as u64, &[]);
    }
}

/// The published types of `email.error.rate`.
const fn error_type(answer: &SendOutcome) -> Option<&'static str> {
    match answer {
        SendOutcome::Accepted { .. }
        | SendOutcome::Transient {
            reason: Reason::NotWritten,
        } => None,
        SendOutcome::Throttled { .. } => Some("throttling"),
        SendOutcome::Refused { .. } | SendOutcome::AccountRefused { .. } => Some("validation"),
        SendOutcome::Transient { .. } | SendOutcome::Unknown { .. } => Some("transport"),
    }
}
