//! From what each sender counts over its life to what all of them do per second.
//!
//! Senders report totals at each refresh, so that a lost report loses nothing. The refreshes of different senders fall into
//! a window by chance, none or two of one sender; so what is sent per second is not counted per window but measured for each
//! sender between two of its own reports.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::WINDOW;
use crate::lease::HolderId;

/// A sender that has not reported for this long sends nothing any more.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// Reports that are kept of one sender; refreshes come seldom enough that these cover a window.
const SAMPLES_MAX: usize = 32;

/// What a sender counted since its incarnation began, in recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub sent: u64,
    pub errors: u64,
    /// By lease version.
    pub throttled: Vec<(u64, u64)>,
}

/// What is new in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    pub sent: u64,
    pub errors: u64,
    /// By lease version; only what is not 0.
    pub throttled: Vec<(u64, u64)>,
}

/// The senders of one key, as they report.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    senders: BTreeMap<HolderId, Sender>,
}

#[derive(Clone, Debug)]
struct Sender {
    last: Totals,
    /// Throttles since its first report: of totals it names the newest versions alone.
    refused: u64,
    /// When, what was sent until then, and what of it refused; the first is the newest that is a window older than the last, or the oldest there is.
    samples: VecDeque<(Duration, u64, u64)>,
    /// When it was heard of first, here.
    since: Duration,
}

impl Meter {
    /// Takes a sender's totals and says what is new in them.
    ///
    /// The first report of a sender is only where counting starts: what it did before may have been counted already, by
    /// another leader.
    pub fn report(&mut self, holder: HolderId, totals: Totals, now: Duration) -> Delta {
        let Some(sender) = self.senders.get_mut(&holder) else {
            let samples = VecDeque::from([(now, totals.sent, 0)]);
            self.senders.insert(
                holder,
                Sender {
                    last: totals,
                    refused: 0,
                    samples,
                    since: now,
                },
            );
            return Delta::default();
        };
        let delta = totals.since(&sender.last);
        let refused = delta.throttled.iter().map(|(_, new)| *new);
        sender.refused = refused.fold(sender.refused, u64::saturating_add);
        sender.samples.push_back((now, totals.sent, sender.refused));
        let is_old = |at: Duration| now.saturating_sub(at) >= WINDOW;
        while sender.samples.len() > SAMPLES_MAX || sender.samples.get(1).is_some_and(|&(at, ..)| is_old(at))
        {
            sender.samples.pop_front();
        }
        sender.last = totals;
        delta
    }

    /// The totals of a sender's last word to the leader before: what is more in its next one is new. When that was nobody knows, so nothing
    /// is measured by it.
    pub fn resume(&mut self, holder: HolderId, totals: Totals, now: Duration) {
        let sender = Sender {
            last: totals,
            refused: 0,
            samples: VecDeque::new(),
            since: now,
        };
        self.senders.insert(holder, sender);
    }

    /// The totals of a sender's last word.
    #[must_use]
    pub fn totals(&self, holder: HolderId) -> Option<&Totals> {
        Some(&self.senders.get(&holder)?.last)
    }

    /// Recipients per second that all senders send, by their last reports. Forgets those that are silent.
    pub fn measured(&mut self, now: Duration) -> f64 {
        self.senders
            .retain(|_, sender| now.saturating_sub(sender.reported_at()) < SILENT_MAX);
        self.senders.values().map(|sender| sender.rates().0).sum()
    }

    /// What of it the provider did not refuse, as far as its answers have come: recipients per second.
    #[must_use]
    pub fn taken(&self) -> f64 {
        let taken = |sender: &Sender| {
            let (sent, throttled) = sender.rates();
            (sent - throttled).max(0.0)
        };
        self.senders.values().map(taken).sum()
    }

    /// What one sender does, per second.
    #[must_use]
    pub fn measured_of(&self, holder: HolderId) -> f64 {
        self.senders.get(&holder).map_or(0.0, |sender| sender.rates().0)
    }

    /// Forgets a sender that has left.
    pub fn forget(&mut self, holder: HolderId) {
        self.senders.remove(&holder);
    }
}

impl Totals {
    fn since(&self, before: &Self) -> Delta {
        let new = |&(version, total): &(u64, u64)| {
            let known = before.throttled.iter().find(|(known, _)| *known == version);
            (
                version,
                total.saturating_sub(known.map_or(0, |(_, total)| *total)),
            )
        };
        Delta {
            sent: self.sent.saturating_sub(before.sent),
            errors: self.errors.saturating_sub(before.errors),
            throttled: self
                .throttled
                .iter()
                .map(new)
                .filter(|(_, new)| *new > 0)
                .collect(),
        }
    }
}

