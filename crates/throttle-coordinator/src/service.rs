//! `ThrottleService` over gRPC: checks what a caller says, asks the desk, and words the answer.

mod call;
mod commands;
mod describe;
mod journal;
mod open;

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::lease::{REFRESH, SAFE_TTL, TTL};
use paceline_kit::clock::Clock;
use paceline_store::throttle::{RateKey, Term};
use paceline_store::{Store, StoreError};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::{Code, Request, Response, Status};

use crate::desk::{Desk, Lease, Refused, Told, provider};
use crate::metrics::{Metrics, Outcome};
use call::Call;

/// `ErrorInfo.reason` of a call to a coordinator that does not lead; metadata `leader` is the address of the one that does.
const NOT_LEADER: &str = "not_leader";
/// `ErrorInfo.reason` of a call that an older one of the same sender came after.
const OUTDATED: &str = "outdated";

/// How soon it asks again while a share is on its way from one sender to another.
const REFRESH_SOON_MS: u32 = 100;
/// How long the election may take, at the least.
const RETRY: Duration = Duration::from_millis(500);
/// How long a call waits for its grants to be written.
const WRITE_MAX: Duration = Duration::from_secs(1);

/// The service. Clones share the desk.
#[derive(Clone)]
pub(crate) struct Throttle<C> {
    pub(crate) desk: Desk,
    pub(crate) store: Store,
    pub(crate) clock: C,
    pub(crate) metrics: Metrics,
    /// Where the senders reach this coordinator.
    pub(crate) address: String,
    /// Held while keys are opened.
    pub(crate) opening: Arc<tokio::sync::Mutex<()>>,
}

#[tonic::async_trait]
impl<C: Clock + Clone> v1::throttle_service_server::ThrottleService for Throttle<C> {
    #[tracing::instrument(name = "refresh", level = "debug", skip_all)]
    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        let answer = self.refreshed(request.into_inner()).await;
        self.metrics.refreshed(match &answer {
            Ok(_) => Outcome::Granted,
            Err(error) if error.reason == NOT_LEADER => Outcome::NotLeader,
            Err(error) if error.reason == reason::STORE_UNAVAILABLE => Outcome::Failed,
            Err(_) => Outcome::Refused,
        });
        Ok(Response::new(answer?))
    }

    #[tracing::instrument(name = "release", level = "debug", skip_all)]
    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let v1::ReleaseRequest {
            sender_id,
            incarnation,
            items,
        } = request.into_inner();
        let call = Call::read(&sender_id, &incarnation, items)?;
        let boarded = self
            .desk
            .release(call.holder, &call.items, self.clock.boot())
            .map_err(refused)?;
        boarded.landed(WRITE_MAX).await.map_err(refused)?;
        tracing::info!(sender = sender_id, "a sender gave its leases back");
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    type JournalStream = journal::JournalStream;

    async fn journal(
        &self,
        request: Request<v1::JournalRequest>,
    ) -> Result<Response<Self::JournalStream>, Status> {
        Ok(Response::new(self.journal_of(request.into_inner().key).await?))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let now = self.clock.boot();
        let term = self.desk.term(now);
        let leader_address = match &term {
            Some(_) => self.address.clone(),
            None => self.desk.leader(),
        };
        let request = request.into_inner();
        let senders = request.senders;
        let wanted = describe::wanted(request)?;
        let keys = self.desk.details(&wanted, now).into_iter();
        let accounts = self.desk.accounts(now).into_iter();
        Ok(Response::new(v1::DescribeResponse {
            epoch: term
                .as_ref()
                .map_or_else(|| self.desk.epoch_floor(), |term| term.epoch),
            leader: term.is_some(),
            leader_address,
            keys: keys.map(|it| describe::key(it, senders)).collect(),
            accounts: accounts.map(describe::account).collect(),
        }))
    }

    #[tracing::instrument(name = "feedback", level = "debug", skip_all)]
    async fn feedback(
        &self,
        request: Request<v1::FeedbackRequest>,
    ) -> Result<Response<v1::FeedbackResponse>, Status> {
        Ok(Response::new(self.feedback_given(request.into_inner()).await?))
    }

    #[tracing::instrument(name = "set_override", level = "debug", skip_all)]
    async fn set_override(
        &self,
        request: Request<v1::SetOverrideRequest>,
    ) -> Result<Response<v1::SetOverrideResponse>, Status> {
        Ok(Response::new(self.override_set(request.into_inner()).await?))
    }

    #[tracing::instrument(name = "clear_override", level = "debug", skip_all)]
    async fn clear_override(
        &self,
        request: Request<v1::ClearOverrideRequest>,
    ) -> Result<Response<v1::ClearOverrideResponse>, Status> {
        Ok(Response::new(self.override_cleared(request.into_inner()).await?))
    }

    #[tracing::instrument(name = "start_warm_up", level = "debug", skip_all)]
    async fn start_warm_up(
        &self,
        request: Request<v1::StartWarmUpRequest>,
    ) -> Result<Response<v1::StartWarmUpResponse>, Status> {
        Ok(Response::new(self.warm_up_started(request.into_inner()).await?))
    }

    #[tracing::instrument(name = "stop_warm_up", level = "debug", skip_all)]
    async fn stop_warm_up(
        &self,
        request: Request<v1::StopWarmUpRequest>,
    ) -> Result<Response<v1::StopWarmUpResponse>, Status> {
        Ok(Response::new(self.warm_up_stopped(request.into_inner()).await?))
    }
}

