//! Looks at the providers' accounts, by the leader alone: what each allows, and whether it may send at all.
//!
//! One account is looked at when this coordinator takes the lead, then each minute or so, and sooner when a sender is refused for the
//! account's sake; never more than once a second, which is all that SES answers. An account that can't be looked at goes on with the
//! configured limits: health's note and the metrics say so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_kit::health::Health;

use crate::desk::{Desk, Look};
use crate::metrics::Metrics;

/// How often it is asked whether a look is due.
const STEP: Duration = Duration::from_millis(200);
/// Between two looks, whatever the cause.
const SPACE_MIN: Duration = Duration::from_secs(1);
/// Between a look and one that a sender's word brings about.
const WISH_SPACE: Duration = Duration::from_secs(10);
/// Looks come early or late by up to this share, so that several coordinators' do not come together.
const JITTER: f64 = 0.1;

/// One account at a provider. Answers, or gives up, within a few seconds.
pub(crate) trait AccountSource: Send + Sync + 'static {
    /// Looks at it; `Err` says as a code why there is no answer.
    fn look(&self) -> impl Future<Output = Result<Look, &'static str>> + Send;
}

/// The looks at one account.
pub(crate) struct Looks<A, C> {
    pub(crate) region: String,
    pub(crate) source: A,
    pub(crate) every: Duration,
    pub(crate) desk: Desk,
    pub(crate) clock: C,
    pub(crate) metrics: Metrics,
    pub(crate) trouble: Trouble,
}

impl<A: AccountSource, C: Clock> Looks<A, C> {
    /// Looks until `stop`.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut schedule = Schedule::new(self.every);
        loop {
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                () = stop.requested() => break,
            }
            let now = self.clock.boot();
            let epoch = self.desk.term(now).map(|term| term.epoch);
            if epoch.is_none() {
                self.trouble.set(&self.region, None);
            }
            if schedule.is_due(epoch, self.desk.wants_look(&self.region), now) {
                schedule.looked(rand::random(), now);
                tokio::select! {
                    () = self.look() => {}
                    () = stop.requested() => break,
                }
            }
        }
    }

    async fn look(&self) {
        let Some((term, asked)) = self.desk.ask_account(&self.region, self.clock.boot()) else {
            return;
        };
        let answer = self.source.look().await;
        let outcome = answer.as_ref().map_or_else(|outcome| *outcome, |_| "ok");
        self.metrics.looked(&self.region, outcome);
        self.trouble.set(&self.region, answer.as_ref().err().copied());
        match &answer {
            Ok(Look {
                paused: Some(why), ..
            }) => {
                tracing::warn!(region = self.region, why, "the provider has paused the account");
            }
            Ok(_) => tracing::debug!(region = self.region, "looked at the account"),
            Err(outcome) => {
                tracing::debug!(region = self.region, outcome, "the account can't be looked at");
            }
        }
        self.desk
            .account_looked(&self.region, (&term, asked), answer, self.clock.boot());
    }
}

/// What is amiss with some of the keys while the others are served, as health's note says it.
#[derive(Clone)]
pub(crate) struct Trouble {
    pub(crate) health: Health,
    now: Arc<Mutex<Amiss>>,
}

#[derive(Default)]
struct Amiss {
    /// Accounts that can't be looked at: region and outcome.
    looks: BTreeMap<String, &'static str>,
    /// A key's state can't be read.
    state: bool,
}

impl Trouble {
    pub(crate) fn new(health: Health) -> Self {
        Self {
            health,
            now: Arc::default(),
        }
    }

    fn set(&self, region: &str, outcome: Option<&'static str>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match outcome {
            Some(outcome) => now.looks.insert(region.to_owned(), outcome),
            None => now.looks.remove(region),
        };
        if before == outcome {
            return;
        }
        match outcome {
            Some(outcome) => tracing::warn!(
                region,
                outcome,
                "the account can't be looked at, the configured limits hold"
            ),
            None => tracing::info!(region, "no trouble with looks at the account any more"),
        }
        self.health.set_note(&now.note());
    }

    /// Whether there is a key whose state can't be read. The log names it.
    pub(crate) fn set_unreadable(&self, is_there: bool) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut now.state, is_there) != is_there {
            self.health.set_note(&now.note());
        }
    }
}

