//! Leave for one message to go, from the token to the provider's answer.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Provider, Record};
use paceline_kit::clock::Clock;
use paceline_providers::SendOutcome;

use super::{SharedKey, lock, wait_of};
use crate::key_gate::Pass;
use crate::outcome;

/// A place in the rate that was taken before is none of now: claims that all waited for a slow Redis would go in one burst.
const PLACE_MAX: Duration = Duration::from_millis(250);

/// How long no mail goes as another identity once the provider has refused it.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(300);

/// Why an admitted message must not be written after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    pub(crate) reason: Reason,
    pub(crate) delay: Duration,
}

/// A message goes as another identity than its own, which is being warmed up.
pub(super) struct Over {
    /// That other identity.
    pub(super) identity: String,
    /// The key of its own.
    pub(super) home: SharedKey,
}

/// A token, a place among the open requests and the gate's leave, for one message.
#[must_use]
pub(crate) struct Admission {
    key: SharedKey,
    provider: Provider,
    clock: Arc<dyn Clock>,
    pub(super) pass: Pass,
    /// The lease version under which it is sent.
    version: u64,
    /// When its place in the rate was taken.
    taken_at: Duration,
    stage: Stage,
    /// Whose token it is, where that is another identity's.
    pub(super) over: Option<Over>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Admitted,
    Written,
    Settled,
}

impl Admission {
    /// A token of the key was taken under a lease of this version, and the gate has let it pass.
    pub(super) fn new(
        (key, provider): (SharedKey, Provider),
        (pass, version): (Pass, u64),
        clock: Arc<dyn Clock>,
        now: Duration,
    ) -> Self {
        Self {
            key,
            provider,
            clock,
            pass,
            version,
            taken_at: now,
            stage: Stage::Admitted,
            over: None,
        }
    }

    /// The identity that it goes as, where that is not its own.
    pub(crate) fn via(&self) -> Option<&str> {
        self.over.as_ref().map(|over| over.identity.as_str())
    }

    /// Whose token it is.
    pub(crate) const fn by(&self) -> Provider {
        self.provider
    }

    /// Looks once more, right before the request is written: the lease may have lapsed and the gate closed since.
    pub(crate) fn check(&mut self, random: f64) -> Result<(), Withdrawn> {
        let now = self.clock.boot();
        let mut key = lock(&self.key);
        if !key.gate.stands(self.pass) {
            return Err(Withdrawn {
                reason: Reason::KeyPaused,
                delay: outcome::until_usable(key.gate.wait(now), random),
            });
        }
        let withdrawn = |delay| Withdrawn {
            reason: Reason::NotWritten,
            delay,
        };
        if !key.lease.stands(now) {
            return Err(withdrawn(Duration::ZERO));
        }
        if now.saturating_sub(self.taken_at) > PLACE_MAX {
            let taken = key.lease.take_anew(now);
            taken.map_err(|refusal| withdrawn(wait_of(refusal)))?;
            drop(key);
            self.taken_at = now;
        }
        Ok(())
    }

    /// Looks the same without a reason, for as long as the request is being made.
    pub(crate) fn stands(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (key, clock, pass) = (Arc::clone(&self.key), Arc::clone(&self.clock), self.pass);
        move || {
            let key = lock(&key);
            key.gate.stands(pass) && key.lease.stands(clock.boot())
        }
    }

    /// The request is written now: the token is spent.
    pub(crate) fn written(&mut self) {
        self.stage = Stage::Written;
        lock(&self.key).counts.sent(1);
    }

    /// Ends the admission with the provider's answer, and says what to report of the message.
    pub(crate) fn settle(
        mut self,
        (id, record): (MessageId, &Record),
        answer: SendOutcome,
        took: Duration,
        random: f64,
    ) -> Outcome {
        let now = self.clock.boot();
        self.stage = Stage::Settled;
        let mut key = lock(&self.key);
        key.in_flight = key.in_flight.saturating_sub(1);
        key.demand.answered(took);
        if is_answer(&answer) {
            key.latency.answered(1, took, now);
        }
        match &answer {
            SendOutcome::Accepted { .. } => key.counts.accepted(1),
            SendOutcome::Throttled { daily: false, .. } => key.counts.throttled(self.version, 1),
            failure if failure.is_failure() => key.counts.error(1),
            _ => {}
        }
        if let (Some(over), Some((reason, whose))) = (&self.over, refused(&answer)) {
            key.gate.undecided(self.pass, now);
            drop(key);
            return over.refused((id, record), (reason, whose), random, now);
        }
        let identity = self.via().unwrap_or(&record.identity);
        let paused = key.gate.paused();
        let outcome = outcome::settle(&mut key.gate, self.pass, (id, record), answer, random, now);
        match (paused, key.gate.paused()) {
            (None, Some(reason)) => tracing::warn!(
                identity,
                provider = self.provider.as_str(),
                reason = reason.as_str(),
                "provider refuses the account or the identity, its mail waits"
            ),
            (Some(_), None) => tracing::info!(
                identity,
                provider = self.provider.as_str(),
                "provider takes mail of the identity again"
            ),
            _ => {}
        }
        outcome
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The message as it is, or as the identity that it went as.
    Message,
    /// Whatever comes.
    All,
}

impl Over {
    /// The provider does not take mail of the one identity as the other. That says nothing of the other's own mail, nor of what becomes of
    /// the message as its own identity: it goes back there. Where whatever comes is refused, no further one follows for a while.
    fn refused(
        &self,
        (id, record): (MessageId, &Record),
        (reason, whose): (Reason, Whose),
        random: f64,
        now: Duration,
    ) -> Outcome {
        tracing::warn!(
            message_id = %id,
            identity = record.identity,
            via = self.identity,
            reason = reason.as_str(),
            "provider refuses mail of one identity as another, it waits for its own"
        );
        if whose == Whose::All {
            lock(&self.home).overflow_from = now + OVERFLOW_PAUSE;
        }
        let delay = outcome::until_usable(OVERFLOW_PAUSE, random);
        Outcome::Deferred { reason, delay }
    }
}

/// Why the provider refuses, if it does.
const fn refused(answer: &SendOutcome) -> Option<(Reason, Whose)> {
    match answer {
        SendOutcome::Refused { reason } => Some((*reason, Whose::Message)),
        SendOutcome::AccountRefused { reason } => Some((*reason, Whose::All)),
        SendOutcome::Throttled { daily: true, .. } => Some((Reason::DailyQuota, Whose::All)),
        _ => None,
    }
}

/// True if the provider has said what it does with the message.
const fn is_answer(answer: &SendOutcome) -> bool {
    match answer {
        SendOutcome::Accepted { .. }
        | SendOutcome::Refused { .. }
        | SendOutcome::AccountRefused { .. }
        | SendOutcome::Throttled { .. } => true,
        SendOutcome::Transient { .. } | SendOutcome::Unknown { .. } => false,
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.stage == Stage::Settled {
            return;
        }
        let now = self.clock.boot();
        let mut key = lock(&self.key);
        key.in_flight = key.in_flight.saturating_sub(1);
        if self.stage == Stage::Written {
            key.gate.undecided(self.pass, now);
        } else {
            key.gate.returned(self.pass, now);
            if now.saturating_sub(self.taken_at) > PLACE_MAX {
                key.lease.put_back_late(1);
            } else {
                key.lease.put_back(1);
            }
        }
    }
}
