//! Histories as they are told.

use paceline_domain::time::Millis;
use paceline_wire::convert;
use paceline_wire::v1::{
    EventCount, LedgerAct, LedgerTransition, MessageState, OutcomeEvent, TimelineResponse,
};

use super::{sentence, steps};

const START: u64 = 1_800_000_000_000;

fn at(millis: u64) -> Option<prost_types::Timestamp> {
    Some(convert::timestamp(Millis(START + millis)))
}

fn moved(state: MessageState, millis: u64, reason: &str) -> LedgerTransition {
    LedgerTransition {
        state: state.into(),
        at: at(millis),
        reason: reason.to_owned(),
        attempt: 1,
        ..LedgerTransition::default()
    }
}

fn event(id: &str, kind: &str, millis: u64, detail: &str) -> OutcomeEvent {
    OutcomeEvent {
        id: id.to_owned(),
        kind: kind.to_owned(),
        at: at(millis),
        detail: detail.to_owned(),
        ..OutcomeEvent::default()
    }
}

fn count(kind: &str, millis: u64, events: u64) -> EventCount {
    EventCount {
        kind: kind.to_owned(),
        first_at: at(millis),
        events,
    }
}

/// Queued, rendered 4 ms later, claimed 3 m 12 s after that, accepted 81 ms later, delivered after 2 s.
fn usual() -> TimelineResponse {
    let mut claim = moved(MessageState::Sending, 192_004, "");
    claim.rendered_at = at(4);
    TimelineResponse {
        transitions: vec![
            moved(MessageState::Queued, 0, ""),
            claim,
            moved(MessageState::Accepted, 192_085, ""),
        ],
        events: vec![
            event("paceline:1:2:3", "accepted", 192_085, "{\"reason\":\"\"}"),
            event("ses:1", "delivered", 194_085, "{\"provider\":\"ses\"}"),
        ],
        counts: vec![count("delivered", 194_085, 1)],
        ..TimelineResponse::default()
    }
}

fn lines(timeline: &TimelineResponse) -> Vec<String> {
    let line = |step: super::Step| format!("{}|{}|{}", step.at - START, step.what, step.took);
    steps(timeline).into_iter().map(line).collect()
}

#[test]
fn the_usual_way_reads_as_a_sentence() {
    assert_eq!(
        sentence(&usual()),
        "rendered after 4 ms, waited 3 m 12 s for the rate, accepted, delivered after 2 s"
    );
    assert_eq!(
        lines(&usual()),
        [
            "0|queued|",
            "4|rendered|after 4 ms",
            "192004|claimed, attempt 1|waited 3 m 12 s for the rate",
            "192085|accepted by the provider|after 81 ms",
            "194085|delivered|after 2 s",
        ]
    );
}

#[test]
fn waits_acts_and_unknown_kinds_have_their_place() {
    let mut timeline = usual();
    timeline.transitions.splice(
        0..1,
        [
            moved(MessageState::Queued, 0, ""),
            moved(MessageState::Held, 1, "stopped"),
            moved(MessageState::Queued, 3_601, ""),
        ],
    );
    timeline.acts = vec![LedgerAct {
        at: at(0),
        act: "stop".to_owned(),
        who: "dana".to_owned(),
        why: "wrong wave".to_owned(),
    }];
    timeline
        .events
        .push(event("ses:2", "other", 200_000, "{\"name\":\"Inspected\"}"));
    timeline.counts.push(count("opened", 200_000, 3));
    let lines = lines(&timeline);
    assert_eq!(lines[1], "0|stop by dana: wrong wave|");
    assert_eq!(lines[2], "1|held (stopped)|after 1 ms");
    assert!(
        lines.contains(&"3601|queued|held for 3 s".to_owned()),
        "{lines:?}"
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("200000|other (Inspected)|after 7 s")
    );
    let told = sentence(&timeline);
    assert!(
        told.starts_with("held (stopped), held for 3 s, rendered"),
        "{told}"
    );
    assert!(told.ends_with("opened after 7 s (3 times)"), "{told}");
}

#[test]
fn clocks_that_differ_take_no_time_and_nothing_is_told_of_nothing() {
    let mut timeline = usual();
    timeline.transitions[0].at = at(10);
    assert!(
        sentence(&timeline).starts_with("rendered after 0 ms"),
        "{}",
        sentence(&timeline)
    );
    let empty = TimelineResponse::default();
    assert_eq!((sentence(&empty).as_str(), steps(&empty)), ("", Vec::new()));
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let timeline = TimelineResponse {
        transitions: vec![
            moved(MessageState::Queued, 0, ""),
            moved(MessageState::Sending, 50, ""),
            moved(MessageState::Deferred, 60, "throttled"),
            moved(MessageState::Queued, 1_060, ""),
            moved(MessageState::Dead, 1_070, "render_failed"),
        ],
        ..TimelineResponse::default()
    };
    assert_eq!(
        sentence(&timeline),
        "claimed after 50 ms, deferred (throttled), waited 1 s, dead (render_failed)"
    );
}
