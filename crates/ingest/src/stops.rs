//! `paceline.v1.StopsService`: holding back, or ending, what is on its way.
//!
//! The service writes what is wished for; the renderers carry it out, so that it does not end with this process. A key of one tenant
//! sees and sets only stops that name this tenant.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::stop::{Release, Said, Selector, Stop, StopSet};
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_kit::said::said;
use paceline_kit::stops::{self as copies, LookError};
use paceline_store::waiting_all::Place;
use paceline_store::{StopWritten, Store};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::text::line_problem;
use paceline_wire::v1::stops_service_server::StopsService;
use paceline_wire::{stops, v1};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument as _, info_span};

use crate::call;
use crate::error;

/// The longest text of a selector, in characters.
const TEXT_MAX: usize = 256;
/// Messages that are counted at a time, and messages whose requests are read at a time where tags are asked for.
const PAGE: u32 = 512;
const BATCH: usize = 64;
/// How long messages are counted: what is wished for must not fail because there are so many of them.
const COUNT_MAX: Duration = Duration::from_secs(5);
/// How often a stop that others write at the same time is looked at anew.
const LOOKS_MAX: u32 = 5;

/// The service.
pub(crate) struct StopsOf {
    store: Store,
    clock: Arc<dyn Clock>,
    count_max: Duration,
}

impl StopsOf {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            count_max: COUNT_MAX,
        }
    }

    async fn all(&self) -> Result<Vec<(Stop, Bytes)>, RpcError> {
        copies::read(&self.store).await.map_err(|failure| match failure {
            LookError::Store(failure) => error::of_store(&failure),
            LookError::Unreadable { .. } => error::newer_format(),
        })
    }

    async fn set(&self, selector: Selector, cancel: bool, said: Said) -> Result<Stop, RpcError> {
        let stop = Stop {
            id: format!("{:016x}", rand::random::<u64>()),
            selector,
            mode: stops::mode(cancel),
            said,
            release: None,
        };
        let packed = Some(stops::pack(&stop));
        let written = self.store.write_stop(&stop.id, None, packed).await;
        match written.map_err(|failure| error::of_store(&failure))? {
            StopWritten::Written => {
                tracing::warn!(
                    stop = stop.id,
                    cancel,
                    who = stop.said.who,
                    selector = ?stop.selector,
                    "mail is stopped"
                );
                Ok(stop)
            }
            StopWritten::Full => Err(RpcError::new(
                Code::ResourceExhausted,
                reason::STOPS_FULL,
                format!(
                    "there are {} stops, as many as can be; release some",
                    paceline_store::STOPS_MAX
                ),
            )),
            StopWritten::Changed => Err(error::internal("two stops got the same id")),
        }
    }

    async fn list(&self, tenant: &str) -> Result<Vec<v1::Stop>, RpcError> {
        let mut all: Vec<Stop> = self.all().await?.into_iter().map(|(stop, _)| stop).collect();
        all.retain(|stop| tenant.is_empty() || stop.selector.tenant.as_deref() == Some(tenant));
        let set = StopSet::new(all.clone());
        let mut held = vec![0; all.len()];
        let until = Instant::now() + self.count_max;
        let count = |stored: &copies::Stored| {
            for (stop, held) in all.iter().zip(&mut held) {
                *held += u64::from(stop.selector.fits(&stored.subject()));
            }
        };
        let more = !all.is_empty() && !self.each(Set::Held, &set, until, count).await?;
        let shown = all.iter().zip(held);
        Ok(shown
            .map(|(stop, held)| stops::show(stop, (held, more)))
            .collect())
    }

    async fn release(
        &self,
        caller: &Caller,
        id: &str,
        release: Release,
        dry_run: bool,
    ) -> Result<v1::ReleaseStopResponse, RpcError> {
        let until = Instant::now() + self.count_max;
        for _ in 0..LOOKS_MAX {
            let all = self.all().await?;
            let found = all.iter().find(|(stop, _)| stop.id == id);
            let Some((stop, seen)) = found.filter(|(stop, _)| may_see(caller, stop)) else {
                return Err(no_such_stop());
            };
            let mut stop = stop.clone();
            let cancel = stop.release.get_or_insert_with(|| release.clone()).cancel;
            let others = all.iter().map(|(other, _)| other).filter(|other| other.id != id);
            let set = StopSet::new(others.chain([&stop]).cloned().collect());
            let (messages, more) = self.freed(&set, id, cancel, until).await?;
            let packed = stops::pack(&stop);
            let written = if dry_run || packed == *seen {
                Ok(StopWritten::Written)
            } else {
                self.store.write_stop(id, Some(seen.clone()), Some(packed)).await
            };
            if written.map_err(|failure| error::of_store(&failure))? == StopWritten::Written {
                return Ok(v1::ReleaseStopResponse {
                    stop: Some(stops::show(&stop, (messages, more))),
                    messages,
                    more,
                });
            }
        }
        Err(error::overloaded())
    }

    /// How many messages the release of a stop lets go, or ends, and whether there may be more.
    async fn freed(
        &self,
        set: &StopSet,
        id: &str,
        cancel: bool,
        until: Instant,
    ) -> Result<(u64, bool), RpcError> {
        let mut messages = 0;
        let mut all = true;
        let sets = if cancel { &Set::ALL[..] } else { &[Set::Held] };
        for &which in sets {
            let count = |stored: &copies::Stored| {
                let freed = set.release_of(&stored.subject());
                messages += u64::from(freed.is_some_and(|freed| freed.stop.id == id));
            };
            all &= self.each(which, set, until, count).await?;
        }
        Ok((messages, !all))
    }

    /// Looks at every message of a set, until its time is over: then false.
    async fn each(
        &self,
        which: Set,
        set: &StopSet,
        until: Instant,
        mut look: impl FnMut(&copies::Stored),
    ) -> Result<bool, RpcError> {
        let of_store = |failure| error::of_store(&failure);
        for shard in 0..self.store.shards() {
            let mut place = Some(Place::default());
            while let Some(from) = place {
                if Instant::now() >= until {
                    return Ok(false);
                }
                let page = match which {
                    Set::Held => self.store.held_from(shard, from, PAGE).await,
                    Set::Later => self.store.later_from(shard, from, PAGE).await,
                };
                let page = page.map_err(of_store)?;
                let ids: Vec<_> = page.ids.iter().map(|(id, _)| *id).collect();
                for ids in ids.chunks(BATCH) {
                    let stored = copies::stored(&self.store, shard, ids, set.asks_for_tags()).await;
                    stored.map_err(of_store)?.iter().for_each(&mut look);
                }
                place = page.next;
            }
        }
        Ok(true)
    }
}

