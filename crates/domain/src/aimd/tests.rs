//! The controller's rules one by one, then over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::{Aimd, CutReason, Decision, Event, LimitedBy, Limits, Mode, Saved, WINDOW, latency_of_most};

const LIMITS: Limits = Limits {
    mode: Mode::Adaptive,
    start: 500.0,
    floor: 10.0,
    ceiling: 5_000.0,
    max_send_rate: None,
    cut_on_errors: true,
    feedback: Duration::ZERO,
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
    state.step(tick(measured), after)
}

/// Nothing of what was sent was refused, as far as is known.
const fn tick(measured: f64) -> Event {
    Event::Tick {
        measured,
        taken: measured,
    }
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
    let few = [Event::Sent(900), throttled(49)];
    let (state, decision) = window(at_rate(1_000.0), &few, 1_000.0, ms(999));
    assert_eq!(decision, None);
    let (_, decision) = state.step(tick(1_000.0), ms(1_000));
    assert!(decision.is_some());
}

#[test]
fn a_window_that_is_lost_already_is_not_waited_for_but_the_one_after_a_cut_is() {
    let many = [Event::Sent(300), throttled(50)];
    let (state, decision) = window(at_rate(1_000.0), &many, 1_000.0, ms(300));
    assert!(matches!(decision, Some(Decision::Cut { version: 8, .. })));
    assert_rate(&state, 800.0);
    let newer = [
        Event::Sent(800),
        Event::Throttled {
            version: 8,
            count: 300,
        },
    ];
    let (state, decision) = window(state, &newer, 800.0, ms(1_299));
    assert_eq!(decision, None);
    assert!(state.step(tick(800.0), ms(1_300)).1.is_some());
}

#[test]
fn a_cut_goes_down_to_what_the_provider_takes_and_at_most_to_the_half() {
    let check = |measured: f64, taken: f64, rate: f64| {
        let state = at_rate(1_000.0).step(throttled(300), ms(1_000)).0;
        let (state, _) = state.step(Event::Tick { measured, taken }, ms(1_000));
        assert_rate(&state, rate);
    };
    check(1_000.0, 900.0, 800.0);
    check(1_000.0, 600.0, 600.0);
    check(1_000.0, 100.0, 500.0);
    // Not used: refused was what went before.
    check(700.0, 100.0, 700.0);
}

#[test]
fn a_limit_of_a_fifth_is_reached_in_three_cuts() {
    let mut state = at_rate(1_000.0);
    let mut cuts = 0;
    while state.rate() > 220.0 {
        cuts += 1;
        let version = state.version();
        let events = [Event::Sent(900), Event::Throttled { version, count: 300 }];
        let (now, measured) = (ms(cuts * 1_000), state.rate());
        state = events
            .iter()
            .fold(state, |state, event| state.step(*event, now).0);
        let tick = Event::Tick {
            measured,
            taken: 200.0,
        };
        state = state.step(tick, now).0;
    }
    assert_eq!(cuts, 3);
}

/// What the bucket had saved up was taken, too.
#[test]
fn a_cut_that_follows_at_once_goes_a_tenth_below_what_was_taken() {
    let refused = |state: Aimd, taken, at| {
        let version = state.version();
        let events = [Event::Sent(900), Event::Throttled { version, count: 300 }];
        let state = events.iter().fold(state, |state, event| state.step(*event, at).0);
        let measured = state.rate();
        state.step(Event::Tick { measured, taken }, at).0
    };
    let first = refused(at_rate(1_000.0), 700.0, ms(1_000));
    assert_rate(&first, 700.0);
    assert_rate(&refused(first, 500.0, ms(2_000)), 450.0);
    assert_rate(&refused(first, 500.0, ms(9_000)), 500.0);
}

