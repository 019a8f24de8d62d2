//! The breaker's transitions one by one, and what must hold over any history.

use std::time::Duration;

use proptest::prelude::*;

use super::{Breaker, Cause, Event, PROBES, Standing, Transition};
use crate::lease::HolderId;

const A: HolderId = HolderId([1; 16]);
const B: HolderId = HolderId([2; 16]);
/// No jitter to either side.
const TICK: Event = Event::Tick {
    rate: 400.0,
    random: 0.5,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answers(sent: u64, failed: u64, throttled: u64) -> Event {
    Event::Answers {
        holder: A,
        sent,
        accepted: sent - failed - throttled,
        failed,
        throttled,
    }
}

fn asked(holder: HolderId) -> Event {
    Event::Asked {
        holder,
        wants: true,
        idle: true,
    }
}

fn opened_until(transition: Option<Transition>) -> (Cause, u64) {
    match transition {
        Some(Transition::Opened { cause, until }) => (cause, until.as_secs()),
        other => panic!("{other:?}"),
    }
}

/// Half-open since 130 s, A probing.
fn half_open() -> Breaker {
    let mut breaker = Breaker::default();
    breaker.step(answers(100, 50, 0), secs(100));
    breaker.step(TICK, secs(100));
    assert_eq!(breaker.step(TICK, secs(130)), Some(Transition::HalfOpened));
    breaker.step(asked(A), secs(130));
    breaker
}

#[test]
fn it_opens_above_five_percent_and_five_of_at_least_fifty_calls() {
    let check = |sent, failed, throttled, standing| {
        let mut breaker = Breaker::default();
        breaker.step(answers(sent, failed, throttled), secs(5));
        breaker.step(TICK, secs(6));
        assert_eq!(
            breaker.standing(),
            standing,
            "{failed} of {sent}, {throttled} throttled"
        );
    };
    check(49, 49, 0, Standing::Closed);
    check(50, 4, 0, Standing::Closed);
    check(50, 5, 0, Standing::Open);
    check(100, 5, 0, Standing::Closed);
    check(100, 6, 0, Standing::Open);
    // 5 of the 90 that were not throttled are more than 5 %.
    check(100, 5, 10, Standing::Open);
    check(100, 0, 100, Standing::Closed);
}

/// When it opens, in seconds, at so many calls in ten seconds of which each fails; `None` if it has not within five minutes.
fn opens_after(calls_in_ten_seconds: u64) -> Option<u64> {
    let mut breaker = Breaker::default();
    (1..=300).find(|&second| {
        let until_then = |second: u64| calls_in_ten_seconds * second / 10;
        let calls = until_then(second) - until_then(second - 1);
        breaker.step(answers(calls, calls, 0), secs(second));
        breaker.step(TICK, secs(second)).is_some()
    })
}

#[test]
fn an_outage_opens_it_within_seconds_at_the_floor_and_never_below_fifty_calls_in_thirty_seconds() {
    assert_eq!(opens_after(100), Some(5), "ten a second, the floor of every rate");
    assert_eq!(opens_after(20), Some(25));
    assert_eq!(opens_after(15), None, "too few to judge a provider by");
    assert_eq!(opens_after(10), None);
}

#[test]
fn one_sick_sender_opens_it_only_where_no_other_sends() {
    let of = |holder, sent, failed| Event::Answers {
        holder,
        sent,
        accepted: sent - failed,
        failed,
        throttled: 0,
    };
    let check = |well: &[(u64, u64)], standing| {
        let mut breaker = Breaker::default();
        breaker.step(of(A, 200, 200), secs(5));
        for (index, (sent, failed)) in (2..).zip(well) {
            breaker.step(of(HolderId([index; 16]), *sent, *failed), secs(5));
        }
        breaker.step(TICK, secs(6));
        assert_eq!(breaker.standing(), standing, "{well:?}");
    };
    check(&[], Standing::Open);
    check(&[(100, 0), (100, 0)], Standing::Closed);
    check(&[(100, 5), (100, 5)], Standing::Closed);
    check(&[(100, 6), (100, 6)], Standing::Open);
    // Who left lately is no reason to stay closed for ever.
    let mut breaker = Breaker::default();
    breaker.step(of(B, 100, 0), secs(5));
    breaker.step(of(A, 100, 100), secs(60));
    breaker.step(TICK, secs(60));
    assert_eq!(breaker.standing(), Standing::Open);
}

#[test]
fn only_the_last_thirty_seconds_count() {
    let mut breaker = Breaker::default();
    breaker.step(answers(60, 30, 0), secs(10));
    breaker.step(answers(60, 0, 0), secs(41));
    assert_eq!(breaker.step(TICK, secs(41)), None, "0 of 60");
    breaker.step(answers(0, 0, 0), secs(42));
    let mut breaker = Breaker::default();
    breaker.step(answers(60, 30, 0), secs(10));
    assert!(breaker.step(TICK, secs(40)).is_some());
}

#[test]
fn it_stays_open_twice_as_long_after_each_failed_probe_up_to_five_minutes() {
    let mut breaker = Breaker::default();
    breaker.step(answers(100, 50, 0), secs(0));
    let mut now = 0;
    let mut cause = Cause::Failures;
    for time in [30, 60, 120, 240, 300, 300] {
        assert_eq!(opened_until(breaker.step(TICK, secs(now))), (cause, now + time));
        assert_eq!(
            (breaker.standing(), breaker.rate(), breaker.left(0)),
            (Standing::Open, Some(0.0), Some(0))
        );
        assert_eq!(breaker.step(TICK, secs(now + time - 1)), None);
        now += time;
        assert_eq!(breaker.step(TICK, secs(now)), Some(Transition::HalfOpened));
        breaker.step(asked(A), secs(now));
        breaker.step(answers(2, 2, 0), secs(now));
        cause = Cause::ProbesFailed;
    }
}

#[test]
fn the_jitter_is_a_fifth_to_either_side() {
    for (random, time_ms) in [
        (0.0, 24_000),
        (1.0, 36_000),
        (0.25, 27_000),
        (9.0, 36_000),
        (f64::NAN, 30_000),
    ] {
        let mut breaker = Breaker::default();
        breaker.step(answers(100, 50, 0), secs(0));
        let opened = breaker.step(Event::Tick { rate: 1.0, random }, secs(0));
        let Some(Transition::Opened { until, .. }) = opened else {
            panic!("{opened:?}")
        };
        assert_eq!(until.as_millis(), time_ms, "{random}");
    }
}

#[test]
fn one_sender_alone_probes_with_twenty() {
    let mut breaker = half_open();
    breaker.step(asked(B), secs(131));
    assert!(breaker.admits(A) && !breaker.admits(B));
    assert_eq!((breaker.left(0), breaker.rate()), (Some(20), Some(4.0)));
    assert_eq!(breaker.left(20), Some(0));
    breaker.step(Event::Spent(15), secs(132));
    assert_eq!(breaker.left(5), Some(0));

    let mut small = Breaker::default();
    small.step(answers(100, 50, 0), secs(0));
    small.step(
        Event::Tick {
            rate: 30.0,
            random: 0.5,
        },
        secs(0),
    );
    small.step(TICK, secs(30));
    assert_eq!(small.rate(), Some(1.0));
    // Who still holds a rate could be spending on its own.
    small.step(
        Event::Asked {
            holder: A,
            wants: true,
            idle: false,
        },
        secs(31),
    );
    assert!(!small.admits(A));
}

#[test]
fn nineteen_of_twenty_close_it_with_half_of_the_rate() {
    let mut breaker = half_open();
    breaker.step(Event::Spent(20), secs(131));
    breaker.step(answers(19, 0, 0), secs(132));
    assert_eq!(breaker.step(TICK, secs(132)), None);
    breaker.step(answers(1, 1, 0), secs(133));
    assert_eq!(
        breaker.step(TICK, secs(133)),
        Some(Transition::Closed { rate: 200.0 })
    );
    assert_eq!((breaker.standing(), breaker.rate()), (Standing::Closed, None));

    let mut small = Breaker::default();
    small.step(answers(100, 50, 0), secs(0));
    small.step(
        Event::Tick {
            rate: 12.0,
            random: 0.5,
        },
        secs(0),
    );
    small.step(TICK, secs(30));
    small.step(asked(A), secs(30));
    small.step(answers(20, 0, 20), secs(31));
    assert_eq!(
        small.step(TICK, secs(32)),
        Some(Transition::Closed { rate: 10.0 }),
        "throttled is answered"
    );
}

#[test]
fn a_second_failure_opens_it_again() {
    let mut breaker = half_open();
    breaker.step(answers(10, 2, 0), secs(132));
    assert_eq!(
        opened_until(breaker.step(TICK, secs(132))),
        (Cause::ProbesFailed, 192)
    );
}

#[test]
fn a_probe_without_an_answer_is_waited_for() {
    let mut breaker = half_open();
    breaker.step(Event::Spent(20), secs(131));
    // One was refused for its own sake, which no count tells.
    breaker.step(
        Event::Answers {
            holder: A,
            sent: 20,
            accepted: 19,
            failed: 0,
            throttled: 0,
        },
        secs(131),
    );
    assert_eq!(breaker.step(TICK, secs(142)), None);
    assert!(matches!(
        breaker.step(TICK, secs(143)),
        Some(Transition::Closed { .. })
    ));
}

#[test]
fn a_prober_with_nothing_to_send_hands_over() {
    let mut breaker = half_open();
    breaker.step(Event::Spent(3), secs(140));
    breaker.step(answers(3, 0, 0), secs(140));
    assert_eq!(breaker.step(TICK, secs(199)), None);
    assert!(breaker.admits(A));
    assert_eq!(breaker.step(TICK, secs(200)), None);
    assert!(!breaker.admits(A));
    breaker.step(asked(B), secs(201));
    assert!(!breaker.admits(B), "the first may hold a rate yet");
    breaker.step(
        Event::Asked {
            holder: A,
            wants: false,
            idle: true,
        },
        secs(202),
    );
    breaker.step(asked(B), secs(203));
    assert!(breaker.admits(B));
    assert_eq!(breaker.left(0), Some(17));
}

#[test]
fn a_prober_that_is_gone_leaves_another_pause() {
    let mut breaker = half_open();
    breaker.step(Event::Spent(20), secs(131));
    breaker.step(Event::Gone(A), secs(134));
    breaker.step(asked(B), secs(134));
    assert!(!breaker.admits(B));
    assert_eq!(
        opened_until(breaker.step(TICK, secs(134))),
        (Cause::ProbesLost, 164)
    );

    let mut unused = half_open();
    unused.step(Event::Gone(A), secs(134));
    unused.step(asked(B), secs(134));
    assert!(unused.admits(B), "it had spent nothing");
}

#[test]
fn probes_of_which_nothing_is_known_prove_nothing() {
    let mut breaker = half_open();
    breaker.step(Event::Spent(20), secs(131));
    assert_eq!(breaker.step(TICK, secs(142)), None);
    assert_eq!(
        opened_until(breaker.step(TICK, secs(143))),
        (Cause::ProbesLost, 173)
    );
}

fn events() -> impl Strategy<Value = Event> {
    let holder = || prop_oneof![Just(A), Just(B)];
    prop_oneof![
        (holder(), 0_u64..40, 0_u64..40, 0_u64..9, 0_u64..9).prop_map(
            |(holder, sent, accepted, failed, throttled)| {
                Event::Answers {
                    holder,
                    sent,
                    accepted,
                    failed,
                    throttled,
                }
            }
        ),
        (0_u64..9).prop_map(Event::Spent),
        (holder(), any::<bool>(), any::<bool>()).prop_map(|(holder, wants, idle)| Event::Asked {
            holder,
            wants,
            idle
        }),
        holder().prop_map(Event::Gone),
        (0.0_f64..900.0, 0.0_f64..=1.0).prop_map(|(rate, random)| Event::Tick { rate, random }),
        (0.0_f64..900.0, 0.0_f64..=1.0).prop_map(|(rate, random)| Event::Tick { rate, random }),
    ]
}

proptest! {
    /// Open nobody spends, half-open one sender at most and never beyond the budget; each change of standing is a transition, and
    /// time alone makes one.
    #[test]
    fn the_rules_hold_over_any_history(history in prop::collection::vec((events(), 0_u64..9_000), 0..300)) {
        let mut breaker = Breaker::default();
        let mut now = Duration::ZERO;
        for (event, wait) in history {
            now += Duration::from_millis(wait);
            let before = breaker.standing();
            let transition = breaker.step(event, now);
            let after = breaker.standing();
            prop_assert_eq!(before != after, transition.is_some());
            let is_tick = matches!(event, Event::Tick { .. });
            prop_assert!(transition.is_none() || is_tick);
            let admitted = [A, B].into_iter().filter(|it| breaker.admits(*it)).count();
            match after {
                Standing::Closed => prop_assert_eq!(breaker.left(0), None),
                Standing::Open => prop_assert_eq!((admitted, breaker.left(0)), (0, Some(0))),
                Standing::HalfOpen => prop_assert!(admitted <= 1 && breaker.left(0).is_some_and(|left| left <= PROBES)),
            }
            if let Some(Transition::Opened { until, .. }) = transition {
                let time = (until - now).as_secs_f64();
                prop_assert!((24.0..=360.0).contains(&time), "{time}");
            }
        }
    }
}
