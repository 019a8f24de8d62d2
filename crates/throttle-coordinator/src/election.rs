//! Who leads: takes the lead when it is free, keeps it, and gives it back at the end.
//!
//! The lead is a key in Redis that lasts [`LEAD`]. What the leader may believe is shorter: counted on its own boot-time
//! clock from before it asked, less [`MARGIN`]. So a leader that was frozen or cut off has stopped granting before another can
//! start, without any clock being compared.

use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_store::throttle::{Leadership, Term};
use paceline_store::{Store, StoreError};

use crate::desk::Desk;
use crate::looks::Trouble;

/// How long the lead lasts without a renewal.
const LEAD: Duration = Duration::from_secs(3);
/// What the leader stops short of its end: two clocks' drift over [`LEAD`], and a slow look at the own one.
const MARGIN: Duration = Duration::from_millis(300);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(1);
/// After a renewal without an answer: one that timed out must leave time for another before the lead is over.
const RENEW_AGAIN: Duration = Duration::from_millis(200);
/// Between two tries of a standby: what is added to [`LEAD`] until another leads.
const TRY: Duration = Duration::from_millis(500);

/// One coordinator's part in the elections.
pub(crate) struct Election<C> {
    pub(crate) store: Store,
    pub(crate) desk: Desk,
    pub(crate) clock: C,
    /// How this coordinator is.
    pub(crate) trouble: Trouble,
    /// Where the senders reach this coordinator.
    pub(crate) address: String,
}

impl<C: Clock> Election<C> {
    /// Takes part until `stop`, then resigns.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut nonce = new_nonce();
        let mut term: Option<Term> = None;
        while !stop.is_requested() {
            // The other keys are served: no reason to send their senders away.
            self.trouble.set_unreadable(self.desk.has_unreadable());
            let pause = match &term {
                Some(held) if self.desk.term(self.clock.boot()).as_ref() == Some(held) => {
                    if self.keep(held).await { RENEW } else { RENEW_AGAIN }
                }
                Some(held) => {
                    tracing::warn!(epoch = held.epoch, "the lead is over");
                    // Fenced, or not renewed in time. What may be left of it in Redis must not keep it from others.
                    self.resign(held).await;
                    self.desk.end("", held.epoch);
                    term = None;
                    nonce = new_nonce();
                    Duration::ZERO
                }
                None => {
                    term = self.apply(&mut nonce).await;
                    if term.is_some() { RENEW } else { TRY }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.requested() => {}
            }
        }
        if let Some(term) = term {
            self.resign(&term).await;
            self.desk.end("", term.epoch);
        }
    }

    /// Takes the lead if it is free.
    async fn apply(&self, nonce: &mut String) -> Option<Term> {
        let asked_at = self.clock.boot();
        let floor = self.desk.epoch_floor();
        match self.store.lead(&self.address, nonce, LEAD, floor).await {
            Ok(Leadership::Mine { term, time }) if term.epoch > floor => {
                self.trouble.health.set_ready().await;
                tracing::info!(epoch = term.epoch, "leads from here on");
                // Redis's time, so that two leaders' times follow each other, whatever their machines believe.
                self.desk.set_boot_at(time.saturating_sub(self.clock.boot()));
                self.desk
                    .begin(term.clone(), asked_at + LEAD - MARGIN, self.clock.boot());
                Some(term)
            }
            // Taken by a try whose answer was lost, before a newer epoch was met.
            Ok(Leadership::Mine { term, .. }) => {
                self.resign(&term).await;
                *nonce = new_nonce();
                None
            }
            Ok(Leadership::Other { epoch, address }) => {
                self.trouble.health.set_ready().await;
                if self.desk.leader() != address {
                    tracing::info!(epoch, address, "another coordinator leads");
                }
                self.desk.end(&address, epoch);
                None
            }
            Err(error) => {
                self.unreachable(&error).await;
                None
            }
        }
    }

    /// Renews the lead. Without an answer (false) the lead goes on until its time is over.
    async fn keep(&self, term: &Term) -> bool {
        let asked_at = self.clock.boot();
        match self.store.keep_lead(term, LEAD).await {
            Ok(true) => {
                self.trouble.health.set_ready().await;
                self.desk.extend(asked_at + LEAD - MARGIN);
            }
            Ok(false) => {
                tracing::warn!(epoch = term.epoch, "the lead is another's or was lost by redis");
                self.desk.end("", term.epoch);
            }
            Err(error) => {
                self.unreachable(&error).await;
                return false;
            }
        }
        true
    }

    async fn resign(&self, term: &Term) {
        if let Err(error) = self.store.resign(term).await {
            tracing::info!(%error, epoch = term.epoch, "could not give the lead back, it runs out by itself");
        }
    }

    async fn unreachable(&self, error: &StoreError) {
        tracing::info!(%error, "redis can't be asked for the lead");
        self.trouble.health.set_not_ready("redis does not answer").await;
    }
}

fn new_nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}
