//! Whether a (provider, identity) may be used: closed by a refusal that concerns the account, opened by a probe.
//!
//! A refusal such as "sending is paused" or "daily quota exceeded" hits whatever is sent next, so one of them closes the key
//! and its mail waits where it is. After a pause one other message goes out as a probe: taken, it opens the key; refused, it
//! doubles the pause. A probe that went out before the pause was over only tells whose refusal it was: refused, it begins the first pause.
//! Two rules keep one message from closing its key for ever:
//!
//! - A refusal counts as a try of the message if the key took another message since this one's last refusal, and then the
//!   next probe is due at once.
//! - The probe is another message than the one that was refused, while there is one.
//!
//! A failure that proves nothing about the account (a 503 of the provider) closes nothing. It counts as a try if, since this
//! message's last failure, the key took more messages than failed: an outage of the provider, a partial one too, must not use
//! up the tries of any message, however little mail its key has. A message alone on its key thus comes to rest by its time to
//! live.
//!
//! Each sender has gates of its own and counts what it saw itself: a message that goes through several senders, or through one
//! that starts anew, may fail once more with each of them before its failures count. It errs for the message.
//!
//! Pure: time is an argument (the boot-time clock), and memory is bounded.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;

/// The first pause; each refused probe doubles it.
pub const PAUSE_MIN: Duration = Duration::from_secs(30);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long a due probe waits for another message before the refused one itself may be it.
const OTHER_FIRST: Duration = Duration::from_secs(5);
/// Refused messages that are remembered, and as many failed ones. A forgotten one is refused once more before its refusals
/// count.
const REMEMBERED_MAX: usize = 4_096;

/// Leave to send one message, by which its outcome is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The gate's epoch when it was given.
    epoch: u64,
    probe: bool,
}

/// How much of a key's mail is worth reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    All,
    /// A probe is due: one message, and a second one in case the first is the one that was refused.
    Probe,
    Nothing,
}

/// What a refusal means for the message that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// It counts as a try: others of its key passed meanwhile.
    pub own: bool,
    /// Until the key may be usable again.
    pub wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    reason: Reason,
    length: Duration,
    probe: Probe,
    /// The message whose refusal was the last.
    refused: MessageId,
    /// No probe has been refused yet, so an answer to an earlier request still tells something.
    fresh: bool,
    /// The next probe goes out before the provider had the pause's time to change its mind.
    early: bool,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    DueAt(Duration),
    UnderWay,
}

/// The state of one key.
#[derive(Debug, Default)]
pub struct KeyGate {
    pause: Option<Pause>,
    /// Raised whenever the gate closes or opens: tells answers to older requests from present ones.
    epoch: u64,
    /// Messages that the provider took.
    accepted: i64,
    /// Those, less the failures of the provider.
    balance: i64,
    refused: Setbacks,
    failed: Setbacks,
}

impl KeyGate {
    /// Leave to send `id`, or how long to wait before asking again.
    ///
    /// # Errors
    /// While the key is paused and `id` is no probe.
    pub fn admit(&mut self, id: MessageId, now: Duration) -> Result<Pass, Duration> {
        let Some(pause) = &mut self.pause else {
            return Ok(Pass {
                epoch: self.epoch,
                probe: false,
            });
        };
        let due = match pause.probe {
            Probe::UnderWay => return Err(pause.length),
            Probe::DueAt(due) if id == pause.refused => due + OTHER_FIRST,
            Probe::DueAt(due) => due,
        };
        if now < due {
            return Err(due.saturating_sub(now));
        }
        pause.probe = Probe::UnderWay;
        Ok(Pass {
            epoch: self.epoch,
            probe: true,
        })
    }

    /// False if the gate has closed since the pass was given.
    #[must_use]
    pub const fn stands(&self, pass: Pass) -> bool {
        pass.epoch == self.epoch
    }