/// The provider's bucket is still empty, so that a few more are refused at a rate below its limit.
#[test]
fn a_cut_that_follows_at_once_leaves_the_plateau_where_it_was() {
    let sent = |version, count| [Event::Sent(1_000), Event::Throttled { version, count }];
    let (state, _) = window(at_rate(1_000.0), &sent(7, 10), 1_000.0, ms(1_000));
    let (mut state, decision) = window(state, &sent(8, 40), 800.0, ms(2_000));
    assert!(decision.is_some());
    let mut steps = Vec::new();
    for second in 3..=12 {
        let before = state.rate();
        state = window(state, &[Event::Sent(800)], before, ms(second * 1_000)).0;
        steps.push(state.rate() / before);
    }
    // Up to 95 % of the 990 that were taken at the first cut, and not of the 768 at the second.
    let fast = steps.iter().take_while(|ratio| **ratio > 1.04).count();
    assert_eq!(fast, 8, "{steps:?}");
    assert!(steps[9] < 1.011, "{steps:?}");
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
fn errors_of_a_flow_that_waits_for_its_timeouts_cut_from_what_it_sent() {
    let mut state = at_rate(1_000.0);
    for second in 1..=3 {
        state = window(state, &[Event::Sent(700)], 700.0, ms(second * 1_000)).0;
    }
    for second in 4..=12 {
        state = window(state, &[], 0.0, ms(second * 1_000)).0;
    }
    let (state, decision) = window(state, &[Event::Failed(700)], 0.0, ms(13_000));
    assert!(decision.is_some());
    // 0.8 times 1.25 times 700.
    assert_rate(&state, 700.0);
}

#[test]
fn where_answers_come_late_it_decides_less_often() {
    let late = |latency| at_rate(500.0).step(Event::Latency(ms(latency)), ms(0)).0;
    for (latency, window_ms) in [(250, 1_000), (500, 1_000), (2_000, 2_500), (90_000, 15_000)] {
        let state = late(latency);
        assert_eq!(state.feedback_window(), ms(window_ms));
        let events = [Event::Sent(500), throttled(10)];
        let (state, decision) = window(state, &events, 500.0, ms(window_ms - 1));
        assert_eq!(decision, None, "{latency}");
        let (_, decision) = state.step(tick(500.0), ms(window_ms));
        assert!(matches!(decision, Some(Decision::Cut { .. })), "{latency}");
    }
    let limits = Limits {
        feedback: ms(4_000),
        ..LIMITS
    };
    let state = late(2_000).step(Event::Limits(limits), ms(0)).0;
    assert_eq!(state.feedback_window(), ms(4_000), "the setting is the least");
}

#[test]
fn one_sender_in_ten_makes_no_window_longer() {
    assert_eq!(latency_of_most([]), None);
    assert_eq!(latency_of_most([ms(9_000)]), Some(ms(9_000)));
    let nine = || std::iter::repeat_n(ms(200), 9);
    assert_eq!(latency_of_most(nine().chain([ms(9_000)])), Some(ms(200)));
    assert_eq!(latency_of_most(nine().chain([ms(9_000); 2])), Some(ms(9_000)));
}

#[test]
fn a_longer_feedback_window_decides_less_often() {
    let limits = Limits {
        feedback: ms(2_500),
        ..LIMITS
    };
    let saved = Saved {
        rate: 1_000.0,
        version: 7,
    };
    let state = Aimd::new(limits, Some(saved), ms(0));
    let (state, decision) = window(state, &[Event::Sent(2_000), throttled(100)], 1_000.0, ms(2_499));
    assert_eq!(decision, None);
    let (state, _) = state.step(tick(1_000.0), ms(2_500));
    assert_rate(&state, 800.0);
}

#[test]
fn a_static_rate_goes_on_at_half_after_an_outage_and_comes_back() {
    let limits = Limits {
        mode: Mode::Static,
        start: 300.0,
        ..LIMITS
    };
    let (mut state, decision) = Aimd::new(limits, None, ms(0)).step(Event::Restart(150.0), ms(0));
    assert!(decision.is_some());
    assert_rate(&state, 150.0);
    // A look at the account is no reason to be back at once; nor is another leader.
    state = state.step(Event::MaxSendRate(Some(900.0)), ms(10)).0;
    state = state.reopened(*state.limits(), ms(20));
    assert_rate(&state, 150.0);
    assert_rate(&window(state, &[Event::Sent(10)], 10.0, ms(1_100)).0, 150.0);
    for second in 1..=15 {
        state = window(state, &[Event::Sent(150)], state.rate(), ms(second * 1_100)).0;
    }
    assert_rate(&state, 300.0);
    assert_eq!(state.limited_by(), LimitedBy::Start);
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

/// A cut from 1,000, then windows in which all is used: what each step comes to.
#[test]
fn near_what_was_taken_at_the_cut_it_rises_by_one_percent_and_past_it_by_a_quarter() {
    let (mut state, _) = window(
        at_rate(1_000.0),
        &[Event::Sent(1_000), throttled(10)],
        1_000.0,
        ms(1_000),
    );
    let mut second = 1;
    let mut rates = Vec::new();
    for _ in 0..13 {
        second += 1;
        state = window(state, &[Event::Sent(900)], state.rate(), ms(second * 1_000)).0;
        rates.push(state.rate());
    }
    let expected = [
        840.0,
        882.0,
        926.1,
        972.405,
        // From here on within 5 % of the 990 that were taken.
        982.129_05,
        991.950_341,
        // And past them.
        994.430_216,
        996.916_292,
        999.408_583,
        1_001.907_104,
        1_004.411_872,
        1_006.922_902,
        1_009.440_209,
    ];
    for (rate, expected) in rates.iter().zip(expected) {
        assert!((rate - expected).abs() < 1e-3, "{rates:?}");
    }
}

#[test]
fn where_more_than_a_fifth_was_refused_there_is_no_plateau() {
    let (state, _) = window(
        at_rate(1_000.0),
        &[Event::Sent(1_000), throttled(201)],
        1_000.0,
        ms(1_000),
    );
    let (state, _) = window(state, &[Event::Sent(800)], 800.0, ms(2_000));
    assert_rate(&state, 840.0);
}

#[test]
fn a_plateau_lasts_two_minutes() {
    let near = |waits: u64| {
        let (state, _) = window(
            at_rate(1_000.0),
            &[Event::Sent(1_000), throttled(10)],
            1_000.0,
            ms(1_000),
        );
        let (state, _) = window(state, &[Event::Sent(800)], 800.0, ms(2_000));
        let (state, _) = window(state, &[Event::Sent(800)], 840.0, ms(3_000));
        let (state, _) = window(state, &[Event::Sent(800)], 882.0, ms(4_000));
        let (state, _) = window(state, &[Event::Sent(800)], 926.1, ms(5_000));
        let (state, _) = window(state, &[Event::Sent(800)], 972.405, ms(6_000));
        assert_rate(&state, 982.129_05);
        window(state, &[Event::Sent(800)], 982.2, ms(6_000 + waits)).0
    };
    assert_rate(&near(119_999), 982.129_05 * 1.01);
    assert_rate(&near(120_000), 982.129_05 * 1.05);
}

#[test]
fn it_never_rises_above_twice_what_was_sent() {
    let small = Limits {
        start: 1.0,
        floor: 0.5,
        ..LIMITS
    };
    let (state, _) = window(Aimd::new(small, None, ms(0)), &[Event::Sent(1)], 0.8, ms(1_000));
    assert_rate(&state, 1.6);
}

#[test]
fn an_account_that_allows_less_cuts_at_once_and_one_that_allows_more_is_only_a_higher_cap() {
    let (state, decision) = at_rate(1_000.0).step(Event::MaxSendRate(Some(400.0)), ms(300));
    let cut = Decision::Cut {
        reason: CutReason::MaxSendRate,
        from: 1_000.0,
        to: 400.0,
        version: 8,
    };
    assert_eq!(decision, Some(cut));
    assert_eq!(state.limited_by(), LimitedBy::Quota);
    // What was under way is no news.
    let (state, decision) = window(state, &[Event::Sent(900), throttled(300)], 0.0, ms(1_300));
    assert_eq!(decision, None);
    let (state, decision) = state.step(Event::MaxSendRate(Some(2_000.0)), ms(1_400));
    assert_eq!(decision, None);
    assert_rate(&state, 400.0);
    assert_rate(&window(state, &[Event::Sent(400)], 400.0, ms(2_400)).0, 420.0);
    let (state, decision) = state.step(Event::MaxSendRate(Some(f64::NAN)), ms(1_500));
    assert_eq!((state.limits().max_send_rate, decision), (Some(2_000.0), None));
}

#[test]
fn what_was_throttled_before_the_account_s_cut_does_not_cut_again() {
    let (state, _) = at_rate(1_000.0).step(Event::Sent(300), ms(100));
    let (state, _) = state.step(throttled(100), ms(100));
    let (state, _) = state.step(Event::MaxSendRate(Some(900.0)), ms(300));
    let (state, decision) = state.step(tick(900.0), ms(1_000));
    assert_eq!(decision, None, "the window begins with the cut");
    let (_, decision) = state.step(tick(900.0), ms(1_300));
    assert_eq!(decision, None);
}

#[test]
fn a_rate_below_a_floor_that_is_possible_again_rises_to_it() {
    let (state, _) = at_rate(1_000.0).step(Event::MaxSendRate(Some(1.0)), ms(100));
    assert_rate(&state, 1.0);
    let (state, decision) = state.step(Event::MaxSendRate(Some(14.0)), ms(200));
    assert_eq!(decision, Some(Decision::Raised { from: 1.0, to: 10.0 }));
    assert_rate(&state, 10.0);
}

#[test]
fn after_an_outage_it_goes_on_with_no_more_than_it_is_told() {
    let (state, decision) = at_rate(1_000.0).step(Event::Restart(500.0), ms(100));
    assert!(matches!(
        decision,
        Some(Decision::Cut {
            reason: CutReason::Breaker,
            version: 8,
            ..
        })
    ));
    assert_rate(&state, 500.0);
    assert_eq!(state.step(Event::Restart(800.0), ms(200)).1, None);
    assert_rate(&state.step(Event::Restart(2.0), ms(200)).0, 10.0);
}

#[test]
fn a_cut_by_another_rule_raises_the_version_and_hides_no_throttle() {
    let (state, _) = at_rate(1_000.0).step(Event::Superseded, ms(100));
    assert_eq!(state.version(), 8);
    let (state, _) = window(state, &[Event::Sent(1_000), throttled(300)], 1_000.0, ms(1_000));
    assert_rate(&state, 800.0);
    assert_eq!(state.version(), 9);
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..5_000).prop_map(Event::Sent),
        (0_u64..200).prop_map(Event::Failed),
        (0_u64..12, 0_u64..500).prop_map(|(version, count)| Event::Throttled { version, count }),
        (0_u64..12).prop_map(Event::VersionSeen),
        Just(Event::Superseded),
        prop::option::of(0.0_f64..6_000.0).prop_map(Event::MaxSendRate),
        (0.0_f64..6_000.0).prop_map(Event::Restart),
        (0_u64..400).prop_map(|latency| Event::Latency(ms(latency))),
        (0.0_f64..8_000.0, 0.0_f64..1.0).prop_map(|(measured, part)| Event::Tick {
            measured,
            taken: part * measured
        }),
        (0.0_f64..8_000.0).prop_map(tick),
        Just(tick(f64::NAN)),
    ]
}

