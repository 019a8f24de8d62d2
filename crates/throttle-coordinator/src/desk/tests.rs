//! The desk without a network: who may be answered, and what is remembered.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::lease::HolderId;
use paceline_domain::reason::Reason;
use paceline_kit::settings::load;
use paceline_store::throttle::{Adopted, Kept, RateKey, Term};

use super::{Desk, Item, Lease, Refused};
use crate::config::{Config, DEFAULTS};

const A: HolderId = HolderId([1; 16]);
const B: HolderId = HolderId([2; 16]);

fn ms(millis: u64) -> Duration {
    Duration::from_secs(500) + Duration::from_millis(millis)
}

fn key() -> RateKey {
    RateKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    }
}

fn term(epoch: u64) -> Term {
    Term {
        epoch,
        nonce: format!("nonce-{epoch}"),
    }
}

fn item(wants: f64, has: f64) -> Item {
    Item {
        wants,
        has,
        has_version: 0,
        totals: Totals::default(),
        accepted: 0,
        granted: 0,
        spent: 0,
        refused: None,
    }
}

fn adopted(saved: Option<(f64, u64)>) -> Adopted {
    Adopted {
        rev: 1,
        saved,
        whole: false,
        table: false,
        lost: false,
        snapshot: None,
        journal_bytes: 0,
    }
}

fn lost(saved: Option<(f64, u64)>) -> Adopted {
    Adopted {
        lost: true,
        ..adopted(saved)
    }
}

fn open(desk: &Desk, term: &Term, adopted: &Adopted, at: u64) {
    let opened = desk.prepare(term, &key(), (adopted, &Kept::default()), ms(at));
    if let Some(opened) = opened.expect("readable") {
        desk.open(opened, adopted.rev + 1);
    }
}

/// A desk whose lead began at 0 and lasts for a minute, with the key open.
fn leading(saved: Option<(f64, u64)>) -> Desk {
    leading_with(false, saved)
}

fn leading_with(breaker: bool, saved: Option<(f64, u64)>) -> Desk {
    let mut config: Config = load("throttle-coordinator", DEFAULTS, None).expect("defaults");
    config.rates.breaker = breaker.then_some(true);
    let desk = Desk::new(Arc::new(config));
    desk.begin(term(4), ms(60_000), ms(0));
    open(&desk, &term(4), &adopted(saved), 0);
    desk
}

fn lease(desk: &Desk, holder: HolderId, sequence: u64, item: Item, at: u64) -> Lease {
    let (_, leases, _) = desk
        .refresh(holder, sequence, &[(key(), item)], ms(at))
        .expect("leads");
    leases[0].1
}

fn rate(desk: &Desk, holder: HolderId, sequence: u64, item: Item, at: u64) -> Result<f64, Refused> {
    let (_, leases, _) = desk.refresh(holder, sequence, &[(key(), item)], ms(at))?;
    Ok(leases[0].1.rate)
}

#[test]
fn nothing_is_granted_after_the_lead_is_over_by_the_own_clock() {
    let desk = leading(None);
    assert!(rate(&desk, A, 1, item(10.0, 0.0), 59_999).is_ok());
    let refused = Err(Refused::NotLeader(String::new()));
    assert_eq!(rate(&desk, A, 2, item(10.0, 0.0), 60_000), refused);
    desk.end("http://other", 5);
    let refused = Err(Refused::NotLeader("http://other".to_owned()));
    assert_eq!(rate(&desk, A, 3, item(10.0, 0.0), 10), refused);
}

#[test]
fn a_new_leader_learns_before_it_grants() {
    let desk = leading(Some((300.0, 7)));
    assert_eq!(rate(&desk, A, 1, item(900.0, 80.0), 10), Ok(80.0));
    assert_eq!(rate(&desk, B, 1, item(900.0, 0.0), 20), Ok(0.0));
    assert_eq!(rate(&desk, B, 2, item(900.0, 0.0), 2_225), Ok(150.0));
}

#[test]
fn a_sender_that_met_a_newer_leader_ends_this_lead() {
    let desk = leading(None);
    assert!(!desk.meet_epoch(4));
    assert!(desk.meet_epoch(9));
    assert_eq!(desk.term(ms(10)), None);
    assert_eq!(desk.epoch_floor(), 9, "the next epoch is past it");
}

#[test]
fn a_sender_gone_wrong_does_not_use_the_epochs_up() {
    let desk = leading(None);
    assert!(desk.meet_epoch(1 << 51));
    assert!(desk.epoch_floor() < 1 << 21, "{}", desk.epoch_floor());
}

#[test]
fn an_older_call_changes_nothing() {
    let desk = leading(None);
    assert_eq!(rate(&desk, A, 5, item(900.0, 0.0), 3_000), Ok(500.0));
    assert_eq!(rate(&desk, A, 5, item(10.0, 0.0), 3_010), Err(Refused::Outdated));
    assert!((desk.describe(ms(3_020))[0].1.leased - 500.0).abs() < 1e-9);
}