/// Where stopped messages wait.
#[derive(Clone, Copy)]
enum Set {
    Held,
    /// Scheduled and deferred.
    Later,
}

impl Set {
    const ALL: [Self; 2] = [Self::Held, Self::Later];
}

/// True if the stop is this caller's to see and to end.
fn may_see(caller: &Caller, stop: &Stop) -> bool {
    match &stop.selector.tenant {
        Some(tenant) => caller.acts_for(tenant),
        None => caller.acts_for_all(),
    }
}

fn no_such_stop() -> RpcError {
    RpcError::new(
        Code::NotFound,
        reason::NOT_FOUND,
        "no stop with this id, or all that it held is on its way",
    )
}

/// The selector of a request; what is wrong with it is added to `wrong`.
fn selector(wrong: &mut InvalidFields, wished: Option<&v1::StopSelector>) -> Selector {
    let Some(wished) = wished else {
        wrong.add("selector", "is missing");
        return Selector::default();
    };
    for (field, text) in [
        ("selector.template", &wished.template),
        ("selector.tenant", &wished.tenant),
        ("selector.tag_name", &wished.tag_name),
        ("selector.tag_value", &wished.tag_value),
    ] {
        if let Some(problem) = line_problem(text, 0, TEXT_MAX) {
            wrong.add(field, problem);
        }
    }
    if wished.tag_name.is_empty() && !wished.tag_value.is_empty() {
        wrong.add("selector.tag_value", "needs a tag_name");
    }
    let Ok(selector) = stops::read_selector(wished) else {
        wrong.add("selector.lane", "is not a lane of this release");
        return Selector::default();
    };
    if selector.is_empty() {
        wrong.add("selector", "must name a template, a tenant, a tag or a lane");
    }
    selector
}

