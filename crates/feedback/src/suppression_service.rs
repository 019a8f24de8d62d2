//! `paceline.v1.SuppressionService`: people and other systems look at who is suppressed, and change it.

mod input;
mod output;

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use paceline_domain::lane::Lane;
use paceline_domain::suppression::{Stoppable, judge};
use paceline_kit::access::{Caller, Scope};
use paceline_ledger::{Suppressing, SuppressionFilter, SuppressionPage, SuppressionRemoval, SuppressionRow};
use paceline_store::Addressee;
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::suppression_service_server::SuppressionService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::suppressions::{Deed, Suppress, Suppressions, SuppressionsError};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
/// Rows of one answer of an export.
const EXPORT_PAGE: u32 = 500;
/// Rows that an address may have: of every category.
const HISTORY_MAX: u32 = 1_000;
const REFUSED_MAX: usize = 10_000;
const COME_AGAIN: Duration = Duration::from_secs(1);

/// The service.
pub(crate) struct SuppressionsOf(Suppressions);

impl SuppressionsOf {
    pub(crate) const fn new(suppressions: Suppressions) -> Self {
        Self(suppressions)
    }

    fn show(&self, row: &SuppressionRow, in_clear: bool) -> v1::Suppression {
        let address = in_clear
            .then(|| self.0.people().open(&row.sealed, row.key.address))
            .flatten();
        output::suppression(row, address.unwrap_or_default())
    }

    async fn page(
        &self,
        filter: &SuppressionFilter,
        page: Option<&SuppressionPage>,
        count: u32,
    ) -> Result<Vec<SuppressionRow>, Status> {
        let rows = self.0.ledger.suppressions(filter, page, count).await;
        rows.map_err(|error| unavailable(&error.into()))
    }
}

#[tonic::async_trait]
impl SuppressionService for SuppressionsOf {
    type ExportSuppressionsStream =
        Pin<Box<dyn Stream<Item = Result<v1::ExportSuppressionsResponse, Status>> + Send>>;

