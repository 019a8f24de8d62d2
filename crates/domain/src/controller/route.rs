//! By which provider an identity's mail goes: the primary one, or the backup while the primary one is away.
//!
//! A throttle or a quota moves nothing; only an open breaker does. Mail comes back when the primary provider has been well for some
//! time, by default a minute, without a break, so that one that flaps is not followed to and fro; at once only if the backup itself is away. A person's
//! word goes before all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::Standing;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// SES.
    Primary,
    /// Mailgun.
    Backup,
}

/// Why it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The primary provider's breaker opened.
    PrimaryAway,
    /// It was well for long enough.
    PrimaryBack,
    /// The backup is away, or there is none any more.
    BackupAway,
    ByHand,
}

impl Cause {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrimaryAway => "primary_away",
            Self::PrimaryBack => "primary_back",
            Self::BackupAway => "backup_away",
            Self::ByHand => "by_hand",
        }
    }
}

/// What is known of the providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Providers {
    pub primary: Standing,
    /// `None` if there is none.
    pub backup: Option<Standing>,
    /// What a person says.
    pub forced: Option<Way>,
}

/// A change of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rerouted {
    pub to: Way,
    pub cause: Cause,
}

/// The way of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    way: Way,
    well_since: Option<Duration>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            way: Way::Primary,
            well_since: None,
        }
    }
}

impl Route {
    /// The way that a leader before had chosen.
    #[must_use]
    pub const fn at(way: Way) -> Self {
        Self {
            way,
            well_since: None,
        }
    }

    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Time passes, and the providers stand so. Mail comes back when the primary one has been well for `back_after`.
    pub fn step(&mut self, providers: &Providers, back_after: Duration, now: Duration) -> Option<Rerouted> {
        if providers.primary == Standing::Closed {
            self.well_since.get_or_insert(now);
        } else {
            self.well_since = None;
        }
        let (to, cause) = self.wish(providers, back_after, now)?;
        (to != self.way).then(|| {
            self.way = to;
            Rerouted { to, cause }
        })
    }

    fn wish(&self, providers: &Providers, back_after: Duration, now: Duration) -> Option<(Way, Cause)> {
        let backup_stands = providers.backup.is_some_and(|backup| backup == Standing::Closed);
        let is_well = self
            .well_since
            .is_some_and(|since| now.saturating_sub(since) >= back_after);
        match (providers.forced, self.way) {
            (Some(way), _) => Some((way, Cause::ByHand)),
            (None, Way::Primary) if providers.primary == Standing::Open && backup_stands => {
                Some((Way::Backup, Cause::PrimaryAway))
            }
            (None, Way::Backup) if is_well => Some((Way::Primary, Cause::PrimaryBack)),
            (None, Way::Backup) if providers.backup.is_none() => Some((Way::Primary, Cause::BackupAway)),
            (None, Way::Backup) if !backup_stands && self.well_since.is_some() => {
                Some((Way::Primary, Cause::BackupAway))
            }
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cause, Providers, Rerouted, Route, Way};
    use crate::controller::breaker::Standing::{self, Closed, HalfOpen, Open};

    const MINUTE: Duration = Duration::from_secs(60);

    fn step(route: &mut Route, primary: Standing, backup: Option<Standing>, at: u64) -> Option<(Way, Cause)> {
        let providers = Providers {
            primary,
            backup,
            forced: None,
        };
        let rerouted = route.step(&providers, MINUTE, Duration::from_secs(at));
        rerouted.map(|Rerouted { to, cause }| (to, cause))
    }

    #[test]
    fn it_moves_to_the_backup_and_back_after_a_minute_that_was_well() {
        let mut route = Route::default();
        let backup = Some(Closed);
        assert_eq!(step(&mut route, Closed, backup, 0), None);
        assert_eq!(
            step(&mut route, Open, backup, 1),
            Some((Way::Backup, Cause::PrimaryAway))
        );
        assert_eq!(step(&mut route, HalfOpen, backup, 31), None);
        assert_eq!(step(&mut route, Closed, backup, 40), None);
        // Away again: the minute begins anew.
        assert_eq!(step(&mut route, Open, backup, 80), None);
        assert_eq!(step(&mut route, Closed, backup, 120), None);
        assert_eq!(step(&mut route, Closed, backup, 179), None);
        assert_eq!(
            step(&mut route, Closed, backup, 180),
            Some((Way::Primary, Cause::PrimaryBack))
        );
    }

    #[test]
    fn without_a_backup_that_stands_it_stays() {
        let mut route = Route::default();
        for backup in [None, Some(Open), Some(HalfOpen)] {
            assert_eq!(step(&mut route, Open, backup, 0), None);
        }
        assert_eq!(route.way(), Way::Primary);
    }

    #[test]
    fn a_backup_that_fails_is_left_as_soon_as_the_primary_is_back() {
        let mut route = Route::default();
        step(&mut route, Open, Some(Closed), 0);
        assert_eq!(step(&mut route, Open, Some(Open), 10), None);
        assert_eq!(
            step(&mut route, Closed, Some(Open), 40),
            Some((Way::Primary, Cause::BackupAway))
        );
        step(&mut route, Open, Some(Closed), 50);
        assert_eq!(
            step(&mut route, Open, None, 51),
            Some((Way::Primary, Cause::BackupAway))
        );
    }

    #[test]
    fn a_person_s_word_goes_before_all() {
        let mut route = Route::default();
        let mut providers = Providers {
            primary: Closed,
            backup: Some(Open),
            forced: Some(Way::Backup),
        };
        let rerouted = route.step(&providers, MINUTE, Duration::ZERO);
        assert_eq!(
            rerouted,
            Some(Rerouted {
                to: Way::Backup,
                cause: Cause::ByHand
            })
        );
        providers.forced = None;
        let rerouted = route.step(&providers, MINUTE, MINUTE);
        assert_eq!(rerouted.map(|it| it.to), Some(Way::Primary));
    }
}
