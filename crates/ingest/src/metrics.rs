//! What ingest counts. Labels are enums: never a tenant's free text, an id or an address.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
use paceline_domain::lane::Lane;

use crate::pressure::Found;

/// Seconds: from a batch that is answered at once to a caller's patience.
const DURATION_BOUNDS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0,
];

/// The instruments of the service. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    enqueued: Counter<u64>,
    skipped: Counter<u64>,
    duration: Histogram<f64>,
    /// Messages in one script.
    pub(crate) batch: Histogram<u64>,
    /// Messages whose caller had gone before their batch started.
    pub(crate) abandoned: Counter<u64>,
    /// Messages that are admitted and not answered.
    pub(crate) waiting: UpDownCounter<i64>,
    pub(crate) watchers: UpDownCounter<i64>,
    pressure: Gauge<u64>,
}

/// How an enqueue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    New,
    Duplicate,
    Resubmitted,
    Invalid,
    Conflict,
    Denied,
    Overloaded,
    Unavailable,
    Deadline,
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Duplicate => "duplicate",
            Self::Resubmitted => "resubmitted",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            enqueued: meter
                .u64_counter("email.enqueue.rate")
                .with_description("Enqueue requests, by outcome and lane")
                .build(),
            skipped: meter
                .u64_counter("email.idempotency.skip.count")
                .with_description("Enqueue requests that found their message already there")
                .build(),
            duration: meter
                .f64_histogram("ingest.enqueue.duration")
                .with_unit("s")
                .with_description("From the request's arrival to its answer")
                .with_boundaries(DURATION_BOUNDS.to_vec())
                .build(),
            batch: meter
                .u64_histogram("ingest.batch.messages")
                .with_description("Messages in one script")
                .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
                .build(),
            abandoned: meter
                .u64_counter("ingest.abandoned.messages")
                .with_description("Messages whose caller had gone before they were written")
                .build(),
            waiting: meter
                .i64_up_down_counter("ingest.waiting.messages")
                .with_description("Messages that are checked and not yet answered")
                .build(),
            watchers: meter
                .i64_up_down_counter("ingest.watchers")
                .with_description("Open Watch calls")
                .build(),
            pressure: meter
                .u64_gauge("ingest.pressure.level")
                .with_description("What is refused for this cause: 0 nothing, 1 bulk, 2 all new messages")
                .build(),
        }
    }

    /// Notes what is refused because Redis is nearly full, because of the backlog, and because of the log.
    pub(crate) fn pressure(&self, found: Found) {
        let Found { memory, backlog, log } = found;
        for (cause, level) in [("memory", memory), ("backlog", backlog), ("log", log)] {
            self.pressure
                .record(level as u64, &[KeyValue::new("cause", cause)]);
        }
    }

    /// Counts one enqueue. `lane` is unknown where the request was refused before its template was found.
    pub(crate) fn enqueued(&self, outcome: Outcome, lane: Option<Lane>, seconds: f64) {
        let lane = KeyValue::new("lane", lane.map_or("unknown", Lane::as_str));
        let outcome_label = KeyValue::new("outcome", outcome.as_str());
        if outcome == Outcome::Duplicate {
            self.skipped.add(1, std::slice::from_ref(&lane));
        }
        self.duration
            .record(seconds, std::slice::from_ref(&outcome_label));
        self.enqueued.add(1, &[outcome_label, lane]);
    }
}