impl<C: Clock> Throttle<C> {
    async fn refreshed(&self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, RpcError> {
        let sequence = request.sequence;
        let call = Call::read(&request.sender_id, &request.incarnation, request.items)?;
        let backups = call::backups(request.backups)?;
        call::check_epoch(request.epoch_seen)?;
        if self.desk.meet_epoch(request.epoch_seen) {
            tracing::warn!(
                epoch = request.epoch_seen,
                "a sender has met a newer leader, this one steps down"
            );
        }
        self.open(call.items.iter().map(|(key, _)| key)).await?;
        let now = self.clock.boot();
        self.desk.met(call.holder, &request.sender_id, now);
        let routes = self.desk.route(&backups, now);
        let (term, leases, boarded) = self
            .desk
            .refresh(call.holder, sequence, &call.items, now)
            .map_err(refused)?;
        boarded.landed(WRITE_MAX).await.map_err(refused)?;
        Ok(self.response(&term, leases, routes))
    }

    fn response(&self, term: &Term, leases: Vec<(RateKey, Lease)>, routes: Vec<Told>) -> v1::RefreshResponse {
        let settled = leases.iter().all(|(_, lease)| lease.settled);
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let ttl_ms = ms(TTL);
        let lease = |(key, lease): (RateKey, Lease)| v1::Lease {
            key: Some(wire_key(key)),
            rate: lease.rate,
            granted_total: lease.granted_total,
            burst: lease.burst,
            ttl_ms,
            version: lease.version,
            safe_rate: lease.safe_rate,
            safe_ttl_ms: if lease.safe_rate > 0.0 { ms(SAFE_TTL) } else { 0 },
            bulk_total: lease.bulk_total,
            warm_up: lease.warm_up.map(|word| v1::WarmUpWord {
                first_day: word.first_day,
                level: word.level,
                overflow_to: word.overflow_to.unwrap_or_default(),
            }),
            overflows: lease.overflows,
        };
        v1::RefreshResponse {
            epoch: term.epoch,
            leases: leases.into_iter().map(lease).collect(),
            leader_address: self.address.clone(),
            refresh_ms: if settled { ms(REFRESH) } else { REFRESH_SOON_MS },
            routes: routes.into_iter().map(|told| route(term.epoch, told)).collect(),
        }
    }
}

fn refused(refused: Refused) -> RpcError {
    match refused {
        Refused::NotLeader(leader) => RpcError::new(
            Code::FailedPrecondition,
            NOT_LEADER,
            "this coordinator does not lead",
        )
        .with("leader", leader)
        .retry_after(RETRY),
        Refused::Outdated => {
            RpcError::new(Code::Aborted, OUTDATED, "a later call of this sender came before")
        }
        Refused::Full => RpcError::new(
            Code::ResourceExhausted,
            reason::OVERLOADED,
            "as many keys, or senders of a key, as this coordinator keeps",
        ),
        Refused::Unwritten => silent(),
    }
}

fn unavailable(error: &StoreError) -> RpcError {
    tracing::info!(%error, "a key could not be opened");
    silent()
}

fn silent() -> RpcError {
    RpcError::new(
        Code::Unavailable,
        reason::STORE_UNAVAILABLE,
        "redis does not answer",
    )
    .retry_after(RETRY)
}

fn route(epoch: u64, told: Told) -> v1::Route {
    v1::Route {
        identity: told.identity,
        provider: provider(told.way).as_str().to_owned(),
        epoch,
        version: told.version,
        probe: told
            .probe
            .map(|way| provider(way).as_str())
            .unwrap_or_default()
            .to_owned(),
    }
}

fn wire_key(key: RateKey) -> v1::ThrottleKey {
    v1::ThrottleKey {
        provider: key.provider,
        identity: key.identity,
    }
}
