//! What the pacing lets pass.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::time::Millis;
use paceline_providers::SendOutcome;
use paceline_store::throttle::{Cut, RateKey};
use paceline_testkit::ManualClock;
use paceline_wire::v1;

use super::{Pacing, Withdrawn};
use crate::outcome::tests::record;

const MAIN: &str = "main";
const FIRST: MessageId = MessageId([1; 16]);

fn pacing(in_flight_max: u32) -> (ManualClock, Pacing) {
    let clock = ManualClock::at(Millis(1));
    let pacing = Pacing::new(
        [(MAIN, false)].into_iter(),
        in_flight_max,
        Arc::new(clock.clone()),
    );
    (clock, pacing)
}

/// Grants 10 a second from now on, and lets one token grow.
fn grant(pacing: &Pacing, clock: &ManualClock, granted_total: Option<u64>) {
    clock.advance(Duration::from_millis(1));
    let (asked_at, items) = pacing.ask();
    let lease = v1::Lease {
        key: items[0].key.clone(),
        rate: 10.0,
        burst: 1.0,
        ttl_ms: 2_000,
        version: 1,
        granted_total,
        bulk_total: granted_total.map(|total| total.saturating_sub(1)),
        ..v1::Lease::default()
    };
    let answer = v1::RefreshResponse {
        epoch: 1,
        leases: vec![lease],
        ..v1::RefreshResponse::default()
    };
    pacing.renew(&answer, asked_at);
    clock.advance(Duration::from_millis(101));
}

#[test]
fn nothing_is_admitted_without_a_token() {
    let (clock, pacing) = pacing(10);
    assert!(
        pacing.admit(MAIN, Lane::Transactional, FIRST).is_err(),
        "no lease"
    );
    assert_eq!(pacing.room(MAIN, Lane::Transactional, Duration::from_secs(2)), 0);
    grant(&pacing, &clock, None);
    let admission = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
    assert_eq!(pacing.room(MAIN, Lane::Transactional, Duration::from_secs(2)), 20);
    let wait = pacing
        .admit(MAIN, Lane::Transactional, FIRST)
        .err()
        .expect("no second token");
    assert!(wait <= Duration::from_millis(101), "{wait:?}");
    assert!(pacing.admit("nobody", Lane::Transactional, FIRST).is_err());
    drop(admission);
}

#[test]
fn what_was_not_written_gives_its_token_back() {
    let (clock, pacing) = pacing(10);
    grant(&pacing, &clock, Some(1));
    drop(pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token"));
    let mut admission = pacing
        .admit(MAIN, Lane::Transactional, FIRST)
        .expect("the same token");
    admission.written();
    drop(admission);
    clock.advance(Duration::from_millis(500));
    assert!(
        pacing.admit(MAIN, Lane::Transactional, FIRST).is_err(),
        "the budget of one is spent"
    );
}

#[test]
fn how_long_answers_take_is_told_and_a_silent_provider_is_no_answer() {
    let (clock, pacing) = pacing(100);
    grant(&pacing, &clock, None);
    let send = |answer: SendOutcome, took| {
        let mut admission = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
        admission.written();
        admission.settle((FIRST, &record()), answer, Duration::from_millis(took), 0.5);
        // A second one is there, and the lease is new.
        grant(&pacing, &clock, None);
    };
    for _ in 0..20 {
        let provider_id = "1".to_owned();
        send(SendOutcome::Accepted { provider_id }, 700);
    }
    let reason = Reason::Timeout;
    send(SendOutcome::Unknown { reason }, 10_000);
    let told = pacing.ask().1[0].latency_ms.expect("enough answers");
    assert!((700..=875).contains(&told), "{told}");
}

#[test]
fn a_warm_up_is_repeated_as_it_was_told() {
    let (clock, pacing) = pacing(10);
    let word = v1::WarmUpWord {
        first_day: 20_000,
        level: Some(3),
        overflow_to: "warm".to_owned(),
    };
    let tell = |warm_up| {
        clock.advance(Duration::from_millis(1));
        let (asked_at, items) = pacing.ask();
        let lease = v1::Lease {
            key: items[0].key.clone(),
            ttl_ms: 2_000,
            warm_up,
            ..v1::Lease::default()
        };
        let leases = vec![lease];
        let answer = v1::RefreshResponse {
            leases,
            ..v1::RefreshResponse::default()
        };
        pacing.renew(&answer, asked_at);
        pacing.ask().1[0].warm_up.clone()
    };
    assert_eq!(tell(Some(word.clone())), Some(word));
    assert_eq!(tell(None), None);
}

#[test]
fn an_admission_ends_with_its_lease() {
    let (clock, pacing) = pacing(10);
    grant(&pacing, &clock, None);
    let mut admission = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
    let stands = admission.stands();
    assert_eq!((admission.check(0.5), stands()), (Ok(()), true));
    clock.advance(Duration::from_secs(2));
    let withdrawn = Withdrawn {
        reason: Reason::NotWritten,
        delay: Duration::ZERO,
    };
    assert_eq!((admission.check(0.5), stands()), (Err(withdrawn), false));
}

#[test]
fn claims_that_waited_together_do_not_go_together() {
    let (clock, pacing) = pacing(50);
    grant(&pacing, &clock, Some(30));
    // Redis does not answer, and each tenth of a second another one gets its token.
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token"));
        clock.advance(Duration::from_millis(101));
    }
    // Then all answers are there. Those of the last quarter of a second go, and as many as a full bucket lets go now.
    let went = waiting
        .iter_mut()
        .filter_map(|it| it.check(0.5).is_ok().then(|| it.written()));
    assert_eq!(went.count(), 3);
    drop(waiting);
    let (_, items) = pacing.ask();
    assert_eq!(items[0].spent_total, 3, "what did not go is left in the budget");
}