    async fn add_suppressions(
        &self,
        request: Request<v1::AddSuppressionsRequest>,
    ) -> Result<Response<v1::AddSuppressionsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        let (who, why) = input::said(&mut wrong, &caller, &request.who, &request.why);
        let items = input::items(&mut wrong, &request.tenant, &request.suppressions, self.0.now());
        admit(wrong, &caller, &request.tenant)?;
        tracing::info!(tenant = request.tenant, count = items.len(), who, "suppressing");
        let deed = Deed {
            source: "api",
            who,
            why,
            act: Some(("suppress", request.tenant)),
        };
        let outcomes = self
            .0
            .add(items, deed)
            .await
            .map_err(|error| unavailable(&error))?;
        let mut counts = v1::SuppressionCounts::default();
        count(&mut counts, &outcomes);
        Ok(Response::new(v1::AddSuppressionsResponse {
            counts: Some(counts),
        }))
    }

    async fn remove_suppression(
        &self,
        request: Request<v1::RemoveSuppressionRequest>,
    ) -> Result<Response<v1::RemoveSuppressionResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        let (who, why) = input::said(&mut wrong, &caller, &request.who, &request.why);
        let address = input::address(&mut wrong, "address", &request.address);
        let reason = input::reason(&mut wrong, "reason", request.reason);
        input::category(&mut wrong, "category", &request.category);
        if request.every_category && !request.category.is_empty() {
            wrong.add("category", "is given beside every_category");
        }
        admit(wrong, &caller, &request.tenant)?;
        let Some(address) = address else {
            return Err(Status::internal("an address that was checked is not there"));
        };
        let removal = SuppressionRemoval {
            tenant: request.tenant.clone(),
            address: self.0.people().hash(&address),
            category: (!request.every_category).then_some(request.category),
            reason,
        };
        tracing::info!(tenant = request.tenant, who, "a suppression is removed");
        let deed = Deed {
            source: "api",
            who,
            why,
            act: Some(("unsuppress", request.tenant)),
        };
        let removed = self.0.remove(&[removal], deed).await;
        let removed = removed.map_err(|error| unavailable(&error))?;
        Ok(Response::new(v1::RemoveSuppressionResponse {
            removed: removed.iter().map(|row| self.show(row, false)).collect(),
        }))
    }

    async fn list_suppressions(
        &self,
        request: Request<v1::ListSuppressionsRequest>,
    ) -> Result<Response<v1::ListSuppressionsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        let reason = input::reason(&mut wrong, "reason", request.reason);
        input::category(&mut wrong, "category", request.category());
        let page = input::page(&mut wrong, &request.page_token);
        if request.page_size > PAGE_MAX {
            wrong.add("page_size", format!("is more than {PAGE_MAX}"));
        }
        admit(wrong, &caller, &request.tenant)?;
        may_read_addresses(&caller, request.addresses)?;
        let count = match request.page_size {
            0 => PAGE_DEFAULT,
            count => count,
        };
        let filter = SuppressionFilter {
            tenant: request.tenant,
            category: request.category,
            reason,
            address: None,
            removed: request.with_removed,
        };
        let rows = self.page(&filter, page.as_ref(), count).await?;
        let full = rows.len() == count as usize;
        let next = rows.last().filter(|_| full).map(output::token);
        Ok(Response::new(v1::ListSuppressionsResponse {
            suppressions: rows.iter().map(|row| self.show(row, request.addresses)).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn check_suppression(
        &self,
        request: Request<v1::CheckSuppressionRequest>,
    ) -> Result<Response<v1::CheckSuppressionResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        let address = input::address(&mut wrong, "address", &request.address);
        input::category(&mut wrong, "category", &request.category);
        admit(wrong, &caller, &request.tenant)?;
        let Some(address) = address else {
            return Err(Status::internal("an address that was checked is not there"));
        };
        let hash = self.0.people().hash(&address);
        let filter = SuppressionFilter {
            tenant: request.tenant.clone(),
            address: Some(hash),
            removed: true,
            ..SuppressionFilter::default()
        };
        let rows = self.page(&filter, None, HISTORY_MAX).await?;
        let to = Addressee {
            address: hash,
            category: request.category,
            despite_complaint: false,
        };
        let found = self.0.look_up(&request.tenant, &to).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let stopped = |lane| {
            let message = Stoppable {
                lane,
                has_category: !to.category.is_empty(),
                despite_complaint: false,
            };
            let reason = judge(found.suppressed, message);
            reason
                .map(|reason| reason.as_str().to_owned())
                .unwrap_or_default()
        };
        Ok(Response::new(v1::CheckSuppressionResponse {
            suppressions: rows.iter().map(|row| self.show(row, false)).collect(),
            transactional: stopped(Lane::Transactional),
            bulk: stopped(Lane::Bulk),
            complete: found.complete,
        }))
    }

    async fn import_suppressions(
        &self,
        request: Request<Streaming<v1::ImportSuppressionsRequest>>,
    ) -> Result<Response<v1::ImportSuppressionsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut requests = request.into_inner();
        let mut import: Option<Import> = None;
        while let Some(request) = requests.message().await? {
            let import = match &mut import {
                Some(import) => import,
                None => import.insert(Import::begin(&caller, &request)?),
            };
            import.take(&self.0, &request.suppressions).await?;
            if import.answer.refused.len() >= REFUSED_MAX {
                break;
            }
        }
        let import = import.ok_or_else(|| {
            let fields = InvalidFields::one("suppressions", "there is no request");
            Status::from(RpcError::from(fields))
        })?;
        Ok(Response::new(import.answer))
    }

    async fn export_suppressions(
        &self,
        request: Request<v1::ExportSuppressionsRequest>,
    ) -> Result<Response<Self::ExportSuppressionsStream>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        admit(InvalidFields::new(), &caller, &request.tenant)?;
        may_read_addresses(&caller, request.addresses)?;
        tracing::info!(
            tenant = request.tenant,
            addresses = request.addresses,
            key = caller.name(),
            "suppressions are exported"
        );
        let (answers, stream) = mpsc::channel(1);
        let service = Self(self.0.clone());
        tokio::spawn(async move { service.export(request, answers).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

type ExportAnswer = Result<v1::ExportSuppressionsResponse, Status>;

impl SuppressionsOf {
    /// Page by page, no faster than they are taken.
    async fn export(self, request: v1::ExportSuppressionsRequest, answers: mpsc::Sender<ExportAnswer>) {
        let filter = SuppressionFilter {
            tenant: request.tenant,
            ..SuppressionFilter::default()
        };
        let mut page = None;
        loop {
            let rows = self.page(&filter, page.as_ref(), EXPORT_PAGE).await;
            let answer = match &rows {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => Ok(v1::ExportSuppressionsResponse {
                    suppressions: rows.iter().map(|row| self.show(row, request.addresses)).collect(),
                }),
                Err(status) => Err(status.clone()),
            };
            let failed = answer.is_err();
            if answers.send(answer).await.is_err() || failed {
                return;
            }
            page = rows.ok().and_then(|rows| rows.last().map(output::page));
        }
    }
}

/// One call that imports.
struct Import {
    tenant: String,
    who: String,
    why: String,
    answer: v1::ImportSuppressionsResponse,
}

impl Import {
    /// By the first request.
    fn begin(caller: &Caller, request: &v1::ImportSuppressionsRequest) -> Result<Self, Status> {
        let mut wrong = InvalidFields::new();
        let (who, why) = input::said(&mut wrong, caller, &request.who, &request.why);
        admit(wrong, caller, &request.tenant)?;
        Ok(Self {
            tenant: request.tenant.clone(),
            who,
            why,
            answer: v1::ImportSuppressionsResponse {
                counts: Some(v1::SuppressionCounts::default()),
                ..v1::ImportSuppressionsResponse::default()
            },
        })
    }

    async fn take(
        &mut self,
        suppressions: &Suppressions,
        items: &[v1::NewSuppression],
    ) -> Result<(), Status> {
        if items.len() > input::ITEMS_MAX {
            let problem = format!("has {} entries, at most {}", items.len(), input::ITEMS_MAX);
            return Err(RpcError::from(InvalidFields::one("suppressions", problem)).into());
        }
        let (first, now) = (self.answer.read == 0, suppressions.now());
        let mut taken: Vec<Suppress> = Vec::with_capacity(items.len());
        for item in items {
            let mut wrong = InvalidFields::new();
            match input::item(&mut wrong, "", &self.tenant, item, now) {
                Some(item) if wrong.is_empty() => taken.push(item),
                _ => self.refuse(&wrong),
            }
            self.answer.read += 1;
        }
        let deed = Deed {
            source: "import",
            who: self.who.clone(),
            why: self.why.clone(),
            // One act for a call, however long it is.
            act: first.then(|| ("import", self.tenant.clone())),
        };
        let outcomes = suppressions.add(taken, deed).await;
        let outcomes = outcomes.map_err(|error| unavailable(&error))?;
        count(self.answer.counts.get_or_insert_default(), &outcomes);
        Ok(())
    }

    fn refuse(&mut self, wrong: &InvalidFields) {
        let (field, problem) = wrong.violations().first().map_or_else(Default::default, |first| {
            (first.field.clone(), first.problem.clone())
        });
        self.answer.refused.push(v1::RefusedSuppression {
            index: self.answer.read,
            field,
            problem,
        });
    }
}

/// Refuses what is wrong first, then whose it is not.
fn admit(mut wrong: InvalidFields, caller: &Caller, tenant: &str) -> Result<(), Status> {
    input::tenant(&mut wrong, tenant);
    wrong.into_result().map_err(RpcError::from)?;
    if caller.acts_for(tenant) {
        return Ok(());
    }
    let message = "the API key is not for this tenant";
    Err(RpcError::new(Code::PermissionDenied, reason::TENANT_REFUSED, message).into())
}

fn may_read_addresses(caller: &Caller, asked: bool) -> Result<(), Status> {
    if !asked || caller.has(Scope::Addresses) {
        return Ok(());
    }
    let message = "addresses in clear need an API key with the scope \"addresses\"";
    Err(RpcError::new(Code::PermissionDenied, reason::SCOPE_MISSING, message).into())
}

fn count(counts: &mut v1::SuppressionCounts, outcomes: &[Suppressing]) {
    for outcome in outcomes {
        match outcome {
            Suppressing::Added => counts.added += 1,
            Suppressing::Already => counts.already += 1,
            Suppressing::RemovedSince => counts.removed_since += 1,
        }
    }
}

fn unavailable(error: &SuppressionsError) -> Status {
    tracing::warn!(%error, "suppressions can't be read or kept");
    let message = "the ledger or redis does not answer; it may have happened, and the same call is safe";
    RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
        .retry_after(COME_AGAIN)
        .into()
}
