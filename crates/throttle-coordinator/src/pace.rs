//! The passing of time at the desk.

use std::time::Duration;

use paceline_domain::aimd;
use paceline_domain::controller::{Decision, bounces, breaker};
use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_store::throttle::RateKey;

use crate::desk::{Desk, provider};
use crate::metrics::Metrics;

const TICK: Duration = Duration::from_millis(100);

/// Ends windows and expires leases until `stop`.
pub(crate) async fn tick(desk: Desk, clock: impl Clock, metrics: Metrics, stop: Shutdown) {
    while pause(TICK, &stop).await {
        for (key, decision) in desk.tick(clock.boot()) {
            report(&key, &decision, &metrics);
        }
    }
}

/// False once the stop is wished for.
async fn pause(time: Duration, stop: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.requested() => false,
    }
}

fn report(key: &RateKey, decision: &Decision, metrics: &Metrics) {
    let reason = decision.reason();
    match decision {
        Decision::Aimd(aimd::Decision::Cut {
            reason,
            from,
            to,
            version,
        }) => {
            tracing::info!(%key, reason = reason.as_str(), from, to, version, "rate cut");
            metrics.cut(key, *reason);
        }
        Decision::Aimd(aimd::Decision::Raised { from, to }) => tracing::debug!(%key, from, to, "rate raised"),
        Decision::Rate { from, to, by, .. } => {
            tracing::info!(%key, from, to, limited_by = by.as_str(), "another rule sets the rate");
        }
        Decision::Rerouted(rerouted) => {
            let (identity, to) = (&key.identity, provider(rerouted.to).as_str());
            tracing::warn!(
                identity,
                to,
                cause = reason,
                "mail of the identity goes by another provider"
            );
            metrics.rerouted(identity, to, reason);
        }
        Decision::Breaker(breaker::Transition::Opened { .. })
        | Decision::Bounces(bounces::Verdict::Pause { .. })
        | Decision::QuotaExceeded { .. }
        | Decision::Refused(_) => tracing::warn!(%key, reason, ?decision, "mail of the key waits"),
        _ => tracing::info!(%key, reason, ?decision, "pacing decided"),
    }
}
