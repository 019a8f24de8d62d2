//! The rules together: which one holds, what a sender gets, and that a journal tells it all.

use std::time::Duration;

use super::breaker::{Cause, Standing, Transition};
use super::journal::{Entry, NoBeginning, replay};
use super::overrides::{Action, Kind, Override, Wrong};
use super::quota::DailySend;
use super::route::Way;
use super::warm_up::{Overflow, Step};
use super::{
    Account, Asked, BudgetedBy, Controller, Counts, Decision, Effective, Event, LimitedBy, Settings, Tick,
};
use super::{bounces, invariants};
use crate::aimd::{self, CutReason, Limits, Mode, Saved};
use crate::lease::HolderId;
use crate::lease::budget::{Allowance, Said};
use crate::reason::Reason;

const A: HolderId = HolderId([1; 16]);
const B: HolderId = HolderId([2; 16]);
/// Midnight, UTC.
const START: u64 = 20_000 * 86_400;

const SETTINGS: Settings = Settings {
    limits: Limits {
        mode: Mode::Adaptive,
        start: 400.0,
        floor: 10.0,
        ceiling: 5_000.0,
        max_send_rate: None,
        cut_on_errors: true,
        feedback: Duration::ZERO,
    },
    daily: DailySend::Unlimited,
    resume: bounces::Resume::ByHand,
    breaker: true,
    route_back_after: Duration::from_secs(60),
};

fn at(millis: u64) -> Duration {
    Duration::from_secs(START) + Duration::from_millis(millis)
}

fn new(settings: Settings) -> Controller {
    let saved = Saved {
        rate: 400.0,
        version: 7,
    };
    Controller::new(settings, Some(saved), at(0))
}

fn tick() -> Event {
    Event::Tick(Tick {
        measured: 0.0,
        taken: None,
        random: 0.5,
        ..Tick::default()
    })
}

/// The calls of each test have their own order.
fn next_sequence() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEQUENCE: AtomicU64 = AtomicU64::new(1);
    SEQUENCE.fetch_add(1, Ordering::Relaxed)
}

fn asked(holder: HolderId, granted_total: u64, spent_total: u64) -> Asked {
    Asked {
        holder,
        counts: Counts::default(),
        said: Said {
            sequence: next_sequence(),
            granted_total,
            spent_total,
        },
        has_version: 7,
        wants: true,
        idle: false,
        refused: None,
        warm_up: None,
    }
}

fn idle(holder: HolderId) -> Event {
    Event::Asked(Asked {
        idle: true,
        ..asked(holder, 0, 0)
    })
}

fn counted(counts: Counts) -> Event {
    Event::Asked(Asked {
        counts,
        ..asked(A, 0, 0)
    })
}

fn by_hand(action: Action, until: u64) -> Event {
    Event::Set(Override {
        action,
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        until: at(until),
    })
}

fn account() -> Account {
    Account {
        max_send_rate: None,
        daily: DailySend::Unlimited,
        sent_last_24_hours: 0,
        enabled: true,
    }
}

fn granted(
    controller: &mut Controller,
    holder: HolderId,
    rate: f64,
    now: u64,
) -> (Option<Allowance>, BudgetedBy) {
    let decisions = controller.step(&Event::Leased { holder, rate }, at(now));
    let grant = decisions.iter().find_map(|it| match it {
        Decision::Granted { allowance, by, .. } => Some((*allowance, *by)),
        _ => None,
    });
    grant.unwrap_or_else(|| panic!("{decisions:?}"))
}

fn both(total: u64) -> Option<Allowance> {
    Some(Allowance {
        granted_total: total,
        bulk_total: total,
    })
}

#[track_caller]
fn assert_in_force(controller: &Controller, rate: f64, by: LimitedBy) {
    assert_eq!(controller.in_force(), Effective { rate, by });
}

#[test]
fn the_least_of_all_rules_is_in_force_and_the_decision_names_it() {
    let mut controller = new(SETTINGS);
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    let decisions = controller.step(&by_hand(Action::Cap { rate: 50.0 }, 60_000), at(0));
    let capped = Decision::Rate {
        from: 400.0,
        to: 50.0,
        by: LimitedBy::Cap,
        version: 8,
    };
    assert_eq!(decisions, [Decision::Set(Kind::Cap), capped]);
    let disabled = Account {
        enabled: false,
        ..account()
    };
    controller.step(&Event::Account(disabled), at(10));
    assert_in_force(&controller, 0.0, LimitedBy::AccountDisabled);
    controller.step(&by_hand(Action::Pause, 1_000), at(20));
    assert_in_force(&controller, 0.0, LimitedBy::Paused);
    controller.step(&tick(), at(1_000));
    assert_in_force(&controller, 0.0, LimitedBy::AccountDisabled);
    controller.step(&Event::Account(account()), at(1_010));
    assert_in_force(&controller, 50.0, LimitedBy::Cap);
    let decisions = controller.step(&Event::Cleared(Kind::Cap), at(1_020));
    assert_eq!(decisions[0], Decision::Cleared(Kind::Cap));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    // Two cuts of what is leased: the cap and the pause of the account. A raise is none.
    assert_eq!(controller.version(), 9);
}

