//! Takes entries out of one shard's buffer as their keys have tokens, and gathers them for a claim.
//!
//! Token first, then claim. A batch waits for more only while there is something to wait for: an entry alone is claimed at
//! once, and under load batches fill by themselves.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::record::Provider as ProviderName;
use paceline_kit::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tokio::time::Instant;

use crate::buffer::Taken;
use crate::claim::{self, Picked};
use crate::provider::Provider;
use crate::shared::{BATCH_MAX, GATHER_MAX, Shard, Shared};

/// The longest wait without a look: leases, gates and other shards' requests change without a notice.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Dispatches until `stop`.
pub(crate) async fn run<P: Provider>(shared: Arc<Shared<P>>, shard: Arc<Shard>, stop: Shutdown) {
    while !stop.is_requested() {
        let mut picked = gather(&shared, &shard, &stop).await;
        for provider in ProviderName::ALL {
            let own: Vec<Picked> = picked
                .extract_if(.., |picked| picked.admission.by() == provider)
                .collect();
            if !own.is_empty() {
                tokio::spawn(claim::claim(
                    Arc::clone(&shared),
                    Arc::clone(&shard),
                    provider,
                    own,
                ));
            }
        }
    }
}

/// The next batch; empty only at a stop.
async fn gather<P: Provider>(shared: &Shared<P>, shard: &Shard, stop: &Shutdown) -> Vec<Picked> {
    let mut batch: Vec<Picked> = Vec::new();
    let mut deadline = Instant::now() + GATHER_MAX;
    while batch.len() < BATCH_MAX && !stop.is_requested() {
        let wait = match next(shared, shard) {
            Next::Picked(picked) => {
                if batch.is_empty() {
                    deadline = Instant::now() + GATHER_MAX;
                }
                batch.push(*picked);
                continue;
            }
            Next::Nothing if !batch.is_empty() => break,
            Next::Nothing => LOOK_AGAIN,
            Next::Wait(wait) => wait.min(LOOK_AGAIN),
        };
        let mut until = Instant::now() + wait;
        if !batch.is_empty() {
            if until >= deadline {
                break;
            }
            until = until.min(deadline);
        }
        tokio::select! {
            () = shard.ready.notified() => {}
            () = tokio::time::sleep_until(until) => {}
            () = stop.requested() => {}
        }
    }
    batch
}

enum Next {
    Picked(Box<Picked>),
    /// Something is there and may go after this long.
    Wait(Duration),
    Nothing,
}

fn next<P>(shared: &Shared<P>, shard: &Shard) -> Next {
    if !shard.may_claim() || shared.stops.current().is_none() {
        return Next::Nothing;
    }
    let permit: OwnedSemaphorePermit = match Arc::clone(&shared.in_flight).try_acquire_owned() {
        Ok(permit) => permit,
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Next::Nothing,
    };
    let mut buffer = shard.buffer();
    let taken = buffer.take(|held| {
        shared
            .pacing
            .admit(&held.stream.identity, held.stream.lane, held.id)
    });
    match taken {
        Taken::Entry(held, admission) => {
            shard.drained_to(buffer.entries());
            Next::Picked(Box::new(Picked {
                held,
                admission,
                permit,
            }))
        }
        Taken::Wait(wait) => Next::Wait(wait),
        Taken::Empty => Next::Nothing,
    }
}
