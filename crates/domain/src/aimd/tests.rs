//! The controller's rules one by one, then over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::{Aimd, CutReason, Decision, Event, LimitedBy, Limits, Mode, Saved, WINDOW};

const LIMITS: Limits = Limits {
    mode: Mode::Adaptive,
    start: 500.0,
    floor: 10.0,
    ceiling: 5_000.0,
    max_send_rate: None,
    cut_on_errors: true,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at_rate(rate: f64) -> Aimd {
    let saved = Saved { rate, version: 7 };
    Aimd::new(LIMITS, Some(saved), ms(0))
}

/// A window that ends `after` the start, with these events and this measure.
fn window(state: Aimd, events: &[Event], measured: f64, after: Duration) -> (Aimd, Option<Decision>) {
    let state = events
        .iter()
        .fold(state, |state, event| state.step(*event, after).0);
    state.step(Event::Tick { measured }, after)
}

fn throttled(count: u64) -> Event {
    Event::Throttled { version: 7, count }
}

#[track_caller]
fn assert_rate(state: &Aimd, rate: f64) {
    assert!(
        (state.rate() - rate).abs() < 1e-6,
        "{} is not {rate}",
        state.rate()
    );
}

#[test]
fn a_new_key_starts_at_the_least_of_start_quota_and_ceiling() {
    let check = |limits: Limits, rate: f64| assert_rate(&Aimd::new(limits, None, ms(0)), rate);
    check(LIMITS, 500.0);
    check(
        Limits {
            max_send_rate: Some(14.0),
            ..LIMITS
        },
        14.0,
    );
    check(
        Limits {
            ceiling: 100.0,
            ..LIMITS
        },
        100.0,
    );
    check(
        Limits {
            max_send_rate: Some(1.0),
            ..LIMITS
        },
        1.0,
    );
    let known = at_rate(1_234.0);
    assert_rate(&known, 1_234.0);
    assert_eq!(known.version(), 7);
}

#[test]
fn one_window_cuts_once_however_many_throttles_it_brings() {
    let (state, decision) = window(
        at_rate(1_000.0),
        &[Event::Sent(1_000), throttled(300)],
        1_000.0,
        ms(1_000),
    );
    assert_rate(&state, 800.0);
    let cut = Decision::Cut {
        reason: CutReason::Throttled,
        from: 1_000.0,
        to: 800.0,
        version: 8,
    };
    assert_eq!(decision, Some(cut));
}

#[test]
fn nothing_is_decided_before_the_window_is_over() {
    let (state, decision) = window(
        at_rate(1_000.0),
        &[Event::Sent(900), throttled(300)],
        1_000.0,
        ms(999),
    );
    assert_eq!(decision, None);
    let (_, decision) = state.step(Event::Tick { measured: 1_000.0 }, ms(1_000));
    assert!(decision.is_some());
}

#[test]
fn throttles_of_older_versions_neither_cut_nor_let_it_rise() {
    let late = Event::Throttled {
        version: 6,
        count: 300,
    };
    let (state, decision) = window(at_rate(1_000.0), &[Event::Sent(1_000), late], 1_000.0, ms(1_000));
    assert_eq!(decision, None);
    assert_rate(&state, 1_000.0);
}

#[test]
fn a_lone_straggler_does_not_cut_a_large_flow() {
    let (state, _) = window(
        at_rate(1_000.0),
        &[Event::Sent(1_000), throttled(4)],
        1_000.0,
        ms(1_000),
    );
    assert_rate(&state, 1_050.0);
    let (state, _) = window(
        at_rate(1_000.0),
        &[Event::Sent(1_000), throttled(5)],
        1_000.0,
        ms(1_000),
    );
    assert_rate(&state, 800.0);
    let (state, _) = window(at_rate(20.0), &[Event::Sent(20), throttled(1)], 20.0, ms(1_000));
    assert_rate(&state, 16.0);
}

#[test]
fn a_cut_starts_from_what_was_really_sent() {
    let (state, _) = window(
        at_rate(1_000.0),
        &[Event::Sent(200), throttled(50)],
        200.0,
        ms(1_000),
    );
    assert_rate(&state, 200.0);
}

#[test]
fn an_answer_that_comes_after_the_flow_has_ended_does_not_cut_to_the_floor() {
    let (state, _) = window(at_rate(1_000.0), &[Event::Sent(700)], 700.0, ms(1_000));
    let (state, decision) = window(state, &[throttled(50)], 0.0, ms(2_000));
    assert!(decision.is_some());
    assert_rate(&state, 700.0);
}

#[test]
fn the_rate_rises_only_while_it_is_used() {
    let (state, _) = window(at_rate(1_000.0), &[Event::Sent(800)], 800.0, ms(1_000));
    assert_rate(&state, 1_050.0);
    let (state, decision) = window(at_rate(1_000.0), &[Event::Sent(799)], 799.0, ms(1_000));
    assert_rate(&state, 1_000.0);
    assert_eq!(decision, None);
}

#[test]
fn errors_cut_once_and_then_not_until_the_old_sends_are_settled() {
    let errors = |count| [Event::Sent(1_000), Event::Failed(count)];
    let (state, _) = window(at_rate(1_000.0), &errors(9), 1_000.0, ms(1_000));
    assert_rate(&state, 1_050.0);
    let (mut state, decision) = window(at_rate(1_000.0), &errors(10), 1_000.0, ms(1_000));
    assert!(matches!(
        decision,
        Some(Decision::Cut {
            reason: CutReason::Errors,
            ..
        })
    ));
    for second in 2..13 {
        state = window(state, &errors(10), 0.0, ms(second * 1_000)).0;
        assert_rate(&state, 800.0);
    }
    let (state, _) = window(state, &errors(10), 800.0, ms(13_000));
    assert_rate(&state, 640.0);

    let few = [Event::Sent(20), Event::Failed(4)];
    assert_rate(&window(at_rate(20.0), &few, 20.0, ms(1_000)).0, 21.0);
    let off = Limits {
        cut_on_errors: false,
        ..LIMITS
    };
    let state = Aimd::new(
        off,
        Some(Saved {
            rate: 100.0,
            version: 1,
        }),
        ms(0),
    );
    assert_rate(&window(state, &errors(500), 100.0, ms(1_000)).0, 105.0);
}

#[test]
fn floor_and_ceiling_hold() {
    let mut state = at_rate(11.0);
    for second in 1..=5 {
        let version = state.version();
        let throttled = Event::Throttled { version, count: 9 };
        state = window(state, &[Event::Sent(9), throttled], 9.0, ms(second * 1_000)).0;
    }
    assert_rate(&state, 10.0);
    assert_eq!(state.limited_by(), LimitedBy::Floor);
    let (state, _) = window(at_rate(4_900.0), &[Event::Sent(4_900)], 4_900.0, ms(1_000));
    assert_rate(&state, 5_000.0);
    assert_eq!(state.limited_by(), LimitedBy::Ceiling);
    assert_eq!(window(state, &[Event::Sent(5_000)], 5_000.0, ms(2_000)).1, None);
}

#[test]
fn a_static_rate_never_changes() {
    let limits = Limits {
        mode: Mode::Static,
        start: 300.0,
        ..LIMITS
    };
    let saved = Saved {
        rate: 50.0,
        version: 3,
    };
    let mut state = Aimd::new(limits, Some(saved), ms(0));
    for second in 1..=5 {
        state = window(
            state,
            &[Event::Sent(300), throttled(300)],
            300.0,
            ms(second * 1_000),
        )
        .0;
    }
    assert_rate(&state, 300.0);
    assert_eq!((state.version(), state.limited_by()), (3, LimitedBy::Start));
}

#[test]
fn a_version_that_a_sender_holds_is_never_given_again() {
    let (state, _) = Aimd::new(LIMITS, None, ms(0)).step(Event::VersionSeen(41), ms(10));
    let newest = Event::Throttled {
        version: 41,
        count: 99,
    };
    let (state, _) = window(state, &[Event::Sent(500), newest], 500.0, ms(1_000));
    assert_eq!(state.version(), 42);
}

/// A fixed number of steps down for each fall of the limit, as the closed form says: ceil(ln(ratio) / ln 1.25).
#[test]
fn a_halved_limit_is_reached_in_four_cuts() {
    let mut state = at_rate(1_000.0);
    let mut cuts = 0;
    while state.rate() > 500.0 {
        cuts += 1;
        let version = state.version();
        let events = [Event::Sent(1_000), Event::Throttled { version, count: 100 }];
        state = window(state, &events, state.rate(), ms(cuts * 1_000)).0;
    }
    assert_eq!(cuts, 4);
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..5_000).prop_map(Event::Sent),
        (0_u64..200).prop_map(Event::Failed),
        (0_u64..12, 0_u64..500).prop_map(|(version, count)| Event::Throttled { version, count }),
        (0_u64..12).prop_map(Event::VersionSeen),
        (0.0_f64..8_000.0).prop_map(|measured| Event::Tick { measured }),
    ]
}

