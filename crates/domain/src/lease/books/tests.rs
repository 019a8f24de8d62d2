//! The books, one rule at a time. `tests/leases` drives them against senders over a bad network.

use std::time::Duration;

use super::{Books, Granted, Request, Reserve};
use crate::gcra::burst_of;
use crate::lease::{HolderId, SAFE_TTL, TTL, in_books};

const A: HolderId = HolderId([1; 16]);
const B: HolderId = HolderId([2; 16]);
const C: HolderId = HolderId([3; 16]);

fn ms(millis: u64) -> Duration {
    Duration::from_secs(100) + Duration::from_millis(millis)
}

/// Books that have learned.
fn books(rate: f64) -> Books {
    Books::new(rate, ms(0) - in_books(TTL))
}

fn ask(books: &mut Books, id: HolderId, wants: f64, has: f64, at: u64) -> Granted {
    let request = Request {
        sequence: at + 1,
        wants,
        has,
        has_safe: 0.0,
        keeps: false,
    };
    books.refresh(id, &request, ms(at)).expect("in order")
}

#[track_caller]
fn assert_rate(granted: Granted, rate: f64) {
    assert!((granted.rate - rate).abs() < 1e-9, "{granted:?} is not {rate}");
}

#[test]
fn a_lone_sender_gets_what_it_wants_and_half_of_the_rest_up_to_the_rate() {
    let mut books = books(100.0);
    assert_rate(ask(&mut books, A, 40.0, 0.0, 0), 70.0);
    assert_rate(ask(&mut books, A, 400.0, 70.0, 500), 100.0);
    assert_rate(ask(&mut books, A, 0.0, 100.0, 1_000), 0.0);
}

#[test]
fn who_joins_where_nobody_is_short_waits_for_one_word_of_the_others() {
    let mut books = books(100.0);
    assert_rate(ask(&mut books, A, 40.0, 0.0, 0), 70.0);
    let joined = ask(&mut books, B, 60.0, 0.0, 100);
    assert_rate(joined, 30.0);
    assert!(!joined.settled);
    let shrunk = ask(&mut books, A, 40.0, 70.0, 500);
    assert_rate(shrunk, 40.0);
    assert!(!shrunk.settled, "the other waits for it");
    assert!(ask(&mut books, A, 40.0, 40.0, 600).settled);
    assert_rate(ask(&mut books, B, 60.0, 30.0, 610), 60.0);
}

#[test]
fn who_joins_waits_until_the_others_have_said_that_they_hold_less() {
    let mut books = books(100.0);
    assert_rate(ask(&mut books, A, 400.0, 0.0, 0), 100.0);
    let joined = ask(&mut books, B, 400.0, 0.0, 100);
    assert_rate(joined, 0.0);
    assert!(!joined.settled, "it had better ask again soon");
    let shrunk = ask(&mut books, A, 400.0, 100.0, 500);
    assert_rate(shrunk, 50.0);
    assert!(
        !shrunk.settled,
        "the sooner it says so, the sooner the other has it"
    );
    assert_rate(ask(&mut books, B, 400.0, 0.0, 510), 0.0);
    assert!(ask(&mut books, A, 400.0, 50.0, 600).settled);
    let second = ask(&mut books, B, 400.0, 0.0, 610);
    assert_rate(second, 50.0);
    assert!(second.settled);
}

#[test]
fn a_lost_answer_is_counted_as_if_it_had_arrived() {
    let mut books = books(100.0);
    assert_rate(ask(&mut books, A, 400.0, 0.0, 0), 100.0);
    assert_rate(ask(&mut books, A, 10.0, 100.0, 500), 55.0);
    assert_rate(ask(&mut books, B, 400.0, 0.0, 510), 0.0);
    assert!((books.outstanding(ms(520)) - 100.0).abs() < 1e-9);
}

#[test]
fn what_a_dead_sender_holds_is_free_once_it_is_over_in_the_books() {
    let mut books = books(100.0);
    ask(&mut books, A, 400.0, 0.0, 0);
    assert_rate(ask(&mut books, B, 400.0, 0.0, 2_219), 0.0);
    assert_rate(ask(&mut books, B, 400.0, 0.0, 2_220), 100.0);
}

#[test]
fn what_is_given_back_is_free_at_once() {
    let mut books = books(100.0);
    ask(&mut books, A, 400.0, 0.0, 0);
    books.release(A);
    assert_rate(ask(&mut books, B, 400.0, 0.0, 1), 100.0);
}