proptest! {
    /// Within its bounds, at most one answer to the provider for each window, versions that rise with cuts, and no surprise in a
    /// replay from a journal.
    #[test]
    fn the_rules_hold_over_any_history(history in prop::collection::vec((events(), 0_u64..700), 0..300)) {
        let mut state = Aimd::new(LIMITS, None, ms(0));
        let mut replayed = state;
        let mut now = ms(0);
        let (mut last_cut, mut last_raise): (Option<Duration>, Option<Duration>) = (None, None);
        for (event, wait) in history {
            now += ms(wait);
            let before = state;
            let (after, decision) = state.step(event, now);
            state = after;
            let limits = state.limits();
            prop_assert!((limits.bottom()..=limits.top()).contains(&state.rate()), "{state:?}");
            match decision {
                Some(Decision::Cut { from, to, version, .. }) => {
                    prop_assert!(to <= from && version == before.version() + 1);
                }
                Some(Decision::Raised { from, to }) => {
                    prop_assert!(to > from);
                    prop_assert!(to <= (from * 1.05).max(from + 1.0) + 1e-9 || matches!(event, Event::MaxSendRate(_)));
                    prop_assert_eq!(state.version(), before.version());
                }
                None => prop_assert!(state.rate().to_bits() == before.rate().to_bits()),
            }
            if let (Some(decided), Event::Tick { .. }) = (decision, event) {
                prop_assert!(last_cut.is_none_or(|last| now - last >= WINDOW));
                let raises = matches!(decided, Decision::Raised { .. });
                prop_assert!(!raises || last_raise.is_none_or(|last| now - last >= WINDOW));
            }
            match decision {
                Some(Decision::Cut { .. }) => last_cut = Some(now),
                Some(Decision::Raised { .. }) if matches!(event, Event::Tick { .. }) => last_raise = Some(now),
                _ => {}
            }
            prop_assert!(state.version() >= before.version());
            replayed = replayed.step(event, now).0;
            let text = serde_json::to_string(&replayed).expect("writable");
            replayed = serde_json::from_str(&text).expect("readable");
        }
        prop_assert_eq!(state, replayed);
    }
}

