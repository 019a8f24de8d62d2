//! The sender's side of a lease: what it may spend now.
//!
//! One [`LocalLease`] per key. Before each refresh call [`LocalLease::ask`]; its answer goes to [`LocalLease::renew`] with
//! the time that `ask` was given. Asking again gives up every earlier answer: that is what makes the coordinator's books
//! true. A lapsed lease spends nothing. Look at the lease after each wait and right before each send: a frozen process
//! must find that its lease is over, so `now` is the boot-time clock.
//!
//! With a lease a safe rate may come, to go on with for a while once the lease has lapsed. It counts only while looks at the key's state
//! in Redis show the lease's epoch and version ([`LocalLease::looked`]): whatever has been cut or paused since ends it, and a new leader.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CLOCK_DRIFT_MAX, SAFE_LOOK};
use crate::gcra::{Gcra, burst_of};

/// As many lease versions are told apart in [`Counts`].
const VERSIONS_MAX: usize = 8;
/// How far beyond the lease's own a broadcast's epoch and version are believed.
const LEAP_MAX: u64 = 1 << 20;

/// A lease as the coordinator granted it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// The leader's term.
    pub epoch: u64,
    /// Rises with each cut of the key's rate.
    pub version: u64,
    /// Recipients per second.
    pub rate: f64,
    /// Recipients.
    pub burst: f64,
    pub ttl: Duration,
    /// What may be spent over the incarnation, in recipients; `None` is without a budget.
    pub granted_total: Option<u64>,
    /// Recipients per second that may be spent for `safe_ttl` once the lease has lapsed; 0 for none.
    pub safe_rate: f64,
    pub safe_ttl: Duration,
}

/// What a sender tells the coordinator of one key when it asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// When it asked, on its own clock.
    pub at: Duration,
    /// What it still holds; 0 if lapsed.
    pub has_rate: f64,
    /// The safe rate that it still holds.
    pub has_safe: f64,
    pub has_epoch: u64,
    pub has_version: u64,
    pub granted_total: u64,
    pub spent_total: u64,
}

/// Why nothing may be spent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Worth another try after this long, unless the lease changes before.
    Wait(Duration),
    /// No lease, an empty one, or one that is over: only a renewal helps.
    Lapsed,
    /// The budget is spent: only a larger grant helps.
    BudgetSpent,
}

/// An answer that must not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("the sender has asked again since")]
    AskedAgain,
    #[error("the answer is of an older epoch or version")]
    Older,
}

/// What one sender holds of one key.
#[derive(Clone, Debug)]
pub struct LocalLease {
    epoch: u64,
    version: u64,
    bucket: Gcra,
    /// Over at this time, on the sender's own clock.
    deadline: Duration,
    /// The only request whose answer counts.
    asked_at: Option<Duration>,
    granted_total: Option<u64>,
    spent_total: u64,
    safe: Safe,
}

/// What it may go on with.
#[derive(Clone, Copy, Debug)]
struct Safe {
    rate: f64,
    until: Duration,
    /// When its key's state was last seen unchanged.
    looked_at: Option<Duration>,
    /// True once the bucket has its rate.
    in_use: bool,
}

impl Safe {
    const NONE: Self = Self {
        rate: 0.0,
        until: Duration::ZERO,
        looked_at: None,
        in_use: false,
    };

    fn counts(&self, now: Duration) -> bool {
        let is_fresh = |at: Duration| now < at + SAFE_LOOK;
        self.rate > 0.0 && now < self.until && self.looked_at.is_some_and(is_fresh)
    }
}

