//! Keeps the rate leases: one call for all keys each half second, and their return on the way out.
//!
//! Whoever answers, a lease lives by the sender's own clock only (`domain::lease`). Without an answer every lease lapses within
//! its time to live and nothing is sent: the loop's one duty then is to go on asking.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::lease::REFRESH;
use paceline_kit::Shutdown;
use paceline_wire::v1;
use tokio::sync::watch;

use crate::pacing::Pacing;

mod coordinators;
pub(crate) mod cuts;
pub(crate) mod safe;

pub use coordinators::{Coordinators, LeaseError};

/// What a coordinator may ask for.
const REFRESH_BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Between two calls, however soon a key wants something.
const CALL_PAUSE: Duration = Duration::from_millis(20);

/// Who grants the leases: the coordinators in production, a script in tests. Answers, or gives up, well within a lease's life.
pub trait LeaseSource: Send + 'static {
    /// Renews every lease.
    fn refresh(
        &mut self,
        request: v1::RefreshRequest,
    ) -> impl Future<Output = Result<v1::RefreshResponse, LeaseError>> + Send;

    /// Gives every lease back.
    fn release(&mut self, request: v1::ReleaseRequest)
    -> impl Future<Output = Result<(), LeaseError>> + Send;
}

/// The loop that keeps the leases.
pub(crate) struct Leases<S> {
    pub(crate) source: S,
    pub(crate) pacing: Arc<Pacing>,
    /// The sender's name, for people.
    pub(crate) name: String,
    /// Random, made at the start: a restarted sender never inherits.
    pub(crate) incarnation: [u8; 16],
    /// True while the coordinators answer.
    pub(crate) answered: watch::Sender<bool>,
}

impl<S: LeaseSource> Leases<S> {
    /// Refreshes until `stop`, then gives everything back.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        let mut sequence = 0;
        let mut refresh = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.requested() => break,
                () = self.pacing.wanted.notified() => tokio::time::sleep(CALL_PAUSE).await,
                () = tokio::time::sleep(refresh) => {}
            }
            sequence += 1;
            refresh = self.refresh(sequence).await;
        }
        self.release().await;
    }

    async fn refresh(&mut self, sequence: u64) -> Duration {
        let (asked_at, items) = self.pacing.ask();
        let backups = self.pacing.backups();
        let request = v1::RefreshRequest {
            sender_id: self.name.clone(),
            incarnation: self.incarnation.to_vec().into(),
            sequence,
            items,
            epoch_seen: self.pacing.epoch_seen(),
            backups,
        };
        match self.source.refresh(request).await {
            Ok(answer) => {
                self.pacing.renew(&answer, asked_at);
                if !self.answered.send_replace(true) {
                    tracing::info!(
                        leader = answer.leader_address,
                        epoch = answer.epoch,
                        "coordinator answers"
                    );
                }
                let wished = Duration::from_millis(u64::from(answer.refresh_ms));
                wished.clamp(REFRESH_BOUNDS.0, REFRESH_BOUNDS.1)
            }
            Err(error) => {
                if self.answered.send_replace(false) {
                    tracing::warn!(%error, "no coordinator grants leases, sending stops as they lapse");
                } else {
                    tracing::debug!(%error, "still no coordinator");
                }
                REFRESH
            }
        }
    }

    async fn release(&mut self) {
        let (_, items) = self.pacing.ask();
        self.pacing.drop_leases();
        let request = v1::ReleaseRequest {
            sender_id: self.name.clone(),
            incarnation: self.incarnation.to_vec().into(),
            items,
        };
        if let Err(error) = self.source.release(request).await {
            tracing::info!(%error, "leases not given back, they lapse by themselves");
        }
    }
}