/// Seconds of a provider that refuses each hundredth call whatever is sent, and what is above `limit`; says what was refused of how much.
fn run(state: &mut Aimd, noise: u64, limit: f64, seconds: std::ops::Range<u64>) -> (f64, f64) {
    let (mut sent_all, mut refused_all) = (0.0, 0.0);
    for second in seconds {
        let sent = state.rate();
        let above = (sent - limit).max(0.0);
        // Now more, now less.
        let by_chance = sent * noise as f64 / 100.0 * [0.4, 1.6, 1.0, 0.7, 1.3][(second % 5) as usize];
        let refused = (above + by_chance).round();
        let events = [
            Event::Sent(sent as u64),
            Event::Throttled {
                version: state.version(),
                count: refused as u64,
            },
        ];
        *state = events
            .iter()
            .fold(*state, |state, event| state.step(*event, ms(second * 1_000)).0);
        let taken = sent - refused;
        *state = state
            .step(
                Event::Tick {
                    measured: sent,
                    taken,
                },
                ms(second * 1_000),
            )
            .0;
        (sent_all, refused_all) = (sent_all + sent, refused_all + refused);
    }
    (sent_all, refused_all)
}

#[test]
fn what_a_cut_does_not_lessen_is_noise_and_cuts_no_more() {
    for limit in [300.0, 1_000.0, 4_000.0] {
        let mut state = at_rate(250.0);
        run(&mut state, 1, limit, 1..600);
        let (sent, refused) = run(&mut state, 1, limit, 600..700);
        assert!(sent >= 95.0 * limit, "{sent} of {limit}");
        assert!(refused <= 0.03 * sent, "{refused} of {sent} to {limit}");
        assert!((0.005..=0.02).contains(&state.noise()), "{}", state.noise());
    }
}

#[test]
fn without_noise_none_is_seen() {
    let mut state = at_rate(250.0);
    for part in 1..50 {
        run(
            &mut state,
            0,
            1_000.0 - 10.0 * part as f64,
            part * 20..part * 20 + 20,
        );
        assert!(state.noise() <= 0.0, "{} at {part}", state.noise());
    }
}

#[test]
fn noise_is_forgotten_with_its_cause_and_more_than_a_fiftieth_is_none() {
    let mut state = at_rate(250.0);
    run(&mut state, 1, 1_000.0, 1..200);
    assert!(state.noise() > 0.0);
    run(&mut state, 0, 2_000.0, 200..230);
    assert!(state.noise() <= 0.0, "{}", state.noise());
    let mut state = at_rate(1_000.0);
    run(&mut state, 4, 9_000.0, 1..60);
    assert!(state.noise() <= 0.0, "{}", state.noise());
    assert_rate(&state, 10.0);
}
