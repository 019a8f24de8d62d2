//! The sender's tasks, from the streams to the results, and how they end.
//!
//! For each shard a reader fills the buffer, a dispatcher empties it into claims, a recorder writes results and a sweeper ends what
//! others left, and a watch notices that Redis was replaced; one loop keeps the rate leases. A stop goes through them in that order: nothing more is read or claimed and what
//! was read goes back; then open requests end and are recorded; then the leases go back. A task that is gone is a stop, too.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::Clock;
use paceline_kit::identity::IdentitySettings;
use paceline_kit::stops::Stops;
use paceline_kit::supervisor::TaskError;
use paceline_kit::{Shutdown, Supervisor};
use paceline_store::Store;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::deliver::Deliver;
use crate::dispatch;
use crate::gauges;
use crate::leases::{LeaseSource, Leases, cuts, safe};
use crate::metrics::Metrics;
use crate::pacing::{self, Pacing};
use crate::provider::Provider;
use crate::read_ahead::Reader;
use crate::results::{self, Finished};
use crate::runs;
use crate::shared::{Limits, Shard, Shared};
use crate::standing::Standing;
use crate::sweep::Sweeper;

/// What a sender is made of.
pub struct Parts<P> {
    pub store: Store,
    pub provider: P,
    pub clock: Arc<dyn Clock>,
    pub identities: Vec<IdentitySettings>,
    pub limits: Limits,
    /// To whom mail may go.
    pub deliver: Deliver,
    /// By which the suppressed are looked up; `None` where nobody is.
    pub address_key: Option<AddressKey>,
    /// What people have stopped; the pipeline keeps the copy young.
    pub stops: Stops,
    pub meter: Meter,
}

/// A sender at work.
pub struct Pipeline<P> {
    shared: Arc<Shared<P>>,
    answered: watch::Receiver<bool>,
    /// Readers and dispatchers.
    front: JoinSet<()>,
    /// Recorders, sweepers and watches; they end with the value.
    back: JoinSet<()>,
    leases: JoinSet<()>,
    stop_leases: Shutdown,
    supervisor: Supervisor,
}

impl<P: Provider> Pipeline<P> {
    /// Starts everything. It reads and claims until the supervisor's shutdown, which comes at once when one of its tasks is gone;
    /// then call [`Pipeline::drain`].
    pub fn start<S: LeaseSource>(parts: Parts<P>, source: S, supervisor: &Supervisor) -> Self {
        let (shared, inboxes) = share(parts);
        gauges::observe(&shared);
        let mut pipeline = Self {
            answered: watch::channel(false).1,
            front: JoinSet::new(),
            back: JoinSet::new(),
            leases: JoinSet::new(),
            stop_leases: Shutdown::new(),
            supervisor: supervisor.clone(),
            shared,
        };
        for (number, inbox) in inboxes.into_iter().enumerate() {
            pipeline.start_shard(number, inbox);
        }
        let (answered, receiver) = watch::channel(false);
        pipeline.answered = receiver;
        let keeper = Leases {
            source,
            pacing: Arc::clone(&pipeline.shared.pacing),
            name: pipeline.shared.limits.name.clone(),
            incarnation: rand::random(),
            answered,
        };
        let keeping = keeper.run(pipeline.stop_leases.clone());
        pipeline.leases.spawn(supervisor.watch("leases", keeping));
        let listening = cuts::listen(
            pipeline.shared.store.clone(),
            Arc::clone(&pipeline.shared.pacing),
            pipeline.shared.metrics.clone(),
            pipeline.stop_leases.clone(),
        );
        pipeline.leases.spawn(supervisor.watch("cuts", listening));
        let looking = safe::look(
            pipeline.shared.store.clone(),
            Arc::clone(&pipeline.shared.pacing),
            pipeline.stop_leases.clone(),
        );
        pipeline.leases.spawn(supervisor.watch("safe", looking));
        let stops = pipeline.shared.stops.clone();
        let watching = stops.watch(pipeline.shared.store.clone(), pipeline.stop_leases.clone());
        pipeline.leases.spawn(supervisor.watch("stops", watching));
        pipeline
    }

