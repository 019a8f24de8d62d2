//! One step of the controller for each kind of event, and what is in force after it.

use super::route::{Rerouted, Sight};
use super::{
    Account, Action, Allowance, Asked, BudgetedBy, Controller, Counts, Decision, Effective, HOLD_PARTS,
    HOLD_SECS, HolderId, Left, LimitedBy, Overflow, REFUSED_RATE, Reason, SECONDS_OF_DAY, Said, Settings,
    Standing, Tick, WarmUp, Word, aimd, bounces, breaker, overrides, quota, warm_up,
};

impl Controller {
    pub(super) fn asked(&mut self, asked: &Asked, decisions: &mut Vec<Decision>) {
        let before = self.refusals.reason();
        self.adapt(aimd::Event::VersionSeen(asked.has_version), decisions);
        let Some(heard) = self.budget.hear(asked.holder, asked.said, self.now) else {
            return;
        };
        if let Some(word) = &asked.warm_up {
            self.remember(word);
        }
        self.spent(heard.spent);
        self.warm(warm_up::Event::Granted(heard.granted));
        if heard.unknown > 0 {
            // A leader's memory is lost. The provider has it in its quota; nobody has it in the warm-up's day.
            self.warm(warm_up::Event::Spent(heard.unknown));
        }
        self.count(asked.holder, &asked.counts);
        if asked.idle {
            let freed = self.budget.reclaim(asked.holder);
            self.warm(warm_up::Event::GivenBack(freed));
        }
        self.break_with(breaker::Event::Asked {
            holder: asked.holder,
            wants: asked.wants,
            idle: asked.idle,
        });
        let is_new = self
            .refusals
            .say(asked.holder, asked.refused, asked.counts.accepted > 0);
        let is_quota = |code: u16| Reason::from_code(code) == Reason::DailyQuota;
        // What is counted here since this leader began says nothing of when an account frees that nobody looks at: each of its
        // senders pauses by itself, and probes.
        if is_new && asked.refused.is_some_and(is_quota) && self.quota.is_looked_at(self.now) {
            let was_exceeded = self.quota.exceeded_until(self.now).is_some();
            self.quota.exceeded(self.now);
            let until = self.quota.exceeded_until(self.now).filter(|_| !was_exceeded);
            decisions.extend(until.map(|until| Decision::QuotaExceeded { until }));
        }
        match (before, self.refusals.reason()) {
            (None, Some(reason)) => decisions.push(Decision::Refused(reason)),
            (Some(_), None) => decisions.push(Decision::RefusalOver),
            _ => {}
        }
    }

    /// A sender says how far the warm-up had come. It counts where nothing is known of one, or of one that began later: the settings begin
    /// theirs anew where it is lost. What people have stopped since is known, and is not begun again.
    fn remember(&mut self, word: &Word) {
        if word.first_day > self.day() || self.warm_up_began.is_some_and(|began| began < word.first_day) {
            return;
        }
        match (&mut self.warm_up, word.level) {
            (None, _) if self.warm_up_began.is_some() => return,
            (None, Some(_)) => {
                let overflow = Overflow::to(word.overflow_to.clone());
                let mut warm_up = WarmUp::start(self.day(), overflow);
                warm_up.resume(word);
                self.warm_up = Some(warm_up);
            }
            (None, None) => {}
            (Some(warm_up), Some(_)) => warm_up.resume(word),
            (Some(warm_up), None) if warm_up.level() == 0 => self.warm_up = None,
            (Some(_), None) => return,
        }
        self.warm_up_began = Some(word.first_day);
    }

    /// Grants of the budgets what a sender with this part of the rate needs.
    pub(super) fn leased(&mut self, holder: HolderId, rate: f64) -> Decision {
        let (left, by) = self.left_to_grant();
        let allowance = left.map(|left| self.grant(holder, rate, left, by));
        Decision::Granted {
            holder,
            allowance,
            by,
        }
    }

    fn grant(&mut self, holder: HolderId, rate: f64, left: Left, by: BudgetedBy) -> Allowance {
        let hold = if rate > 0.0 {
            recipients(rate * HOLD_SECS)
        } else {
            0
        };
        let hold = match self.breaker.standing() {
            Standing::Closed => hold.min((left.all / HOLD_PARTS).max(1)),
            Standing::HalfOpen if self.breaker.admits(holder) && hold > 0 => breaker::PROBES,
            Standing::HalfOpen | Standing::Open => 0,
        };
        let before = self.budget.outstanding();
        let allowance = self.budget.grant(holder, hold, left);
        let granted = self.budget.outstanding().saturating_sub(before);
        debug_assert!(granted <= left.all, "{granted} granted of {left:?} by {by:?}");
        self.warm(warm_up::Event::Granted(granted));
        allowance
    }

    pub(super) fn left(&mut self, holder: HolderId, counts: &Counts, said: Said) {
        self.count(holder, counts);
        let returned = self.budget.release(holder, said);
        self.spent(returned.spent);
        self.warm(warm_up::Event::GivenBack(returned.given_back));
        self.gone(holder);
    }