#[test]
fn an_admission_ends_when_its_key_closes() {
    let (clock, pacing) = pacing(10);
    grant(&pacing, &clock, None);
    let mut admission = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
    {
        let mut key = pacing.key("ses", MAIN).expect("it is known");
        let pass = admission.pass;
        key.gate.refused(
            pass,
            MessageId([2; 16]),
            Reason::AccountPaused,
            Duration::from_secs(1),
        );
    }
    assert!(!admission.stands()());
    let withdrawn = admission.check(0.5).expect_err("closed");
    assert_eq!(withdrawn.reason, Reason::KeyPaused);
    assert!(withdrawn.delay >= Duration::from_secs(30), "{withdrawn:?}");
    assert_eq!(pacing.room(MAIN, Lane::Transactional, Duration::from_secs(2)), 0);
    let (_, items) = pacing.ask();
    assert_eq!(items[0].refused_reason, "account_paused");
    pacing.saw(MAIN, true);
    clock.advance(Duration::from_millis(1));
    let (_, items) = pacing.ask();
    assert!((items[0].wants - 1.0).abs() < 1e-9, "a probe");
}

#[test]
fn open_requests_of_a_key_are_bounded() {
    let (clock, pacing) = pacing(1);
    grant(&pacing, &clock, None);
    let admission = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
    clock.advance(Duration::from_millis(500));
    assert!(pacing.admit(MAIN, Lane::Transactional, FIRST).is_err());
    drop(admission);
    assert!(pacing.admit(MAIN, Lane::Transactional, FIRST).is_ok());
}

#[test]
fn a_broadcast_lowers_the_lease_that_it_names_once() {
    let (clock, pacing) = pacing(10);
    let cut = |provider: &str, identity: &str, version| Cut {
        key: RateKey {
            provider: provider.to_owned(),
            identity: identity.to_owned(),
        },
        epoch: 1,
        version,
        rate: 5.0,
        ratio: 0.5,
    };
    let rate = || pacing.ask().1[0].has_rate;
    assert_eq!(pacing.cut(&cut("ses", MAIN, 9)), "old", "there is no lease");
    grant(&pacing, &clock, None);
    assert_eq!(pacing.cut(&cut("mailgun", MAIN, 2)), "foreign");
    assert_eq!(pacing.cut(&cut("ses", "nobody", 2)), "foreign");
    assert_eq!(pacing.cut(&cut("ses", MAIN, 1)), "old");
    assert!((rate() - 10.0).abs() < 1e-9);
    assert_eq!(pacing.cut(&cut("ses", MAIN, 2)), "applied");
    assert_eq!(pacing.cut(&cut("ses", MAIN, 2)), "old", "said twice");
    assert!((rate() - 5.0).abs() < 1e-9);
    clock.advance(Duration::from_secs(3));
    assert_eq!(pacing.cut(&cut("ses", MAIN, 3)), "old", "the lease is over");
}

