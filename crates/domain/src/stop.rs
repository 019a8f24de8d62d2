//! Stops: what people hold back, or end, while it is on its way to the provider.
//!
//! Pure: whoever claims, renders or sweeps asks a [`StopSet`] what it says of a message. A stop that ends what it meets goes
//! before one that only holds it.

use crate::lane::Lane;
use crate::time::Millis;

/// What becomes of a message that a stop meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopMode {
    /// It waits until a person releases it.
    Hold,
    /// It ends as cancelled.
    Cancel,
}

/// Which messages a stop meets: those that fit all that is given. It must give something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub tenant: Option<String>,
    pub template: Option<String>,
    pub tag: Option<TagSelector>,
    pub lane: Option<Lane>,
}

/// A tag's name, and its value unless any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSelector {
    pub name: String,
    pub value: Option<String>,
}

/// What a stop looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    pub tenant: &'a str,
    pub template: &'a str,
    pub lane: Lane,
    pub tags: Vec<(&'a str, &'a str)>,
    pub accepted_at: Millis,
}

/// A person's word, kept with what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub who: String,
    pub why: String,
    pub at: Millis,
}

/// One stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub id: String,
    pub selector: Selector,
    pub mode: StopMode,
    pub said: Said,
    /// Set once it was released: it meets nothing more, and what it held goes its way; or all that it kept back ends.
    pub release: Option<Release>,
}

/// What becomes of what a stop kept back, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// True if all that was accepted until then ends as cancelled instead of being sent, wherever it waits: what the stop had not
    /// come to yet, and what is scheduled or deferred, as well as what it held.
    pub cancel: bool,
    pub said: Said,
}

/// What a release makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed<'a> {
    pub stop: &'a Stop,
    pub release: &'a Release,
    /// True if the message ends instead of being sent.
    pub cancel: bool,
}

impl Stop {
    /// What becomes of a message by this stop; `None` if it does not meet it.
    fn meets(&self, subject: &Subject<'_>) -> Option<StopMode> {
        if !self.selector.fits(subject) {
            return None;
        }
        match &self.release {
            None => Some(self.mode),
            Some(release) => release.ends(subject).then_some(StopMode::Cancel),
        }
    }

    /// Whose word it is that a message which it meets is held or ended.
    #[must_use]
    pub fn word(&self) -> &Said {
        self.release.as_ref().map_or(&self.said, |release| &release.said)
    }

    /// True while there may be something for it to meet.
    fn is_meeting(&self) -> bool {
        self.release.as_ref().is_none_or(|release| release.cancel)
    }

    fn is_cancelling(&self) -> bool {
        match &self.release {
            None => self.mode == StopMode::Cancel,
            Some(release) => release.cancel,
        }
    }
}

impl Release {
    /// What was accepted later is none of what the stop kept back.
    fn ends(&self, subject: &Subject<'_>) -> bool {
        self.cancel && subject.accepted_at <= self.said.at
    }
}

impl Selector {
    /// True if nothing is given: no stop may be of everything by an oversight.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tenant.is_none() && self.template.is_none() && self.tag.is_none() && self.lane.is_none()
    }

    #[must_use]
    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        let fits = |given: &Option<String>, found| given.as_deref().is_none_or(|given| given == found);
        let tag_fits = |tag: &TagSelector| {
            let value_fits = |found| tag.value.as_deref().is_none_or(|value| value == found);
            let mut tags = subject.tags.iter();
            tags.any(|(name, value)| *name == tag.name && value_fits(*value))
        };
        !self.is_empty()
            && self.fits_stream(subject.tenant, subject.lane)
            && fits(&self.template, subject.template)
            && self.tag.as_ref().is_none_or(tag_fits)
    }

    /// False if nothing of this tenant and lane can fit.
    #[must_use]
    pub fn fits_stream(&self, tenant: &str, lane: Lane) -> bool {
        self.tenant.as_deref().is_none_or(|given| given == tenant)
            && self.lane.is_none_or(|given| given == lane)
    }
}

/// All stops of a deployment at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopSet(Vec<Stop>);

