//! The sender as it stands at each scrape. A gauge does not keep its sender alive.

use std::sync::Arc;

use opentelemetry::KeyValue;

use crate::metrics;
use crate::pacing::Standing;
use crate::shared::Shared;

/// Registers the gauges of one sender.
pub(crate) fn observe<P: Send + Sync + 'static>(shared: &Arc<Shared<P>>) {
    count(
        shared,
        metrics::IN_FLIGHT,
        "Messages claimed and not yet recorded",
        Shared::in_flight,
    );
    count(
        shared,
        metrics::OPEN,
        "Requests whose outcome is still to come",
        |shared| shared.sum(|shard| shard.open.get()),
    );
    count(
        shared,
        metrics::READ_AHEAD,
        "Entries read and not yet claimed",
        |shared| shared.sum(|shard| shard.buffer().entries()),
    );
    count(
        shared,
        metrics::UNWRITABLE,
        "Shards whose results can't be written",
        |shared| shared.sum(|shard| usize::from(!shard.is_writable())),
    );
    count(
        shared,
        metrics::HELD,
        "Shards whose Redis was replaced, so that nothing is claimed for some seconds",
        |shared| shared.sum(|shard| usize::from(!shard.standing.stands())),
    );
    of_key(
        shared,
        metrics::TOKENS,
        "Recipients that could be sent to at this moment",
        |standing| standing.tokens,
    );
    of_key(
        shared,
        metrics::SAFE,
        "Recipients per second that go on while no coordinator answers; 0 while one does",
        |standing| standing.safe_rate,
    );
    of_key(
        shared,
        metrics::PAUSED,
        "1 while the provider refuses the account or the identity",
        |standing| f64::from(u8::from(standing.paused.is_some())),
    );
}

fn count<P: Send + Sync + 'static>(
    shared: &Arc<Shared<P>>,
    name: &'static str,
    help: &'static str,
    value: fn(&Shared<P>) -> u64,
) {
    let of = Arc::downgrade(shared);
    shared
        .meter
        .u64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |observer| {
            if let Some(shared) = of.upgrade() {
                observer.observe(value(&shared), &[]);
            }
        })
        .build();
}

/// One value for each identity; their number is that of the settings.
fn of_key<P: Send + Sync + 'static>(
    shared: &Arc<Shared<P>>,
    name: &'static str,
    help: &'static str,
    value: fn(&Standing<'_>) -> f64,
) {
    let of = Arc::downgrade(shared);
    shared
        .meter
        .f64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |observer| {
            let Some(shared) = of.upgrade() else { return };
            for standing in shared.pacing.standings() {
                let labels = [
                    KeyValue::new("provider", standing.provider),
                    KeyValue::new("identity", standing.identity.to_owned()),
                ];
                observer.observe(value(&standing), &labels);
            }
        })
        .build();
}
