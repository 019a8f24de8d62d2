//! `paceline.v1.DoubtService`: whose outcome is unknown, what is awaited, and settling it by hand.

use std::sync::Arc;

use paceline_domain::record::DoubtPolicy;
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_store::Store;
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::v1::DoubtVerdict;
use paceline_wire::v1::doubt_service_server::DoubtService;
use paceline_wire::{convert, v1};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, info_span};

use crate::acts::Act;
use crate::call;
use crate::deed::Deed;
use crate::error;
use crate::walk::{self, Cursor, Filter, Found, Set};

/// The service.
pub(crate) struct DoubtsOf {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl DoubtsOf {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    async fn list(
        &self,
        filter: Filter,
        from: Cursor,
        size: usize,
    ) -> Result<v1::ListDoubtsResponse, RpcError> {
        let walked = walk::next(&self.store, Set::Doubt, &filter, from, size).await;
        let (found, next) = walked.map_err(|failure| error::of_store(&failure))?;
        Ok(v1::ListDoubtsResponse {
            doubts: found.iter().filter_map(show).collect(),
            next_page_token: walk::token(next),
        })
    }
}

fn show(found: &Found) -> Option<v1::Doubt> {
    let record = found.record.as_ref()?;
    Some(v1::Doubt {
        message: Some(convert::message(found.id, record)),
        awaited_until: convert::timestamp_if_set(record.due_at),
        then: match record.policy {
            DoubtPolicy::Resend if !record.resent => "resend",
            DoubtPolicy::Resend | DoubtPolicy::Hold => "hold",
        }
        .to_owned(),
    })
}

#[tonic::async_trait]
impl DoubtService for DoubtsOf {
    async fn list_doubts(
        &self,
        request: Request<v1::ListDoubtsRequest>,
    ) -> Result<Response<v1::ListDoubtsResponse>, Status> {
        let wished = request.get_ref();
        let mut wrong = InvalidFields::new();
        let filter = Filter::read(&mut wrong, wished.filter.as_ref(), "");
        let from = Cursor::read(&mut wrong, &wished.page_token, self.store.shards());
        let size = walk::page_size(&mut wrong, wished.page_size);
        wrong.into_result().map_err(RpcError::from)?;
        filter.check(&Caller::of(request.extensions()))?;
        let span = call::adopt(info_span!("doubt", rpc = "list"), request.metadata());
        let listing = Box::pin(self.list(filter, from, size));
        let listing = call::within(call::deadline(request.metadata()), listing);
        Ok(Response::new(listing.instrument(span).await?))
    }

    async fn settle_doubts(
        &self,
        request: Request<v1::SettleDoubtsRequest>,
    ) -> Result<Response<v1::SettleDoubtsResponse>, Status> {
        let wished = request.get_ref();
        let mut wrong = InvalidFields::new();
        let sent = wished.verdict() == DoubtVerdict::Sent;
        if wished.verdict() == DoubtVerdict::Unspecified {
            wrong.add("verdict", "must be sent or not sent");
        }
        let caller = Caller::of(request.extensions());
        let (now, shards) = (self.clock.wall(), self.store.shards());
        let act = Act::read(wrong, &caller, wished.act.as_ref(), now, shards)?;
        let span = call::adopt(info_span!("doubt", rpc = "settle"), request.metadata());
        let deed = Deed::Settle { sent };
        let settling = Box::pin(act.perform(&self.store, &deed));
        let settling = call::within(call::deadline(request.metadata()), settling);
        let done = Some(settling.instrument(span).await?);
        Ok(Response::new(v1::SettleDoubtsResponse { done }))
    }
}
