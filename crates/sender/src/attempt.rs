//! One attempt: a last look at every deadline, the call, and what is to be reported.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::Record;
use paceline_kit::trace;
use paceline_providers::{SendOutcome, WriteGate};
use paceline_wire::stops::subject_of_rendered;
use paceline_wire::v1;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use crate::claim::Picked;
use crate::counter::Counted;
use crate::outgoing::{outgoing, unpack};
use crate::pacing::{Admission, Withdrawn};
use crate::provider::Provider;
use crate::results::{self, Finished};
use crate::shared::{Shard, Shared};

/// What the provider's own timeout gets on top, before the call is given up from outside.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// A claimed message, until its result is handed over.
pub(crate) struct Claim {
    id: MessageId,
    record: Record,
    /// The rendered parts, compressed.
    rendered: bytes::Bytes,
    admission: Admission,
    permit: OwnedSemaphorePermit,
    /// When the claim's lease is over, on the boot-time clock, counted from before it was asked for.
    lapses_at: Duration,
    /// The same for the message's own end.
    expires_at: Duration,
    open: Counted,
}

impl Claim {
    pub(crate) fn new(
        record: Record,
        picked: Picked,
        (asked_at, lease): (Duration, Duration),
        open: Counted,
    ) -> Self {
        // The claim's own time is Redis's; what is left of the message's life then is counted on our clock.
        let life = record.expires_at.since(record.changed_at);
        Self {
            id: picked.held.id,
            record,
            rendered: picked.held.rendered,
            admission: picked.admission,
            permit: picked.permit,
            lapses_at: asked_at + lease,
            expires_at: asked_at.saturating_add(life),
            open,
        }
    }
}

/// Sends the message and hands the result over.
pub(crate) async fn run<P: Provider>(shared: Arc<Shared<P>>, shard: Arc<Shard>, claim: Claim) {
    let (id, fence) = (claim.id, claim.record.fence());
    let (outcome, permit) = attempt(&shared, &shard, claim).await;
    results::hand_over(&shard, Finished::new(id, fence, outcome, permit)).await;
    shard.ready.notify_one();
}

async fn attempt<P: Provider>(
    shared: &Shared<P>,
    shard: &Arc<Shard>,
    claim: Claim,
) -> (Outcome, OwnedSemaphorePermit) {
    let Claim {
        id,
        record,
        rendered,
        mut admission,
        permit,
        lapses_at,
        expires_at,
        // Over with the attempt: the recorder waits for no more.
        open: _open,
    } = claim;
    let rendered = match unpack(&rendered) {
        Ok(rendered) => Arc::new(rendered),
        Err(problem) => {
            tracing::error!(message_id = %id, %problem, "rendered parts can't be read");
            let reason = Reason::RecordCorrupt;
            return (Outcome::Refused { reason }, permit);
        }
    };
    let deadlines = (lapses_at, expires_at);
    let outcome = match last_look(shared, shard, &mut admission, deadlines) {
        Ok(()) => {
            let (clock, call_max) = (Arc::clone(&shared.clock), shared.limits.attempt_timeout);
            let (stands, shard) = (admission.stands(), Arc::clone(shard));
            let (stops, parts) = (shared.stops.clone(), Arc::clone(&rendered));
            let (lane, accepted_at) = (record.lane, record.accepted_at);
            let gate = WriteGate::new(move || {
                let now = clock.boot();
                stands()
                    && !run_out(now, call_max, deadlines)
                    && shard.standing.may_write(now)
                    && stops.let_go(&subject_of_rendered(&parts, lane, accepted_at))
            });
            call(shared, (id, &record), &rendered, admission, gate).await
        }
        Err(Withdrawn { reason, delay }) => {
            shared.metrics.not_written(reason);
            Outcome::Deferred { reason, delay }
        }
    };
    (outcome, permit)
}

/// Whatever has run out by now, the request must not be written. The gate looks once more, after credentials and signature:
/// fetching them may take long, and a process may be frozen meanwhile.
fn last_look<P>(
    shared: &Shared<P>,
    shard: &Shard,
    admission: &mut Admission,
    deadlines: (Duration, Duration),
) -> Result<(), Withdrawn> {
    let now = shared.clock.boot();
    if run_out(now, shared.limits.attempt_timeout, deadlines) || !shard.standing.may_write(now) {
        return Err(Withdrawn {
            reason: Reason::NotWritten,
            delay: Duration::ZERO,
        });
    }
    admission.check(rand::random())
}

/// True if the claim could lapse before a call that begins now is over, or the message's own time is.
fn run_out(now: Duration, call_max: Duration, (lapses_at, expires_at): (Duration, Duration)) -> bool {
    now + call_max >= lapses_at || now >= expires_at
}

async fn call<P: Provider>(
    shared: &Shared<P>,
    (id, record): (MessageId, &Record),
    rendered: &v1::RenderedMessage,
    mut admission: Admission,
    gate: WriteGate,
) -> Outcome {
    let span = tracing::info_span!(
        "attempt",
        message_id = %id,
        tenant = record.tenant,
        template = record.template,
        attempt = record.attempt,
    );
    trace::set_parent(&span, &rendered.traceparent);
    let traceparent = trace::traceparent_of(&span);
    let via = admission.via().unwrap_or_default().to_owned();
    let name = if via.is_empty() { &record.identity } else { &via };
    let identity = shared.identities.get(name);
    let message = identity
        .and_then(|identity| outgoing(rendered, (id, record), (&identity.ses, &via), &traceparent, gate));
    let (Some(identity), Some(message)) = (identity, message) else {
        // Only streams of known identities are read, and `unpack` has checked the parts.
        let reason = Reason::ConfigurationMissing;
        let delay = shared.limits.claim_lease;
        return Outcome::Deferred { reason, delay };
    };
    let by = admission.by();
    admission.written();
    let began = shared.clock.boot();
    let sending = shared
        .provider
        .send(by, identity, &message)
        .instrument(span.clone());
    let answer = tokio::time::timeout(shared.limits.attempt_timeout + TIMEOUT_GRACE, sending)
        .await
        .unwrap_or(SendOutcome::Unknown {
            reason: Reason::Timeout,
        });
    let took = shared.clock.boot().saturating_sub(began);
    if answer.reason() == Reason::NotWritten {
        shared.metrics.not_written(Reason::NotWritten);
    }
    trace::set(&span, "outcome", answer.as_str());
    trace::set(&span, "reason", answer.reason().as_str());
    shared.metrics.attempt(by, record.lane, &answer, took);
    log(&span, &answer);
    admission.settle((id, record), answer, took, rand::random())
}

fn log(span: &tracing::Span, answer: &SendOutcome) {
    span.in_scope(|| match answer {
        SendOutcome::Accepted { .. } => tracing::debug!("accepted"),
        SendOutcome::Unknown { reason } => tracing::warn!(reason = reason.as_str(), "outcome unknown"),
        other => tracing::debug!(
            outcome = other.as_str(),
            reason = other.reason().as_str(),
            "not sent"
        ),
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::run_out;

    #[test]
    fn nothing_is_begun_that_could_outlast_its_claim_or_its_message() {
        let check = |now, lapses_at, expires_at| {
            let seconds = Duration::from_secs;
            run_out(
                seconds(now),
                seconds(10),
                (seconds(lapses_at), seconds(expires_at)),
            )
        };
        assert!(!check(100, 140, 500));
        assert!(!check(129, 140, 500));
        assert!(check(130, 140, 500), "the call may last as long as the claim");
        assert!(check(100, 140, 100), "expired");
        assert!(!check(100, 140, 101));
    }
}