#[test]
fn bulk_mail_leaves_the_last_of_the_budget_to_transactional_mail() {
    let (clock, pacing) = pacing(10);
    // One of two is kept.
    grant(&pacing, &clock, Some(2));
    let room = |lane| pacing.room(MAIN, lane, Duration::from_secs(2));
    assert_eq!((room(Lane::Bulk), room(Lane::Transactional)), (1, 2));
    let first = pacing.admit(MAIN, Lane::Bulk, FIRST).expect("a token");
    clock.advance(Duration::from_millis(101));
    assert!(pacing.admit(MAIN, Lane::Bulk, FIRST).is_err());
    assert_eq!((room(Lane::Bulk), room(Lane::Transactional)), (0, 1));
    // What was not written is bulk mail's again.
    drop(first);
    let again = pacing.admit(MAIN, Lane::Bulk, FIRST).expect("the same token");
    clock.advance(Duration::from_millis(101));
    let other = pacing.admit(MAIN, Lane::Transactional, FIRST).expect("a token");
    assert!(pacing.admit(MAIN, Lane::Transactional, FIRST).is_err());
    drop((again, other));
    // Without a budget there is no reserve.
    grant(&pacing, &clock, None);
    assert!(pacing.admit(MAIN, Lane::Bulk, FIRST).is_ok());
}

/// "new" has used its day up, "warm" takes what is above.
fn used_up(overflow_to: &str) -> (ManualClock, Pacing) {
    let clock = ManualClock::at(Millis(1));
    let names = [("new", false), ("warm", false)].into_iter();
    let pacing = Pacing::new(names, 10, Arc::new(clock.clone()));
    clock.advance(Duration::from_millis(1));
    let (asked_at, items) = pacing.ask();
    let lease = |item: v1::RefreshItem| {
        let is_new = item.key.as_ref().is_some_and(|key| key.identity == "new");
        v1::Lease {
            key: item.key,
            rate: if is_new { 0.0 } else { 10.0 },
            burst: 1.0,
            ttl_ms: 2_000,
            version: 1,
            granted_total: is_new.then_some(0),
            overflows: is_new,
            warm_up: is_new.then(|| v1::WarmUpWord {
                overflow_to: overflow_to.to_owned(),
                ..v1::WarmUpWord::default()
            }),
            ..v1::Lease::default()
        }
    };
    let answer = v1::RefreshResponse {
        epoch: 1,
        leases: items.into_iter().map(lease).collect(),
        ..v1::RefreshResponse::default()
    };
    pacing.renew(&answer, asked_at);
    clock.advance(Duration::from_millis(101));
    (clock, pacing)
}

#[test]
fn what_a_day_has_no_room_for_goes_within_the_warm_identity_s_lease() {
    let (clock, pacing) = used_up("warm");
    let two_seconds = Duration::from_secs(2);
    assert_eq!(pacing.room("new", Lane::Bulk, two_seconds), 20);
    pacing.saw("new", true);
    let wants = |identity: &str| {
        let items = pacing.ask().1;
        let named = |item: &&v1::RefreshItem| item.key.as_ref().is_some_and(|key| key.identity == identity);
        items.iter().find(named).expect("it is asked for").wants
    };
    assert!(wants("warm") > 0.0, "the warm one needs a rate for it");
    let admission = pacing
        .admit("new", Lane::Bulk, FIRST)
        .expect("a token of the warm one");
    assert_eq!(admission.via(), Some("warm"));
    assert!(
        pacing.admit("warm", Lane::Bulk, FIRST).is_err(),
        "there was one token"
    );
    drop(admission);
    assert_eq!(
        pacing.admit("warm", Lane::Bulk, FIRST).expect("it is back").via(),
        None
    );
    clock.advance(two_seconds);
    assert_eq!(
        pacing.room("new", Lane::Bulk, two_seconds),
        0,
        "the leases are over"
    );
}

#[test]
fn nothing_goes_as_an_identity_that_is_not_known_or_its_own() {
    for to in ["nobody", "new", ""] {
        let (_, pacing) = used_up(to);
        assert!(pacing.admit("new", Lane::Bulk, FIRST).is_err(), "{to}");
        assert_eq!(pacing.room("new", Lane::Bulk, Duration::from_secs(2)), 0, "{to}");
    }
}
