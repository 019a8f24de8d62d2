//! The daily quota's counted budgets.

use super::*;

#[test]
fn a_daily_quota_is_handed_out_in_counted_budgets() {
    let mut controller = new(Settings {
        daily: DailySend::Limited(1_000),
        ..SETTINGS
    });
    // 980 are left. Two seconds of 100/s, and at most a quarter of what is left: 200 of 245.
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    assert_eq!(
        granted(&mut controller, A, 100.0, 1),
        (both(200), BudgetedBy::DailyQuota)
    );
    // 780 are left, of them 682 for bulk: a quarter is 195.
    controller.step(&Event::Asked(asked(B, 0, 0)), at(10));
    assert_eq!(granted(&mut controller, B, 300.0, 11).0, both(195));
    assert_eq!(controller.outstanding(), 395);
    // The other keys of the account have 500 of the rest, and 80 under way.
    controller.step(
        &Event::Siblings {
            spent: 500,
            outstanding: 80,
        },
        at(20),
    );
    controller.step(&Event::Asked(asked(A, 200, 200)), at(500));
    // 980 - 200 - 500 - 195 - 80 = 5 are left; the tenth that is kept is 98.
    let (allowance, _) = granted(&mut controller, A, 100.0, 501);
    let expected = Allowance {
        granted_total: 201,
        bulk_total: 200,
    };
    assert_eq!(allowance, Some(expected));
    // B lapses: its 195 count as spent. A gives its one back.
    controller.step(&Event::Asked(asked(A, 201, 200)), at(2_300));
    controller.step(&tick(), at(2_300));
    assert_eq!(
        (controller.outstanding(), controller.quota().used(at(2_300))),
        (1, 895)
    );
    controller.step(
        &Event::Left {
            holder: A,
            counts: Counts::default(),
            said: Said {
                sequence: next_sequence(),
                granted_total: 201,
                spent_total: 200,
            },
        },
        at(2_400),
    );
    assert_eq!(controller.outstanding(), 0);
    controller.step(
        &Event::Siblings {
            spent: 85,
            outstanding: 0,
        },
        at(2_500),
    );
    assert_in_force(&controller, 0.0, LimitedBy::DailyQuota);
}

#[test]
fn a_sender_without_a_rate_holds_no_budget() {
    let mut controller = new(Settings {
        daily: DailySend::Limited(1_000),
        ..SETTINGS
    });
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    granted(&mut controller, A, 100.0, 1);
    let without_rate = Event::Asked(Asked {
        idle: true,
        ..asked(A, 200, 50)
    });
    controller.step(&without_rate, at(500));
    assert_eq!(
        (controller.outstanding(), controller.quota().used(at(500))),
        (0, 50)
    );
    assert_eq!(granted(&mut controller, A, 0.0, 501).0, both(50));
}

#[test]
fn without_a_rule_that_counts_there_is_no_budget() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    assert_eq!(granted(&mut controller, A, 100.0, 1), (None, BudgetedBy::Nothing));
}

#[test]
fn a_quota_that_the_provider_calls_exceeded_pauses_the_key() {
    let mut controller = new(SETTINGS);
    let refused = || {
        Event::Asked(Asked {
            refused: Some(Reason::DailyQuota.code()),
            ..asked(A, 0, 40)
        })
    };
    controller.step(&Event::Account(account()), at(0));
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    let decisions = controller.step(&refused(), at(500));
    assert_eq!(
        decisions[0],
        Decision::QuotaExceeded {
            until: at((86_400 + 300) * 1_000)
        }
    );
    assert_in_force(&controller, 0.0, LimitedBy::DailyQuota);
    assert!(controller.step(&refused(), at(1_000)).is_empty(), "said already");
    controller.step(&tick(), at((86_400 + 300) * 1_000 - 1));
    assert_in_force(&controller, 0.0, LimitedBy::DailyQuota);
    controller.step(&tick(), at((86_400 + 300) * 1_000));
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
}

#[test]
fn the_quota_of_an_account_that_nobody_looks_at_is_left_to_the_senders() {
    let mut controller = new(SETTINGS);
    let refused = Asked {
        refused: Some(Reason::DailyQuota.code()),
        ..asked(A, 0, 40)
    };
    controller.step(&Event::Asked(asked(A, 0, 0)), at(0));
    assert!(controller.step(&Event::Asked(refused), at(500)).is_empty());
    assert_in_force(&controller, 400.0, LimitedBy::Aimd);
}