impl Amiss {
    fn note(&self) -> String {
        let looks = self
            .looks
            .iter()
            .map(|(region, outcome)| format!("the account in {region} can't be looked at ({outcome})"));
        let state = self
            .state
            .then(|| "a key's state in redis can't be read".to_owned());
        state.into_iter().chain(looks).collect::<Vec<_>>().join(", ")
    }
}

/// When looks are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    every: Duration,
    /// The lead during which the last look was.
    epoch: Option<u64>,
    last_at: Option<Duration>,
    next_at: Duration,
    seen: Option<u64>,
}

impl Schedule {
    const fn new(every: Duration) -> Self {
        Self {
            every,
            epoch: None,
            last_at: None,
            next_at: Duration::ZERO,
            seen: None,
        }
    }

    /// Whether a look is due for whoever leads in `epoch`; `wished` if a sender's word asks for one.
    fn is_due(&mut self, epoch: Option<u64>, wished: bool, now: Duration) -> bool {
        self.seen = epoch;
        if epoch.is_none() {
            return false;
        }
        let is_past = |space| self.last_at.is_none_or(|at| now.saturating_sub(at) >= space);
        let is_due = self.epoch != epoch || now >= self.next_at || (wished && is_past(WISH_SPACE));
        is_due && is_past(SPACE_MIN)
    }

    /// A look begins. `random` is any number from 0 to 1.
    fn looked(&mut self, random: f64, now: Duration) {
        self.epoch = self.seen;
        self.last_at = Some(now);
        self.next_at = now
            + self
                .every
                .mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_kit::health::Health;

    use super::{Schedule, Trouble};

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Duration {
        Duration::from_secs(1_000) + Duration::from_millis(millis)
    }

    /// When looks are made within `until_ms`, asked every 200 ms.
    fn looks(
        until_ms: u64,
        random: f64,
        lead: impl Fn(u64) -> Option<u64>,
        wished: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        let mut schedule = Schedule::new(MINUTE);
        let mut made = Vec::new();
        for ms in (0..until_ms).step_by(200) {
            if schedule.is_due(lead(ms), wished(ms), at(ms)) {
                schedule.looked(random, at(ms));
                made.push(ms);
            }
        }
        made
    }

    #[test]
    fn the_leader_looks_at_once_and_each_minute_or_so() {
        assert_eq!(looks(130_000, 0.5, |_| Some(1), |_| false), [0, 60_000, 120_000]);
        assert_eq!(looks(130_000, 0.0, |_| Some(1), |_| false), [0, 54_000, 108_000]);
        assert_eq!(looks(133_000, 1.0, |_| Some(1), |_| false), [0, 66_000, 132_000]);
    }

    #[test]
    fn who_does_not_lead_never_looks_and_a_new_lead_looks_at_once() {
        assert!(looks(130_000, 0.5, |_| None, |_| true).is_empty());
        let lead = |ms| match ms {
            0..5_000 => Some(1),
            5_000..9_000 => None,
            _ => Some(7),
        };
        assert_eq!(looks(50_000, 0.5, lead, |_| false), [0, 9_000]);
    }

    #[test]
    fn a_refused_sender_is_heard_but_not_each_time() {
        assert_eq!(
            looks(40_000, 0.5, |_| Some(1), |ms| ms >= 3_000),
            [0, 10_000, 20_000, 30_000]
        );
        assert_eq!(looks(59_000, 0.5, |_| Some(1), |ms| ms == 15_000), [0, 15_000]);
    }

    #[tokio::test]
    async fn health_s_note_has_all_that_is_amiss() {
        let (health, _server) = Health::new().await;
        let trouble = Trouble::new(health.clone());
        trouble.set("eu-west-1", Some("timeout"));
        trouble.set_unreadable(true);
        let (key, account) = (
            "a key's state in redis can't be read",
            "the account in eu-west-1 can't be looked at (timeout)",
        );
        assert_eq!(health.note(), format!("{key}, {account}"));
        trouble.set("eu-west-1", None);
        assert_eq!(health.note(), key);
        trouble.set("eu-west-1", Some("timeout"));
        trouble.set_unreadable(false);
        assert_eq!(health.note(), account);
    }

    #[test]
    fn never_more_than_once_a_second() {
        let lead_flaps = |ms: u64| Some(ms / 200);
        let made = looks(10_000, 0.5, lead_flaps, |_| true);
        assert!(made.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{made:?}");
        assert_eq!(made.len(), 10);
    }
}
