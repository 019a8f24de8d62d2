//! Cuts that the coordinator broadcasts: felt at once, not at the next refresh.
//!
//! Only a convenience: a broadcast lowers a lease or does nothing, and with all of them lost a lease still ends with its time to live.

use std::sync::Arc;
use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_store::Store;
use paceline_store::throttle::Unheard;

use crate::metrics::Metrics;
use crate::pacing::Pacing;

/// Before it listens anew to a store that refused it.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes cuts in until `stop`. Over a lost connection the store listens on by itself.
pub(crate) async fn listen(store: Store, pacing: Arc<Pacing>, metrics: Metrics, stop: Shutdown) {
    while !stop.is_requested() {
        let (mut cuts, listening) = tokio::select! {
            () = stop.requested() => return,
            listens = store.cuts() => listens,
        };
        if let Err(error) = listening {
            tracing::debug!(%error, "cuts are not heard, they come with the next refresh");
        } else {
            loop {
                let heard = tokio::select! {
                    () = stop.requested() => return,
                    heard = cuts.next() => heard,
                };
                match heard {
                    Ok(cut) => metrics.cut(pacing.cut(&cut)),
                    Err(Unheard::Unreadable) => metrics.cut("unreadable"),
                    Err(Unheard::Missed(_)) => metrics.cut("missed"),
                    Err(Unheard::Closed) => break,
                }
            }
        }
        tokio::select! {
            () = stop.requested() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}
