//! Times, reasons and fields of each row. Which rows there are is `tests/exploration`'s part.

mod assertion;
mod sequences;

use std::time::Duration;

use super::{Event, Outcome, Step, Why, accept, invariants, step};
use crate::lane::Lane;
use crate::reason::Reason;
use crate::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State, Ticket};
use crate::time::Millis;

const NOW: Millis = Millis(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const NONCE: Nonce = Nonce([1; 8]);

fn wished() -> Record {
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 0,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 0,
        tries: 0,
        tries_max: 8,
        maybe_sent: false,
        resent: false,
        policy: DoubtPolicy::Hold,
        lane: Lane::Transactional,
        accepted_at: Millis(0),
        changed_at: Millis(0),
        send_at: Millis(0),
        expires_at: Millis(0),
        due_at: Millis(0),
        doubt_window_s: 900,
        dedupe_window_s: 604_800,
        provider: None,
        provider_id: String::new(),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        identity: "main".to_owned(),
        digests: vec![1, 2, 3],
    }
}

fn queued() -> Record {
    accept(wished(), HOUR, NOW)
}

fn claim(record: &Record) -> Event {
    Event::Claimed {
        ticket: record.ticket(),
        nonce: NONCE,
        lease: MINUTE,
        provider: Provider::Ses,
    }
}

fn sending() -> Record {
    moved(&queued(), claim, NOW)
}

fn in_doubt() -> Record {
    moved(&sending(), |record| report(record, unknown()), NOW)
}

fn dead() -> Record {
    moved(
        &queued(),
        |record| Event::Buried {
            ticket: record.ticket(),
            reason: Reason::RenderFailed,
        },
        NOW,
    )
}

fn report(record: &Record, outcome: Outcome) -> Event {
    Event::Reported {
        fence: record.fence(),
        outcome,
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        reason: Reason::Timeout,
    }
}

fn failed(delay: Duration) -> Outcome {
    Outcome::Failed {
        reason: Reason::ProviderUnavailable,
        delay,
    }
}

#[track_caller]
fn moved(record: &Record, event: impl Fn(&Record) -> Event, now: Millis) -> Record {
    let event = event(record);
    match step(record, &event, now) {
        Step::Moved(next) => {
            invariants::transition(record, &next).expect("every move keeps the invariants");
            assert_eq!(next.changed_at, now);
            next
        }
        Step::Unchanged(why) => panic!("{event:?} in {} changed nothing: {why:?}", record.state),
    }
}

#[track_caller]
fn unchanged(record: &Record, event: &Event, now: Millis, why: Why) {
    assert_eq!(
        step(record, event, now),
        Step::Unchanged(why),
        "{event:?} in {}",
        record.state
    );
}

#[test]
fn a_new_record_counts_from_one_and_ends_by_the_sooner_of_wish_and_time_to_live() {
    let record = queued();
    assert_eq!((record.revision, record.generation, record.attempt), (1, 1, 0));
    assert_eq!((record.accepted_at, record.changed_at), (NOW, NOW));
    assert_eq!((record.due_at, record.expires_at), (Millis(0), NOW + HOUR));
    invariants::record(&record).expect("a new record is sound");

    let wish = |expires_at| {
        let wished = Record {
            expires_at,
            ..wished()
        };
        accept(wished, HOUR, NOW).expires_at
    };
    assert_eq!(wish(NOW + MINUTE), NOW + MINUTE);
    assert_eq!(wish(NOW + HOUR + MINUTE), NOW + HOUR);
}

#[test]
fn a_later_send_at_schedules_and_starts_the_time_to_live() {
    let send_at = NOW + MINUTE;
    let record = accept(Record { send_at, ..wished() }, HOUR, NOW);
    assert_eq!((record.state, record.due_at), (State::Scheduled, send_at));
    assert_eq!(record.expires_at, send_at + HOUR);
    unchanged(&record, &Event::Due, Millis(send_at.0 - 1), Why::NotDue);
    let due = moved(&record, |_| Event::Due, send_at);
    assert_eq!((due.state, due.generation), (State::Queued, 2));

    let at_once = Record {
        send_at: NOW,
        ..wished()
    };
    assert_eq!(accept(at_once, HOUR, NOW).state, State::Queued);
}

