//! A message's history as a person reads it: what happened, when, and how long after the step before it.
//!
//! Transitions stand in the order of their revisions. Renderers and providers have clocks of their own, so what they tell stands where its
//! time falls among these, and a step that seems to come before its cause took no time.

use std::time::Duration;

use paceline_wire::convert;
use paceline_wire::v1::{LedgerAct, LedgerTransition, MessageState, OutcomeEvent, TimelineResponse};
use prost_types::Timestamp;

use super::span;

/// How the ids of events begin that are states of ours.
const OURS: &str = "paceline:";

/// Milliseconds since 1970.
type At = u64;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: At,
    /// "claimed, attempt 1".
    pub(super) what: String,
    /// How long after what: "waited 3 m 12 s for the rate".
    pub(super) took: String,
}

/// Every step, by time.
pub(super) fn steps(timeline: &TimelineResponse) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut before: Option<&LedgerTransition> = None;
    for moved in &timeline.transitions {
        if let Some(rendered) = rendered(moved) {
            steps.push(Step {
                at: rendered,
                what: "rendered".to_owned(),
                took: before.map_or_else(String::new, |queued| {
                    format!("after {}", since(rendered, at_of(queued)))
                }),
            });
        }
        steps.push(Step {
            at: at_of(moved),
            what: what(moved),
            took: took(moved, before),
        });
        before = Some(moved);
    }
    let sent = timeline
        .transitions
        .iter()
        .rfind(|moved| moved.state() == MessageState::Accepted);
    for event in timeline.events.iter().filter(|event| is_told(event)) {
        insert(&mut steps, told(event, sent));
    }
    for act in &timeline.acts {
        insert(&mut steps, acted(act));
    }
    steps
}

/// The steps that say how long it took, in one sentence: "rendered after 4 ms, waited 3 m 12 s for the rate, accepted, delivered after 2 s".
pub(super) fn sentence(timeline: &TimelineResponse) -> String {
    let mut parts = Vec::new();
    let mut before: Option<&LedgerTransition> = None;
    for moved in &timeline.transitions {
        if let (Some(rendered), Some(queued)) = (rendered(moved), before) {
            parts.push(format!("rendered after {}", since(rendered, at_of(queued))));
        }
        match (moved.state(), before) {
            (MessageState::Queued, None) => {}
            (MessageState::Sending | MessageState::Queued, Some(_)) => parts.push(took(moved, before)),
            _ => parts.push(with_reason(&state(moved), &moved.reason)),
        }
        before = Some(moved);
    }
    let sent = timeline
        .transitions
        .iter()
        .rfind(|moved| moved.state() == MessageState::Accepted);
    for count in timeline.counts.iter().filter(|count| count.kind != "sent") {
        let after = sent.map_or_else(String::new, |sent| {
            format!(" after {}", since(millis(count.first_at.as_ref()), at_of(sent)))
        });
        let times = match count.events {
            0 | 1 => String::new(),
            events => format!(" ({events} times)"),
        };
        parts.push(format!("{}{after}{times}", words(&count.kind)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn is_told(event: &OutcomeEvent) -> bool {
    !event.id.starts_with(OURS)
}

fn told(event: &OutcomeEvent, sent: Option<&LedgerTransition>) -> Step {
    let at = millis(event.at.as_ref());
    let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap_or_default();
    let more = ["name", "class"].iter().find_map(|key| detail.get(key)?.as_str());
    Step {
        at,
        what: with_reason(&words(&event.kind), more.unwrap_or_default()),
        took: sent.map_or_else(String::new, |sent| format!("after {}", since(at, at_of(sent)))),
    }
}

fn acted(act: &LedgerAct) -> Step {
    Step {
        at: millis(act.at.as_ref()),
        what: format!("{} by {}: {}", act.act, act.who, act.why),
        took: String::new(),
    }
}

/// Before the first step that is later.
fn insert(steps: &mut Vec<Step>, step: Step) {
    let place = steps.iter().rposition(|known| known.at <= step.at);
    steps.insert(place.map_or(0, |place| place + 1), step);
}

fn what(moved: &LedgerTransition) -> String {
    let name = match moved.state() {
        MessageState::Sending => format!("claimed, attempt {}", moved.attempt),
        MessageState::Accepted => "accepted by the provider".to_owned(),
        _ => state(moved),
    };
    with_reason(&name, &moved.reason)
}

fn took(moved: &LedgerTransition, before: Option<&LedgerTransition>) -> String {
    let Some(before) = before else {
        return String::new();
    };
    let at = at_of(moved);
    match (moved.state(), before.state(), rendered(moved)) {
        (MessageState::Sending, _, Some(rendered)) => format!("waited {} for the rate", since(at, rendered)),
        (MessageState::Sending, ..) => format!("claimed after {}", since(at, at_of(before))),
        (MessageState::Queued, MessageState::Held, _) => format!("held for {}", since(at, at_of(before))),
        (MessageState::Queued, MessageState::Scheduled, _) => {
            format!("scheduled for {}", since(at, at_of(before)))
        }
        (MessageState::Queued, MessageState::Deferred, _) => format!("waited {}", since(at, at_of(before))),
        _ => format!("after {}", since(at, at_of(before))),
    }
}

fn state(moved: &LedgerTransition) -> String {
    words(moved.state().as_str_name().trim_start_matches("MESSAGE_STATE_"))
}

/// `bounced_hard` as "bounced hard".
fn words(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

fn with_reason(what: &str, reason: &str) -> String {
    if reason.is_empty() {
        what.to_owned()
    } else {
        format!("{what} ({reason})")
    }
}

fn rendered(moved: &LedgerTransition) -> Option<At> {
    moved.rendered_at.as_ref().map(|at| millis(Some(at)))
}

fn at_of(moved: &LedgerTransition) -> At {
    millis(moved.at.as_ref())
}

fn millis(at: Option<&Timestamp>) -> At {
    at.and_then(|at| convert::millis(at).ok()).map_or(0, |at| at.0)
}

fn since(at: At, earlier: At) -> String {
    span::say(Duration::from_millis(at.saturating_sub(earlier)))
}

#[cfg(test)]
mod tests;
