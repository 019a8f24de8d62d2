//! One message's way through its template and, where that fails, through those that stand in for it.
//!
//! They were pinned when the message was accepted. A fallback is held to its schema: what does not fit it is no mail of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::canonical;
use paceline_domain::reason::Reason;
use paceline_domain::time::Millis;
use paceline_kit::trace;
use paceline_store::StoreError;
use paceline_templates::{BundleHash, FALLBACKS_MAX, Template};
use paceline_wire::convert;
use paceline_wire::v1::{LoggedAct, StoredRequest};
use prost::Message as _;
use tokio::time::Instant;
use tracing::Span;

use crate::bundles::Bundles;
use crate::job::Job;
use crate::kept::{self, Packed};
use crate::render::{self, RenderFailure};
use crate::shared::Shared;

/// The act's name in the log.
const FALLBACK: &str = "fallback";

/// A message, and how far it came.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) job: Job,
    request: StoredRequest,
    /// The fallbacks that are left.
    rest: Vec<BundleHash>,
    /// Of the message's own template: a fallback keeps no longer.
    keep: Duration,
    /// Why its own template did not render it, and by which it is tried now.
    instead: Option<(String, String)>,
}

/// An attempt with its template.
#[derive(Clone)]
pub(crate) struct Task {
    attempt: Attempt,
    template: Arc<Template>,
}

pub(crate) struct Done {
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Result<Packed, RenderFailure>,
    pub(crate) at: Millis,
}

/// Why a template did not do.
#[derive(Debug)]
pub(crate) enum Why {
    Missing,
    Failed(RenderFailure),
}

/// What follows where a template did not do.
pub(crate) enum Next {
    Task(Box<Task>),
    /// The bundle that stands in is not to be had now.
    Missing,
    Nothing,
}

impl Why {
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::BundleMissing,
            Self::Failed(_) => Reason::RenderFailed,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Missing => "its bundle was not to be found".to_owned(),
            Self::Failed(error) => error.to_string(),
        }
    }
}

impl Attempt {
    /// A message whose own template is not to be had.
    pub(crate) fn without(job: Job, request: StoredRequest) -> Self {
        let rest = request.fallback_hashes.as_deref().unwrap_or_default();
        let rest = rest.chunks_exact(32).take(FALLBACKS_MAX);
        let rest = rest
            .filter_map(|hash| hash.try_into().ok().map(BundleHash))
            .collect();
        Self {
            job,
            request,
            rest,
            keep: Duration::ZERO,
            instead: None,
        }
    }

    pub(crate) fn log(&self, why: &Why) {
        let (message_id, tenant, error) = (self.job.id, &self.job.stream.tenant, why.text());
        tracing::warn!(%message_id, tenant, error, fallbacks = self.rest.len(), "message can't be rendered");
    }

    /// The next fallback. One that is not to be had is waited for, until it is `late`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn next(
        &self,
        bundles: &Bundles,
        why: &Why,
        late: impl Fn(BundleHash) -> bool,
    ) -> Result<Next, StoreError> {
        for (index, hash) in self.rest.iter().enumerate() {
            let template = match bundles.get(*hash).await? {
                Some(template) => template,
                None if late(*hash) => continue,
                None => return Ok(Next::Missing),
            };
            let mut attempt = self.clone();
            attempt.rest.drain(..=index);
            let manifest = template.manifest();
            let name = format!("{} {}", manifest.name, manifest.version);
            let first = self.instead.as_ref().map(|(first, _)| first.clone());
            attempt.instead = Some((first.unwrap_or_else(|| why.text()), name));
            return Ok(Next::Task(Box::new(Task { attempt, template })));
        }
        Ok(Next::Nothing)
    }

    /// What the log says of a message that a fallback rendered.
    pub(crate) fn act(&self, who: &str, at: Millis) -> Option<Bytes> {
        let (why, by) = self.instead.as_ref()?;
        let act = LoggedAct {
            at: Some(convert::timestamp(at)),
            act: FALLBACK.to_owned(),
            who: who.to_owned(),
            why: format!("rendered by {by}: {why}"),
            tenant: self.job.stream.tenant.clone(),
            message_ids: vec![Bytes::copy_from_slice(&self.job.id.0)],
        };
        Some(act.encode_to_vec().into())
    }
}

impl Task {
    /// A message with its own template.
    pub(crate) fn first(job: Job, request: StoredRequest, template: Arc<Template>) -> Self {
        let mut attempt = Attempt::without(job, request);
        attempt.keep = template.manifest().keep;
        Self { attempt, template }
    }

    /// Renders it, and packs what is rendered; for the ledger too, if it `keeps` what templates say.
    pub(crate) fn run(self, shared: &Shared, keeps: bool) -> Done {
        let Self {
            mut attempt,
            template,
        } = self;
        let began = Instant::now();
        let stands_in = attempt.instead.is_some();
        let request = if attempt.rest.is_empty() {
            std::mem::take(&mut attempt.request)
        } else {
            attempt.request.clone()
        };
        let job = &attempt.job;
        let rendered = traced(job, &request).in_scope(|| {
            if stands_in {
                fits(&request, &template)?;
            }
            let accepted = (job.id, job.ticket.accepted_at);
            render::render(accepted, request, &template, &shared.people)
        });
        shared.metrics.rendered_in(began.elapsed());
        shared
            .statistics
            .count(&template.manifest().name, rendered.is_ok(), stands_in);
        let keep = if keeps { attempt.keep } else { Duration::ZERO };
        let pack = |rendered| Ok(kept::pack(job.id, job.ticket, rendered, keep)?);
        let outcome = rendered.and_then(pack);
        Done {
            outcome,
            at: shared.clock.wall(),
            attempt,
        }
    }
}

/// Holds the data to the schema of a template that it was not accepted for.
fn fits(request: &StoredRequest, template: &Template) -> Result<(), RenderFailure> {
    let data = canonical::parse_data(&request.data)?.into_inner();
    template
        .validate(&data)
        .map_err(|violations| RenderFailure::Unfit {
            template: template.manifest().name.clone(),
            field: violations
                .into_iter()
                .next()
                .map(|first| first.path)
                .unwrap_or_default(),
        })
}

/// The template that a request has pinned.
pub(crate) fn bundle_hash(request: &StoredRequest) -> Option<BundleHash> {
    request.bundle_hash.as_ref().try_into().ok().map(BundleHash)
}

/// The span of one message's rendering, part of the trace of the call that enqueued it.
fn traced(job: &Job, request: &StoredRequest) -> Span {
    let span = tracing::debug_span!("render", message_id = %job.id, tenant = request.tenant, template = request.template);
    trace::set_parent(&span, &request.traceparent);
    span
}