#[test]
fn what_expires_or_is_wrong_says_so() {
    let mut controller = new(SETTINGS);
    let decisions = controller.step(&by_hand(Action::Cap { rate: 0.0 }, 60_000), at(0));
    assert_eq!(decisions, [Decision::NotSet(Wrong::Cap)]);
    controller.step(&by_hand(Action::Route(Way::Backup), 60_000), at(0));
    assert_eq!(controller.overrides().way(), Some(Way::Backup));
    let decisions = controller.step(&tick(), at(60_000));
    assert_eq!(decisions, [Decision::Expired(Kind::Route)]);
    assert_eq!(decisions[0].reason(), "expired");
}

#[test]
fn throttles_cut_and_a_cap_by_hand_hides_none_of_them() {
    let mut controller = new(SETTINGS);
    controller.step(&by_hand(Action::Cap { rate: 300.0 }, 60_000), at(0));
    // Sent under version 7, before the cap.
    controller.step(
        &counted(Counts {
            sent: 400,
            throttled: vec![(7, 100)],
            ..Counts::default()
        }),
        at(500),
    );
    let decisions = controller.step(
        &Event::Tick(Tick {
            measured: 400.0,
            taken: None,
            random: 0.5,
            ..Tick::default()
        }),
        at(1_000),
    );
    let cut = Decision::Aimd(aimd::Decision::Cut {
        reason: CutReason::Throttled,
        from: 400.0,
        to: 320.0,
        version: 9,
    });
    assert_eq!(decisions, [cut], "what is in force stays at 300");
    assert_in_force(&controller, 300.0, LimitedBy::Cap);
}

#[test]
fn a_look_at_the_account_cuts_at_once_and_raises_only_the_cap() {
    let mut controller = new(SETTINGS);
    let allows = |rate| {
        Event::Account(Account {
            max_send_rate: Some(rate),
            ..account()
        })
    };
    controller.step(&allows(200.0), at(100));
    assert_in_force(&controller, 200.0, LimitedBy::Quota);
    controller.step(&allows(900.0), at(200));
    assert_in_force(&controller, 200.0, LimitedBy::Aimd);
    // The configuration does not know better than the account.
    let mut settings = SETTINGS;
    settings.limits.max_send_rate = Some(14.0);
    controller.step(&Event::Settings(settings), at(300));
    assert_in_force(&controller, 200.0, LimitedBy::Aimd);
}

#[test]
fn an_account_that_allows_less_ends_safe_rates_though_the_key_s_rate_stays() {
    let mut controller = new(SETTINGS);
    let version_at = |controller: &mut Controller, rate| {
        let allows = Account {
            max_send_rate: rate,
            ..account()
        };
        controller.step(&Event::Account(allows), at(100));
        assert_in_force(controller, 400.0, LimitedBy::Aimd);
        controller.version()
    };
    assert_eq!(version_at(&mut controller, None), 7);
    assert_eq!(version_at(&mut controller, Some(1_000.0)), 8, "it was unlimited");
    assert_eq!(version_at(&mut controller, Some(900.0)), 9);
    assert_eq!(version_at(&mut controller, Some(900.0)), 9, "no news");
    assert_eq!(version_at(&mut controller, Some(950.0)), 9, "more");
}

#[test]
fn bounces_pause_until_a_person_resumes() {
    let mut controller = new(SETTINGS);
    let accepted = Counts {
        sent: 100,
        accepted: 100,
        ..Counts::default()
    };
    controller.step(&counted(accepted), at(0));
    controller.step(&Event::Bounced(3), at(10));
    let decisions = controller.step(&tick(), at(100));
    assert_eq!(
        decisions[0],
        Decision::Bounces(bounces::Verdict::Pause {
            bounced: 3,
            accepted: 100
        })
    );
    assert_in_force(&controller, 0.0, LimitedBy::Bounces);
    let decisions = controller.step(&by_hand(Action::Resume, 60_000), at(200));
    assert_eq!(decisions[1].reason(), "by_hand");
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
}

