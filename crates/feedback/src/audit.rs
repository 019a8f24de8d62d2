//! `paceline.v1.AuditService`, and the same look at the last hour now and then, for a metric: messages that differ so little that
//! callers may have meant them to be one. What counts as such is `domain::identity::near`.
//!
//! Each look is bounded by the messages that it reads, and one is made at a time: they cost the ledger a walk over an index, and
//! this process some 300 bytes for each.

pub(crate) mod share;

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::identity::Digests;
use paceline_domain::identity::near::{Accepted, NearDuplicates, NearFindings, near_duplicates};
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_kit::identity::is_name;
use paceline_ledger::{Filter, Ledger, LedgerError, MessageRow, Page};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1::audit_service_server::AuditService;
use paceline_wire::{convert, v1};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

/// Messages of one question to the ledger.
const PAGE: u32 = 1_000;
const MESSAGES_MAX: u32 = 100_000;
const MESSAGES_BY_DEFAULT: u32 = 20_000;
/// What is looked at without a wish.
const DAY: Duration = Duration::from_secs(24 * 3_600);
const FINDINGS_MAX: usize = 100;
const TEMPLATES_MAX: usize = 1_000;
const TEMPLATE_BYTES_MAX: usize = 64;
const COME_AGAIN: Duration = Duration::from_secs(2);

/// The looks, one at a time. Clones share the turn.
#[derive(Clone)]
pub(crate) struct Auditor {
    ledger: Ledger,
    turn: Arc<Semaphore>,
}

/// The newest messages of a time, and whether these were all.
struct Read {
    messages: Vec<Accepted>,
    complete: bool,
}

impl Auditor {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Reads at most `messages_max` messages, the newest first.
    async fn read(&self, filter: &Filter, messages_max: u32) -> Result<Read, LedgerError> {
        let mut messages = Vec::new();
        let (mut page, mut left) = (None, messages_max);
        while left > 0 {
            let rows = self.ledger.search(filter, page, PAGE.min(left)).await?;
            let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            if count < PAGE.min(left) {
                messages.extend(rows.into_iter().filter_map(accepted));
                return Ok(Read {
                    messages,
                    complete: true,
                });
            }
            left -= count;
            page = rows.last().map(|row| Page {
                accepted_at: row.message.accepted_at,
                id: row.message.id,
            });
            messages.extend(rows.into_iter().filter_map(accepted));
        }
        Ok(Read {
            messages,
            complete: false,
        })
    }

    /// Reads and compares. Comparing is work for a processor: not on the runtime's own threads.
    async fn look(&self, filter: &Filter, messages_max: u32) -> Result<(NearFindings, bool), LedgerError> {
        let Read { messages, complete } = self.read(filter, messages_max).await?;
        let found = tokio::task::spawn_blocking(move || near_duplicates(messages)).await;
        let found = found.unwrap_or_else(|error| {
            tracing::error!(%error, "an audit ended badly");
            NearFindings::default()
        });
        Ok((found, complete))
    }
}

/// Of whom nothing is known any more, or whose digests are of another release, is not compared.
fn accepted(row: MessageRow) -> Option<Accepted> {
    let message = row.message;
    let digests = Digests::from_bytes(&message.digests).ok()?;
    (!message.user_hash.is_empty() && !message.recipient.is_empty()).then_some(Accepted {
        id: message.id,
        at: message.accepted_at,
        template: message.template,
        user: message.user_hash,
        recipient: message.recipient,
        digests,
    })
}

/// The service.
pub(crate) struct AuditOf {
    auditor: Auditor,
    clock: Arc<dyn Clock>,
}

impl AuditOf {
    pub(crate) fn new(auditor: Auditor, clock: impl Clock) -> Self {
        Self {
            auditor,
            clock: Arc::new(clock),
        }
    }
}

#[tonic::async_trait]
impl AuditService for AuditOf {
    async fn audit_ids(
        &self,
        request: Request<v1::AuditIdsRequest>,
    ) -> Result<Response<v1::AuditIdsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let (filter, messages_max) = wished(&request, self.clock.wall())?;
        if !caller.acts_for(&filter.tenant) {
            let message = "the API key is not for this tenant";
            return Err(RpcError::new(Code::PermissionDenied, reason::TENANT_REFUSED, message).into());
        }
        let _turn = self.auditor.turn.try_acquire().map_err(|_| {
            let message = "another audit is under way";
            RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, message).retry_after(COME_AGAIN)
        })?;
        let (found, complete) = self.auditor.look(&filter, messages_max).await.map_err(|error| {
            tracing::debug!(%error, "an audit is given up");
            let message = "the ledger does not answer";
            RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, message).retry_after(COME_AGAIN)
        })?;
        Ok(Response::new(answer(found, complete)))
    }
}

fn wished(request: &v1::AuditIdsRequest, now: Millis) -> Result<(Filter, u32), RpcError> {
    let mut wrong = InvalidFields::new();
    if !is_name(&request.tenant) {
        wrong.add("tenant", "must be 1 to 64 of [a-z0-9_-]");
    }
    if request.template.len() > TEMPLATE_BYTES_MAX {
        wrong.add("template", format!("is longer than {TEMPLATE_BYTES_MAX} bytes"));
    }
    if request.messages_max > MESSAGES_MAX {
        wrong.add(
            "messages_max",
            format!("is {}, at most {MESSAGES_MAX}", request.messages_max),
        );
    }
    let until = time("until", request.until.as_ref(), &mut wrong).unwrap_or(now);
    let from = time("since", request.since.as_ref(), &mut wrong).unwrap_or(until - DAY);
    if wrong.is_empty() && from >= until {
        wrong.add("since", "is not before `until`");
    }
    wrong.into_result()?;
    let filter = Filter {
        tenant: request.tenant.clone(),
        template: request.template.clone(),
        from,
        until,
        ..Filter::default()
    };
    let messages_max = match request.messages_max {
        0 => MESSAGES_BY_DEFAULT,
        count => count,
    };
    Ok((filter, messages_max))
}

fn time(field: &str, given: Option<&prost_types::Timestamp>, wrong: &mut InvalidFields) -> Option<Millis> {
    let read = convert::millis(given?);
    if read.is_err() {
        wrong.add(field, "must be a time after 1970");
    }
    read.ok()
}

fn answer(found: NearFindings, complete: bool) -> v1::AuditIdsResponse {
    let finding = |finding: NearDuplicates| v1::NearDuplicates {
        template: finding.template,
        fields: finding.fields,
        pairs: finding.pairs,
        earlier_message_id: finding.example.0.to_string(),
        later_message_id: finding.example.1.to_string(),
    };
    let templates = found.templates.into_iter().take(TEMPLATES_MAX);
    v1::AuditIdsResponse {
        findings: found
            .findings
            .into_iter()
            .take(FINDINGS_MAX)
            .map(finding)
            .collect(),
        templates: templates
            .map(|(template, count)| v1::TemplateNearDuplicates {
                template,
                messages: count.messages,
                near: count.near,
            })
            .collect(),
        complete,
    }
}