#[test]
fn a_cut_shrinks_what_is_granted_next_and_bounds_what_is_outstanding() {
    let mut books = books(100.0);
    ask(&mut books, A, 400.0, 0.0, 0);
    books.set_rate(80.0);
    assert!((books.bound(ms(10)) - 100.0).abs() < 1e-9);
    assert_rate(ask(&mut books, A, 400.0, 100.0, 500), 80.0);
    assert!(
        (books.bound(ms(510)) - 100.0).abs() < 1e-9,
        "the answer may be lost"
    );
    ask(&mut books, A, 400.0, 80.0, 1_000);
    assert!((books.bound(ms(1_010)) - 80.0).abs() < 1e-9);
}

#[test]
fn an_older_request_is_ignored() {
    let mut books = books(100.0);
    ask(&mut books, A, 400.0, 0.0, 500);
    let old = Request {
        sequence: 1,
        wants: 400.0,
        has: 0.0,
        has_safe: 0.0,
        keeps: false,
    };
    assert_eq!(books.refresh(A, &old, ms(510)), None);
    assert!((books.outstanding(ms(520)) - 100.0).abs() < 1e-9);
}

#[test]
fn after_an_election_who_holds_keeps_and_who_holds_nothing_waits() {
    let mut books = Books::new(100.0, ms(0));
    assert_rate(ask(&mut books, A, 400.0, 60.0, 10), 60.0);
    assert_rate(ask(&mut books, B, 400.0, 0.0, 20), 0.0);
    assert_rate(ask(&mut books, C, 400.0, 70.0, 30), 40.0);
    assert!(books.is_learning(ms(2_219)));
    assert!(!books.is_learning(ms(2_220)));
}

#[test]
fn a_small_rate_goes_to_few_in_turn_and_everybody_has_one() {
    let mut books = books(25.0);
    let ids: Vec<HolderId> = (0..7).map(|n| HolderId([n; 16])).collect();
    let mut has = [0.0; 7];
    let mut had_turn = [false; 7];
    for round in 0..1_500_u64 {
        for (index, id) in ids.iter().enumerate() {
            let granted = ask(&mut books, *id, 5.0, has[index], round * 100 + 1);
            has[index] = granted.rate;
            had_turn[index] |= granted.rate > 0.0;
            assert!(granted.burst <= burst_of(25.0));
        }
        assert!(has.iter().filter(|rate| **rate > 0.0).count() <= 2, "{has:?}");
        assert!(has.iter().sum::<f64>() <= 25.0 + 1e-9);
    }
    assert_eq!(had_turn, [true; 7]);
}

#[test]
fn who_joins_waits_for_room_for_a_burst_though_a_part_of_the_rate_is_free() {
    let mut books = books(10.0);
    ask(&mut books, A, 40.0, 0.0, 0);
    // A cut was pushed to it, its turn is over, and that answer is lost.
    let turn = 5_000;
    ask(&mut books, B, 40.0, 0.0, turn);
    ask(&mut books, A, 40.0, 4.0, turn + 10);
    assert_rate(ask(&mut books, B, 40.0, 0.0, turn + 20), 0.0);
    ask(&mut books, A, 40.0, 0.0, turn + 30);
    assert_rate(ask(&mut books, B, 40.0, 0.0, turn + 40), 10.0);
}

#[test]
fn bursts_are_counted_until_a_sender_says_that_it_has_less() {
    let mut books = books(25.0);
    let alone = ask(&mut books, A, 5.0, 0.0, 0);
    assert!((alone.burst - 1.9).abs() < 1e-9, "{alone:?}");
    let joined = ask(&mut books, B, 5.0, 0.0, 100);
    assert_rate(joined, 0.0);
    assert!(!joined.settled);
    ask(&mut books, A, 5.0, 15.0, 500);
    let room = ask(&mut books, A, 5.0, 8.75, 600);
    let joined = ask(&mut books, B, 5.0, 0.0, 610);
    assert!(
        joined.rate > 0.0 && room.burst + joined.burst <= 2.5 + 1e-9,
        "{room:?} {joined:?}"
    );
}

#[test]
fn nonsense_is_nothing() {
    let mut books = books(100.0);
    for (at, wants) in [f64::NAN, f64::INFINITY, -5.0].into_iter().enumerate() {
        assert_rate(ask(&mut books, A, wants, f64::NAN, at as u64), 0.0);
    }
}

const RESERVE: Reserve = Reserve {
    share: 0.1,
    senders: 2,
};

/// Books that know what was leased before, and keep a tenth back.
fn reserved(rate: f64) -> Books {
    Books::reopened(rate, [], ms(0)).keeping(RESERVE)
}

