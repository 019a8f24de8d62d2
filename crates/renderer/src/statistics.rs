//! How often each template was rendered, and how often it failed: for people, and as a metric.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

/// Names that are counted each for itself. Messages may pin what no folder has any more.
const NAMES_MAX: usize = 500;
/// All others.
const OTHER: &str = "other";

/// Since the start of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rendered: u64,
    /// Those of `rendered` that it stood in for another template.
    pub(crate) as_fallback: u64,
    pub(crate) failed: u64,
}

pub(crate) struct Statistics {
    renders: Counter<u64>,
    counts: Mutex<BTreeMap<String, Counts>>,
}

impl Statistics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let renders = meter.u64_counter("renderer.template.renders");
        Self {
            renders: renders
                .with_description("Renderings, by template (the first 500, then other) and outcome: rendered, as_fallback, failed")
                .build(),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, template: &str, is_rendered: bool, stands_in: bool) {
        let outcome = match (is_rendered, stands_in) {
            (false, _) => "failed",
            (true, true) => "as_fallback",
            (true, false) => "rendered",
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = counts.contains_key(template) || counts.len() < NAMES_MAX;
        let name = if is_known { template } else { OTHER };
        let count = match counts.get_mut(name) {
            Some(count) => count,
            None => counts.entry(name.to_owned()).or_default(),
        };
        count.rendered += u64::from(is_rendered);
        count.as_fallback += u64::from(is_rendered && stands_in);
        count.failed += u64::from(!is_rendered);
        drop(counts);
        let labels = [
            KeyValue::new("template", name.to_owned()),
            KeyValue::new("outcome", outcome),
        ];
        self.renders.add(1, &labels);
    }

    /// By name.
    pub(crate) fn counts(&self) -> BTreeMap<String, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, NAMES_MAX, OTHER, Statistics};

    #[test]
    fn names_are_bounded_and_nothing_is_left_out() {
        let statistics = Statistics::new(&opentelemetry::global::meter("test"));
        for number in 0..NAMES_MAX + 2 {
            statistics.count(&format!("t{number}"), true, false);
        }
        statistics.count("t0", true, true);
        statistics.count("t0", false, false);
        statistics.count("t9999", false, true);
        let counts = statistics.counts();
        assert_eq!(counts.len(), NAMES_MAX + 1);
        let of = |rendered, as_fallback, failed| Counts {
            rendered,
            as_fallback,
            failed,
        };
        assert_eq!((counts["t0"], counts[OTHER]), (of(2, 1, 1), of(2, 0, 1)));
    }
}
