//! For how long this renderer has missed what messages need: a bundle, the settings of links, a file.
//!
//! A message's age does not say it: one that was scheduled or held for days would be dead at the first look at a bundle that is late by a
//! second. What another renderer has missed is not known here, so a message may wait longer than it should, up to its time to live. What was
//! missed once and not again for long is missed anew: nobody has looked for it meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_templates::BundleHash;

use crate::config::{AttachmentSettings, TemplateSettings};

/// Of what all messages need, and of files, what is remembered at most; beyond it what was missed last longest ago is forgotten.
const NEEDS_MAX: usize = 10_000;
/// Forgotten is what is not missed for so many of its longest waits ...
const WAITS: u32 = 4;
/// ... and for this part of the time for which it may be missed: other renderers may have had the message meanwhile.
const PART: u32 = 4;

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    Bundle(BundleHash),
    /// How links to unsubscribe are made.
    Link,
    /// A file that is attached to the message.
    File(MessageId),
}

/// Many messages without their files make nothing of the others forgotten.
pub(crate) struct Awaited {
    common: Mutex<Misses>,
    files: Mutex<Misses>,
}

struct Misses {
    forgotten_after: Duration,
    known: HashMap<Need, Missed>,
}

/// When it was missed.
struct Missed {
    first: Millis,
    last: Millis,
}

impl Awaited {
    pub(crate) fn new(templates: &TemplateSettings, attachments: &AttachmentSettings) -> Self {
        let misses = |wait_max: Duration, missing_max: Duration| {
            Mutex::new(Misses {
                forgotten_after: wait_max.saturating_mul(WAITS).max(missing_max / PART),
                known: HashMap::new(),
            })
        };
        Self {
            common: misses(templates.missing_wait, templates.missing_max),
            files: misses(attachments.retry_max, attachments.missing_max),
        }
    }

    /// Notes that it is missing, and tells for how long it has been.
    pub(crate) fn missed(&self, need: Need, now: Millis) -> Duration {
        let mut misses = self.of(need);
        let forgotten_after = misses.forgotten_after;
        if misses.known.len() >= NEEDS_MAX && !misses.known.contains_key(&need) {
            misses.forget_oldest();
        }
        let anew = Missed {
            first: now,
            last: now,
        };
        let missed = misses.known.entry(need).or_insert(anew);
        if now.since(missed.last) > forgotten_after {
            missed.first = now;
        }
        missed.last = now;
        now.since(missed.first)
    }

    /// Forgets it: it is there, or nobody waits for it any more.
    pub(crate) fn forget(&self, need: Need) {
        self.of(need).known.remove(&need);
    }

    fn of(&self, need: Need) -> MutexGuard<'_, Misses> {
        let misses = match need {
            Need::Bundle(_) | Need::Link => &self.common,
            Need::File(_) => &self.files,
        };
        misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Misses {
    fn forget_oldest(&mut self) {
        let oldest = self.known.iter().min_by_key(|(_, missed)| missed.last);
        if let Some(need) = oldest.map(|(need, _)| *need) {
            self.known.remove(&need);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::id::MessageId;
    use paceline_domain::time::Millis;
    use paceline_kit::settings::load;
    use paceline_templates::BundleHash;

    use super::{Awaited, NEEDS_MAX, Need};
    use crate::config::{Config, DEFAULTS};

    fn awaited() -> Awaited {
        let config: Config = load("renderer", DEFAULTS, None).expect("complete");
        Awaited::new(&config.templates, &config.attachments)
    }

    fn file(number: usize) -> Need {
        Need::File(MessageId((number as u128).to_be_bytes()))
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_counts_from_the_first_miss_until_it_is_found() {
        let awaited = awaited();
        assert_eq!(awaited.missed(Need::Link, Millis(5_000)), Duration::ZERO);
        assert_eq!(awaited.missed(Need::Link, Millis(7_000)), Duration::from_secs(2));
        assert_eq!(awaited.missed(file(1), Millis(7_000)), Duration::ZERO);
        awaited.forget(Need::Link);
        assert_eq!(awaited.missed(Need::Link, Millis(9_000)), Duration::ZERO);
        assert_eq!(awaited.missed(file(1), Millis(8_000)), Duration::from_secs(1));
    }

    #[test]
    fn what_was_missed_once_and_held_for_days_is_missed_anew() {
        let awaited = awaited();
        for need in [file(1), Need::Link, Need::Bundle(BundleHash([1; 32]))] {
            awaited.missed(need, Millis(0));
            // Within a quarter of the day after which it is dead.
            let still = awaited.missed(need, Millis(5 * HOUR));
            assert_eq!(still, Duration::from_secs(5 * 3_600), "{need:?}");
            let held = Millis(53 * HOUR);
            assert_eq!(awaited.missed(need, held), Duration::ZERO, "{need:?}");
            let again = awaited.missed(need, held + Duration::from_secs(60));
            assert_eq!(again, Duration::from_secs(60), "{need:?}");
        }
    }

    #[test]
    fn where_it_is_full_what_is_missed_goes_on_to_count_and_the_oldest_is_forgotten() {
        let awaited = awaited();
        let bundle = Need::Bundle(BundleHash([1; 32]));
        awaited.missed(bundle, Millis(0));
        for number in 0..NEEDS_MAX {
            awaited.missed(file(number), Millis(number as u64));
        }
        let new = file(NEEDS_MAX);
        assert_eq!(awaited.missed(new, Millis(60_000)), Duration::ZERO);
        assert_eq!(awaited.missed(new, Millis(61_000)), Duration::from_secs(1));
        let minute = Duration::from_secs(60);
        assert_eq!(awaited.missed(bundle, Millis(60_000)), minute);
        assert_eq!(awaited.missed(file(1), Millis(60_001)), minute);
        assert_eq!(
            awaited.missed(file(0), Millis(60_000)),
            Duration::ZERO,
            "the oldest"
        );
        assert_eq!(awaited.of(new).known.len(), NEEDS_MAX);
    }
}
