//! The templates that are announced in Redis, compiled: what a service follows beside its directory.
//!
//! What is good stays good: a bundle that is missing or can't be used takes nothing away, nor does a Redis that lost what was announced. A
//! version goes once newer ones of its template stand announced and it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use paceline_store::{ANNOUNCED_MAX, Announced, Announcements, Store, StoreError};
use paceline_templates::{Broken, BundleHash, Published, Template};

/// Name and version.
type Key = (String, u32);

/// What is announced, as it was seen last.
pub(crate) struct Announcing {
    store: Store,
    /// Of the last look that got every bundle.
    revision: Option<Bytes>,
    good: BTreeMap<Key, Arc<Template>>,
    /// By bundle, why it can't be used: not tried again.
    refused: BTreeMap<[u8; 32], String>,
    broken: Vec<Broken>,
    announced: BTreeSet<Key>,
    /// What was found is not used yet.
    has_changed: bool,
}

impl Announcing {
    pub(crate) const fn new(store: Store) -> Self {
        Self {
            store,
            revision: None,
            good: BTreeMap::new(),
            refused: BTreeMap::new(),
            broken: Vec::new(),
            announced: BTreeSet::new(),
            // That nothing is published is news, too.
            has_changed: true,
        }
    }

    /// What was found last could not be used yet: the next look finds it again.
    pub(crate) fn look_again(&mut self) {
        self.revision = None;
        self.has_changed = true;
    }

    /// What is published, if that has changed; one small read if not.
    ///
    /// # Errors
    /// If Redis does not answer: then the next look begins again.
    pub(crate) async fn look(&mut self) -> Result<Option<Published>, StoreError> {
        let revision = self.store.announcements_revision().await?;
        if revision.is_none() || revision == self.revision {
            return Ok(None);
        }
        let mut announcements = self.store.announcements().await?;
        announcements.announced.sort();
        let mut broken = told(&announcements);
        let named = named(&announcements);
        announcements.announced.truncate(ANNOUNCED_MAX);
        let mut misses = false;
        for announced in &announcements.announced {
            let key = (announced.name.clone(), announced.version);
            if self
                .good
                .get(&key)
                .is_some_and(|good| good.hash().0 == announced.hash)
            {
                continue;
            }
            match self.get(announced).await? {
                Got::Template(template) => {
                    self.good.insert(key, template);
                    self.has_changed = true;
                }
                Got::Refused(problem) => broken.push((told_as(announced), problem)),
                Got::Missing => {
                    misses = true;
                    broken.push((told_as(announced), "its bundle is not in redis".to_owned()));
                }
            }
        }
        self.has_changed |= self.drop_old(&announcements.announced);
        self.has_changed |= self.broken != broken || self.announced != named;
        self.revision = revision.filter(|_| !misses);
        self.broken = broken;
        self.announced = named;
        Ok(std::mem::take(&mut self.has_changed).then(|| Published {
            templates: self.good.values().cloned().collect(),
            broken: self.broken.clone(),
            announced: self.announced.clone(),
        }))
    }

    /// Drops what is older than all that is announced of its template; true if there was such.
    fn drop_old(&mut self, announced: &[Announced]) -> bool {
        let mut oldest = BTreeMap::<&str, u32>::new();
        for Announced { name, version, .. } in announced {
            let oldest = oldest.entry(name).or_insert(*version);
            *oldest = (*oldest).min(*version);
        }
        self.refused
            .retain(|hash, _| announced.iter().any(|announced| announced.hash == *hash));
        let count = self.good.len();
        let is_old = |(name, version): &Key| oldest.get(name.as_str()).is_some_and(|oldest| version < oldest);
        self.good.retain(|key, _| !is_old(key));
        self.good.len() < count
    }

    async fn get(&mut self, announced: &Announced) -> Result<Got, StoreError> {
        if let Some(problem) = self.refused.get(&announced.hash) {
            return Ok(Got::Refused(problem.clone()));
        }
        let Some(packed) = self.store.get_bundle(&announced.hash).await? else {
            return Ok(Got::Missing);
        };
        // Compiling takes milliseconds: not on the runtime's own threads.
        let compiled = tokio::task::spawn_blocking(move || Template::from_bundle_bytes(&packed)).await;
        let problem = match compiled {
            Ok(Ok(template)) if is_it(&template, announced) => {
                let template = template.built_of(BundleHash(announced.authored));
                return Ok(Got::Template(Arc::new(template)));
            }
            Ok(Ok(_)) => "its bundle is another one's".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "compiling it ended badly".to_owned(),
        };
        self.refused.insert(announced.hash, problem.clone());
        Ok(Got::Refused(problem))
    }
}

enum Got {
    Template(Arc<Template>),
    Refused(String),
    Missing,
}

fn is_it(template: &Template, announced: &Announced) -> bool {
    let manifest = template.manifest();
    template.hash().0 == announced.hash
        && (manifest.name.as_str(), manifest.version) == (announced.name.as_str(), announced.version)
}

fn told_as(announced: &Announced) -> String {
    format!("{}@{}", announced.name, announced.version)
}

/// All that is announced, what only a newer release can read, too.
fn named(announcements: &Announcements) -> BTreeSet<Key> {
    let unreadable = announcements.unreadable.iter().filter_map(|field| {
        let (name, version) = field.split_once('@')?;
        Some((name.to_owned(), version.parse().ok()?))
    });
    let announced = announcements.announced.iter();
    announced
        .map(|announced| (announced.name.clone(), announced.version))
        .chain(unreadable)
        .collect()
}

/// What of the announcements is not even looked at.
fn told(announcements: &Announcements) -> Vec<Broken> {
    let unreadable = announcements.unreadable.iter();
    let mut told: Vec<Broken> = unreadable
        .map(|field| {
            let problem = "was announced by a newer release, or by nobody of ours";
            (field.clone(), problem.to_owned())
        })
        .collect();
    told.sort();
    let count = announcements.announced.len();
    if count > ANNOUNCED_MAX {
        let problem = format!("{count} are published; the first {ANNOUNCED_MAX} by name are used");
        told.push((String::new(), problem));
    }
    told
}