#[tonic::async_trait]
impl StopsService for StopsOf {
    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let wished = request.get_ref();
        let mut wrong = InvalidFields::new();
        let selector = selector(&mut wrong, wished.selector.as_ref());
        let said = said(&mut wrong, &caller, &wished.who, &wished.why, self.clock.wall());
        wrong.into_result().map_err(RpcError::from)?;
        let own = match &selector.tenant {
            Some(tenant) => caller.acts_for(tenant),
            None => caller.acts_for_all(),
        };
        if !own {
            return Err(error::tenant_refused().into());
        }
        let span = call::adopt(info_span!("stops", rpc = "stop"), request.metadata());
        let setting = Box::pin(self.set(selector, wished.cancel, said));
        let stop = call::within(call::deadline(request.metadata()), setting)
            .instrument(span)
            .await?;
        Ok(Response::new(v1::StopResponse {
            stop: Some(stops::show(&stop, (0, false))),
        }))
    }

    async fn list_stops(
        &self,
        request: Request<v1::ListStopsRequest>,
    ) -> Result<Response<v1::ListStopsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let tenant = &request.get_ref().tenant;
        let own = if tenant.is_empty() {
            caller.acts_for_all()
        } else {
            caller.acts_for(tenant)
        };
        if !own {
            return Err(error::tenant_refused().into());
        }
        let span = call::adopt(info_span!("stops", rpc = "list"), request.metadata());
        let listing = Box::pin(self.list(tenant));
        let stops = call::within(call::deadline(request.metadata()), listing)
            .instrument(span)
            .await?;
        Ok(Response::new(v1::ListStopsResponse { stops }))
    }

    async fn release_stop(
        &self,
        request: Request<v1::ReleaseStopRequest>,
    ) -> Result<Response<v1::ReleaseStopResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let wished = request.get_ref();
        let mut wrong = InvalidFields::new();
        let said = said(&mut wrong, &caller, &wished.who, &wished.why, self.clock.wall());
        wrong.into_result().map_err(RpcError::from)?;
        let release = Release {
            cancel: wished.cancel,
            said,
        };
        let span = call::adopt(info_span!("stops", rpc = "release"), request.metadata());
        let releasing = Box::pin(self.release(&caller, &wished.stop_id, release, wished.dry_run));
        let answer = call::within(call::deadline(request.metadata()), releasing)
            .instrument(span)
            .await?;
        Ok(Response::new(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use paceline_domain::stop::{Release, Said, Selector};
    use paceline_kit::access::Caller;
    use paceline_kit::clock::{Clock as _, SystemClock};
    use paceline_store::{Durability, Store, StoreConfig};
    use paceline_testkit::TestRedis;

    use super::StopsOf;

    fn said() -> Said {
        Said {
            who: "ops".to_owned(),
            why: "test".to_owned(),
            at: SystemClock.wall(),
        }
    }

    #[tokio::test]
    async fn what_is_too_much_to_count_is_listed_and_released_all_the_same() {
        let redis = TestRedis::start().await;
        let config = StoreConfig {
            url: redis.url().to_owned(),
            shards: 1,
            command_timeout: Duration::from_secs(2),
            durability: Durability::Fsync,
            replicas: 0,
            allow_unsafe: true,
            tls: None,
            allow_plaintext_password: false,
            log: paceline_store::LogUse::default(),
            log_entries_max: 1_000,
        };
        let stops = StopsOf {
            store: Store::connect(&config).await.expect("a safe redis"),
            clock: Arc::new(SystemClock),
            count_max: Duration::ZERO,
        };
        let selector = Selector {
            tenant: Some("shop".to_owned()),
            ..Selector::default()
        };
        let stop = stops.set(selector, false, said()).await.expect("set");
        let listed = stops.list("shop").await.expect("listed");
        assert_eq!((listed[0].held, listed[0].more_held), (0, true));
        let release = Release {
            cancel: true,
            said: said(),
        };
        let answer = stops.release(&Caller::anyone(), &stop.id, release, false).await;
        let answer = answer.expect("released");
        assert_eq!((answer.messages, answer.more), (0, true));
        let all = stops.all().await.expect("told");
        assert!(all[0].0.release.is_some(), "it stands written");
    }
}
