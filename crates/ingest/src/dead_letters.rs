//! `paceline.v1.DeadLettersService`: what was refused for good, or given up, and what people do about it.

use std::sync::Arc;

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_store::Store;
use paceline_templates::LiveCatalog;
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::v1::dead_letters_service_server::DeadLettersService;
use paceline_wire::{convert, requests, v1};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, info_span};

use crate::acts::Act;
use crate::call;
use crate::deed::Deed;
use crate::error;
use crate::messages::named;
use crate::walk::{self, Cursor, Filter, Found, Set};

/// The service.
pub(crate) struct DeadLettersOf {
    store: Store,
    catalog: Arc<LiveCatalog>,
    clock: Arc<dyn Clock>,
}

impl DeadLettersOf {
    pub(crate) fn new(store: Store, catalog: Arc<LiveCatalog>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            catalog,
            clock,
        }
    }

    async fn list(
        &self,
        filter: Filter,
        from: Cursor,
        size: usize,
    ) -> Result<v1::ListDeadLettersResponse, RpcError> {
        let walked = walk::next(&self.store, Set::Dead, &filter, from, size).await;
        let (found, next) = walked.map_err(|failure| error::of_store(&failure))?;
        Ok(v1::ListDeadLettersResponse {
            messages: found.iter().map(show).collect(),
            next_page_token: walk::token(next),
        })
    }

    async fn letter(&self, tenant: &str, id: MessageId) -> Result<v1::ShowDeadLetterResponse, RpcError> {
        let of_store = |failure| error::of_store(&failure);
        let record = self.store.get(id).await.map_err(of_store)?;
        let record = record.filter(|record| record.tenant == tenant && record.state == State::Dead);
        let record = record.ok_or_else(error::not_found)?;
        let shard = id.shard(self.store.shards());
        let requests = self.store.requests(shard, &[id]).await.map_err(of_store)?;
        let request = requests.into_iter().next().flatten();
        // Without its request there is still the record to show.
        let request = request.and_then(|request| requests::read(request).ok());
        let request = request.unwrap_or_default();
        Ok(v1::ShowDeadLetterResponse {
            message: Some(convert::message(id, &record)),
            user_id: request.user_id,
            recipient: request.recipient,
            data: request.data,
            from: request.from,
            reply_to: request.reply_to,
            headers: request.headers,
            tags: request.tags,
            attachments: request
                .attachments
                .into_iter()
                .map(|part| part.file_name)
                .collect(),
            bundle_hash: request
                .bundle_hash
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        })
    }

    fn act(&self, caller: &Caller, act: Option<&v1::MessageAct>) -> Result<Act, RpcError> {
        let wrong = InvalidFields::new();
        Act::read(wrong, caller, act, self.clock.wall(), self.store.shards())
    }
}

fn show(found: &Found) -> v1::Message {
    match &found.record {
        Some(record) => convert::message(found.id, record),
        None => v1::Message {
            message_id: found.id.to_string(),
            state: v1::MessageState::Dead.into(),
            reason: Reason::RecordCorrupt.as_str().to_owned(),
            changed_at: convert::timestamp_if_set(found.at),
            ..v1::Message::default()
        },
    }
}

#[tonic::async_trait]
impl DeadLettersService for DeadLettersOf {
    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let wished = request.get_ref();
        let mut wrong = InvalidFields::new();
        let filter = Filter::read(&mut wrong, wished.filter.as_ref(), "");
        let from = Cursor::read(&mut wrong, &wished.page_token, self.store.shards());
        let size = walk::page_size(&mut wrong, wished.page_size);
        wrong.into_result().map_err(RpcError::from)?;
        filter.check(&Caller::of(request.extensions()))?;
        let span = call::adopt(info_span!("dead_letters", rpc = "list"), request.metadata());
        let listing = Box::pin(self.list(filter, from, size));
        let listing = call::within(call::deadline(request.metadata()), listing);
        Ok(Response::new(listing.instrument(span).await?))
    }

    async fn show_dead_letter(
        &self,
        request: Request<v1::ShowDeadLetterRequest>,
    ) -> Result<Response<v1::ShowDeadLetterResponse>, Status> {
        let v1::ShowDeadLetterRequest { tenant, message_id } = request.get_ref();
        let id = named(&request, tenant, message_id)?;
        let span = call::adopt(info_span!("dead_letters", rpc = "show"), request.metadata());
        let letter = Box::pin(self.letter(tenant, id));
        let letter = call::within(call::deadline(request.metadata()), letter);
        Ok(Response::new(letter.instrument(span).await?))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<v1::RedriveDeadLettersRequest>,
    ) -> Result<Response<v1::RedriveDeadLettersResponse>, Status> {
        let wished = request.get_ref();
        let act = self.act(&Caller::of(request.extensions()), wished.act.as_ref())?;
        let span = call::adopt(info_span!("dead_letters", rpc = "redrive"), request.metadata());
        let deed = Deed::Redrive {
            latest: wished.latest_template.then(|| self.catalog.current()),
        };
        let redriving = Box::pin(act.perform(&self.store, &deed));
        let redriving = call::within(call::deadline(request.metadata()), redriving);
        let done = Some(redriving.instrument(span).await?);
        Ok(Response::new(v1::RedriveDeadLettersResponse { done }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<v1::DiscardDeadLettersRequest>,
    ) -> Result<Response<v1::DiscardDeadLettersResponse>, Status> {
        let act = self.act(&Caller::of(request.extensions()), request.get_ref().act.as_ref())?;
        let span = call::adopt(info_span!("dead_letters", rpc = "discard"), request.metadata());
        let discarding = Box::pin(act.perform(&self.store, &Deed::Discard));
        let discarding = call::within(call::deadline(request.metadata()), discarding);
        let done = Some(discarding.instrument(span).await?);
        Ok(Response::new(v1::DiscardDeadLettersResponse { done }))
    }
}