impl StopSet {
    #[must_use]
    pub const fn new(stops: Vec<Stop>) -> Self {
        Self(stops)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that were released, and what becomes of what they kept back.
    pub fn released(&self) -> impl Iterator<Item = (&Stop, &Release)> {
        self.0
            .iter()
            .filter_map(|stop| Some((stop, stop.release.as_ref()?)))
    }

    /// The stop that decides of a message, and what becomes of it; `None` if it may go on.
    #[must_use]
    pub fn met_by(&self, subject: &Subject<'_>) -> Option<(&Stop, StopMode)> {
        let met = self
            .0
            .iter()
            .filter_map(|stop| Some((stop, stop.meets(subject)?)));
        // A cancellation is the last of the modes; among equals the later one decides.
        met.max_by_key(|(_, mode)| *mode == StopMode::Cancel)
    }

    /// What becomes of a message; `None` if it may go on.
    #[must_use]
    pub fn verdict(&self, subject: &Subject<'_>) -> Option<StopMode> {
        self.met_by(subject).map(|(_, mode)| mode)
    }

    /// The release of a message: one that ends it, or else one that sends it while no stop that stands meets it.
    #[must_use]
    pub fn release_of(&self, subject: &Subject<'_>) -> Option<Freed<'_>> {
        let fitting = || self.released().filter(|(stop, _)| stop.selector.fits(subject));
        let ending = fitting().find(|(_, release)| release.ends(subject));
        if ending.is_none() && self.verdict(subject).is_some() {
            return None;
        }
        let cancel = ending.is_some();
        let (stop, release) = ending.or_else(|| fitting().next())?;
        Some(Freed {
            stop,
            release,
            cancel,
        })
    }

    /// True if some message of this tenant and lane may be met.
    #[must_use]
    pub fn may_meet(&self, tenant: &str, lane: Lane) -> bool {
        let mut meeting = self.0.iter().filter(|stop| stop.is_meeting());
        meeting.any(|stop| stop.selector.fits_stream(tenant, lane))
    }

    /// True if some message may end by one of them.
    #[must_use]
    pub fn may_cancel(&self) -> bool {
        self.0.iter().any(Stop::is_cancelling)
    }

    /// True if tags have to be known to judge a message.
    #[must_use]
    pub fn asks_for_tags(&self) -> bool {
        self.0.iter().any(|stop| stop.selector.tag.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::{Release, Said, Selector, Stop, StopMode, StopSet, Subject, TagSelector};
    use crate::lane::Lane;
    use crate::time::Millis;

    fn subject<'a>() -> Subject<'a> {
        Subject {
            tenant: "shop",
            template: "welcome",
            lane: Lane::Bulk,
            tags: vec![("campaign", "spring"), ("wave", "2")],
            accepted_at: Millis(5),
        }
    }

    fn template(name: &str) -> Selector {
        Selector {
            template: Some(name.to_owned()),
            ..Selector::default()
        }
    }

    fn tag(name: &str, value: Option<&str>) -> Selector {
        Selector {
            tag: Some(TagSelector {
                name: name.to_owned(),
                value: value.map(str::to_owned),
            }),
            ..Selector::default()
        }
    }

    fn stop(selector: Selector, mode: StopMode) -> Stop {
        Stop {
            id: "1".to_owned(),
            selector,
            mode,
            said: said(),
            release: None,
        }
    }

    fn said() -> Said {
        Said {
            who: "ops".to_owned(),
            why: "test".to_owned(),
            at: Millis(1),
        }
    }

    #[test]
    fn all_that_is_given_must_fit() {
        let tenant = |tenant: &str| Selector {
            tenant: Some(tenant.to_owned()),
            ..template("welcome")
        };
        let lane = |lane| Selector {
            lane: Some(lane),
            ..Selector::default()
        };
        for (selector, fits) in [
            (Selector::default(), false),
            (template("welcome"), true),
            (template("Welcome"), false),
            (tenant("shop"), true),
            (tenant("bank"), false),
            (lane(Lane::Bulk), true),
            (lane(Lane::Transactional), false),
            (tag("campaign", Some("spring")), true),
            (tag("campaign", Some("2")), false),
            (tag("wave", None), true),
            (tag("spring", None), false),
        ] {
            assert_eq!(selector.fits(&subject()), fits, "{selector:?}");
        }
    }

    #[test]
    fn what_ends_a_message_goes_before_what_holds_it() {
        let hold = stop(template("welcome"), StopMode::Hold);
        let cancel = stop(tag("wave", None), StopMode::Cancel);
        for stops in [vec![hold.clone(), cancel.clone()], vec![cancel, hold.clone()]] {
            assert_eq!(StopSet::new(stops).verdict(&subject()), Some(StopMode::Cancel));
        }
        assert_eq!(StopSet::new(vec![hold]).verdict(&subject()), Some(StopMode::Hold));
        assert_eq!(StopSet::default().verdict(&subject()), None);
    }

    #[test]
    fn a_released_stop_meets_nothing_and_frees_what_no_other_meets() {
        let mut released = stop(template("welcome"), StopMode::Hold);
        released.release = Some(Release {
            cancel: false,
            said: said(),
        });
        let alone = StopSet::new(vec![released.clone()]);
        assert_eq!(alone.verdict(&subject()), None);
        assert!(alone.release_of(&subject()).is_some());
        let other = stop(tag("wave", None), StopMode::Hold);
        let both = StopSet::new(vec![released, other]);
        assert_eq!(both.verdict(&subject()), Some(StopMode::Hold));
        assert!(both.release_of(&subject()).is_none());
        let elsewhere = Subject {
            template: "news",
            ..subject()
        };
        assert!(alone.release_of(&elsewhere).is_none());
    }

    #[test]
    fn a_release_that_ends_meets_all_that_was_accepted_until_then_and_nothing_later() {
        let mut released = stop(template("welcome"), StopMode::Hold);
        released.release = Some(Release {
            cancel: true,
            said: Said {
                at: Millis(5),
                ..said()
            },
        });
        let stops = StopSet::new(vec![released.clone()]);
        assert_eq!(stops.verdict(&subject()), Some(StopMode::Cancel));
        assert!(stops.may_meet("shop", Lane::Bulk) && stops.may_cancel());
        let freed = stops.release_of(&subject()).expect("it was held");
        assert!(freed.cancel);
        let later = Subject {
            accepted_at: Millis(6),
            ..subject()
        };
        assert_eq!(stops.verdict(&later), None, "it was accepted after the release");
        let freed = stops.release_of(&later).expect("no stop stands");
        assert!(
            !freed.cancel,
            "held by a copy of before the release, it goes its way"
        );

        let mut sends = stop(tag("wave", None), StopMode::Hold);
        sends.release = Some(Release {
            cancel: false,
            said: said(),
        });
        let holds = stop(tag("wave", None), StopMode::Hold);
        for both in [
            vec![sends.clone(), released.clone()],
            vec![released.clone(), sends],
            vec![released, holds],
        ] {
            let stops = StopSet::new(both);
            assert!(stops.release_of(&subject()).expect("released").cancel);
        }
    }
}