    /// Why this sender can't do its work, if it can't: a few words for its health.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if !self.shared.store.connected() {
            Some("redis is not connected or not safe")
        } else if !self.shared.shards.iter().all(|shard| shard.is_writable()) {
            Some("results can't be written")
        } else if !self.shared.shards.iter().all(|shard| shard.standing.stands()) {
            Some("redis was replaced, nothing is claimed for some seconds")
        } else if self.shared.shards.iter().any(|shard| shard.blind.get() > 0) {
            Some("it is not known who is suppressed: feedback has not written all of them to this redis")
        } else if self.shared.stops.current().is_none() {
            Some("the stops are not known, nothing is claimed")
        } else if !*self.answered.borrow() {
            Some("no coordinator grants leases")
        } else {
            None
        }
    }

    /// Recipients that an identity could be sent to at this moment; 0 without a live lease.
    #[must_use]
    pub fn tokens(&self, identity: &str) -> f64 {
        self.sum_of(identity, |standing| standing.tokens)
    }

    /// Recipients per second that an identity's mail goes on with while no coordinator answers; 0 while one does.
    #[must_use]
    pub fn safe_rate(&self, identity: &str) -> f64 {
        self.sum_of(identity, |standing| standing.safe_rate)
    }

    fn sum_of(&self, identity: &str, value: fn(&pacing::Standing<'_>) -> f64) -> f64 {
        let standings = self.shared.pacing.standings().into_iter();
        let own = standings.filter(|standing| standing.identity == identity);
        own.map(|standing| value(&standing)).sum()
    }

    /// Ends the sender after the shutdown: waits for open requests and their results, for as long as the limits say.
    ///
    /// # Errors
    /// If one of the tasks panicked, or ended before the shutdown. What was open is recorded all the same, if it could be.
    pub async fn drain(mut self) -> Result<(), TaskError> {
        let limits = &self.shared.limits;
        let (front, in_flight) = (&mut self.front, &self.shared.in_flight);
        let ended = tokio::time::timeout(limits.drain_max, async {
            while front.join_next().await.is_some() {}
            // All permits are back: every result is written.
            let all = in_flight.acquire_many(limits.in_flight_max).await.is_ok();
            // What was written to a Redis that was replaced since has to be said to the next one.
            for shard in &self.shared.shards {
                if let Err(error) = Box::pin(runs::look(&self.shared, shard)).await {
                    tracing::warn!(shard = shard.number, %error, "redis can't be looked at after the drain");
                }
            }
            all
        });
        if ended.await != Ok(true) {
            let open = self.shared.in_flight();
            tracing::error!(open, "drain took too long, what is open is left in doubt");
        }
        self.stop_leases.trigger();
        while self.leases.join_next().await.is_some() {}
        self.supervisor.outcome()
    }

    fn start_shard(&mut self, number: usize, inbox: mpsc::Receiver<Finished>) {
        let pair = || (Arc::clone(&self.shared), Arc::clone(&self.shared.shards[number]));
        let supervisor = &self.supervisor;
        let stop = || supervisor.shutdown().clone();
        let (shared, shard) = pair();
        let reading = Reader::new(shared, shard).run(stop());
        self.front.spawn(supervisor.watch("reader", reading));
        let (shared, shard) = pair();
        let dispatching = dispatch::run(shared, shard, stop());
        self.front.spawn(supervisor.watch("dispatcher", dispatching));
        let (shared, shard) = pair();
        let recording = results::record(shared, shard, inbox);
        self.back.spawn(supervisor.watch("recorder", recording));
        let (shared, shard) = pair();
        self.back
            .spawn(supervisor.watch("watch", runs::watch(shared, shard)));
        let (shared, shard) = pair();
        let sweeping = Sweeper::new(shared, shard).run(stop());
        self.back.spawn(supervisor.watch("sweeper", sweeping));
    }
}

type Inboxes = Vec<mpsc::Receiver<Finished>>;

fn share<P>(parts: Parts<P>) -> (Arc<Shared<P>>, Inboxes) {
    let Parts {
        store,
        provider,
        clock,
        identities,
        limits,
        deliver,
        address_key,
        stops,
        meter,
    } = parts;
    let names = identities
        .iter()
        .map(|identity| (identity.name.as_str(), identity.mailgun.is_some()));
    let pacing = Pacing::new(names, limits.in_flight_per_identity_max, Arc::clone(&clock));
    let permits = limits.in_flight_max as usize;
    let standing = || {
        if store.may_lose_claims() {
            Standing::needed(store.shards())
        } else {
            Standing::unneeded()
        }
    };
    let (shards, inboxes) = (0..store.shards())
        .map(|number| {
            let (results, inbox) = mpsc::channel(permits);
            (Arc::new(Shard::new(number, results, standing())), inbox)
        })
        .unzip();
    let shared = Shared {
        stops,
        store,
        provider,
        clock,
        pacing: Arc::new(pacing),
        identities: identities
            .into_iter()
            .map(|identity| (identity.name.clone(), identity))
            .collect(),
        limits,
        deliver,
        address_key,
        metrics: Metrics::new(&meter),
        in_flight: Arc::new(Semaphore::new(permits)),
        shards,
        meter,
    };
    (Arc::new(shared), inboxes)
}