    /// The provider took the message.
    pub fn accepted(&mut self, pass: Pass, id: MessageId, now: Duration) {
        self.accepted += 1;
        self.balance += 1;
        self.refused.forget(id);
        self.failed.forget(id);
        let Some(pause) = &mut self.pause else {
            return;
        };
        if pass.probe && pass.epoch == self.epoch {
            self.pause = None;
            self.epoch += 1;
        } else if pause.fresh
            && pass.epoch + 1 == self.epoch
            && let Probe::DueAt(due) = pause.probe
        {
            // It was sent before the refusal and answered after it: the refusal may be that message's own.
            pause.early |= now < due;
            pause.probe = Probe::DueAt(due.min(now));
        }
    }

    /// The provider refused the message for the sake of the account, the identity or the daily quota.
    pub fn refused(&mut self, pass: Pass, id: MessageId, reason: Reason, now: Duration) -> Refusal {
        let own = self.refused.again(id, self.accepted);
        match &mut self.pause {
            None if pass.epoch == self.epoch => {
                let first_probe = if own { Duration::ZERO } else { PAUSE_MIN };
                self.pause = Some(Pause {
                    reason,
                    length: PAUSE_MIN,
                    probe: Probe::DueAt(now + first_probe),
                    refused: id,
                    fresh: true,
                    early: own,
                });
                self.epoch += 1;
            }
            Some(pause) if pass.probe && pass.epoch == self.epoch => {
                if !own && !pause.early {
                    pause.length = (pause.length * 2).min(PAUSE_MAX);
                }
                *pause = Pause {
                    reason,
                    probe: Probe::DueAt(now + pause.length),
                    refused: id,
                    fresh: false,
                    early: false,
                    ..*pause
                };
            }
            // The answer to a request of before: the gate knows more already.
            None | Some(_) => {}
        }
        Refusal {
            own,
            wait: self.wait(now),
        }
    }

    /// The provider failed, and said so. True if it counts as a try of the message.
    pub fn failed(&mut self, pass: Pass, id: MessageId, now: Duration) -> bool {
        self.undecided(pass, now);
        let own = self
            .failed
            .before(id)
            .is_some_and(|balance| self.balance > balance);
        self.balance -= 1;
        self.failed.remember(id, self.balance);
        own
    }

    /// The outcome says nothing about the key. A probe is due again after the same pause.
    pub fn undecided(&mut self, pass: Pass, now: Duration) {
        self.probe_again(pass, now, true);
    }

    /// The message was not sent at all, or refused for its own sake. A probe is due at once.
    pub fn returned(&mut self, pass: Pass, now: Duration) {
        self.probe_again(pass, now, false);
    }

    /// Why the key is paused, if it is.
    #[must_use]
    pub fn paused(&self) -> Option<Reason> {
        self.pause.map(|pause| pause.reason)
    }

    /// Until the key may be usable; zero if it is.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        match self.pause {
            None => Duration::ZERO,
            Some(Pause {
                probe: Probe::DueAt(due),
                ..
            }) => due.saturating_sub(now),
            Some(Pause { length, .. }) => length,
        }
    }

    /// How much of the key's mail is worth reading now.
    #[must_use]
    pub fn readable(&self, now: Duration) -> Readable {
        match self.pause {
            None => Readable::All,
            Some(Pause {
                probe: Probe::DueAt(due),
                ..
            }) if due <= now => Readable::Probe,
            Some(_) => Readable::Nothing,
        }
    }

    fn probe_again(&mut self, pass: Pass, now: Duration, after_pause: bool) {
        if let Some(pause) = &mut self.pause
            && pass.probe
            && pass.epoch == self.epoch
        {
            let wait = if after_pause { pause.length } else { Duration::ZERO };
            pause.probe = Probe::DueAt(now + wait);
        }
    }
}

/// What the key had come to when each of these was last turned away.
#[derive(Debug, Default)]
struct Setbacks {
    accepted: HashMap<MessageId, i64>,
    /// Oldest first; may hold ids that were forgotten.
    order: VecDeque<MessageId>,
}

impl Setbacks {
    /// Notes that `id` was turned away once more. True if the key took another message since the last time.
    fn again(&mut self, id: MessageId, accepted: i64) -> bool {
        let before = self.before(id);
        self.remember(id, accepted);
        before.is_some_and(|before| accepted > before)
    }

    fn before(&self, id: MessageId) -> Option<i64> {
        self.accepted.get(&id).copied()
    }