proptest! {
    /// Within its bounds, at most one change for each window, versions that rise with cuts alone, and no surprise in a replay.
    #[test]
    fn the_rules_hold_over_any_history(history in prop::collection::vec((events(), 0_u64..700), 0..300)) {
        let mut state = Aimd::new(LIMITS, None, ms(0));
        let mut replayed = state;
        let mut now = ms(0);
        let mut last_change: Option<Duration> = None;
        for (event, wait) in history {
            now += ms(wait);
            let before = state;
            let (after, decision) = state.step(event, now);
            state = after;
            prop_assert!((10.0..=5_000.0).contains(&state.rate()));
            match decision {
                Some(Decision::Cut { from, to, version, .. }) => {
                    prop_assert!(to <= from && to >= 10.0 && version == before.version() + 1);
                }
                Some(Decision::Raised { from, to }) => {
                    prop_assert!(to > from && to <= (from * 1.05).max(from + 1.0) + 1e-9);
                    prop_assert_eq!(state.version(), before.version());
                }
                None => prop_assert!(state.rate().to_bits() == before.rate().to_bits()),
            }
            if decision.is_some() {
                prop_assert!(last_change.is_none_or(|last| now - last >= WINDOW));
                last_change = Some(now);
            }
            replayed = replayed.step(event, now).0;
        }
        prop_assert_eq!(state, replayed);
    }
}