impl LocalLease {
    /// Holds nothing.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            epoch: 0,
            version: 0,
            bucket: Gcra::new(0.0, 1.0, now),
            deadline: now,
            asked_at: None,
            granted_total: Some(0),
            spent_total: 0,
            safe: Safe::NONE,
        }
    }

    /// Notes that the sender asks now, and gives up every answer to an earlier question. Call before the request is sent;
    /// `now` must be later than at the call before.
    pub fn ask(&mut self, now: Duration) -> Ask {
        self.asked_at = Some(now);
        // What a look may still bring is held.
        let has_safe = if now < self.safe.until {
            self.safe.rate
        } else {
            0.0
        };
        Ask {
            at: now,
            has_rate: if self.is_live(now) {
                self.bucket.rate()
            } else {
                has_safe
            },
            has_safe,
            has_epoch: self.epoch,
            has_version: self.version,
            granted_total: self.granted_total.unwrap_or(0),
            spent_total: self.spent_total,
        }
    }

    /// Takes an answer: the lease now is what `grant` says, until its time to live, counted from `asked_at` ([`Ask::at`]).
    ///
    /// # Errors
    /// If the answer is to an earlier question, or of an older epoch or version. The lease stays as it is.
    pub fn renew(&mut self, grant: &Grant, asked_at: Duration, now: Duration) -> Result<(), Stale> {
        if self.asked_at != Some(asked_at) {
            return Err(Stale::AskedAgain);
        }
        if (grant.epoch, grant.version) < (self.epoch, self.version) {
            return Err(Stale::Older);
        }
        if !self.is_live(now) {
            // What the bucket held was of a lease that is over.
            self.bucket.set_rate(0.0, 1.0, now);
        }
        self.asked_at = None;
        self.epoch = grant.epoch;
        self.version = grant.version;
        self.granted_total = grant.granted_total;
        self.deadline = asked_at + grant.ttl.mul_f64(1.0 - CLOCK_DRIFT_MAX);
        self.bucket.set_rate(grant.rate, grant.burst, now);
        self.safe = Safe {
            rate: grant.safe_rate,
            until: asked_at + (grant.ttl + grant.safe_ttl).mul_f64(1.0 - CLOCK_DRIFT_MAX),
            ..Safe::NONE
        };
        Ok(())
    }

    /// Applies a cut that was broadcast: multiplies the rate by `ratio`, if the cut is newer than the lease. True if so.
    ///
    /// A broadcast never raises a rate: a ratio that is not between 0 and 1 is ignored. Nor does it say anything of a lease that is over,
    /// nor leap so far ahead that no answer would count after it.
    pub fn cut(&mut self, epoch: u64, version: u64, ratio: f64, now: Duration) -> bool {
        let is_newer = (epoch, version) > (self.epoch, self.version);
        let leaps =
            epoch > self.epoch.saturating_add(LEAP_MAX) || version > self.version.saturating_add(LEAP_MAX);
        if is_newer && !leaps {
            // Whatever was cut, it is not known of which rate.
            self.safe = Safe::NONE;
        }
        if !self.is_live(now) || !is_newer || leaps || !(0.0..=1.0).contains(&ratio) {
            return false;
        }
        self.epoch = epoch;
        self.version = version;
        let burst = (self.bucket.burst() * ratio).max(1.0);
        self.bucket.set_rate(self.bucket.rate() * ratio, burst, now);
        true
    }

    /// Gives the lease up, before the coordinator is told so: nothing is spent from here on.
    pub fn drop_now(&mut self, now: Duration) {
        self.asked_at = None;
        self.deadline = now;
        self.safe = Safe::NONE;
    }

    /// True if only a look at the key's state keeps it from being spent: the lease has lapsed, its safe rate has not.
    #[must_use]
    pub fn needs_look(&self, now: Duration) -> bool {
        !self.is_live(now) && self.safe.rate > 0.0 && now < self.safe.until
    }

    /// Takes a look at the key's state that began at `at`: epoch and version there, `None` if there is no state. Others than the
    /// lease's end the safe rate.
    pub fn looked(&mut self, state: Option<(u64, u64)>, at: Duration) {
        if state == Some((self.epoch, self.version)) {
            self.safe.looked_at = Some(at);
        } else {
            self.safe = Safe::NONE;
        }
    }

    /// Takes permission for `n` recipients. Take it before the claim, never after.
    ///
    /// # Errors
    /// Why not. Nothing was taken.
    pub fn try_take(&mut self, n: u32, now: Duration) -> Result<(), Refusal> {
        if !self.may_spend(now) {
            return Err(Refusal::Lapsed);
        }
        if self.budget_left() < u64::from(n) {
            return Err(Refusal::BudgetSpent);
        }
        self.bucket.try_take(n, now).map_err(Refusal::Wait)?;
        self.spent_total += u64::from(n);
        Ok(())
    }

    /// Takes the rate of one recipient anew for a permission of the budget that is still unspent: one that was taken long ago is no place in
    /// the rate of now, and many of them together would be a burst.
    ///
    /// # Errors
    /// Why not. Nothing was taken.
    pub fn take_anew(&mut self, now: Duration) -> Result<(), Refusal> {
        if !self.may_spend(now) {
            return Err(Refusal::Lapsed);
        }
        self.bucket.try_take(1, now).map_err(Refusal::Wait)
    }

    /// Takes permission for as many recipients as there is, at most `n`, and says for how many.
    pub fn take_up_to(&mut self, n: u32, now: Duration) -> u32 {
        if !self.may_spend(now) {
            return 0;
        }
        let budget = u32::try_from(self.budget_left()).unwrap_or(u32::MAX);
        let taken = self.bucket.take_up_to(n.min(budget), now);
        self.spent_total += u64::from(taken);
        taken
    }

    /// Puts back what was taken and provably not sent, such as for an entry that could not be claimed.
    pub fn put_back(&mut self, n: u32) {
        self.bucket.put_back(n);
        self.spent_total = self.spent_total.saturating_sub(u64::from(n));
    }

    /// The same long after it was taken: of the budget alone, for the rate of then is over.
    pub const fn put_back_late(&mut self, n: u32) {
        self.spent_total = self.spent_total.saturating_sub(n as u64);
    }

    /// Recipients per second that may be spent now; 0 if the lease is over.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        if self.is_live(now) {
            self.bucket.rate()
        } else if self.is_safe(now) {
            self.safe.rate
        } else {
            0.0
        }
    }

    /// Recipients that may be saved up; 0 if the lease is over or empty.
    #[must_use]
    pub fn burst(&self, now: Duration) -> f64 {
        if self.rate(now) <= 0.0 {
            0.0
        } else if self.is_live(now) {
            self.bucket.burst()
        } else {
            burst_of(self.safe.rate)
        }
    }

    /// Recipients that could be sent to at this moment: the gauge `throttle.tokens.available`.
    #[must_use]
    pub fn available(&self, now: Duration) -> f64 {
        if self.is_live(now) || (self.safe.in_use && self.is_safe(now)) {
            self.bucket.level(now).max(0.0)
        } else {
            0.0
        }
    }

    /// True while the safe rate is what may be spent.
    #[must_use]
    pub fn is_safe(&self, now: Duration) -> bool {
        !self.is_live(now) && self.safe.counts(now)
    }

    /// True while something may be spent. Puts the safe rate in the place of a lease that has lapsed.
    fn may_spend(&mut self, now: Duration) -> bool {
        if self.is_safe(now) && !self.safe.in_use {
            self.safe.in_use = true;
            self.bucket
                .set_rate(self.safe.rate, burst_of(self.safe.rate), now);
        }
        self.rate(now) > 0.0
    }

    /// True while the lease lives, or its safe rate counts: what was taken may be used. What is live may still be empty.
    #[must_use]
    pub fn stands(&self, now: Duration) -> bool {
        self.is_live(now) || self.is_safe(now)
    }

    /// True until the deadline. What is live may still be empty.
    #[must_use]
    pub fn is_live(&self, now: Duration) -> bool {
        now < self.deadline
    }

    /// When the lease is over, on the sender's own clock: the rate deadline to look at right before a request is written.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The version under which a send is issued now; a throttled answer is counted under it ([`Counts::throttled`]).
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The largest epoch that this lease has seen.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Recipients that were spent over the incarnation.
    #[must_use]
    pub const fn spent_total(&self) -> u64 {
        self.spent_total
    }

    /// Recipients that may be spent before a larger grant is needed; `u64::MAX` without a budget.
    #[must_use]
    pub fn budget_left(&self) -> u64 {
        self.granted_total
            .map_or(u64::MAX, |granted| granted.saturating_sub(self.spent_total))
    }
}

