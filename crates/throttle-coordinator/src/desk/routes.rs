//! By which provider each identity's mail goes: what its primary key is told of the backup, and what senders are told of the way.
//!
//! The way is a part of the primary provider's key, so that it is in its journal. An identity has one once a sender has said that
//! it has a backup for it. Where a new leader's memory lacks it, it takes the senders' newest word, so that it sends nobody back to a
//! provider that fails. What it decides later is newer than all of that by its epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::route::{Sight, Way};
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
    /// Decisions of this lead.
    version: u64,
    /// The newest word of a leader before, by epoch and version, where the key itself did not know the way.
    learned: (u64, u64),
    /// That word, until the key has taken it in.
    told: Option<Way>,
    backup_seen: Duration,
}

type Keys = BTreeMap<RateKey, PacedKey>;

impl Routes {
    /// Takes in that the identity has a backup, and its way from before this lead. `epoch` is this lead's.
    pub(super) fn hear(&mut self, backup: &Backup, keys: &Keys, epoch: u64, now: Duration) {
        let entry = self.0.entry(backup.identity.clone()).or_insert_with(|| Entry {
            version: 0,
            learned: (0, 0),
            told: None,
            backup_seen: now,
        });
        entry.backup_seen = now;
        let Some((way, told_epoch, version)) = backup.told else {
            return;
        };
        let primary = keys.get(&key_of(&backup.identity, Way::Primary));
        let is_known = primary.is_some_and(|key| key.knows_way(now)) && entry.learned == (0, 0);
        if !is_known && entry.version == 0 && told_epoch < epoch && (told_epoch, version) > entry.learned {
            entry.learned = (told_epoch, version);
            entry.told = Some(way);
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
        let way = entry.way(identity, keys);
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

    /// The way of each identity.
    pub(super) fn all(&self, keys: &Keys) -> BTreeMap<String, Way> {
        let named = |(identity, entry): (&String, &Entry)| (identity.clone(), entry.way(identity, keys));
        self.0.iter().map(named).collect()
    }

    /// What the primary key of each identity is to be told.
    pub(super) fn sights(&mut self, keys: &Keys, now: Duration) -> BTreeMap<RateKey, Sight> {
        let sight = |(identity, entry): (&String, &mut Entry)| {
            let primary = key_of(identity, Way::Primary);
            let is_there = now.saturating_sub(entry.backup_seen) <= BACKUP_MAX_AGE;
            let backup = standing(keys, identity, Way::Backup).unwrap_or(Standing::Closed);
            let forced = [Way::Primary, Way::Backup]
                .into_iter()
                .find_map(|way| keys.get(&key_of(identity, way))?.way_by_hand());
            let sight = Sight {
                backup: is_there.then_some(backup),
                // Nobody could follow a word for a backup that is not there.
                forced: forced.filter(|way| is_there || *way == Way::Primary),
                told: entry.told.take_if(|_| keys.contains_key(&primary)),
            };
            (primary, sight)
        };
        self.0.iter_mut().map(sight).collect()
    }

    /// The mail of the identity goes another way.
    pub(super) fn rerouted(&mut self, identity: &str) {
        if let Some(entry) = self.0.get_mut(identity) {
            entry.version += 1;
        }
    }
}

impl Entry {
    fn way(&self, identity: &str, keys: &Keys) -> Way {
        let known = || keys.get(&key_of(identity, Way::Primary))?.way();
        self.told.or_else(known).unwrap_or(Way::Primary)
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