    fn remember(&mut self, id: MessageId, accepted: i64) {
        if self.accepted.insert(id, accepted).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.accepted.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, id: MessageId) {
        if self.accepted.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::id::MessageId;
    use paceline_domain::reason::Reason;

    use super::{KeyGate, OTHER_FIRST, PAUSE_MAX, PAUSE_MIN, Pass, REMEMBERED_MAX, Readable};

    const T0: Duration = Duration::from_secs(1_000);

    fn id(number: u32) -> MessageId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        MessageId(bytes)
    }

    fn pass(gate: &mut KeyGate, number: u32, now: Duration) -> Pass {
        gate.admit(id(number), now).expect("leave to send")
    }

    /// A gate that message 1 closed at `T0`.
    fn closed() -> KeyGate {
        let mut gate = KeyGate::default();
        let first = pass(&mut gate, 1, T0);
        let refusal = gate.refused(first, id(1), Reason::AccountPaused, T0);
        assert!(!refusal.own);
        assert_eq!(refusal.wait, PAUSE_MIN);
        gate
    }

    #[test]
    fn a_refusal_closes_the_key_with_its_reason() {
        let mut gate = closed();
        assert_eq!(gate.paused(), Some(Reason::AccountPaused));
        assert_eq!(gate.readable(T0), Readable::Nothing);
        assert_eq!(gate.admit(id(2), T0), Err(PAUSE_MIN));
    }

    #[test]
    fn one_probe_goes_out_after_the_pause_and_opens_the_key() {
        let mut gate = closed();
        let due = T0 + PAUSE_MIN;
        assert_eq!(gate.readable(due), Readable::Probe);
        let probe = pass(&mut gate, 2, due);
        assert!(gate.stands(probe));
        assert!(gate.admit(id(3), due).is_err(), "one probe at a time");
        gate.accepted(probe, id(2), due);
        assert_eq!(gate.readable(due), Readable::All);
        pass(&mut gate, 3, due);
    }

    #[test]
    fn each_refused_probe_doubles_the_pause_up_to_its_bound() {
        let mut gate = closed();
        let mut now = T0 + PAUSE_MIN;
        for (number, seconds) in [(2, 60), (3, 120), (4, 240), (5, 300), (6, 300)] {
            let probe = pass(&mut gate, number, now);
            let refusal = gate.refused(probe, id(number), Reason::AccountPaused, now);
            assert_eq!((refusal.own, refusal.wait), (false, Duration::from_secs(seconds)));
            now += refusal.wait;
        }
        assert_eq!(gate.wait(now), Duration::ZERO);
        assert_eq!(PAUSE_MAX, Duration::from_secs(300));
    }

    #[test]
    fn the_probe_is_another_message_while_there_is_one() {
        let mut gate = closed();
        let due = T0 + PAUSE_MIN;
        assert_eq!(gate.admit(id(1), due), Err(OTHER_FIRST));
        // Nobody else came: it is all that this key has.
        pass(&mut gate, 1, due + OTHER_FIRST);
    }

    #[test]
    fn a_refusal_counts_as_a_try_once_others_passed() {
        let mut gate = closed();
        let due = T0 + PAUSE_MIN;
        let probe = pass(&mut gate, 2, due);
        gate.accepted(probe, id(2), due);

        let again = pass(&mut gate, 1, due);
        let refusal = gate.refused(again, id(1), Reason::AccountPaused, due);
        assert!(refusal.own);
        assert_eq!(refusal.wait, Duration::ZERO);
        assert_eq!(gate.readable(due), Readable::Probe, "others need not wait for it");
        let probe = pass(&mut gate, 3, due);
        gate.accepted(probe, id(3), due);
        assert_eq!(gate.paused(), None);
    }

    #[test]
    fn a_provider_that_fails_most_messages_uses_up_nobody_s_tries() {
        let mut gate = KeyGate::default();
        let given = pass(&mut gate, 1, T0);
        for round in 0..20 {
            assert!(!gate.failed(given, id(1), T0), "round {round}");
            for other in 2..20 {
                gate.failed(given, id(100 * round + other), T0);
            }
            gate.accepted(given, id(100 * round + 20), T0);
        }
    }