/// Of a controller whose day is used up.
fn what_else_stops_it_stops_its_overflow(controller: &Controller) {
    let mut paused = controller.clone();
    paused.step(&by_hand(Action::Pause, 86_399_000), at(86_398_000));
    assert_eq!(paused.overflow_to(), None, "what is paused goes nowhere");
    let mut refused = controller.clone();
    let suspended = Asked {
        refused: Some(Reason::AccountSuspended.code()),
        ..asked(A, 100, 100)
    };
    refused.step(&Event::Asked(suspended), at(86_398_000));
    assert_in_force(&refused, 0.0, LimitedBy::WarmUp);
    assert_eq!(refused.overflow_to(), None, "what is refused goes as nobody else");
    let mut failing = controller.clone();
    let counts = Counts {
        sent: 100,
        failed: 100,
        ..Counts::default()
    };
    failing.step(&counted(counts), at(86_397_000));
    failing.step(&tick(), at(86_398_000));
    assert_eq!(
        (failing.standing(), failing.overflow_to()),
        (Standing::Open, None)
    );
}

#[test]
fn a_warm_up_hands_out_a_tenth_at_a_time_and_overflows_when_its_day_is_used() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::WarmUp(Overflow::To("warm".to_owned())), at(0));
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    // A quarter of the ten that may go at once.
    assert_eq!(
        granted(&mut controller, A, 100.0, 1),
        (both(2), BudgetedBy::WarmUp)
    );
    let mut total = 2;
    let mut overflowed = Vec::new();
    for minute in 1..1_440 {
        let now = at(minute * 60_000);
        let mut decisions = controller.step(&Event::Asked(asked(A, total, total)), now);
        let leased = Event::Leased {
            holder: A,
            rate: 100.0,
        };
        decisions.append(&mut controller.step(&leased, now));
        for decision in decisions {
            match decision {
                Decision::Granted { allowance, .. } => total = allowance.expect("a budget").granted_total,
                Decision::Overflow(to) => overflowed.push(to),
                _ => {}
            }
        }
    }
    assert_eq!(total, 100);
    assert_eq!(overflowed, [Some("warm".to_owned())]);
    assert_in_force(&controller, 0.0, LimitedBy::WarmUp);
    assert_eq!(controller.overflow_to(), Some("warm"));
    let word = controller.warm_up_word().expect("it is being warmed up");
    assert_eq!(word.overflow_to.as_deref(), Some("warm"));
    what_else_stops_it_stops_its_overflow(&controller);
    let accepted = Counts {
        sent: 100,
        accepted: 100,
        ..Counts::default()
    };
    controller.step(
        &Event::Asked(Asked {
            counts: accepted,
            ..asked(A, 100, 100)
        }),
        at(86_399_000),
    );
    let decisions = controller.step(&tick(), at(86_400_000));
    assert!(
        decisions.contains(&Decision::WarmUp(Step::Advanced { cap: 200 })),
        "{decisions:?}"
    );
    assert!(decisions.contains(&Decision::Overflow(None)), "{decisions:?}");
}

#[test]
fn a_day_that_a_person_paused_is_no_step_of_the_warm_up() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::WarmUp(Overflow::Defer), at(0));
    controller.step(&by_hand(Action::Pause, 1_000), at(0));
    controller.step(&tick(), at(1_000));
    let decisions = controller.step(&tick(), at(86_400_000));
    assert_eq!(decisions[0].reason(), "paused", "{decisions:?}");
}

#[test]
fn another_leader_goes_on_from_the_saved_state() {
    let settings = Settings {
        daily: DailySend::Limited(1_000),
        ..SETTINGS
    };
    let mut controller = new(settings);
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    granted(&mut controller, A, 100.0, 1);
    controller.step(&by_hand(Action::Cap { rate: 50.0 }, 60_000), at(2));
    let saved = serde_json::to_string(&controller).expect("writable");
    let read: Controller = serde_json::from_str(&saved).expect("readable");
    let mut next = read.reopened(settings, at(3_000));
    assert_in_force(&next, 50.0, LimitedBy::Cap);
    next.step(&tick(), at(3_100));
    assert_eq!(
        next.outstanding(),
        200,
        "the change of leaders is no sender's fault"
    );
    next.step(&tick(), at(5_300));
    assert_eq!(next.outstanding(), 0);
    assert_eq!(next.version(), controller.version());
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut controller = new(SETTINGS);
    controller.step(&by_hand(Action::Pause, 5_000), at(4_000));
    controller.step(&tick(), at(0));
    assert_in_force(&controller, 0.0, LimitedBy::Paused);
    let decisions = controller.step(&by_hand(Action::Cap { rate: 5.0 }, 3_000), at(0));
    assert_eq!(decisions, [Decision::NotSet(Wrong::Until)], "it is 4 s");
    controller.step(&tick(), at(5_000));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
}

#[test]
fn a_journal_without_a_beginning_is_refused() {
    assert_eq!(replay(&[]), Err(NoBeginning));
    let happened = Entry::Happened {
        at: at(0),
        event: tick(),
    };
    assert_eq!(replay([&happened]), Err(NoBeginning));
}

mod budgets;
mod history;
mod outages;
mod words;
