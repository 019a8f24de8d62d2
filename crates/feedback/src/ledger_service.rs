//! `paceline.v1.LedgerService`: what became of messages, and erasing what is known of a person.

mod erase;
mod redis_part;
mod search;
mod shown;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_ledger::{Ledger, Retained};
use paceline_store::Store;
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::ledger_service_server::LedgerService;
use tonic::{Code, Request, Response, Status};

use crate::asked::{PeopleKey, check_caller, check_tenant, of_ledger};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// As the setting `ledger.retention` is bounded.
const KEEP_DAYS: RangeInclusive<u32> = 60..=36_500;

/// The service.
pub(crate) struct LedgerOf {
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) people: PeopleKey,
    pub(crate) clock: Arc<dyn Clock>,
}

impl LedgerOf {
    async fn history(&self, tenant: &str, id: MessageId) -> Result<v1::TimelineResponse, RpcError> {
        let timeline = self.ledger.timeline(tenant, id).await;
        let timeline = timeline.map_err(|error| of_ledger(&error))?;
        let message = "no message of this tenant with this id is in the ledger";
        let timeline = timeline.ok_or_else(|| RpcError::new(Code::NotFound, reason::NOT_FOUND, message))?;
        Ok(shown::timeline(timeline))
    }
}

#[tonic::async_trait]
impl LedgerService for LedgerOf {
    async fn timeline(
        &self,
        request: Request<v1::TimelineRequest>,
    ) -> Result<Response<v1::TimelineResponse>, Status> {
        let v1::TimelineRequest { tenant, message_id } = request.get_ref();
        let mut wrong = InvalidFields::new();
        check_tenant(&mut wrong, tenant);
        let Ok(id) = message_id.parse::<MessageId>() else {
            wrong.add("message_id", "must be 26 characters of Crockford base32");
            return Err(wrong.into());
        };
        wrong.into_result()?;
        check_caller(&Caller::of(request.extensions()), tenant)?;
        Ok(Response::new(self.history(tenant, id).await?))
    }

    async fn search(
        &self,
        request: Request<v1::SearchRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let search = search::Search::read(request.get_ref(), &self.people)?;
        check_caller(&Caller::of(request.extensions()), &request.get_ref().tenant)?;
        Ok(Response::new(search.answer(&self.ledger).await?))
    }

    async fn erase(&self, request: Request<v1::EraseRequest>) -> Result<Response<v1::EraseResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let wish = erase::Wish::read(request.get_ref(), &caller, self)?;
        check_caller(&caller, &request.get_ref().tenant)?;
        Ok(Response::new(wish.perform(self).await?))
    }

    async fn retain(
        &self,
        request: Request<v1::RetainRequest>,
    ) -> Result<Response<v1::RetainResponse>, Status> {
        let v1::RetainRequest { keep_days, dry_run } = *request.get_ref();
        if !KEEP_DAYS.contains(&keep_days) {
            let problem = format!(
                "is {keep_days}, at least {} and at most {}",
                KEEP_DAYS.start(),
                KEEP_DAYS.end()
            );
            return Err(InvalidFields::one("keep_days", problem).into());
        }
        let before = self.clock.wall() - DAY * keep_days;
        let retained = if dry_run {
            self.ledger.would_retain(before).await
        } else {
            self.ledger.retain(before).await
        };
        let Retained { partitions, rows } = retained.map_err(|error| of_ledger(&error))?;
        if !dry_run {
            tracing::warn!(keep_days, partitions = partitions.len(), rows, "dropped by hand");
        }
        Ok(Response::new(v1::RetainResponse { partitions, rows }))
    }
}
