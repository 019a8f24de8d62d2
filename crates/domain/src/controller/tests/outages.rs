//! The breaker and refusals, among the other rules.

use super::*;
use crate::controller::route::{self, Rerouted, Route, Sight, Way};

/// Open since 1 s, half-open since 31 s.
fn half_open() -> Controller {
    let mut controller = new(SETTINGS);
    let failing = Counts {
        sent: 100,
        accepted: 50,
        failed: 50,
        ..Counts::default()
    };
    controller.step(&counted(failing), at(0));
    let decisions = controller.step(&tick(), at(999));
    let opened = Transition::Opened {
        cause: Cause::Failures,
        until: at(30_999),
    };
    assert_eq!(decisions[0], Decision::Breaker(opened));
    assert_in_force(&controller, 0.0, LimitedBy::Breaker);
    assert!(!controller.admits(A));
    controller.step(&tick(), at(30_999));
    assert_eq!(controller.standing(), Standing::HalfOpen);
    assert_in_force(&controller, 4.0, LimitedBy::Breaker);
    controller
}

#[test]
fn half_open_one_sender_gets_twenty_and_their_success_goes_on_at_half_of_the_rate() {
    let mut controller = half_open();
    controller.step(&idle(A), at(31_000));
    controller.step(&idle(B), at(31_010));
    assert!(controller.admits(A) && !controller.admits(B));
    assert_eq!(
        granted(&mut controller, B, 0.0, 31_020),
        (both(0), BudgetedBy::Probes)
    );
    assert_eq!(
        granted(&mut controller, A, 4.0, 31_030),
        (both(20), BudgetedBy::Probes)
    );
    let version = controller.version();
    let well = Counts {
        sent: 20,
        accepted: 19,
        failed: 1,
        ..Counts::default()
    };
    controller.step(
        &Event::Asked(Asked {
            counts: well,
            ..asked(A, 20, 20)
        }),
        at(32_000),
    );
    assert_eq!(granted(&mut controller, A, 4.0, 32_010).0, both(20));
    let decisions = controller.step(&tick(), at(32_100));
    assert_eq!(decisions[0].reason(), "probes_well");
    assert_in_force(&controller, 200.0, LimitedBy::Aimd);
    assert!(controller.version() > version);
}

#[test]
fn a_prober_that_lapses_leaves_another_pause() {
    let mut controller = half_open();
    controller.step(&idle(A), at(31_000));
    granted(&mut controller, A, 4.0, 31_010);
    assert!(controller.step(&tick(), at(33_219)).is_empty());
    let decisions = controller.step(&tick(), at(33_220));
    assert_eq!(decisions[0].reason(), "probes_lost", "{decisions:?}");
    assert_in_force(&controller, 0.0, LimitedBy::Breaker);
}

#[test]
fn an_open_breaker_sends_the_mail_by_the_backup_and_the_state_keeps_the_way() {
    let mut controller = new(SETTINGS);
    let sight = Sight {
        backup: Some(Standing::Closed),
        ..Sight::default()
    };
    let seen = Event::Tick(Tick {
        route: Some(sight),
        random: 0.5,
        ..Tick::default()
    });
    assert!(controller.step(&seen, at(0)).is_empty());
    let failing = Counts {
        sent: 100,
        failed: 100,
        ..Counts::default()
    };
    controller.step(&counted(failing), at(10));
    let decisions = controller.step(&tick(), at(500));
    let rerouted = Rerouted {
        to: Way::Backup,
        cause: route::Cause::PrimaryAway,
    };
    assert!(decisions.contains(&Decision::Rerouted(rerouted)), "{decisions:?}");
    let text = serde_json::to_string(&controller).expect("plain data");
    let mut kept: Controller = serde_json::from_str(&text).expect("as it was written");
    assert_eq!(kept.route().map(Route::way), Some(Way::Backup));
    // Nobody sees a backup any more.
    let gone = Event::Tick(Tick {
        route: Some(Sight::default()),
        random: 0.5,
        ..Tick::default()
    });
    let decisions = kept.step(&gone, at(600));
    assert_eq!(decisions[0].reason(), "backup_away", "{decisions:?}");
}

#[test]
fn a_breaker_that_is_off_does_not_open() {
    let mut controller = new(Settings {
        breaker: false,
        ..SETTINGS
    });
    let failing = Counts {
        sent: 100,
        failed: 100,
        ..Counts::default()
    };
    controller.step(&counted(failing), at(0));
    controller.step(&tick(), at(500));
    assert_eq!(controller.standing(), Standing::Closed);
    assert!(controller.admits(A));
}

#[test]
fn what_the_provider_refuses_is_only_probed_until_mail_is_accepted() {
    let mut controller = new(SETTINGS);
    let refused = || {
        Event::Asked(Asked {
            refused: Some(Reason::AccountSuspended.code()),
            ..asked(A, 0, 0)
        })
    };
    let decisions = controller.step(&refused(), at(0));
    assert_eq!(decisions[0], Decision::Refused(Reason::AccountSuspended));
    assert_in_force(&controller, 1.0, LimitedBy::Refused);
    controller.step(
        &Event::Asked(Asked {
            counts: Counts {
                sent: 1,
                accepted: 1,
                ..Counts::default()
            },
            ..asked(B, 0, 0)
        }),
        at(500),
    );
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    controller.step(&refused(), at(1_000));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    controller.step(&Event::Asked(asked(A, 0, 0)), at(1_500));
    controller.step(&refused(), at(2_000));
    assert_in_force(&controller, 1.0, LimitedBy::Refused);
}

#[test]
fn a_refusal_that_is_over_by_the_next_call_bounds_nobody() {
    let mut controller = new(SETTINGS);
    let says = |accepted, refused: Option<Reason>| {
        Event::Asked(Asked {
            counts: Counts {
                sent: accepted,
                accepted,
                ..Counts::default()
            },
            refused: refused.map(Reason::code),
            ..asked(A, 0, 0)
        })
    };
    let suspended = Some(Reason::AccountSuspended);
    controller.step(&says(9, suspended), at(0));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    controller.step(&says(9, None), at(500));
    controller.step(&says(9, suspended), at(1_000));
    controller.step(&says(1, suspended), at(1_500));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
    controller.step(&says(0, suspended), at(2_000));
    assert_in_force(&controller, 1.0, LimitedBy::Refused);
    let decisions = controller.step(&says(1, suspended), at(2_500));
    assert_eq!(decisions[0], Decision::RefusalOver);
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
}