impl Sender {
    fn reported_at(&self) -> Duration {
        self.samples.back().map_or(self.since, |(at, ..)| *at)
    }

    /// What it sent and what of it was refused, per second.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    fn rates(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0.0, 0.0);
        };
        let elapsed = last.0.saturating_sub(first.0).as_secs_f64();
        if elapsed <= 0.0 {
            return (0.0, 0.0);
        }
        let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / elapsed;
        (per_second(first.1, last.1), per_second(first.2, last.2))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Meter, Totals};
    use crate::lease::HolderId;

    const A: HolderId = HolderId([1; 16]);
    const B: HolderId = HolderId([2; 16]);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sent(sent: u64) -> Totals {
        Totals {
            sent,
            ..Totals::default()
        }
    }

    #[test]
    fn the_rate_is_measured_between_a_sender_s_own_reports() {
        let mut meter = Meter::default();
        for step in 0..=10 {
            meter.report(A, sent(1_000 + step * 50), ms(step * 500));
            meter.report(B, sent(step * 10), ms(step * 500 + 130));
        }
        let measured = meter.measured(ms(5_400));
        assert!((measured - 120.0).abs() < 1e-6, "{measured}");
        let later = meter.measured(ms(5_130 + 3_000));
        assert!(later < 1e-6, "silent senders send nothing: {later}");
    }

    #[test]
    fn frequent_reports_do_not_make_the_measure_jump() {
        let mut meter = Meter::default();
        // Ten recipients every 100 ms, all at once, reported 10 ms before and after.
        let mut worst: f64 = 0.0;
        for step in 0..400_u64 {
            let at = step * 10;
            meter.report(A, sent((at + 5) / 100 * 10), ms(at));
            if at > 1_500 {
                worst = worst.max((meter.measured(ms(at)) - 100.0).abs());
            }
        }
        assert!(worst <= 40.0, "{worst}");
    }

    #[test]
    fn what_was_taken_is_what_was_sent_and_not_refused() {
        let mut meter = Meter::default();
        for step in 0..=8_u64 {
            // Of ten each half second three are refused; only the two newest versions are named.
            let throttled = (step.saturating_sub(1)..=step)
                .map(|version| (version, 3))
                .collect();
            let totals = Totals {
                throttled,
                ..sent(step * 10)
            };
            meter.report(A, totals, ms(step * 500));
            meter.report(B, sent(step * 5), ms(step * 500));
        }
        let taken = meter.taken();
        assert!((taken - (14.0 + 10.0)).abs() < 1e-6, "{taken}");
    }

    #[test]
    fn what_a_leader_before_was_told_is_where_counting_goes_on() {
        let mut meter = Meter::default();
        let known = Totals {
            throttled: vec![(3, 9)],
            ..sent(500)
        };
        meter.resume(A, known.clone(), ms(0));
        assert_eq!(meter.totals(A), Some(&known));
        assert!(meter.measured(ms(100)) <= 0.0);
        let told = Totals {
            throttled: vec![(3, 10), (4, 2)],
            ..sent(700)
        };
        let delta = meter.report(A, told, ms(200));
        assert_eq!((delta.sent, delta.throttled), (200, vec![(3, 1), (4, 2)]));
        assert!(
            meter.measured(ms(200)) <= 0.0,
            "nobody knows in which time it was sent"
        );
        meter.report(A, sent(800), ms(700));
        assert!((meter.measured(ms(700)) - 200.0).abs() < 1e-6);
    }

    #[test]
    fn a_lost_report_loses_nothing_and_a_doubled_one_adds_nothing() {
        let mut meter = Meter::default();
        let totals = |sent, throttled: &[(u64, u64)]| Totals {
            sent,
            errors: sent / 10,
            throttled: throttled.to_vec(),
        };
        assert_eq!(
            meter.report(A, totals(500, &[(3, 9)]), ms(0)),
            super::Delta::default()
        );
        let delta = meter.report(A, totals(700, &[(3, 9), (4, 2)]), ms(1_000));
        assert_eq!(
            (delta.sent, delta.errors, delta.throttled),
            (200, 20, vec![(4, 2)])
        );
        let delta = meter.report(A, totals(700, &[(3, 9), (4, 2)]), ms(1_000));
        assert_eq!((delta.sent, delta.errors, delta.throttled), (0, 0, vec![]));
    }
}
