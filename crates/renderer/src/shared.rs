//! What all tasks of a renderer share.

use std::sync::Arc;
use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_kit::stops::Stops;
use paceline_store::Store;
use tokio::sync::Semaphore;

use crate::attached::Attached;
use crate::awaited::Awaited;
use crate::bundles::Bundles;
use crate::config::{ScrubSettings, TemplateSettings, WorkSettings};
use crate::metrics::Metrics;
use crate::people::People;
use crate::room::Room;
use crate::statistics::Statistics;

/// The pause after Redis failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stops: Stops,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) awaited: Arc<Awaited>,
    pub(crate) attached: Attached,
    pub(crate) people: People,
    pub(crate) room: Room,
    /// One permit for each core: more batches at a time would only take turns.
    pub(crate) cores: Semaphore,
    pub(crate) metrics: Metrics,
    pub(crate) statistics: Arc<Statistics>,
    /// The consumer's name.
    pub(crate) name: String,
    pub(crate) work: WorkSettings,
    pub(crate) scrub: ScrubSettings,
    pub(crate) templates: TemplateSettings,
}

/// Waits until Redis may have recovered, or a stop is wished for.
pub(crate) async fn pause_after_error(stop: &Shutdown) {
    pause(PAUSE_AFTER_ERROR, stop).await;
}

/// Waits, or until a stop is wished for.
pub(crate) async fn pause(time: Duration, stop: &Shutdown) {
    // Either way the pause is over.
    let _ = tokio::time::timeout(time, stop.requested()).await;
}
