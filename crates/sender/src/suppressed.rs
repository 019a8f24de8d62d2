//! Who must not be written to: looked up for each batch right before its claim, so that nothing goes to them however old the queue is.
//!
//! One flight for a batch, on a Cluster one for each bucket of the suppressions. What is not known stops mail: if Redis does not
//! answer, or has not been told all that the ledger has, nothing is claimed. In a deployment without feedback, whose senders have no
//! `address_key`, nobody is suppressed and nothing is asked.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::address::Address;
use paceline_domain::lane::Lane;
use paceline_domain::suppression::{BULK_CATEGORY, Stoppable, judge};
use paceline_kit::address_key::AddressKey;
use paceline_store::{Addressee, Lookup, StoreError, Verdict};

use crate::buffer::Held;
use crate::claim::Picked;
use crate::outgoing;
use crate::shared::{Shard, Shared};

/// The pause after it was not known who is suppressed.
const PAUSE: Duration = Duration::from_millis(200);

/// Parts a batch: what may be claimed, with the verdicts for that, and what must wait.
pub(crate) async fn part<P>(
    shared: &Shared<P>,
    picked: Vec<Picked>,
) -> (Vec<Picked>, Vec<Verdict>, Vec<Picked>) {
    let allowed = |picked: &Picked| shared.deliver.verdict(&picked.held.rendered);
    let Some(key) = &shared.address_key else {
        let verdicts = picked.iter().map(allowed).collect();
        return (picked, verdicts, Vec::new());
    };
    let lookups = match look_up(shared, key, &picked).await {
        Ok(lookups) => lookups,
        Err(error) => {
            shared.metrics.store_error("suppressions");
            tracing::debug!(entries = picked.len(), %error, "the suppressed can't be looked up");
            return (Vec::new(), Vec::new(), picked);
        }
    };
    let (mut known, mut verdicts, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (picked, lookup) in picked.into_iter().zip(lookups) {
        let verdict = match allowed(&picked) {
            Verdict::Send => judged(&picked.held, lookup),
            other => Some(other),
        };
        match verdict {
            Some(verdict) => {
                verdicts.push(verdict);
                known.push(picked);
            }
            None => unknown.push(picked),
        }
    }
    (known, verdicts, unknown)
}

/// Lets the shard claim nothing for a moment.
pub(crate) fn pause(shard: &Arc<Shard>) {
    let blind = shard.blind.enter();
    let shard = Arc::clone(shard);
    tokio::spawn(async move {
        tokio::time::sleep(PAUSE).await;
        drop(blind);
        shard.ready.notify_one();
    });
}

type Found = Option<(Addressee, Lookup)>;

/// What is known of each entry's addressee; `None` for one without a readable recipient, which its attempt ends.
async fn look_up<P>(
    shared: &Shared<P>,
    key: &AddressKey,
    picked: &[Picked],
) -> Result<Vec<Found>, StoreError> {
    let to: Vec<Option<Addressee>> = picked.iter().map(|picked| addressee(key, &picked.held)).collect();
    let asked: Vec<(&str, &Addressee)> = picked
        .iter()
        .zip(&to)
        .filter_map(|(picked, to)| Some((picked.held.stream.tenant.as_str(), to.as_ref()?)))
        .collect();
    let mut lookups = shared.store.suppressed(&asked).await?.into_iter();
    Ok(to
        .into_iter()
        .map(|to| {
            let to = to?;
            lookups.next().map(|lookup| (to, lookup))
        })
        .collect())
}

/// As the renderer has noted it; what one of another release left open is read from the parts.
fn addressee(key: &AddressKey, held: &Held) -> Option<Addressee> {
    if let Some(to) = &held.to {
        return Some(to.clone());
    }
    let parts = outgoing::unpack(&held.rendered).ok()?;
    let address = Address::parse(&parts.recipient?.address).ok()?;
    let category = match held.stream.lane {
        Lane::Bulk => BULK_CATEGORY,
        Lane::Transactional => "",
    };
    Some(Addressee {
        address: key.hash(&address),
        category: category.to_owned(),
        despite_complaint: false,
    })
}

/// `None` where not all is known that may speak against it.
fn judged(held: &Held, found: Found) -> Option<Verdict> {
    let Some((to, lookup)) = found else {
        return Some(Verdict::Send);
    };
    let message = Stoppable {
        lane: held.stream.lane,
        has_category: !to.category.is_empty(),
        despite_complaint: to.despite_complaint,
    };
    match judge(lookup.suppressed, message) {
        Some(reason) => Some(Verdict::Suppressed(reason)),
        None if lookup.complete => Some(Verdict::Send),
        None => None,
    }
}