#[test]
fn a_claim_takes_the_next_attempt_for_its_lease() {
    let record = sending();
    assert_eq!(
        record.fence(),
        Fence {
            attempt: 1,
            nonce: NONCE
        }
    );
    assert_eq!(
        (record.due_at, record.provider),
        (NOW + MINUTE, Some(Provider::Ses))
    );
    unchanged(&record, &claim(&record), NOW, Why::WrongState);
}

#[test]
fn what_may_have_been_sent_keeps_its_provider_and_all_else_moves() {
    let by_mailgun = |record: &Record| match claim(record) {
        Event::Claimed {
            ticket, nonce, lease, ..
        } => Event::Claimed {
            ticket,
            nonce,
            lease,
            provider: Provider::Mailgun,
        },
        other => other,
    };
    for (maybe_sent, provider) in [(false, Provider::Mailgun), (true, Provider::Ses)] {
        let record = Record {
            maybe_sent,
            provider: Some(Provider::Ses),
            ..queued()
        };
        assert_eq!(moved(&record, by_mailgun, NOW).provider, Some(provider));
    }
}

#[test]
fn a_claim_needs_the_tickets_acceptance_and_generation() {
    let record = queued();
    for ticket in [
        Ticket {
            generation: 2,
            ..record.ticket()
        },
        Ticket {
            accepted_at: Millis(1),
            ..record.ticket()
        },
    ] {
        let reason = Reason::AddressSuppressed;
        let event = Event::Suppressed { ticket, reason };
        unchanged(&record, &event, NOW, Why::StaleTicket);
        unchanged(&record, &Event::Held { ticket }, NOW, Why::StaleTicket);
    }
}

#[test]
fn past_its_expiry_a_message_is_neither_promoted_nor_claimed_nor_resent() {
    let record = queued();
    let end = record.expires_at;
    let before = Millis(end.0 - 1);
    assert_eq!(moved(&record, claim, before).state, State::Sending);
    for event in [
        claim(&record),
        Event::Suppressed {
            ticket: record.ticket(),
            reason: Reason::NotAllowedHere,
        },
    ] {
        let next = moved(&record, |_| event.clone(), end);
        assert_eq!((next.state, next.reason), (State::Expired, Reason::PastExpiry));
    }
    let waiting = moved(&sending(), |record| report(record, failed(MINUTE)), NOW);
    assert_eq!(moved(&waiting, |_| Event::Due, end).state, State::Expired);

    let doubt = Record {
        policy: DoubtPolicy::Resend,
        ..in_doubt()
    };
    let over = |record: &Record| Event::WindowOver {
        fence: record.fence(),
    };
    let resent = moved(&doubt, over, before);
    assert_eq!(
        (resent.state, resent.reason),
        (State::Queued, Reason::DoubtResent)
    );
    assert!(resent.resent, "the policy's resend is spent");
    assert_eq!(moved(&doubt, over, end).state, State::Dead);
}

#[test]
fn a_postponed_message_waits_its_whole_delay_and_a_failed_one_no_longer_than_it_lives() {
    let postponed = moved(
        &queued(),
        |record| Event::Postponed {
            ticket: record.ticket(),
            reason: Reason::BundleMissing,
            delay: HOUR * 2,
        },
        NOW,
    );
    assert_eq!(
        (postponed.state, postponed.due_at),
        (State::Deferred, NOW + HOUR * 2)
    );

    let wait = |delay| moved(&sending(), |record| report(record, failed(delay)), NOW);
    assert_eq!(wait(MINUTE).due_at, NOW + MINUTE);
    assert_eq!(wait(HOUR * 2).due_at, NOW + HOUR);
    let deferred = Outcome::Deferred {
        reason: Reason::Throttled,
        delay: HOUR * 2,
    };
    let deferred = moved(&sending(), |record| report(record, deferred.clone()), NOW);
    assert_eq!((deferred.due_at, deferred.tries), (NOW + HOUR, 0));
}

