//! By which provider each identity's mail goes: decided here, from how its two keys stand, and told with the leases.
//!
//! An identity has a route once a sender has said that it has a backup for it. A route outlives its leader by the senders: the
//! first thing that a desk does with an identity is to take their newest word, so that a new leader sends nobody back to a provider
//! that fails. What it decides later is newer than all of that by its epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::route::{Providers, Rerouted, Route, Way};
use paceline_domain::record::Provider;
use paceline_store::throttle::RateKey;

use super::key::PacedKey;

/// How long a backup is believed in that no sender names any more.
const BACKUP_MAX_AGE: Duration = Duration::from_secs(10);

/// What a sender says of an identity that has a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) identity: String,
    /// The newest word that it has: the way, its epoch and its version.
    pub(crate) told: Option<(Way, u64, u64)>,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) identity: String,
    pub(crate) way: Way,
    pub(crate) version: u64,
    /// The other way, while it is probed.
    pub(crate) probe: Option<Way>,
}

/// The routes of one lead.
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    route: Route,
    /// Decisions of this lead.
    version: u64,
    /// The newest word of a leader before.
    learned: (u64, u64),
    backup_seen: Duration,
}

type Keys = BTreeMap<RateKey, PacedKey>;

impl Routes {
    /// Takes in that the identity has a backup, and its route from before this lead. `epoch` is this lead's.
    pub(super) fn hear(&mut self, backup: &Backup, epoch: u64, now: Duration) {
        let entry = self.0.entry(backup.identity.clone()).or_insert_with(|| Entry {
            route: Route::default(),
            version: 0,
            learned: (0, 0),
            backup_seen: now,
        });
        entry.backup_seen = now;
        let Some((way, told_epoch, version)) = backup.told else {
            return;
        };
        if entry.version == 0 && told_epoch < epoch && (told_epoch, version) > entry.learned {
            entry.learned = (told_epoch, version);
            if entry.route.way() != way {
                entry.route = Route::at(way);
            }
        }
    }

    /// True if the identity of `key` has, or had in this lead, a second provider.
    pub(super) fn has_backup(&self, key: &RateKey) -> bool {
        self.0.contains_key(&key.identity)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn knows(&self, identity: &str) -> bool {
        self.0.contains_key(identity)
    }

    /// What to tell of an identity.
    pub(super) fn tell(&self, identity: &str, keys: &Keys) -> Option<Told> {
        let entry = self.0.get(identity)?;
        let way = entry.route.way();
        let other = match way {
            Way::Primary => Way::Backup,
            Way::Backup => Way::Primary,
        };
        let is_probed = standing(keys, identity, other) == Some(Standing::HalfOpen);
        Some(Told {
            identity: identity.to_owned(),
            way,
            version: entry.version,
            probe: is_probed.then_some(other),
        })
    }

    /// The provider of each identity, by name.
    pub(super) fn all(&self) -> Vec<(String, &'static str)> {
        let named =
            |(identity, entry): (&String, &Entry)| (identity.clone(), provider(entry.route.way()).as_str());
        self.0.iter().map(named).collect()
    }

    pub(super) fn way(&self, identity: &str) -> Option<Way> {
        Some(self.0.get(identity)?.route.way())
    }

    /// Time passes. Mail comes back to a primary provider that has been well for `back_after`.
    pub(super) fn tick(
        &mut self,
        keys: &Keys,
        back_after: Duration,
        now: Duration,
    ) -> Vec<(String, Rerouted)> {
        let mut decided = Vec::new();
        for (identity, entry) in &mut self.0 {
            let is_there = now.saturating_sub(entry.backup_seen) <= BACKUP_MAX_AGE;
            let backup = standing(keys, identity, Way::Backup).unwrap_or(Standing::Closed);
            let forced = [Way::Primary, Way::Backup]
                .into_iter()
                .find_map(|way| keys.get(&key_of(identity, way))?.way_by_hand());
            let providers = Providers {
                primary: standing(keys, identity, Way::Primary).unwrap_or(Standing::Closed),
                backup: is_there.then_some(backup),
                // Nobody could follow a word for a backup that is not there.
                forced: forced.filter(|way| is_there || *way == Way::Primary),
            };
            if let Some(rerouted) = entry.route.step(&providers, back_after, now) {
                entry.version += 1;
                decided.push((identity.clone(), rerouted));
            }
        }
        decided
    }
}

/// The provider of a way.
pub(crate) const fn provider(way: Way) -> Provider {
    match way {
        Way::Primary => Provider::Ses,
        Way::Backup => Provider::Mailgun,
    }
}

/// The way of a provider.
pub(crate) const fn way(provider: Provider) -> Way {
    match provider {
        Provider::Ses => Way::Primary,
        Provider::Mailgun => Way::Backup,
    }
}

fn standing(keys: &Keys, identity: &str, way: Way) -> Option<Standing> {
    keys.get(&key_of(identity, way))?.standing()
}

fn key_of(identity: &str, way: Way) -> RateKey {
    RateKey {
        provider: provider(way).as_str().to_owned(),
        identity: identity.to_owned(),
    }
}

#[cfg(test)]
mod tests;
