//! What a person can do to dead letters and doubts: a batch of one shard at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Provider, Record};
use paceline_store::{Change, Evidence, Finding, Redrive, Stage, Store, StoreError};
use paceline_templates::Catalog;
use paceline_wire::requests;

use crate::walk::Set;

/// A message of a batch, as it was looked at.
pub(crate) type Seen = (MessageId, Record);

/// What is done.
pub(crate) enum Deed {
    /// Sends dead letters again, with a catalog by the newest version of their templates that it has.
    Redrive { latest: Option<Arc<Catalog>> },
    /// Gives dead letters up.
    Discard,
    /// Says of doubts that they were sent, or that the attempt that was looked at was not.
    Settle { sent: bool },
}

impl Deed {
    /// What it is done to.
    pub(crate) const fn set(&self) -> Set {
        match self {
            Self::Redrive { .. } | Self::Discard => Set::Dead,
            Self::Settle { .. } => Set::Doubt,
        }
    }

    /// Its name in the log.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Redrive { .. } => "redrive",
            Self::Discard => "discard",
            Self::Settle { sent: true } => "settle_sent",
            Self::Settle { sent: false } => "settle_not_sent",
        }
    }

    /// Does it to a batch; `logged` is what the log is to say.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub(crate) async fn perform(
        &self,
        store: &Store,
        shard: u16,
        seen: &[Seen],
        logged: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let ids: Vec<MessageId> = seen.iter().map(|(id, _)| *id).collect();
        match self {
            Self::Redrive { latest } => {
                let redrives = redrives(store, shard, ids, latest.as_deref()).await?;
                store.redrive_all(shard, redrives, logged).await
            }
            Self::Discard => store.discard_all(shard, &ids, logged).await,
            Self::Settle { sent } => {
                let findings = seen.iter().map(|seen| evidence(seen, *sent)).collect();
                let changes = store.settle_doubts(shard, findings, logged).await?;
                store.hint(Stage::Queued);
                Ok(changes)
            }
        }
    }
}

/// Those that can be redriven, with the request that pins another template where that is wished for.
async fn redrives(
    store: &Store,
    shard: u16,
    ids: Vec<MessageId>,
    latest: Option<&Catalog>,
) -> Result<Vec<Redrive>, StoreError> {
    let Some(catalog) = latest else {
        return Ok(ids.into_iter().map(|id| Redrive { id, request: None }).collect());
    };
    let requests = store.requests(shard, &ids).await?;
    let repinned = ids.into_iter().zip(requests).filter_map(|(id, request)| {
        let request = repinned(catalog, &request?)?;
        Some(Redrive { id, request })
    });
    Ok(repinned.collect())
}

/// The request with the newest version of its template and of its fallbacks, `None` within if it has these already; `None` where
/// there is none.
#[expect(
    clippy::option_option,
    reason = "what is redriven unchanged is not what can't be"
)]
fn repinned(catalog: &Catalog, request: &[u8]) -> Option<Option<Bytes>> {
    let known = requests::read(request).ok()?;
    let newest = catalog.get(&known.template, None)?;
    let (hash, fallbacks) = (newest.hash().0, catalog.fallback_hashes(&newest));
    let is_other =
        known.bundle_hash != hash[..] || known.fallback_hashes.unwrap_or_default() != fallbacks[..];
    Some(is_other.then(|| requests::repin(request, &hash, fallbacks)))
}

/// What a person knows of a message in doubt, as evidence.
fn evidence((id, record): &Seen, sent: bool) -> Evidence {
    let finding = if sent {
        Finding::Sent {
            // What is in doubt was claimed for one.
            provider: record.provider.unwrap_or(Provider::Ses),
            provider_id: String::new(),
        }
    } else {
        Finding::NotSent {
            attempt: record.attempt,
            reason: Reason::SettledByOperator,
            delay: Duration::ZERO,
        }
    };
    Evidence { id: *id, finding }
}
