//! Brings to Redis what was published: by each call that publishes, at the start, and whenever Redis lacks it.
//!
//! The ledger has what was published for good, Redis what ingests and renderers read. Whatever stands between the two (this process died after
//! the commit, Redis came back without its newest writes, or empty) is made good by the same step: what the ledger has and Redis lacks is announced,
//! each bundle before its announcement. Several processes may do so at one time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_kit::Shutdown;
use paceline_ledger::{Ledger, LedgerError, NewestVersion, PublishBounds};
use paceline_store::{ANNOUNCED_MAX, Announced, Store, StoreError};
use tokio::sync::Mutex;

/// What may be published. The newest versions of all templates are as many as services follow.
pub(crate) const BOUNDS: PublishBounds = PublishBounds {
    templates_max: 500,
    versions_max: 1_000,
    newest: 4,
};
const _: () = assert!(BOUNDS.templates_max * BOUNDS.newest == ANNOUNCED_COUNT);
#[expect(clippy::cast_possible_truncation, reason = "it is 2,000")]
const ANNOUNCED_COUNT: u32 = ANNOUNCED_MAX as u32;

/// Between two looks at whether what stands announced has changed.
const EVERY: Duration = Duration::from_secs(5);
/// Each of so many looks compares all of it, and puts bundles again that are gone: a minute.
const WHOLE_EACH: u32 = 12;
/// With the first look, and each of so many, bundles are kept for longer: two hours.
const BUNDLES_EACH: u32 = 120 * WHOLE_EACH;
/// Bundles that one command asks after.
const ASKED_AT_ONCE: usize = 200;

/// Which bundles are looked at beside those that are announced anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bundles {
    None,
    Gone,
    All,
}

/// Why something is not announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnounceError {
    #[error("the ledger does not say what is published")]
    Ledger(#[from] LedgerError),
    #[error("redis does not take what is published")]
    Redis(#[from] StoreError),
}

/// The one that does so. Clones do it in turn.
#[derive(Clone)]
pub(crate) struct Announcer {
    ledger: Ledger,
    store: Store,
    /// The revision that stood after the last turn.
    seen: Arc<Mutex<Option<Bytes>>>,
}

impl Announcer {
    pub(crate) fn new(ledger: Ledger, store: Store) -> Self {
        Self {
            ledger,
            store,
            seen: Arc::default(),
        }
    }

    /// Announces at once, and whenever Redis has something else than what was seen last, until the stop.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut looks = 0_u32;
        while !stop.is_requested() {
            match self.look(looks).await {
                Ok(()) => looks = looks.wrapping_add(1),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "published templates are not announced");
                }
            }
            // Ends the pause at a stop.
            let _ = tokio::time::timeout(EVERY, stop.requested()).await;
        }
    }

    async fn look(&self, looks: u32) -> Result<(), AnnounceError> {
        let mut seen = self.seen.lock().await;
        let revision = self.store.announcements_revision().await?;
        if revision == *seen && !looks.is_multiple_of(WHOLE_EACH) {
            return Ok(());
        }
        let bundles = if looks.is_multiple_of(BUNDLES_EACH) {
            Bundles::All
        } else {
            Bundles::Gone
        };
        self.bring(&mut seen, bundles).await
    }

    /// Has the bundle of this version stand in Redis, announces what the ledger has and Redis lacks, and takes back what is too old.
    ///
    /// # Errors
    /// If one of the two does not answer: some may be announced.
    pub(crate) async fn announce(&self, version: &Announced) -> Result<(), AnnounceError> {
        let mut seen = self.seen.lock().await;
        self.put_bundle(version).await?;
        self.bring(&mut seen, Bundles::None).await
    }

    async fn bring(&self, seen: &mut Option<Bytes>, bundles: Bundles) -> Result<(), AnnounceError> {
        let published = self
            .ledger
            .newest_published(BOUNDS.newest, ANNOUNCED_COUNT)
            .await?;
        let published: Vec<Announced> = published.iter().filter_map(announced).collect();
        let there = self.store.announcements().await?.announced;
        let there: BTreeSet<Announced> = there.into_iter().collect();
        let (stand, lacking): (Vec<_>, Vec<_>) = published
            .iter()
            .cloned()
            .partition(|version| there.contains(version));
        for version in &lacking {
            self.put_bundle(version).await?;
        }
        for some in stand.chunks(ASKED_AT_ONCE).filter(|_| bundles != Bundles::None) {
            let hashes = some.iter().map(|version| version.hash).collect();
            if bundles == Bundles::All || !self.store.has_bundles(&hashes).await? {
                for version in some {
                    self.put_bundle(version).await?;
                }
            }
        }
        let old = old(there, &published);
        // Without a revision nobody knows whether nothing is published, or what is was lost.
        let is_unsaid = self.store.announcements_revision().await?.is_none();
        if !lacking.is_empty() || !old.is_empty() || is_unsaid {
            tracing::info!(announced = lacking.len(), old = old.len(), "announcing templates");
            self.store.announce(&lacking, &old, rand::random()).await?;
        }
        *seen = self.store.announcements_revision().await?;
        Ok(())
    }

    /// Has a bundle stand in Redis.
    async fn put_bundle(&self, version: &Announced) -> Result<(), AnnounceError> {
        if self.store.keep_bundle(&version.hash).await? {
            return Ok(());
        }
        let bundle = self.ledger.published_bundle(&version.name, Some(version.version));
        if let Some(bundle) = bundle.await? {
            self.store.put_bundle(&version.hash, bundle.into()).await?;
        }
        Ok(())
    }
}

fn announced(version: &NewestVersion) -> Option<Announced> {
    Some(Announced {
        name: version.name.clone(),
        version: version.version,
        hash: version.hash.as_slice().try_into().ok()?,
        authored: version.authored.as_slice().try_into().ok()?,
    })
}

/// What is older than all that is announced of its template.
fn old(there: BTreeSet<Announced>, published: &[Announced]) -> Vec<Announced> {
    let mut oldest = BTreeMap::<&str, u32>::new();
    for Announced { name, version, .. } in published {
        let oldest = oldest.entry(name).or_insert(*version);
        *oldest = (*oldest).min(*version);
    }
    let is_old = |there: &Announced| {
        oldest
            .get(there.name.as_str())
            .is_some_and(|oldest| there.version < *oldest)
    };
    there.into_iter().filter(is_old).collect()
}