/// What happened to a key's sends since the incarnation began, in recipients: what a sender reports at each refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    sent_total: u64,
    accepted_total: u64,
    errors_total: u64,
    throttled: BTreeMap<u64, u64>,
}

impl Counts {
    /// A request is written to the provider.
    pub fn sent(&mut self, n: u32) {
        self.sent_total += u64::from(n);
    }

    pub fn accepted(&mut self, n: u32) {
        self.accepted_total += u64::from(n);
    }

    /// The provider failed: a 5xx, a timeout, no connection. A throttle or a refusal is no error of this kind.
    pub fn error(&mut self, n: u32) {
        self.errors_total += u64::from(n);
    }

    /// The provider said "too fast" to a send that was issued under lease version `version`.
    pub fn throttled(&mut self, version: u64, n: u32) {
        *self.throttled.entry(version).or_default() += u64::from(n);
        while self.throttled.len() > VERSIONS_MAX {
            self.throttled.pop_first();
        }
    }

    #[must_use]
    pub const fn sent_total(&self) -> u64 {
        self.sent_total
    }

    #[must_use]
    pub const fn accepted_total(&self) -> u64 {
        self.accepted_total
    }

    #[must_use]
    pub const fn errors_total(&self) -> u64 {
        self.errors_total
    }

