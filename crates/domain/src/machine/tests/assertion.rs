//! Redis has lost writes, and a sender stands by its claim.

use super::{
    HOUR, MINUTE, NONCE, NOW, claim, dead, failed, in_doubt, moved, queued, report, sending, unknown, wished,
};
use crate::machine::{Event, Step, Why, accept, invariants, recreate, step};
use crate::reason::Reason;
use crate::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State};
use crate::time::Millis;

const LATER: Millis = Millis(NOW.0 + 10_000);

fn asserts(claim: &Record) -> Event {
    Event::Asserted {
        claim: Box::new(claim.clone()),
        lease: MINUTE,
    }
}

#[track_caller]
fn asserted(record: &Record, claim: &Record) -> Record {
    match step(record, &asserts(claim), LATER) {
        Step::Moved(next) => {
            invariants::assertion(record, &next).expect("an assertion keeps the invariants");
            next
        }
        Step::Unchanged(why) => panic!("nothing changed in {}: {why:?}", record.state),
    }
}

#[test]
fn a_claim_that_redis_forgot_stands_again() {
    let record = asserted(&queued(), &sending());
    assert_eq!((record.state, record.reason), (State::Sending, Reason::None));
    assert_eq!(
        record.fence(),
        Fence {
            attempt: 1,
            nonce: NONCE
        }
    );
    assert_eq!(record.provider, Some(Provider::Ses));
    assert_eq!(record.due_at, LATER + MINUTE);
    assert_eq!(record.revision, 3, "past the one that was lost");
}

#[test]
fn whatever_leads_to_another_send_is_stopped() {
    let resends = accept(
        Record {
            policy: DoubtPolicy::Resend,
            ..wished()
        },
        HOUR,
        NOW,
    );
    let first = moved(&resends, claim, NOW);
    let doubt = moved(&first, |record| report(record, unknown()), NOW);
    let over = |record: &Record| Event::WindowOver {
        fence: record.fence(),
    };
    let again = moved(&doubt, over, NOW + HOUR / 2);
    let second = moved(&again, claim, NOW + HOUR / 2);
    // Each of the moves before it may be the one that Redis fell back to.
    for lost in [&resends, &doubt, &again] {
        let record = asserted(lost, &second);
        assert_eq!((record.state, record.attempt), (State::Sending, 2));
        assert!(record.maybe_sent && record.resent, "the resend stays spent");
        assert_eq!((record.generation, record.revision), (2, 6));
    }
    let failed = moved(&sending(), |record| report(record, failed(MINUTE)), NOW);
    let due = moved(&failed, |_| Event::Due, NOW + MINUTE);
    let held = moved(
        &due,
        |record| Event::Held {
            ticket: record.ticket(),
        },
        NOW + MINUTE,
    );
    let claimed = moved(&due, claim, NOW + MINUTE);
    for lost in [&failed, &due, &held, &dead()] {
        let record = asserted(lost, &claimed);
        assert_eq!(
            (record.state, record.attempt, record.tries),
            (State::Sending, 2, 1)
        );
    }
}

#[test]
fn what_has_ended_meanwhile_stays_so_and_may_have_been_sent() {
    let cancelled = moved(
        &queued(),
        |_| Event::Cancelled {
            reason: Reason::CancelledByCaller,
        },
        NOW,
    );
    let record = asserted(&cancelled, &sending());
    assert_eq!(
        (record.state, record.reason, record.due_at),
        (State::Cancelled, Reason::CancelledByCaller, Millis(0))
    );
    assert!(record.maybe_sent);
    assert_eq!(
        step(&record, &asserts(&sending()), LATER),
        Step::Unchanged(Why::Already)
    );
}

#[test]
fn another_acceptance_of_the_same_message_is_on_the_wire_too() {
    let anew = accept(wished(), HOUR, LATER);
    let record = asserted(&anew, &sending());
    assert_eq!((record.state, record.accepted_at), (State::Sending, LATER));
}

#[test]
fn what_redis_remembers_and_what_came_after_is_left_alone() {
    let unchanged = |record: &Record, why| {
        assert_eq!(step(record, &asserts(&sending()), LATER), Step::Unchanged(why));
    };
    unchanged(&sending(), Why::Already);
    unchanged(&in_doubt(), Why::Already);
    let accepted = Record {
        state: State::Accepted,
        ..queued()
    };
    unchanged(&accepted, Why::Already);
    unchanged(
        &Record {
            nonce: Nonce([2; 8]),
            ..sending()
        },
        Why::StaleFence,
    );
    unchanged(
        &Record {
            attempt: 2,
            nonce: Nonce([2; 8]),
            ..queued()
        },
        Why::StaleFence,
    );
}

#[test]
fn where_nothing_is_left_the_claim_makes_the_record() {
    let record = recreate(&sending(), MINUTE, LATER);
    assert_eq!(
        (record.state, record.revision, record.changed_at, record.due_at),
        (State::Sending, 3, LATER, LATER + MINUTE)
    );
    assert_eq!(
        (record.fence(), record.ticket()),
        (sending().fence(), sending().ticket())
    );
    invariants::record(&record).expect("a record like any other");
}
