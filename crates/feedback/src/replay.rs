//! `paceline.v1.ReplayService`: what a candidate would make of real payloads, before anybody gets mail of it.
//!
//! The payloads stay here: an answer names fields and parts, never a value. They are those that templates let the ledger keep.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::canonical::parse_data;
use paceline_domain::id::MessageId;
use paceline_kit::access::Caller;
use paceline_ledger::{Kept, Ledger};
use paceline_templates::{Files, RenderInput, Template, UNSUBSCRIBE_HEADERS};
use paceline_wire::rendered as packing;
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::replay_result::Outcome;
use paceline_wire::v1::replay_service_server::ReplayService;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use crate::asked::{check_caller, check_tenant, of_ledger};

/// Messages of one replay.
const MESSAGES_MAX: u32 = 200;
const MESSAGES_BY_DEFAULT: u32 = 50;
const TEMPLATE_BYTES_MAX: usize = 64;
const COME_AGAIN: Duration = Duration::from_secs(2);

/// The service. One replay is made at a time: it renders some hundred messages.
pub(crate) struct ReplayOf {
    ledger: Ledger,
    turn: Arc<Semaphore>,
}

impl ReplayOf {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

#[tonic::async_trait]
impl ReplayService for ReplayOf {
    async fn replay(
        &self,
        request: Request<v1::ReplayRequest>,
    ) -> Result<Response<v1::ReplayResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let count = wished(&request)?;
        check_caller(&caller, &request.tenant)?;
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| {
            let message = "another replay is under way";
            RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, message).retry_after(COME_AGAIN)
        })?;
        let (tenant, template) = (request.tenant, request.template);
        let kept = self.ledger.newest_kept(&tenant, &template, count).await;
        let kept = kept.map_err(|error| of_ledger(&error))?;
        let files: Files = request
            .files
            .into_iter()
            .map(|(path, file)| (path, file.to_vec()))
            .collect();
        // Compiling and rendering are work for a processor: not on the runtime's own threads.
        let replayed = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let candidate = Template::from_files(&files)
                .map_err(|error| InvalidFields::one("files", error.to_string()))?;
            let results = kept.chunk_by(|a, b| a.id == b.id && a.accepted_at == b.accepted_at);
            Ok::<_, InvalidFields>(results.map(|of_one| replay(&candidate, of_one)).collect())
        });
        let results = replayed.await.map_err(|error| {
            tracing::error!(%error, "a replay ended badly");
            RpcError::new(Code::Internal, reason::INTERNAL, "the replay ended badly")
        })??;
        Ok(Response::new(v1::ReplayResponse { results }))
    }
}

fn wished(request: &v1::ReplayRequest) -> Result<u32, RpcError> {
    let mut wrong = InvalidFields::new();
    check_tenant(&mut wrong, &request.tenant);
    if request.template.is_empty() || request.template.len() > TEMPLATE_BYTES_MAX {
        wrong.add("template", format!("must be 1 to {TEMPLATE_BYTES_MAX} bytes"));
    }
    if request.messages_max > MESSAGES_MAX {
        let text = format!("is {}, at most {MESSAGES_MAX}", request.messages_max);
        wrong.add("messages_max", text);
    }
    wrong.into_result()?;
    Ok(match request.messages_max {
        0 => MESSAGES_BY_DEFAULT,
        count => count,
    })
}

/// Renders the payload of a message, which comes first, and compares it with what was sent last, if that is kept.
fn replay(candidate: &Template, kept: &[Kept]) -> v1::ReplayResult {
    let of = |outcome: Outcome, detail: String| v1::ReplayResult {
        message_id: kept[0].id.to_string(),
        accepted_at: Some(paceline_wire::convert::timestamp(kept[0].accepted_at)),
        outcome: outcome.into(),
        detail,
    };
    let before = kept.iter().rfind(|kept| kept.generation > 0);
    let before = before.and_then(|kept| packing::unpack(&kept.content).ok());
    match render(candidate, kept[0].id, &kept[0].content, before.as_ref()) {
        Err(problem) => of(Outcome::Fails, problem),
        Ok(parts) => match before {
            None => of(Outcome::New, String::new()),
            Some(before) => match differing(&parts, &before) {
                parts if parts.is_empty() => of(Outcome::Same, parts),
                parts => of(Outcome::Differs, parts),
            },
        },
    }
}

fn render(
    candidate: &Template,
    message_id: MessageId,
    payload: &[u8],
    before: Option<&v1::RenderedMessage>,
) -> Result<paceline_templates::Rendered, String> {
    let data = parse_data(payload)
        .map_err(|error| error.to_string())?
        .into_inner();
    candidate.validate(&data).map_err(|violations| {
        let texts = violations
            .iter()
            .map(|it| format!("{} {}", it.path, it.description));
        texts.collect::<Vec<_>>().join("; ")
    })?;
    let lane = candidate.manifest().lane;
    let input = RenderInput {
        data,
        message_id,
        lane,
        // As it was in what is compared.
        unsubscribe_url: before
            .and_then(link)
            .or_else(|| candidate.sample_unsubscribe_url(lane)),
    };
    candidate.render(input).map_err(|error| error.to_string())
}

/// The link by which one could unsubscribe from the message.
fn link(before: &v1::RenderedMessage) -> Option<String> {
    let is_it = |header: &&v1::Header| header.name.eq_ignore_ascii_case(UNSUBSCRIBE_HEADERS[0]);
    let value = &before.headers.iter().find(is_it)?.value;
    Some(value.trim_matches(['<', '>']).to_owned())
}

/// The parts that are others, with how many of their lines are.
fn differing(now: &paceline_templates::Rendered, before: &v1::RenderedMessage) -> String {
    let parts = [
        ("subject", &now.subject, &before.subject),
        ("html", &now.html, &before.html),
        ("text", &now.text, &before.text),
    ];
    let others = parts.into_iter().filter(|(_, now, before)| now != before);
    let shown = others.map(|(name, now, before)| {
        let before: HashSet<&str> = before.lines().collect();
        let lines = now.lines().filter(|line| !before.contains(line));
        format!("{name} ({} new lines)", lines.count())
    });
    shown.collect::<Vec<_>>().join(", ")
}