    /// Lease version and count, oldest version first, the newest 8.
    pub fn throttled_by_version(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.throttled.iter().map(|(version, total)| (*version, *total))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Counts, Grant, LocalLease, Refusal, Stale};

    fn at(millis: u64) -> Duration {
        Duration::from_secs(50) + Duration::from_millis(millis)
    }

    fn grant(epoch: u64, version: u64, rate: f64) -> Grant {
        Grant {
            epoch,
            version,
            rate,
            burst: rate * 0.1,
            ttl: Duration::from_secs(2),
            granted_total: None,
            safe_rate: 0.0,
            safe_ttl: Duration::ZERO,
        }
    }

    fn held(rate: f64) -> LocalLease {
        let mut lease = LocalLease::new(at(0));
        lease.ask(at(0));
        lease
            .renew(&grant(5, 7, rate), at(0), at(30))
            .expect("the first answer");
        lease
    }

    #[test]
    fn nothing_is_held_at_first() {
        let mut lease = LocalLease::new(at(0));
        assert_eq!(lease.try_take(1, at(10)), Err(Refusal::Lapsed));
        assert_eq!(lease.ask(at(10)).has_rate.to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_time_to_live_counts_from_before_the_question_and_a_hundredth_short() {
        let mut lease = held(100.0);
        assert_eq!(lease.deadline(), at(1_980));
        assert_eq!(lease.try_take(1, at(1_979)), Ok(()));
        assert_eq!(lease.try_take(1, at(1_980)), Err(Refusal::Lapsed));
        assert!(lease.rate(at(1_980)) <= 0.0);
    }

    #[test]
    fn a_lapsed_lease_saves_nothing_up() {
        let mut lease = held(100.0);
        lease.ask(at(9_000));
        lease
            .renew(&grant(5, 7, 100.0), at(9_000), at(9_010))
            .expect("in order");
        assert_eq!(lease.take_up_to(10, at(9_010)), 0);
    }

    #[test]
    fn only_the_answer_to_the_last_question_counts() {
        let mut lease = held(100.0);
        lease.ask(at(500));
        lease.ask(at(1_000));
        assert_eq!(
            lease.renew(&grant(5, 7, 900.0), at(500), at(1_010)),
            Err(Stale::AskedAgain)
        );
        assert_eq!(lease.renew(&grant(5, 7, 40.0), at(1_000), at(1_020)), Ok(()));
        assert_eq!(
            lease.renew(&grant(5, 7, 90.0), at(1_000), at(1_030)),
            Err(Stale::AskedAgain),
            "a doubled answer"
        );
        assert!((lease.rate(at(1_040)) - 40.0).abs() < 1e-9);
    }

    /// A lease of 100, and 10 to go on with.
    fn held_safe() -> LocalLease {
        let mut lease = LocalLease::new(at(0));
        lease.ask(at(0));
        let grant = Grant {
            safe_rate: 10.0,
            safe_ttl: Duration::from_secs(60),
            ..grant(5, 7, 100.0)
        };
        lease.renew(&grant, at(0), at(30)).expect("the first answer");
        lease
    }

    #[test]
    fn a_safe_rate_counts_from_the_lapse_on_and_only_with_looks() {
        let mut lease = held_safe();
        assert!(!lease.needs_look(at(1_979)) && lease.needs_look(at(1_980)));
        assert_eq!(lease.try_take(1, at(2_000)), Err(Refusal::Lapsed), "no look yet");
        let ask = lease.ask(at(2_010));
        assert!(
            (ask.has_rate - 10.0).abs() < 1e-9 && (ask.has_safe - 10.0).abs() < 1e-9,
            "{ask:?}"
        );
        lease.looked(Some((5, 7)), at(2_020));
        assert!((lease.rate(at(2_030)) - 10.0).abs() < 1e-9);
        assert!(lease.stands(at(2_030)) && !lease.is_live(at(2_030)));
        // The burst of the lease is over with it: at 10/s there is one recipient at once.
        assert_eq!(lease.take_up_to(9, at(2_200)), 1);
        assert_eq!(lease.take_up_to(9, at(3_200)), 1);
        assert_eq!(lease.take_up_to(9, at(4_020)), 0, "the look is 2 s old");
        lease.looked(Some((5, 7)), at(4_030));
        assert_eq!(lease.take_up_to(9, at(4_040)), 1);
        for second in (5..=61).step_by(1) {
            lease.looked(Some((5, 7)), at(second * 1_000));
        }
        assert!(lease.rate(at(61_379)) > 0.0);
        assert!(lease.rate(at(61_380)) <= 0.0, "62 s, a hundredth short");
    }

    #[test]
    fn whatever_was_cut_since_ends_a_safe_rate() {
        for state in [Some((5, 8)), Some((6, 7)), None] {
            let mut lease = held_safe();
            lease.looked(state, at(2_000));
            lease.looked(Some((5, 7)), at(2_010));
            assert!(lease.rate(at(2_020)) <= 0.0, "{state:?}");
        }
        let mut lease = held_safe();
        lease.looked(Some((5, 7)), at(2_000));
        assert!(!lease.cut(5, 8, 0.9, at(2_010)), "there is no lease to cut");
        assert!(lease.rate(at(2_020)) <= 0.0);
        let mut lease = held_safe();
        lease.drop_now(at(100));
        lease.looked(Some((5, 7)), at(2_000));
        assert!(lease.rate(at(2_010)) <= 0.0, "given up");
    }

    #[test]
    fn an_older_epoch_or_version_is_refused() {
        let mut lease = held(100.0);
        for (epoch, version) in [(4, 99), (5, 6)] {
            lease.ask(at(500 + version));
            let renewed = lease.renew(&grant(epoch, version, 500.0), at(500 + version), at(700));
            assert_eq!(renewed, Err(Stale::Older));
        }
        lease.ask(at(800));
        assert_eq!(lease.renew(&grant(6, 1, 60.0), at(800), at(810)), Ok(()));
        assert_eq!((lease.epoch(), lease.version()), (6, 1));
    }

    #[test]
    fn a_broadcast_cuts_once_and_never_raises() {
        let mut lease = held(100.0);
        assert!(lease.cut(5, 8, 0.8, at(100)));
        for (epoch, version, ratio) in [
            (5, 8, 0.8),
            (5, 7, 0.1),
            (4, 9, 0.1),
            (5, 9, 1.5),
            (5, 9, f64::NAN),
        ] {
            assert!(
                !lease.cut(epoch, version, ratio, at(110)),
                "{epoch} {version} {ratio}"
            );
        }
        assert!((lease.rate(at(120)) - 80.0).abs() < 1e-9);
        lease.ask(at(130));
        assert_eq!(
            lease.renew(&grant(5, 7, 100.0), at(130), at(140)),
            Err(Stale::Older),
            "an answer from before the cut"
        );
    }

    #[test]
    fn a_broadcast_out_of_reach_does_not_shut_answers_out() {
        let mut lease = held(100.0);
        assert!(!lease.cut(u64::MAX, 8, 0.5, at(100)));
        assert!(!lease.cut(5, u64::MAX, 0.5, at(100)));
        assert!(!lease.cut(5, 8, 0.5, at(1_980)), "the lease is over");
        assert_eq!((lease.epoch(), lease.version()), (5, 7));
    }

    proptest! {
        /// Whatever is broadcast, in whatever order and however often: no rate and no bucket is ever above what it would be without.
        #[test]
        fn no_broadcast_ever_raises_anything(
            messages in prop::collection::vec((0_u64..9, 0_u64..12, -1.0_f64..2.0, any::<bool>()), 0..40),
        ) {
            let (mut lease, untouched) = (held(100.0), held(100.0));
            let mut now = 30;
            for (epoch, version, ratio, is_replayed) in messages {
                now += 20;
                let (before, was) = (lease.rate(at(now)), (lease.epoch(), lease.version()));
                let is_cut = lease.cut(epoch, version, ratio, at(now));
                prop_assert!(lease.rate(at(now)) <= before);
                prop_assert!(!is_cut || (epoch, version) > was);
                if is_replayed {
                    prop_assert!(!lease.cut(epoch, version, ratio, at(now)) || !is_cut, "twice");
                }
                prop_assert!(lease.rate(at(now)) <= untouched.rate(at(now)));
                prop_assert!(lease.available(at(now)) <= untouched.available(at(now)) + 1e-6);
                prop_assert_eq!(lease.deadline(), untouched.deadline());
            }
        }
    }

    #[test]
    fn a_budget_is_counted_over_the_incarnation() {
        let mut lease = LocalLease::new(at(0));
        lease.ask(at(0));
        let grant = Grant {
            granted_total: Some(3),
            ..grant(1, 1, 1_000.0)
        };
        lease.renew(&grant, at(0), at(1)).expect("the first answer");
        assert_eq!(lease.take_up_to(10, at(500)), 3);
        assert_eq!(lease.try_take(1, at(600)), Err(Refusal::BudgetSpent));
        lease.put_back(1);
        assert_eq!(lease.try_take(1, at(600)), Ok(()));
        assert_eq!(lease.ask(at(700)).spent_total, 3);
    }

    #[test]
    fn throttles_are_told_apart_by_the_newest_versions() {
        let mut counts = Counts::default();
        for version in 0..12 {
            counts.throttled(version, 2);
        }
        counts.throttled(11, 1);
        let seen: Vec<_> = counts.throttled_by_version().collect();
        assert_eq!(seen.len(), 8);
        assert_eq!((seen[0], seen[7]), ((4, 2), (11, 3)));
    }
}