#[test]
fn the_last_try_that_fails_ends_in_the_dead_letters() {
    let record = Record {
        tries_max: 2,
        ..sending()
    };
    let first = moved(&record, |record| report(record, failed(MINUTE)), NOW);
    assert_eq!((first.state, first.tries), (State::Deferred, 1));
    let again = moved(&moved(&first, |_| Event::Due, NOW + MINUTE), claim, NOW + MINUTE);
    let last = moved(&again, |record| report(record, failed(MINUTE)), NOW + MINUTE);
    assert_eq!((last.state, last.tries), (State::Dead, 2));
    assert_eq!((last.reason, last.due_at), (Reason::TriesExhausted, Millis(0)));
    assert_eq!(moved(&last, |_| Event::Redriven, NOW).tries, 0);
}

#[test]
fn doubt_lasts_its_window_and_begins_once() {
    let window = Duration::from_secs(900);
    let record = in_doubt();
    assert_eq!((record.state, record.due_at), (State::InDoubt, NOW + window));
    assert_eq!((record.maybe_sent, record.reason), (true, Reason::Timeout));
    unchanged(&record, &report(&record, unknown()), NOW, Why::Already);
    let over = Event::WindowOver {
        fence: record.fence(),
    };
    unchanged(&record, &over, NOW, Why::NotDue);
    let end = moved(&record, |_| over.clone(), NOW + window);
    assert_eq!((end.state, end.reason), (State::Dead, Reason::DoubtUnsettled));
}

#[test]
fn a_claim_lapses_by_its_own_fence_at_its_deadline() {
    let record = sending();
    let lapse = |fence| Event::ClaimLapsed { fence };
    let other = Fence {
        nonce: Nonce([2; 8]),
        ..record.fence()
    };
    unchanged(&record, &lapse(record.fence()), NOW, Why::NotDue);
    unchanged(&record, &lapse(other), NOW + MINUTE, Why::StaleFence);
    let doubt = moved(&record, |record| lapse(record.fence()), NOW + MINUTE);
    assert_eq!((doubt.state, doubt.reason), (State::InDoubt, Reason::ClaimLapsed));
    assert!(doubt.maybe_sent);
}

#[test]
fn only_a_positive_report_passes_with_another_fence() {
    let record = sending();
    let fence = Fence {
        attempt: 1,
        nonce: Nonce([2; 8]),
    };
    let foreign = |outcome| Event::Reported { fence, outcome };
    for outcome in [
        unknown(),
        failed(MINUTE),
        Outcome::Refused {
            reason: Reason::MessageRefused,
        },
        Outcome::Deferred {
            reason: Reason::Throttled,
            delay: MINUTE,
        },
    ] {
        unchanged(&record, &foreign(outcome.clone()), NOW, Why::StaleFence);
        unchanged(&queued(), &foreign(outcome), NOW, Why::WrongState);
    }
    let accepted = Outcome::Accepted {
        provider_id: "0100-a".to_owned(),
    };
    let next = moved(&record, |_| foreign(accepted.clone()), NOW);
    assert_eq!(
        (next.state, next.provider_id.as_str()),
        (State::Accepted, "0100-a")
    );
}

#[test]
fn the_first_evidence_keeps_its_provider_id() {
    let sent = |provider_id: &str| Event::EvidenceSent {
        provider: Provider::Ses,
        provider_id: provider_id.to_owned(),
    };
    let record = moved(&queued(), |_| sent("0100-a"), NOW);
    assert_eq!(
        (record.state, record.reason),
        (State::Accepted, Reason::EventSaysSent)
    );
    assert_eq!(record.provider, Some(Provider::Ses));
    unchanged(&record, &sent("0100-b"), NOW, Why::Already);
    assert_eq!(moved(&queued(), |_| sent(""), NOW).provider_id, "");
}