fn ask_safe(books: &mut Books, id: HolderId, (has, has_safe): (f64, f64), at: u64) -> Granted {
    let request = Request {
        sequence: at + 1,
        wants: 5_000.0,
        has,
        has_safe,
        keeps: true,
    };
    books.refresh(id, &request, ms(at)).expect("in order")
}

#[test]
fn what_is_kept_back_is_shared_beside_the_leases() {
    let mut books = reserved(1_000.0);
    let alone = ask_safe(&mut books, A, (0.0, 0.0), 0);
    assert_rate(alone, 900.0);
    assert!(
        (alone.safe_rate - 50.0).abs() < 1e-9,
        "two are expected: {alone:?}"
    );
    let again = ask_safe(&mut books, A, (900.0, 50.0), 500);
    assert!((again.safe_rate - 50.0).abs() < 1e-9);
    let second = ask_safe(&mut books, B, (0.0, 0.0), 510);
    let third = ask_safe(&mut books, C, (0.0, 0.0), 520);
    let safe = [again, second, third].map(|granted| granted.safe_rate);
    assert!(
        safe.iter().sum::<f64>() <= 100.0 + 1e-9 && safe[2] == 0.0,
        "{safe:?}"
    );
}

#[test]
fn more_than_it_was_leased_nobody_has() {
    let mut books = reserved(1_000.0);
    ask_safe(&mut books, A, (0.0, 1e6), 0);
    assert_rate(ask_safe(&mut books, B, (0.0, 0.0), 10), 0.0);
    assert_rate(ask_safe(&mut books, A, (900.0, 1e6), 500), 450.0);
    assert_rate(ask_safe(&mut books, A, (450.0, 50.0), 600), 450.0);
    assert_rate(ask_safe(&mut books, B, (0.0, 0.0), 610), 450.0);
}

#[test]
fn a_lapsed_sender_s_safe_rate_counts_for_its_minute() {
    let mut books = reserved(1_000.0);
    ask_safe(&mut books, A, (0.0, 0.0), 0);
    let lapsed = in_books(TTL).as_millis() as u64;
    assert!((books.outstanding(ms(lapsed - 1)) - 900.0).abs() < 1e-9);
    assert!((books.outstanding(ms(lapsed)) - 50.0).abs() < 1e-9);
    // The rate falls far below what was leased of it.
    books.set_rate(120.0);
    assert_rate(ask_safe(&mut books, B, (0.0, 0.0), lapsed), 70.0);
    assert!(books.bound(ms(lapsed)) >= 1_000.0);
    let over = in_books(TTL + SAFE_TTL).as_millis() as u64;
    ask_safe(&mut books, B, (70.0, 0.0), over - 1);
    assert_eq!(books.expire(ms(over)), [A]);
    assert_rate(ask_safe(&mut books, B, (70.0, 0.0), over), 108.0);
}

#[test]
fn the_next_leader_counts_the_safe_rates_of_the_one_before() {
    let mut books = reserved(1_000.0);
    ask_safe(&mut books, A, (0.0, 0.0), 0);
    let lapsed = in_books(TTL).as_millis() as u64;
    books.expire(ms(lapsed));
    let line = books.line(A).expect("it may go on");
    assert!(
        (line.safe - 50.0).abs() < 1e-9 && line.outstanding == 0.0,
        "{line:?}"
    );
    let mut next = Books::reopened(100.0, [(A, line)], ms(lapsed)).keeping(RESERVE);
    assert_rate(ask_safe(&mut next, B, (0.0, 0.0), lapsed + 10), 50.0);
    assert_rate(ask_safe(&mut next, B, (50.0, 0.0), lapsed + 2_219), 50.0);
    assert_rate(ask_safe(&mut next, B, (50.0, 0.0), lapsed + 2_220), 90.0);
}

#[test]
fn no_safe_rate_is_leased_while_others_may_be_unknown_nor_one_too_small_nor_to_a_prober() {
    let mut learning = Books::new(1_000.0, ms(0)).keeping(RESERVE);
    let granted = ask_safe(&mut learning, A, (950.0, 50.0), 0);
    assert_rate(granted, 900.0);
    assert!(granted.safe_rate <= 0.0);
    assert!(ask_safe(&mut learning, A, (900.0, 0.0), 2_500).safe_rate > 0.0);
    // A tenth of 190 is no burst for two.
    assert!(ask_safe(&mut reserved(190.0), A, (0.0, 0.0), 0).safe_rate <= 0.0);
    assert!(ask_safe(&mut reserved(200.0), A, (0.0, 0.0), 0).safe_rate > 0.0);
    assert!(ask(&mut reserved(1_000.0), A, 5_000.0, 0.0, 0).safe_rate <= 0.0);
}
