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

/// What bears on the way, and the primary provider's key does not see by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// `None` if there is none.
    pub backup: Option<Standing>,
    /// What a person says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Way>,
    /// The way that senders were told by a leader before, where this one does not know it. Taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Way>,
}

/// A change of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerouted {
    pub to: Way,
    pub cause: Cause,
}

/// The way of one identity. A part of the primary provider's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    way: Way,
    well_since: Option<Duration>,
    /// The last sight, without what was told.
    sight: Sight,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            way: Way::Primary,
            well_since: None,
            sight: Sight::default(),
        }
    }
}

impl Route {
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// The same under another leader, who has not seen how the primary provider stood meanwhile.
    #[must_use]
    pub const fn reopened(self) -> Self {
        Self {
            well_since: None,
            ..self
        }
    }

    /// True if this sight says what is not known yet.
    #[must_use]
    pub fn is_news(&self, sight: &Sight) -> bool {
        sight.told.is_some() || self.sight != *sight
    }

    pub fn see(&mut self, sight: Sight) {
        if let Some(way) = sight.told {
            self.way = way;
        }
        self.sight = Sight { told: None, ..sight };
    }

    /// Time passes, and the primary provider stands so. Mail comes back to it when it has been well for `back_after`.
    pub fn step(&mut self, primary: Standing, back_after: Duration, now: Duration) -> Option<Rerouted> {
        if primary == Standing::Closed {
            self.well_since.get_or_insert(now);
        } else {
            self.well_since = None;
        }
        let (to, cause) = self.wish(primary, back_after, now)?;
        (to != self.way).then(|| {
            self.way = to;
            Rerouted { to, cause }
        })
    }

    fn wish(&self, primary: Standing, back_after: Duration, now: Duration) -> Option<(Way, Cause)> {
        let Sight { backup, forced, .. } = self.sight;
        let backup_stands = backup == Some(Standing::Closed);
        let is_well = self
            .well_since
            .is_some_and(|since| now.saturating_sub(since) >= back_after);
        match (forced, self.way) {
            (Some(way), _) => Some((way, Cause::ByHand)),
            (None, Way::Primary) if primary == Standing::Open && backup_stands => {
                Some((Way::Backup, Cause::PrimaryAway))
            }
            (None, Way::Backup) if is_well => Some((Way::Primary, Cause::PrimaryBack)),
            (None, Way::Backup) if backup.is_none() => Some((Way::Primary, Cause::BackupAway)),
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

    use super::{Cause, Rerouted, Route, Sight, Way};
    use crate::controller::breaker::Standing::{self, Closed, HalfOpen, Open};

    const MINUTE: Duration = Duration::from_secs(60);

    fn step(route: &mut Route, primary: Standing, backup: Option<Standing>, at: u64) -> Option<(Way, Cause)> {
        route.see(Sight {
            backup,
            ..Sight::default()
        });
        let rerouted = route.step(primary, MINUTE, Duration::from_secs(at));
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
        let sight = Sight {
            backup: Some(Open),
            forced: Some(Way::Backup),
            told: None,
        };
        route.see(sight);
        let rerouted = route.step(Closed, MINUTE, Duration::ZERO);
        assert_eq!(
            rerouted,
            Some(Rerouted {
                to: Way::Backup,
                cause: Cause::ByHand
            })
        );
        route.see(Sight {
            forced: None,
            ..sight
        });
        let rerouted = route.step(Closed, MINUTE, MINUTE);
        assert_eq!(rerouted.map(|it| it.to), Some(Way::Primary));
    }

    #[test]
    fn what_was_told_before_is_taken_once() {
        let mut route = Route::default();
        let told = Sight {
            backup: Some(Closed),
            forced: None,
            told: Some(Way::Backup),
        };
        assert!(route.is_news(&told));
        route.see(told);
        assert_eq!(route.way(), Way::Backup);
        let same = Sight { told: None, ..told };
        assert!(!route.is_news(&same) && route.is_news(&told));
        assert!(route.is_news(&Sight { backup: None, ..same }));
    }
}
