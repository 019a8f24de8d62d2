//! The ledger's rows as the contract shows them.

use std::collections::BTreeMap;

use paceline_domain::delivery::{DeliveryState, EventKind};
use paceline_domain::time::Millis;
use paceline_ledger::{Act, Event, MessageRow, Move, Timeline};
use paceline_wire::{convert, v1};

use crate::subscribe::outcome;

/// How the ids of events begin that are states of ours, and no event of a provider's.
const OURS: &str = "paceline:";

pub(super) fn timeline(timeline: Timeline) -> v1::TimelineResponse {
    let Timeline {
        row,
        moves,
        conflicts: _,
        events,
        acts,
    } = timeline;
    let told = || events.iter().filter(|event| !event.event.id.starts_with(OURS));
    let kinds = told().map(|event| (event.event.attempt, EventKind::named(&event.event.kind)));
    let delivery = DeliveryState::of(kinds);
    v1::TimelineResponse {
        counts: counts(told()),
        delivery: delivery.map_or_else(String::new, |state| state.as_str().to_owned()),
        message: Some(message(row)),
        transitions: moves.iter().map(transition).collect(),
        events: events.iter().map(outcome).collect(),
        acts: distinct(acts),
    }
}

pub(super) fn message(row: MessageRow) -> v1::LedgerMessage {
    let message = row.message;
    v1::LedgerMessage {
        message_id: message.id.to_string(),
        accepted_at: Some(convert::timestamp(message.accepted_at)),
        tenant: message.tenant,
        template: message.template,
        lane: v1::Lane::from(message.lane).into(),
        identity: message.identity,
        state: row.state.map_or(0, |state| v1::MessageState::from(state).into()),
        reason: row.reason.as_str().to_owned(),
        revision: row.revision,
        changed_at: convert::timestamp_if_set(row.changed_at),
        send_at: convert::timestamp_if_set(message.send_at),
        expires_at: convert::timestamp_if_set(message.expires_at),
        tags: tags(&message.tags),
        erased_at: convert::timestamp_if_set(row.erased_at),
    }
}

/// What can't be read is not shown.
fn tags(json: &str) -> Vec<v1::Tag> {
    let pairs: Vec<(String, String)> = serde_json::from_str(json).unwrap_or_default();
    let tag = |(name, value)| v1::Tag { name, value };
    pairs.into_iter().map(tag).collect()
}

fn transition(moved: &Move) -> v1::LedgerTransition {
    v1::LedgerTransition {
        revision: moved.revision,
        state: v1::MessageState::from(moved.state).into(),
        reason: moved.reason.as_str().to_owned(),
        attempt: moved.attempt,
        at: Some(convert::timestamp(moved.at)),
        rendered_at: convert::timestamp_if_set(moved.rendered_at),
    }
}

/// How often each kind came, and when it first happened.
fn counts<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<v1::EventCount> {
    let mut kinds: BTreeMap<&str, (Millis, u64)> = BTreeMap::new();
    for Event { event, .. } in events {
        let known = kinds.entry(&event.kind).or_insert((event.at, 0));
        known.0 = known.0.min(event.at);
        known.1 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (first_at, _))| *first_at);
    let count = |(kind, (first_at, events)): (&str, (Millis, u64))| v1::EventCount {
        kind: kind.to_owned(),
        first_at: Some(convert::timestamp(first_at)),
        events,
    };
    kinds.into_iter().map(count).collect()
}

/// An act that the log and the ledger both wrote is one.
fn distinct(acts: Vec<Act>) -> Vec<v1::LedgerAct> {
    let mut shown: Vec<v1::LedgerAct> = Vec::new();
    for act in acts {
        let act = v1::LedgerAct {
            at: Some(convert::timestamp(act.at)),
            act: act.act,
            who: act.who,
            why: act.why,
        };
        if !shown.contains(&act) {
            shown.push(act);
        }
    }
    shown
}
