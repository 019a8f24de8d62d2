//! What the copy counts, and how far behind it is. Labels are enums.

use opentelemetry::metrics::{Counter, Gauge, Meter};
use paceline_ledger::Appended;
use paceline_store::LogBacklog;

pub(crate) const COPIED: &str = "feedback.copied.moves";
pub(crate) const FAILED: &str = "feedback.copy.failures";
pub(crate) const CONFLICTS: &str = "feedback.ledger.conflicts";
pub(crate) const CORRUPT: &str = "feedback.log.corrupt";
pub(crate) const NEWER: &str = "feedback.log.newer";
pub(crate) const LOST: &str = "feedback.ledger.lost";
pub(crate) const ENTRIES: &str = "feedback.log.entries";
pub(crate) const BYTES: &str = "feedback.log.bytes";
pub(crate) const AGE: &str = "feedback.log.age";

/// The instruments. Clones are the same instruments.
#[derive(Clone)]
pub(crate) struct CopyMetrics {
    copied: Counter<u64>,
    failed: Counter<u64>,
    conflicts: Counter<u64>,
    corrupt: Counter<u64>,
    newer: Counter<u64>,
    lost: Counter<u64>,
    entries: Gauge<u64>,
    bytes: Gauge<u64>,
    age: Gauge<f64>,
}

impl CopyMetrics {
    #[must_use]
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        let gauge = |name, help| meter.u64_gauge(name).with_description(help).build();
        let metrics = Self {
            copied: counter(COPIED, "Transitions that are new in the ledger"),
            failed: counter(FAILED, "Writes that the ledger did not take; they are repeated"),
            conflicts: counter(CONFLICTS, "Revisions with two contents: Redis has lost writes"),
            corrupt: counter(CORRUPT, "Entries of logs that nobody can read, or not all of"),
            newer: counter(
                NEWER,
                "Entries of logs that were met and only a newer release can copy",
            ),
            lost: counter(
                LOST,
                "Messages that the ledger knows as under way and Redis has forgotten",
            ),
            entries: gauge(
                ENTRIES,
                "Entries of all shards' logs, the last seconds' included that are copied",
            ),
            bytes: gauge(BYTES, "The bytes of all shards' logs in Redis"),
            age: meter
                .f64_gauge(AGE)
                .with_unit("s")
                .with_description("For how long the oldest entry has waited that is not in the ledger")
                .build(),
        };
        // An alert on what never happened needs a first value.
        for counter in [
            &metrics.conflicts,
            &metrics.corrupt,
            &metrics.newer,
            &metrics.lost,
        ] {
            counter.add(0, &[]);
        }
        metrics
    }

    pub(super) fn copied(&self, appended: Appended) {
        self.copied.add(appended.moves, &[]);
        self.conflicts.add(appended.conflicts, &[]);
    }

    pub(super) fn failed(&self) {
        self.failed.add(1, &[]);
    }

    pub(super) fn corrupt(&self, entries: u64) {
        self.corrupt.add(entries, &[]);
    }

    pub(super) fn newer(&self, entries: u64) {
        self.newer.add(entries, &[]);
    }

    pub(super) fn lost(&self, messages: u64) {
        self.lost.add(messages, &[]);
    }

    pub(super) fn behind(&self, backlog: LogBacklog) {
        self.entries.record(backlog.entries, &[]);
        self.bytes.record(backlog.bytes, &[]);
        self.age.record(backlog.age.as_secs_f64(), &[]);
    }
}