#[test]
fn a_rate_that_redis_has_lost_is_remembered() {
    let desk = leading(Some((300.0, 7)));
    desk.begin(term(5), ms(60_000), ms(100));
    open(&desk, &term(5), &lost(None), 110);
    assert!((desk.describe(ms(120))[0].1.rate - 300.0).abs() < 1e-9);
    desk.begin(term(6), ms(60_000), ms(200));
    open(&desk, &term(6), &adopted(Some((200.0, 8))), 210);
    assert!(
        (desk.describe(ms(220))[0].1.rate - 200.0).abs() < 1e-9,
        "another led since"
    );
}

#[test]
fn what_was_adopted_in_an_older_term_opens_nothing() {
    let desk = leading(None);
    desk.begin(term(5), ms(60_000), ms(100));
    open(&desk, &term(4), &adopted(None), 110);
    assert!(desk.describe(ms(120)).is_empty());
}

#[test]
fn what_is_granted_flies_at_once_and_what_nobody_waits_for_lingers() {
    let desk = leading(Some((300.0, 7)));
    desk.tick(ms(10));
    assert!(desk.depart(false, ms(20)).0.is_empty(), "nobody waits for a tick");
    assert_eq!(rate(&desk, A, 1, item(900.0, 80.0), 30), Ok(80.0));
    let (writes, waiting) = desk.depart(false, ms(30));
    assert_eq!((writes.len(), waiting.len(), writes[0].rev), (1, 1, 2));
    let commit = &writes[0].commit;
    assert!(
        commit.events.contains("tick") && commit.events.contains("asked"),
        "{}",
        commit.events
    );
    assert_eq!(commit.leases.len(), 1);
    assert!(
        !commit.complete,
        "it learns: others may hold what it has not heard of"
    );
    desk.written(&writes[0], 3);
    desk.tick(ms(40));
    assert!(desk.depart(false, ms(530)).0.is_empty());
    assert_eq!(desk.depart(false, ms(540)).0[0].rev, 3);
}

#[test]
fn throttles_cut_the_rate_once_and_what_is_leased_next() {
    let desk = leading(Some((300.0, 7)));
    let report = |sequence, sent, throttled: &[(u64, u64)], at| {
        let item = Item {
            has_version: 7,
            totals: Totals {
                sent,
                errors: 0,
                throttled: throttled.to_vec(),
            },
            ..item(900.0, 300.0)
        };
        rate(&desk, A, sequence, item, at).expect("leads")
    };
    report(1, 0, &[], 3_000);
    report(2, 300, &[(7, 40)], 4_000);
    let decisions = desk.tick(ms(4_010));
    assert_eq!(decisions.len(), 1);
    let granted = report(3, 600, &[(7, 90)], 5_000);
    assert!((granted - 240.0).abs() < 1e-9, "{granted}");
    assert!(desk.tick(ms(5_100)).is_empty(), "throttles of the older version");
}

#[test]
fn a_provider_that_fails_is_left_alone_and_then_one_sender_probes_it_with_twenty() {
    let desk = leading_with(true, Some((300.0, 7)));
    let failing = |sent, errors, has| Item {
        has_version: 7,
        totals: Totals {
            sent,
            errors,
            throttled: Vec::new(),
        },
        spent: sent,
        ..item(900.0, has)
    };
    assert_eq!(lease(&desk, A, 1, failing(0, 0, 0.0), 3_000).granted_total, None);
    lease(&desk, A, 2, failing(100, 50, 300.0), 3_500);
    let decisions = desk.tick(ms(3_600));
    assert_eq!(decisions[0].1.reason(), "failures", "{decisions:?}");
    let stopped = lease(&desk, A, 3, failing(100, 50, 300.0), 4_000);
    assert_eq!((stopped.rate, stopped.granted_total), (0.0, Some(100)));
    assert_eq!(desk.describe(ms(4_010))[0].1.limited_by.as_str(), "breaker");
    // 30 s and a fifth.
    assert_eq!(desk.tick(ms(39_700))[0].1.reason(), "time_over");
    let prober = lease(&desk, A, 4, failing(100, 50, 0.0), 40_000);
    assert_eq!((prober.rate, prober.granted_total), (3.0, Some(120)));
    let other = lease(&desk, B, 1, item(900.0, 0.0), 40_010);
    assert_eq!((other.rate, other.granted_total), (0.0, Some(0)));
    // All are well: half of the rate, and no budget any more.
    let well = Item {
        accepted: 20,
        ..failing(120, 50, 3.0)
    };
    lease(&desk, A, 5, well.clone(), 41_000);
    assert_eq!(desk.tick(ms(41_100))[0].1.reason(), "probes_well");
    let after = lease(&desk, A, 6, well, 41_500);
    assert_eq!((after.rate, after.granted_total), (150.0, None));
}

#[test]
fn what_the_provider_refuses_is_probed_once_a_second() {
    let desk = leading(Some((300.0, 7)));
    let refused = Item {
        refused: Some(Reason::AccountSuspended),
        ..item(900.0, 0.0)
    };
    assert_eq!(rate(&desk, A, 1, refused, 3_000), Ok(1.0));
    assert_eq!(desk.tick(ms(3_100))[0].1.reason(), "account_suspended");
    assert_eq!(rate(&desk, A, 2, item(900.0, 1.0), 3_500), Ok(300.0));
}
