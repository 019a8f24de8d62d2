//! Whether a lease or a window is really over: not by Redis's clock alone.
//!
//! Redis's wall clock may jump by an hour, and then every open claim looks overdue while its sender is still at work. So a
//! worker believes a deadline only when it has itself seen the same (id, deadline) for the claim's whole period, on its own
//! boot-time clock, which never jumps. Nobody has to detect a jump.
//!
//! Pure: time is an argument, and memory is bounded by what one look may bring.

use std::collections::HashMap;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::record::Fence;
use paceline_domain::time::Millis;

/// What is known of an overdue id.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    deadline: Millis,
    /// When it was first seen with this deadline, on the boot-time clock.
    since: Duration,
    /// Of the record; `None` until it was read.
    period: Option<Period>,
}

/// The lease or window that a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The claim that it belongs to.
    pub fence: Fence,
    pub length: Duration,
}

/// The overdue ids of one sorted set of one shard.
#[derive(Debug, Default)]
pub struct Sightings(HashMap<MessageId, Sighting>);

impl Sightings {
    /// Takes in what is overdue by Redis's clock now; whatever is not, or has another deadline, is forgotten. Returns the ids
    /// whose period is to be told by [`Sightings::learn`].
    pub fn look(&mut self, overdue: &[(MessageId, Millis)], now: Duration) -> Vec<MessageId> {
        let mut seen = HashMap::with_capacity(overdue.len());
        let mut unknown = Vec::new();
        for &(id, deadline) in overdue {
            let sighting = self.0.get(&id).filter(|known| known.deadline == deadline);
            let sighting = sighting.copied().unwrap_or(Sighting {
                deadline,
                since: now,
                period: None,
            });
            if sighting.period.is_none() {
                unknown.push(id);
            }
            seen.insert(id, sighting);
        }
        self.0 = seen;
        unknown
    }

    /// Tells the period behind a deadline. A record that says another deadline by now is left for the next look.
    pub fn learn(&mut self, id: MessageId, deadline: Millis, period: Period) {
        if let Some(sighting) = self.0.get_mut(&id).filter(|known| known.deadline == deadline) {
            sighting.period = Some(period);
        }
    }

    /// What is over by both clocks.
    #[must_use]
    pub fn over(&self, now: Duration) -> Vec<(MessageId, Fence)> {
        let over = self.0.iter().filter_map(|(&id, sighting)| {
            let period = sighting.period?;
            (now.saturating_sub(sighting.since) >= period.length).then_some((id, period.fence))
        });
        over.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::id::MessageId;
    use paceline_domain::record::{Fence, Nonce};
    use paceline_domain::time::Millis;

    use super::{Period, Sightings};

    const LEASE: Duration = Duration::from_secs(40);
    const ID: MessageId = MessageId([7; 16]);

    fn fence(attempt: u32) -> Fence {
        Fence {
            attempt,
            nonce: Nonce([1; 8]),
        }
    }

    fn period(attempt: u32) -> Period {
        Period {
            fence: fence(attempt),
            length: LEASE,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_over_once_it_was_seen_for_its_whole_length() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.look(&[(ID, Millis(5_000))], at(100)), [ID]);
        sightings.learn(ID, Millis(5_000), period(1));
        assert!(sightings.over(at(100)).is_empty());
        assert!(sightings.look(&[(ID, Millis(5_000))], at(139)).is_empty());
        assert!(sightings.over(at(139)).is_empty());
        assert_eq!(sightings.over(at(140)), [(ID, fence(1))]);
    }

    #[test]
    fn a_jump_of_redis_s_clock_ends_nothing_early() {
        let mut sightings = Sightings::default();
        // The clock of Redis jumps an hour ahead: a claim made a moment ago is overdue. Its sender reports within the lease.
        sightings.look(&[(ID, Millis(40_000))], at(0));
        sightings.learn(ID, Millis(40_000), period(1));
        for second in 1..40 {
            sightings.look(&[(ID, Millis(40_000))], at(second));
            assert!(sightings.over(at(second)).is_empty(), "{second}");
        }
        sightings.look(&[], at(40));
        assert!(sightings.over(at(40)).is_empty());
    }

    #[test]
    fn another_claim_of_the_same_message_starts_anew() {
        let mut sightings = Sightings::default();
        sightings.look(&[(ID, Millis(1))], at(0));
        sightings.learn(ID, Millis(1), period(1));
        assert_eq!(sightings.look(&[(ID, Millis(2))], at(39)), [ID]);
        sightings.learn(ID, Millis(2), period(2));
        assert!(sightings.over(at(41)).is_empty());
        assert_eq!(sightings.over(at(79)), [(ID, fence(2))]);
    }

    #[test]
    fn what_was_away_for_one_look_starts_anew() {
        let mut sightings = Sightings::default();
        sightings.look(&[(ID, Millis(1))], at(0));
        sightings.learn(ID, Millis(1), period(1));
        // The clock jumped back: not overdue any more.
        sightings.look(&[], at(20));
        sightings.look(&[(ID, Millis(1))], at(39));
        sightings.learn(ID, Millis(1), period(1));
        assert!(sightings.over(at(78)).is_empty());
    }

    #[test]
    fn a_record_with_another_deadline_teaches_nothing() {
        let mut sightings = Sightings::default();
        sightings.look(&[(ID, Millis(1))], at(0));
        sightings.learn(ID, Millis(9), period(1));
        assert!(sightings.over(at(1_000)).is_empty());
        assert_eq!(sightings.look(&[(ID, Millis(1))], at(1_000)), [ID]);
    }
}