    pub(super) fn bounced(&mut self, n: u64) {
        self.bounces.step(bounces::Event::Bounced(n), self.now);
        self.warm(warm_up::Event::Bounced(n));
    }

    pub(super) fn looked(&mut self, account: &Account, decisions: &mut Vec<Decision>) {
        let before = self.limits().max_send_rate;
        let allowed = account.max_send_rate.or(self.settings.limits.max_send_rate);
        self.adapt(aimd::Event::MaxSendRate(allowed), decisions);
        let rate = |limit: Option<f64>| limit.unwrap_or(f64::INFINITY);
        if rate(allowed) < rate(before) {
            // What the keys of one account may go on with unasked was kept back of more, whatever each of them is limited by.
            self.adapt(aimd::Event::Superseded, decisions);
        }
        self.quota
            .looked(account.daily, account.sent_last_24_hours, self.now);
        self.account = Some(*account);
    }

    pub(super) fn set(&mut self, it: &overrides::Override, decisions: &mut Vec<Decision>) {
        let kind = it.action.kind();
        match self.overrides.set(it.clone(), self.now) {
            Ok(()) => decisions.push(Decision::Set(kind)),
            Err(wrong) => {
                decisions.push(Decision::NotSet(wrong));
                return;
            }
        }
        if it.action == Action::Resume {
            let resumed = self.bounces.step(bounces::Event::Resumed, self.now);
            decisions.extend(resumed.map(Decision::Bounces));
        }
    }

    pub(super) fn reconfigure(&mut self, settings: &Settings, decisions: &mut Vec<Decision>) {
        if self.account.is_none() {
            self.quota.set_max(settings.daily);
        }
        if !settings.breaker {
            self.breaker = breaker::Breaker::default();
        }
        self.bounces.set_resume(settings.resume);
        self.settings = *settings;
        self.adapt(aimd::Event::Limits(self.limits()), decisions);
    }

    pub(super) fn tick(&mut self, tick: &Tick, decisions: &mut Vec<Decision>) {
        let Tick {
            measured,
            taken,
            random,
            latency,
            route,
        } = *tick;
        for lapsed in self.budget.expire(self.now) {
            self.spent(lapsed.unspent);
            self.gone(lapsed.holder);
        }
        decisions.extend(
            self.overrides
                .expire(self.now)
                .iter()
                .map(|it| Decision::Expired(it.action.kind())),
        );
        let day = warm_up::Event::Day {
            day: self.day(),
            quota: self.quota_of_day(),
        };
        decisions.extend(self.warm(day).map(Decision::WarmUp));
        if self.warm_up.as_ref().is_some_and(WarmUp::has_ended) {
            self.warm_up = None;
        }
        let may_pause = !self.overrides.is_resumed();
        let judged = self.bounces.step(bounces::Event::Tick { may_pause }, self.now);
        decisions.extend(judged.map(Decision::Bounces));
        let rate = self.aimd.rate();
        let transition = self.break_with(breaker::Event::Tick { rate, random });
        decisions.extend(transition.map(Decision::Breaker));
        if let Some(breaker::Transition::Closed { rate }) = transition {
            self.adapt(aimd::Event::Restart(rate), decisions);
        }
        decisions.extend(self.choose_way(route).map(Decision::Rerouted));
        if let Some(latency) = latency {
            self.adapt(aimd::Event::Latency(latency), decisions);
        }
        if self.adapts() {
            let taken = taken.unwrap_or(measured);
            self.adapt(aimd::Event::Tick { measured, taken }, decisions);
        }
    }

    fn choose_way(&mut self, news: Option<Sight>) -> Option<Rerouted> {
        if let Some(sight) = news {
            self.route.get_or_insert_default().see(sight);
        }
        let (standing, back_after) = (self.breaker.standing(), self.settings.route_back_after);
        self.route.as_mut()?.step(standing, back_after, self.now)
    }

    /// Puts in force what the rules allow now.
    pub(super) fn settle(&mut self, decisions: &mut Vec<Decision>) {
        let before = self.in_force;
        self.in_force = self.effective();
        let Effective { rate, by } = self.in_force;
        let was_cut = |it: &Decision| matches!(it, Decision::Aimd(aimd::Decision::Cut { .. }));
        if rate < before.rate && !decisions.iter().any(was_cut) {
            self.adapt(aimd::Event::Superseded, decisions);
        }
        if rate.to_bits() != before.rate.to_bits() || by != before.by {
            decisions.push(Decision::Rate {
                from: before.rate,
                to: rate,
                by,
                version: self.aimd.version(),
            });
        }
        self.warm(warm_up::Event::Paused(by.is_pause()));
        self.overflow(decisions);
    }

