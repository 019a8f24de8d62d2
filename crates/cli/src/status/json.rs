//! Where a message is and how it came there, as JSON: the fields are those of the contracts, and what is absent there is null.

use paceline_wire::v1::{EventCount, LedgerAct, LedgerTransition, Message, OutcomeEvent, TimelineResponse};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{Asked, lane, state, state_name, story};
use crate::{client, search};

/// All in one line, without its end. `missing` says why a part is null.
pub(super) fn of(message: &Asked<Message>, timeline: &Asked<TimelineResponse>) -> Value {
    json!({
        "present": message.as_ref().ok().map(present),
        "history": timeline.as_ref().ok().map(history),
        "missing": message.as_ref().err().into_iter().chain(timeline.as_ref().err()).collect::<Vec<_>>(),
    })
}

fn present(it: &Message) -> Value {
    json!({
        "message_id": it.message_id,
        "state": state(it),
        "reason": it.reason,
        "tenant": it.tenant,
        "template": it.template,
        "lane": lane(it.lane),
        "identity": it.identity,
        "accepted_at": time(it.accepted_at),
        "changed_at": time(it.changed_at),
        "send_at": time(it.send_at),
        "expires_at": time(it.expires_at),
        "due_at": time(it.due_at),
        "attempt": it.attempt,
        "tries": it.tries,
        "revision": it.revision,
        "generation": it.generation,
        "maybe_sent": it.maybe_sent,
        "provider": it.provider,
        "provider_message_id": it.provider_message_id,
    })
}

fn history(it: &TimelineResponse) -> Value {
    json!({
        "message": it.message.as_ref().map(search::to_json),
        "delivery": it.delivery,
        "sentence": story::sentence(it),
        "transitions": it.transitions.iter().map(transition).collect::<Vec<_>>(),
        "events": it.events.iter().map(event).collect::<Vec<_>>(),
        "acts": it.acts.iter().map(act).collect::<Vec<_>>(),
        "counts": it.counts.iter().map(count).collect::<Vec<_>>(),
    })
}

fn transition(it: &LedgerTransition) -> Value {
    json!({
        "revision": it.revision,
        "state": state_name(it.state),
        "reason": it.reason,
        "attempt": it.attempt,
        "at": time(it.at),
        "rendered_at": time(it.rendered_at),
    })
}

fn event(it: &OutcomeEvent) -> Value {
    json!({
        "id": it.id,
        "kind": it.kind,
        "attempt": it.attempt,
        "at": time(it.at),
        "received_at": time(it.received_at),
        "detail": serde_json::from_str::<Value>(&it.detail).unwrap_or_default(),
    })
}

fn act(it: &LedgerAct) -> Value {
    json!({"at": time(it.at), "act": it.act, "who": it.who, "why": it.why})
}

fn count(it: &EventCount) -> Value {
    json!({"kind": it.kind, "first_at": time(it.first_at), "events": it.events})
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| client::show_time(Some(at)))
}
