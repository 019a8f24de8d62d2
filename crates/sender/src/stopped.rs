//! What a stop meets among the entries in hand: held or ended by a script of its own, without a token, so that a flood that is
//! stopped takes nobody's rate.

use paceline_domain::stop::{Stop, StopMode, StopSet};
use paceline_kit::stops::Met;
use paceline_store::{Stage, Stopped};
use paceline_wire::{rendered, stops};

use crate::buffer::Held;
use crate::shared::{BATCH_MAX, Shard, Shared};

/// The stop that meets an entry, and what becomes of it; `None` if it may go on. Parts that can't be read are claimed all the same, and end among the dead
/// letters.
pub(crate) fn met_by<'a>(stops: &'a StopSet, held: &Held) -> Option<(&'a Stop, StopMode)> {
    if !stops.may_meet(&held.stream.tenant, held.stream.lane) {
        return None;
    }
    let rendered = rendered::unpack(&held.rendered).ok()?;
    let accepted_at = held.ticket.accepted_at;
    stops.met_by(&stops::subject_of_rendered(
        &rendered,
        held.stream.lane,
        accepted_at,
    ))
}

/// Those of `items` that no stop meets; the others are held or ended.
pub(crate) async fn part<P, T>(
    shared: &Shared<P>,
    shard: &Shard,
    stops: &StopSet,
    items: Vec<T>,
    held: impl Fn(&T) -> &Held,
) -> Vec<T> {
    if stops.is_empty() {
        return items;
    }
    let mut met = Met::default();
    let mut free = Vec::with_capacity(items.len());
    for item in items {
        match met_by(stops, held(&item)) {
            Some((stop, mode)) => met.add(stop, stopped(held(&item), mode)),
            None => free.push(item),
        }
    }
    for (met, act) in met.batches(BATCH_MAX) {
        let store = &shared.store;
        match store.stop_entries(shard.number, Stage::Ready, met, act).await {
            Ok(changes) => shared.metrics.stopped(&changes),
            // Pending still: they are reclaimed, and met again.
            Err(error) => {
                shared.metrics.store_error("stop");
                tracing::debug!(shard = shard.number, %error, "stopped mail can't be held");
            }
        }
    }
    free
}

fn stopped(held: &Held, mode: StopMode) -> Stopped {
    Stopped {
        stream: held.stream.clone(),
        entry_id: held.entry_id.clone(),
        id: held.id,
        ticket: held.ticket,
        cancel: mode == StopMode::Cancel,
    }
}