    #[test]
    fn a_lone_message_never_counts_its_own_refusals() {
        let mut gate = closed();
        let mut now = T0 + PAUSE_MAX;
        for _ in 0..20 {
            now += PAUSE_MAX + OTHER_FIRST;
            let probe = pass(&mut gate, 1, now);
            assert!(!gate.refused(probe, id(1), Reason::AccountPaused, now).own);
        }
    }

    #[test]
    fn answers_to_requests_of_before_do_not_lengthen_the_pause() {
        let mut gate = KeyGate::default();
        let passes: Vec<Pass> = (0..50).map(|number| pass(&mut gate, number, T0)).collect();
        for (number, given) in (0..).zip(passes) {
            let refusal = gate.refused(given, id(number), Reason::DailyQuota, T0);
            assert_eq!((refusal.own, refusal.wait), (false, PAUSE_MIN));
            assert!(
                !gate.stands(given),
                "nothing given before the pause is written after it"
            );
        }
    }

    #[test]
    fn an_acceptance_of_before_brings_the_first_probe_forward() {
        let mut gate = KeyGate::default();
        let (bad, good) = (pass(&mut gate, 1, T0), pass(&mut gate, 2, T0));
        gate.refused(bad, id(1), Reason::FromNotVerified, T0);
        gate.accepted(good, id(2), T0);
        assert_eq!(gate.readable(T0), Readable::Probe);
        let probe = pass(&mut gate, 3, T0);
        gate.refused(probe, id(3), Reason::FromNotVerified, T0);
        gate.accepted(good, id(4), T0);
        assert_eq!(
            gate.readable(T0),
            Readable::Nothing,
            "a refused probe knows better"
        );
    }

    #[test]
    fn a_refused_probe_that_came_early_begins_the_first_pause() {
        let mut gate = KeyGate::default();
        let (bad, good) = (pass(&mut gate, 1, T0), pass(&mut gate, 2, T0));
        gate.refused(bad, id(1), Reason::AccountPaused, T0);
        gate.accepted(good, id(2), T0);
        let early = pass(&mut gate, 3, T0);
        let refusal = gate.refused(early, id(3), Reason::AccountPaused, T0);
        assert_eq!((refusal.own, refusal.wait), (false, PAUSE_MIN));
        let due = T0 + PAUSE_MIN;
        let probe = pass(&mut gate, 4, due);
        let refusal = gate.refused(probe, id(4), Reason::AccountPaused, due);
        assert_eq!(refusal.wait, 2 * PAUSE_MIN, "it came in its time");
    }

    #[test]
    fn a_probe_that_was_never_sent_or_shows_nothing_is_made_anew() {
        let mut gate = closed();
        let due = T0 + PAUSE_MIN;
        let probe = pass(&mut gate, 2, due);
        gate.returned(probe, due);
        let probe = pass(&mut gate, 2, due);
        gate.undecided(probe, due);
        assert_eq!(gate.wait(due), PAUSE_MIN);
        assert_eq!(gate.paused(), Some(Reason::AccountPaused));
    }

    #[test]
    fn a_failure_counts_as_a_try_once_others_passed() {
        let mut gate = KeyGate::default();
        let given = pass(&mut gate, 1, T0);
        assert!(!gate.failed(given, id(1), T0), "the provider may be down");
        assert!(!gate.failed(given, id(1), T0));
        gate.accepted(given, id(2), T0);
        assert!(gate.failed(given, id(1), T0), "others pass, this one does not");
        assert!(!gate.failed(given, id(1), T0), "nobody passed since");
        assert!(!gate.failed(given, id(3), T0), "its first failure");
        assert_eq!(gate.paused(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut gate = closed();
        let given = Pass {
            epoch: 0,
            probe: false,
        };
        for number in 0..10_000 {
            gate.refused(given, id(number), Reason::AccountPaused, T0);
            gate.failed(given, id(number), T0);
        }
        for setbacks in [&gate.refused, &gate.failed] {
            assert_eq!(setbacks.accepted.len(), REMEMBERED_MAX);
            assert_eq!(setbacks.order.len(), REMEMBERED_MAX);
        }
    }
}
