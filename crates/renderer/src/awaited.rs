//! For how long this renderer has missed what messages need: a bundle, the settings of links, a file.
//!
//! A message's age does not say it: one that was scheduled or held for days would be dead at the first look at a bundle that is late by a
//! second. What another renderer has missed is not known here, so a message may wait longer than it should, up to its time to live.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_templates::BundleHash;

/// What is remembered at most; beyond it nothing counts as missed for long.
const NEEDS_MAX: usize = 10_000;
/// What was missed first so long ago is forgotten where room is needed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    Bundle(BundleHash),
    /// How links to unsubscribe are made.
    Link,
    /// A file that is attached to the message.
    File(MessageId),
}

#[derive(Default)]
pub(crate) struct Awaited {
    /// When it was missed first.
    since: Mutex<HashMap<Need, Millis>>,
}

impl Awaited {
    /// Notes that it is missing, and tells for how long it has been.
    pub(crate) fn missed(&self, need: Need, now: Millis) -> Duration {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= NEEDS_MAX && !since.contains_key(&need) {
            since.retain(|_, first| now.since(*first) < FORGOTTEN_AFTER);
        }
        if since.len() >= NEEDS_MAX && !since.contains_key(&need) {
            return Duration::ZERO;
        }
        now.since(*since.entry(need).or_insert(now))
    }

    /// Notes that it is there.
    pub(crate) fn found(&self, need: Need) {
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&need);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::id::MessageId;
    use paceline_domain::time::Millis;

    use super::{Awaited, FORGOTTEN_AFTER, NEEDS_MAX, Need};

    fn file(number: usize) -> Need {
        Need::File(MessageId((number as u128).to_be_bytes()))
    }

    #[test]
    fn it_counts_from_the_first_miss_until_it_is_found() {
        let awaited = Awaited::default();
        assert_eq!(awaited.missed(Need::Link, Millis(5_000)), Duration::ZERO);
        assert_eq!(awaited.missed(Need::Link, Millis(7_000)), Duration::from_secs(2));
        assert_eq!(awaited.missed(file(1), Millis(7_000)), Duration::ZERO);
        awaited.found(Need::Link);
        assert_eq!(awaited.missed(Need::Link, Millis(9_000)), Duration::ZERO);
        assert_eq!(awaited.missed(file(1), Millis(8_000)), Duration::from_secs(1));
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let awaited = Awaited::default();
        for number in 0..NEEDS_MAX {
            awaited.missed(file(number), Millis(0));
        }
        let later = Millis(60_000);
        assert_eq!(awaited.missed(file(NEEDS_MAX), Millis(0)), Duration::ZERO);
        assert_eq!(awaited.missed(file(NEEDS_MAX), later), Duration::ZERO);
        assert_eq!(awaited.missed(file(0), later), Duration::from_secs(60));
        let past = Millis(0) + FORGOTTEN_AFTER;
        assert_eq!(awaited.missed(file(NEEDS_MAX), past), Duration::ZERO);
        assert_eq!(
            awaited.missed(file(NEEDS_MAX), past + Duration::from_secs(3)),
            Duration::from_secs(3)
        );
    }
}