    /// The least that a rule allows, and the first rule that does.
    pub(super) fn effective(&self) -> Effective {
        let outstanding = self.budget.outstanding();
        let is_empty = |left: Option<u64>| left == Some(0) && outstanding == 0;
        let of_account = outstanding.saturating_add(self.siblings_outstanding);
        let of_quota = self.quota.left(of_account, self.now).map(|left| left.all);
        let is_exceeded = self.quota.exceeded_until(self.now).is_some();
        let warm_up = self.warm_up.as_ref();
        let of_warm_up = warm_up.and_then(|it| it.left(outstanding, self.now));
        let is_disabled = self.account.is_some_and(|account| !account.enabled);
        let stop = |stops: bool| stops.then_some(0.0);
        let rules = [
            (stop(self.overrides.is_paused()), LimitedBy::Paused),
            (stop(is_disabled), LimitedBy::AccountDisabled),
            (stop(self.bounces.is_paused()), LimitedBy::Bounces),
            (stop(is_exceeded || is_empty(of_quota)), LimitedBy::DailyQuota),
            (stop(is_empty(of_warm_up)), LimitedBy::WarmUp),
            (self.breaker.rate(), LimitedBy::Breaker),
            (self.refusals.reason().map(|_| REFUSED_RATE), LimitedBy::Refused),
            (self.overrides.cap(), LimitedBy::Cap),
            (Some(self.aimd.rate()), self.aimd.limited_by().into()),
        ];
        let mut least = Effective {
            rate: f64::INFINITY,
            by: LimitedBy::Start,
        };
        for (rate, by) in rules {
            if let Some(rate) = rate.filter(|rate| *rate < least.rate) {
                least = Effective { rate, by };
            }
        }
        least
    }

    /// The limits of the settings, and what the account says.
    pub(super) fn limits(&self) -> aimd::Limits {
        let limits = self.settings.limits;
        let known = self.account.and_then(|account| account.max_send_rate);
        aimd::Limits {
            max_send_rate: known.or(limits.max_send_rate),
            ..limits
        }
    }

    /// Whole UTC days since the epoch.
    pub(super) const fn day(&self) -> u64 {
        self.now.as_secs() / SECONDS_OF_DAY
    }

    /// What a warm-up has to reach: the account's quota, or what the ceiling can send in a day.
    fn quota_of_day(&self) -> u64 {
        match self.quota.max() {
            quota::DailySend::Limited(max) => max,
            quota::DailySend::Unlimited => {
                recipients(self.aimd.limits().top()).saturating_mul(SECONDS_OF_DAY)
            }
        }
    }

    fn overflow(&mut self, decisions: &mut Vec<Decision>) {
        let outstanding = self.budget.outstanding();
        let warm_up = self.warm_up.as_ref();
        let used_up = warm_up.filter(|it| it.is_used_up(outstanding));
        let to = used_up.and_then(|it| it.overflow().identity());
        if to.is_some() != self.overflows {
            self.overflows = to.is_some();
            decisions.push(Decision::Overflow(to.map(str::to_owned)));
        }
    }

    fn count(&mut self, holder: HolderId, counts: &Counts) {
        let Counts {
            sent,
            accepted,
            failed,
            ref throttled,
        } = *counts;
        let now = self.now;
        if self.adapts() {
            let mut step = |event| self.aimd = self.aimd.step(event, now).0;
            step(aimd::Event::Sent(sent));
            step(aimd::Event::Failed(failed));
            for &(version, count) in throttled {
                step(aimd::Event::Throttled { version, count });
            }
        }
        let throttled_all = throttled
            .iter()
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        self.bounces.step(bounces::Event::Accepted(accepted), now);
        self.warm(warm_up::Event::Accepted(accepted));
        self.break_with(breaker::Event::Answers {
            holder,
            sent,
            accepted,
            failed,
            throttled: throttled_all,
        });
        if accepted > 0 {
            self.refusals.overrule();
        }
    }

    /// While the provider is away its late answers say nothing of its rate, and nothing is sent to measure a cut by.
    fn adapts(&self) -> bool {
        self.breaker.standing() == Standing::Closed
    }

    fn spent(&mut self, n: u64) {
        self.spent_total = self.spent_total.saturating_add(n);
        self.quota.spent(n, self.now);
        self.warm(warm_up::Event::Spent(n));
        self.break_with(breaker::Event::Spent(n));
    }

    fn gone(&mut self, holder: HolderId) {
        self.refusals.forget(holder);
        self.break_with(breaker::Event::Gone(holder));
    }

    fn adapt(&mut self, event: aimd::Event, decisions: &mut Vec<Decision>) {
        let (aimd, decision) = self.aimd.step(event, self.now);
        self.aimd = aimd;
        decisions.extend(decision.map(Decision::Aimd));
    }

    fn warm(&mut self, event: warm_up::Event) -> Option<warm_up::Step> {
        let now = self.now;
        self.warm_up.as_mut()?.step(event, now)
    }

    fn break_with(&mut self, event: breaker::Event) -> Option<breaker::Transition> {
        if self.settings.breaker {
            self.breaker.step(event, self.now)
        } else {
            None
        }
    }
}

/// Whole recipients, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and a rate is not negative"
)]
fn recipients(rate: f64) -> u64 {
    rate.ceil() as u64
}
