//! What the renderer counts. Labels are enums: never a template's variable, an id or an address.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use paceline_domain::reason::Reason;
use paceline_store::Change;

/// Seconds: from a small template to the bound of a render.
const RENDER_BOUNDS: [f64; 9] = [
    0.00001, 0.000_025, 0.000_05, 0.0001, 0.00025, 0.0005, 0.001, 0.01, 0.05,
];

/// Seconds: from a near store's answer to beyond the usual bound.
const FETCH_BOUNDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// The instruments of the service. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    messages: Counter<u64>,
    unrendered: Counter<u64>,
    duration: Histogram<f64>,
    fetches: Counter<u64>,
    fetch_duration: Histogram<f64>,
    pub(crate) promoted: Counter<u64>,
    store_errors: Counter<u64>,
    withheld: Counter<u64>,
    scrubbed: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            messages: meter
                .u64_counter("renderer.messages")
                .with_description("Queued entries that were brought to an end, by outcome")
                .build(),
            unrendered: meter
                .u64_counter("renderer.unrendered")
                .with_description("Messages that could not be rendered, by reason")
                .build(),
            duration: meter
                .f64_histogram("renderer.render.duration")
                .with_unit("s")
                .with_description("Time to render one message")
                .with_boundaries(RENDER_BOUNDS.to_vec())
                .build(),
            fetches: meter
                .u64_counter("renderer.attachments.fetches")
                .with_description("Messages whose attachments were to be fetched, by outcome")
                .build(),
            fetch_duration: meter
                .f64_histogram("renderer.attachments.duration")
                .with_unit("s")
                .with_description("Time in which the attachments of one message were fetched, or not")
                .with_boundaries(FETCH_BOUNDS.to_vec())
                .build(),
            promoted: meter
                .u64_counter("renderer.promoted")
                .with_description("Scheduled and deferred messages that went to their queue or expired")
                .build(),
            store_errors: meter
                .u64_counter("renderer.store.errors")
                .with_description("Operations of the store that failed, by operation")
                .build(),
            withheld: meter
                .u64_counter("renderer.reads.withheld")
                .with_description("Looks at a stream of which the senders had enough rendered")
                .build(),
            scrubbed: meter
                .u64_counter("renderer.scrub.found")
                .with_description("Open messages, and streams with mail, that nothing named and that are named again, by state")
                .build(),
        }
    }

    pub(crate) fn handed_off(&self, messages: usize) {
        self.messages
            .add(messages as u64, &[KeyValue::new("outcome", "handed_off")]);
    }

    /// Entries that belonged to no queued message: second copies, and what was cancelled meanwhile.
    pub(crate) fn dropped(&self, messages: usize) {
        self.messages
            .add(messages as u64, &[KeyValue::new("outcome", "dropped")]);
    }

    /// What a stop has met: held, or ended.
    pub(crate) fn stopped(&self, changes: &[Change]) {
        let moved = changes.iter().filter(|change| matches!(change, Change::Moved(_)));
        self.messages
            .add(moved.count() as u64, &[KeyValue::new("outcome", "stopped")]);
    }

    /// What was held and is on its way again.
    pub(crate) fn released(&self, messages: usize) {
        self.messages
            .add(messages as u64, &[KeyValue::new("outcome", "released")]);
    }

    pub(crate) fn unrendered(&self, reason: Reason) {
        self.messages.add(1, &[KeyValue::new("outcome", "unrendered")]);
        self.unrendered
            .add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn rendered_in(&self, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), &[]);
    }

    /// `took` is how long stores were asked, if any was.
    pub(crate) fn fetched(&self, outcome: &'static str, took: Option<Duration>) {
        self.fetches.add(1, &[KeyValue::new("outcome", outcome)]);
        if let Some(took) = took {
            self.fetch_duration.record(took.as_secs_f64(), &[]);
        }
    }

    pub(crate) fn store_error(&self, operation: &'static str) {
        self.store_errors.add(1, &[KeyValue::new("operation", operation)]);
    }

    /// `state` is a message's, "unreadable", "orphan", or "stream" for streams that were not among the active ones.
    pub(crate) fn scrubbed(&self, state: &'static str, count: u64) {
        self.scrubbed.add(count, &[KeyValue::new("state", state)]);
    }

    pub(crate) fn withheld(&self) {
        self.withheld.add(1, &[]);
    }
}
