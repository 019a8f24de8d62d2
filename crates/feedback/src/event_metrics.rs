//! What the intake of events counts. Labels are enums, never a recipient or an id.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use paceline_domain::record::Provider;
use paceline_providers::ProviderEvent;

use crate::intake::{IntakeError, Taken};

pub(crate) const EVENTS: &str = "feedback.events";
pub(crate) const SETTLED: &str = "feedback.settled";
pub(crate) const REFUSED: &str = "feedback.webhooks.refused";
pub(crate) const QUEUE_FAILED: &str = "feedback.queue.failed";
pub(crate) const UNSENT: &str = "feedback.counts.unsent";
pub(crate) const UNSUBSCRIBES: &str = "feedback.unsubscribes";

/// The instruments. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct Metrics {
    events: Counter<u64>,
    settled: Counter<u64>,
    refused: Counter<u64>,
    queue_failed: Counter<u64>,
    unsent: Counter<u64>,
    unsubscribes: Counter<u64>,
}

impl Metrics {
    #[must_use]
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        Self {
            events: counter(EVENTS, "Providers' events by provider, kind and outcome"),
            settled: counter(SETTLED, "Messages that an event moved on"),
            refused: counter(
                REFUSED,
                "Calls of webhooks and messages of the queue that were refused, by provider and reason",
            ),
            queue_failed: counter(QUEUE_FAILED, "Failed calls of the queue of events, by operation"),
            unsent: counter(UNSENT, "Failed calls that tell the coordinator of bounces"),
            unsubscribes: counter(
                UNSUBSCRIBES,
                "Calls of unsubscribe links, by outcome; a page that is only shown is none",
            ),
        }
    }

    pub(crate) fn event(&self, event: &ProviderEvent, answer: &Result<Taken, IntakeError>) {
        let outcome = match answer {
            Ok(Taken::New) => "new",
            Ok(Taken::Again) => "again",
            Ok(Taken::Foreign) => "foreign",
            Err(_) => "failed",
        };
        let labels = [
            KeyValue::new("provider", event.provider.as_str()),
            KeyValue::new("kind", event.kind.as_str()),
            KeyValue::new("outcome", outcome),
        ];
        self.events.add(1, &labels);
    }

    pub(crate) fn settled(&self) {
        self.settled.add(1, &[]);
    }

    pub(crate) fn refused(&self, provider: Provider, reason: &'static str) {
        let labels = [
            KeyValue::new("provider", provider.as_str()),
            KeyValue::new("reason", reason),
        ];
        self.refused.add(1, &labels);
    }

    pub(crate) fn unsubscribe(&self, outcome: &'static str) {
        self.unsubscribes.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn queue_failed(&self, operation: &'static str) {
        self.queue_failed.add(1, &[KeyValue::new("operation", operation)]);
    }

    pub(crate) fn unsent(&self) {
        self.unsent.add(1, &[]);
    }
}
