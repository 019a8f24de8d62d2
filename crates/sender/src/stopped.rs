//! What a stop meets among the entries in hand: held or ended by a script of its own, without a token, so that a flood that is
//! stopped takes nobody's rate.

use paceline_domain::stop::{StopMode, StopSet};
use paceline_store::{Stage, Stopped};
use paceline_wire::{rendered, stops};

use crate::buffer::Held;
use crate::shared::{BATCH_MAX, Shard, Shared};

/// What becomes of an entry; `None` if it may go on. Parts that can't be read are claimed all the same, and end among the dead
/// letters.
pub(crate) fn verdict(stops: &StopSet, held: &Held) -> Option<StopMode> {
    if !stops.may_meet(&held.stream.tenant, held.stream.lane) {
        return None;
    }
    let rendered = rendered::unpack(&held.rendered).ok()?;
    let accepted_at = held.ticket.accepted_at;
    stops.verdict(&stops::subject_of_rendered(
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
    let mut met = Vec::new();
    let mut free = Vec::with_capacity(items.len());
    for item in items {
        match verdict(stops, held(&item)) {
            Some(mode) => met.push(stopped(held(&item), mode)),
            None => free.push(item),
        }
    }
    for met in met.chunks(BATCH_MAX) {
        match shared.store.stop_entries(shard.number, Stage::Ready, met).await {
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