#[test]
fn not_sent_speaks_for_its_own_attempt_in_doubt() {
    let not_sent = |attempt| Event::EvidenceNotSent {
        attempt,
        reason: Reason::MessageRefused,
        delay: MINUTE,
    };
    let record = in_doubt();
    unchanged(&record, &not_sent(2), NOW, Why::StaleFence);
    unchanged(&sending(), &not_sent(1), NOW, Why::WrongState);
    let next = moved(&record, |_| not_sent(1), NOW);
    assert_eq!((next.state, next.tries), (State::Deferred, 0));
    assert!(next.maybe_sent, "it was unknown once");
}

#[test]
fn wishes_say_why_they_change_nothing() {
    let cancelled = moved(
        &queued(),
        |_| Event::Cancelled {
            reason: Reason::CancelledByCaller,
        },
        NOW,
    );
    unchanged(
        &cancelled,
        &Event::Cancelled {
            reason: Reason::CancelledByCaller,
        },
        NOW,
        Why::Already,
    );
    unchanged(
        &sending(),
        &Event::Cancelled {
            reason: Reason::CancelledByCaller,
        },
        NOW,
        Why::WrongState,
    );
    unchanged(&queued(), &Event::Redriven, NOW, Why::WrongState);
    unchanged(&queued(), &Event::Released, NOW, Why::WrongState);
    let discarded = moved(&dead(), |_| Event::Discarded, NOW);
    unchanged(&discarded, &Event::Discarded, NOW, Why::Already);
    unchanged(&discarded, &Event::Redriven, NOW, Why::WrongState);
}

#[test]
fn what_is_erased_ends_wherever_it_waits_and_what_is_on_its_way_goes_on() {
    for (from, to) in [
        (queued(), State::Cancelled),
        (dead(), State::Discarded),
        (in_doubt(), State::Discarded),
    ] {
        let next = moved(&from, |_| Event::Erased, NOW);
        assert_eq!((next.state, next.reason), (to, Reason::Erased));
        assert_eq!(next.maybe_sent, from.maybe_sent);
        unchanged(&next, &Event::Erased, NOW, Why::Already);
    }
    unchanged(&sending(), &Event::Erased, NOW, Why::WrongState);
    let given_up = moved(&in_doubt(), |_| Event::Erased, NOW);
    let sent = Event::EvidenceSent {
        provider: Provider::Ses,
        provider_id: "1".to_owned(),
    };
    assert_eq!(
        moved(&given_up, |_| sent.clone(), NOW).state,
        State::Accepted,
        "evidence comes to its right"
    );
}

#[test]
fn a_resubmission_keeps_the_acceptance_and_takes_the_new_lane_identity_and_times() {
    let later = NOW + HOUR;
    let again = |send_at, expires_at| Event::Resubmitted {
        lane: Lane::Bulk,
        identity: "other".to_owned(),
        send_at,
        expires_at,
        ttl: HOUR,
    };
    let next = moved(&dead(), |_| again(later + HOUR, Millis(0)), later);
    assert_eq!((next.state, next.due_at), (State::Scheduled, later + HOUR));
    assert_eq!((next.send_at, next.expires_at), (later + HOUR, later + HOUR * 2));
    assert_eq!((next.accepted_at, next.generation), (NOW, 2));
    assert_eq!((next.lane, next.identity.as_str()), (Lane::Bulk, "other"));

    let next = moved(&dead(), |_| again(Millis(0), later + MINUTE), later);
    assert_eq!((next.state, next.expires_at), (State::Queued, later + MINUTE));

    let doubted = Record {
        maybe_sent: true,
        ..dead()
    };
    unchanged(&doubted, &again(Millis(0), Millis(0)), later, Why::MaybeSent);
    unchanged(&sending(), &again(Millis(0), Millis(0)), later, Why::WrongState);
}
