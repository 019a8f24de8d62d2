//! The way of every suppression and every removal, whoever asks for it: the ledger first, which numbers it, then what senders look
//! up in Redis, kept at the deployment's level. Only then it is answered.
//!
//! All of it may be repeated. What fails between the two is in the ledger, and the [`keeper`] brings it to Redis.

pub(crate) mod keeper;

use std::sync::Arc;

use paceline_domain::address::Address;
use paceline_domain::suppression::{Suppressed, SuppressionReason};
use paceline_domain::time::Millis;
use paceline_kit::clock::Clock;
use paceline_ledger::{
    Act, Ledger, LedgerError, NewSuppression, StandingSuppression, Suppressing, SuppressionDeed,
    SuppressionKey, SuppressionRemoval, SuppressionRow, SuppressionsChanged,
};
use paceline_store::{Addressee, Lookup, Store, StoreError, Suppression};

use crate::people::People;

/// Somebody who is not to be written to.
#[derive(Clone, Debug)]
pub(crate) struct Suppress {
    pub(crate) tenant: String,
    /// Empty for the whole tenant.
    pub(crate) category: String,
    pub(crate) address: Address,
    pub(crate) reason: SuppressionReason,
    /// Since when. What is older than a removal does not undo it.
    pub(crate) at: Millis,
}

/// On whose account something is changed.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    /// "event", "api", "import" or "unsubscribe".
    pub(crate) source: &'static str,
    pub(crate) who: String,
    pub(crate) why: String,
    /// What a person did, and in whose mail: noted among the acts.
    pub(crate) act: Option<(&'static str, String)>,
}

/// Why a change is not known to be kept. It may be, and may be asked for again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SuppressionsError {
    #[error("the ledger: {0}")]
    Ledger(Arc<LedgerError>),
    #[error("redis: {0}")]
    Store(Arc<StoreError>),
}

impl From<LedgerError> for SuppressionsError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(Arc::new(error))
    }
}

impl From<StoreError> for SuppressionsError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Where suppressions are changed. Clones are the same.
#[derive(Clone)]
pub(crate) struct Suppressions {
    pub(crate) ledger: Ledger,
    store: Store,
    people: Arc<People>,
    clock: Arc<dyn Clock>,
}

impl Suppressions {
    pub(crate) fn new(store: Store, ledger: Ledger, people: People, clock: Arc<dyn Clock>) -> Self {
        Self {
            ledger,
            store,
            people: Arc::new(people),
            clock,
        }
    }

    pub(crate) fn people(&self) -> &People {
        &self.people
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.wall()
    }

    /// Suppresses, at most some thousands at a time; the answers are in order and come once all of it is kept.
    ///
    /// # Errors
    /// If it is not, or may not be.
    pub(crate) async fn add(
        &self,
        items: Vec<Suppress>,
        deed: Deed,
    ) -> Result<Vec<Suppressing>, SuppressionsError> {
        let rows: Vec<NewSuppression> = items.into_iter().map(|item| self.row(item)).collect();
        Ok(self.suppress(&rows, deed).await?.outcomes)
    }

    /// The same for rows, of which more may be known or less; with what is true now of whom they name.
    ///
    /// # Errors
    /// As [`Suppressions::add`].
    pub(crate) async fn suppress(
        &self,
        rows: &[NewSuppression],
        deed: Deed,
    ) -> Result<SuppressionsChanged, SuppressionsError> {
        if rows.is_empty() {
            return Ok(SuppressionsChanged::default());
        }
        let changed = self.ledger.suppress(rows, &self.deed(deed)).await?;
        self.project(&changed.standing).await?;
        Ok(changed)
    }

    /// Removes suppressions; answers with those that there were, once their removal is kept.
    ///
    /// # Errors
    /// If it is not, or may not be.
    pub(crate) async fn remove(
        &self,
        items: &[SuppressionRemoval],
        deed: Deed,
    ) -> Result<Vec<SuppressionRow>, SuppressionsError> {
        Ok(self.unsuppress(items, deed).await?.removed)
    }

    /// The same, with what is true now of whom it names.
    ///
    /// # Errors
    /// As [`Suppressions::remove`].
    pub(crate) async fn unsuppress(
        &self,
        items: &[SuppressionRemoval],
        deed: Deed,
    ) -> Result<SuppressionsChanged, SuppressionsError> {
        let changed = self.ledger.unsuppress(items, &self.deed(deed)).await?;
        self.project(&changed.standing).await?;
        Ok(changed)
    }

    /// What senders see of an addressee.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn look_up(&self, tenant: &str, to: &Addressee) -> Result<Lookup, SuppressionsError> {
        let found = self.store.suppressed(&[(tenant, to)]).await?;
        Ok(found.first().copied().unwrap_or_else(|| Lookup {
            suppressed: Suppressed::default(),
            complete: false,
        }))
    }

    /// Writes what is true to Redis, kept at the level once this answers.
    async fn project(&self, standing: &[StandingSuppression]) -> Result<(), StoreError> {
        let suppression = |standing: &StandingSuppression| Suppression {
            tenant: standing.key.tenant.clone(),
            address: standing.key.address,
            category: standing.key.category.clone(),
            revision: standing.revision,
            reason: standing.reason,
            at: standing.at,
        };
        let items: Vec<Suppression> = standing.iter().map(suppression).collect();
        self.store.suppress(&items).await
    }

    fn row(&self, item: Suppress) -> NewSuppression {
        let hash = self.people.hash(&item.address);
        let sealed = self.people.seal(&item.address, hash);
        NewSuppression {
            key: SuppressionKey {
                tenant: item.tenant,
                category: item.category,
                address: hash,
            },
            reason: item.reason,
            // A clock that is ahead must not outlive removals.
            at: item.at.min(self.now()),
            sealed,
        }
    }

    fn deed(&self, deed: Deed) -> SuppressionDeed {
        let now = self.now();
        let act = deed.act.map(|(act, tenant)| Act {
            id: format!("suppression:{}", hex::encode(rand::random::<[u8; 16]>())),
            at: now,
            act: act.to_owned(),
            who: deed.who.clone(),
            why: deed.why.clone(),
            tenant,
            messages: Vec::new(),
        });
        SuppressionDeed {
            source: deed.source.to_owned(),
            who: deed.who,
            why: deed.why,
            now,
            act,
        }
    }
}
