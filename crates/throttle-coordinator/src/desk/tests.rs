//! The desk without a network: who may be answered, and what is remembered.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::controller::Event;
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::lease::HolderId;
use paceline_domain::reason::Reason;
use paceline_kit::settings::load;
use paceline_store::throttle::{Adopted, Kept, Part, PartBody, RateKey, Term};

use super::log::{JOURNAL_BYTES_MAX, STATE_BYTES_MAX};
use super::{Desk, Item, Lease, Refused, Write};
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
        has_safe: 0.0,
        has_version: 0,
        totals: Totals::default(),
        accepted: 0,
        granted: 0,
        spent: 0,
        latency: None,
        warm_up: None,
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

fn config(breaker: bool) -> Config {
    let mut config: Config = load("throttle-coordinator", DEFAULTS, None).expect("defaults");
    config.rates.breaker = breaker.then_some(true);
    config
}

fn leading_with(breaker: bool, saved: Option<(f64, u64)>) -> Desk {
    leading_over(&mut Redis::default(), breaker, saved)
}

fn leading_over(redis: &mut Redis, breaker: bool, saved: Option<(f64, u64)>) -> Desk {
    let desk = Desk::new(Arc::new(config(breaker)));
    desk.begin(term(4), ms(60_000), ms(0));
    let opened = desk.prepare(&term(4), &key(), (&adopted(saved), &Kept::default()), ms(0));
    let opened = opened.expect("readable").expect("it leads");
    redis.keep(&opened.write);
    desk.open(opened, 2);
    desk
}

/// What Redis keeps of the key of the desks that write to it.
#[derive(Default)]
struct Redis {
    kept: Kept,
    adopted: Option<Adopted>,
}

impl Redis {
    /// Takes all writes that are due, as the script does. The calls that wait hear nothing.
    fn take(&mut self, desk: &Desk, at: u64) {
        for write in desk.depart(true, ms(at)).0 {
            desk.written(&write, write.rev + 1);
            self.keep(&write);
        }
    }

    fn keep(&mut self, write: &Write) {
        let Write {
            term, rev, commit, ..
        } = write;
        let mut part = |body| {
            self.kept.journal.push(Part {
                rev: rev + 1,
                epoch: term.epoch,
                format: commit.format,
                body,
            });
        };
        if !commit.events.is_empty() {
            part(PartBody::Events(commit.events.clone()));
        }
        if let Some(snapshot) = &commit.snapshot {
            part(PartBody::Opened(snapshot.state.clone()));
        }
        for (holder, lease) in &commit.leases {
            self.kept.leases.retain(|(other, _)| other != holder);
            let lease = lease.clone().map(|lease| (holder.clone(), lease));
            self.kept.leases.extend(lease);
        }
        self.adopted = Some(Adopted {
            rev: rev + 2,
            saved: Some((commit.rate, commit.version)),
            whole: true,
            table: commit.complete,
            lost: false,
            snapshot: Some(1),
            journal_bytes: 0,
        });
    }

    /// Another process leads from `at` on.
    fn successor(&mut self, config: Config, at: u64) -> Desk {
        let desk = Desk::new(Arc::new(config));
        desk.begin(term(5), ms(at + 60_000), ms(at));
        let adopted = self.adopted.clone().expect("something was written");
        let opened = desk.prepare(&term(5), &key(), (&adopted, &self.kept), ms(at));
        let opened = opened.expect("readable").expect("it leads");
        self.keep(&opened.write);
        desk.open(opened, adopted.rev + 1);
        desk
    }
}

fn lease(desk: &Desk, holder: HolderId, sequence: u64, item: Item, at: u64) -> Lease {
    let (_, leases, _) = desk
        .refresh(holder, sequence, &[(key(), item)], ms(at))
        .expect("leads");
    leases[0].1.clone()
}

fn rate(desk: &Desk, holder: HolderId, sequence: u64, item: Item, at: u64) -> Result<f64, Refused> {
    let (_, leases, _) = desk.refresh(holder, sequence, &[(key(), item)], ms(at))?;
    Ok(leases[0].1.rate)
}

#[test]
fn where_answers_take_long_it_decides_less_often() {
    let desk = leading(None);
    let window = |at| {
        desk.tick(ms(at));
        desk.state().keys[&key()].controller.aimd().feedback_window()
    };
    let slow = Item {
        latency: Some(Duration::from_secs(3)),
        ..item(10.0, 0.0)
    };
    assert!(rate(&desk, A, 1, item(10.0, 0.0), 10).is_ok());
    assert_eq!(
        window(20),
        Duration::from_secs(1),
        "a sender of before says nothing"
    );
    assert!(rate(&desk, A, 2, slow, 500).is_ok());
    assert_eq!(window(510), Duration::from_millis(3_500));
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
fn a_key_that_is_opened_late_is_learned_from_then_on() {
    let desk = Desk::new(Arc::new(config(false)));
    desk.begin(term(4), ms(60_000), ms(0));
    // The leader before could write it until now, and grant 300 of it.
    open(&desk, &term(4), &adopted(Some((300.0, 7))), 5_000);
    assert_eq!(rate(&desk, B, 1, item(900.0, 0.0), 5_010), Ok(0.0));
    assert_eq!(rate(&desk, B, 2, item(900.0, 0.0), 7_219), Ok(0.0));
    assert_eq!(rate(&desk, B, 3, item(900.0, 0.0), 7_220), Ok(300.0));
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
fn keys_beyond_what_is_allowed_are_left_out_and_the_others_answered() {
    let mut config = config(false);
    config.keys_max = std::num::NonZeroUsize::new(3).expect("not 0");
    let desk = Desk::new(Arc::new(config));
    desk.begin(term(4), ms(60_000), ms(0));
    open(&desk, &term(4), &adopted(None), 0);
    let named = |identity: &str| RateKey {
        identity: identity.to_owned(),
        ..key()
    };
    let unopened = |names: &[&str], at| {
        let keys: Vec<RateKey> = names.iter().map(|name| named(name)).collect();
        desk.unopened(keys.iter(), ms(at)).expect("it leads").1
    };
    assert_eq!(unopened(&["main", "b", "c", "d"], 10), [named("b"), named("c")]);
    desk.unreadable(&term(4), named("b"), ms(10));
    desk.unreadable(&term(4), named("c"), ms(10));
    // Full; each that can't be read is looked at again, in its own place.
    assert!(unopened(&["main", "b", "d"], 20).is_empty());
    assert_eq!(
        unopened(&["main", "b", "c", "d"], 20_000),
        [named("b"), named("c")]
    );
    assert!(rate(&desk, A, 1, item(10.0, 0.0), 20_010).is_ok());
    let said = desk.command(&named("d"), |_| Event::Warm, ms(20_020));
    assert_eq!(said, Err(Refused::Full));
}

#[test]
fn a_batch_that_was_not_written_is_counted_by_the_next_lead() {
    let desk = leading(None);
    let feedback = |at| desk.feedback([7; 16], &[(key(), 3)], ms(at)).expect("it leads").0;
    assert!(feedback(10));
    assert!(!feedback(20));
    // Fenced before it was written; then this process leads again.
    desk.end("", 4);
    desk.begin(term(5), ms(60_000), ms(100));
    open(&desk, &term(5), &adopted(None), 110);
    assert!(feedback(120));
}

#[test]
fn a_journal_that_is_read_often_is_not_filled_with_states() {
    let desk = leading(Some((300.0, 7)));
    let read = |at| {
        drop(desk.snapshot(&key(), ms(at)).expect("an open key"));
        let writes = desk.depart(false, ms(at)).0;
        desk.written(&writes[0], writes[0].rev + 1);
        writes[0].commit.snapshot.is_some()
    };
    assert_eq!(
        [read(10), read(20), read(10_009), read(10_010)],
        [true, false, false, true]
    );
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

#[test]
fn a_grant_that_was_written_and_not_said_counts() {
    let mut redis = Redis::default();
    let first = leading_over(&mut redis, false, Some((300.0, 7)));
    assert_eq!(rate(&first, A, 1, item(200.0, 0.0), 3_000), Ok(250.0));
    redis.take(&first, 3_010);
    // It dies before it answers; its successor is there at once.
    let next = redis.successor(config(false), 3_020);
    assert_eq!(
        rate(&next, B, 1, item(900.0, 0.0), 3_030),
        Ok(50.0),
        "of 300 less 250"
    );
    assert_eq!(
        rate(&next, A, 1, item(200.0, 0.0), 3_040),
        Err(Refused::Outdated),
        "an old call that comes late"
    );
    // The time of a lease from the loading on, and a margin.
    assert_eq!(rate(&next, B, 2, item(900.0, 50.0), 5_239), Ok(50.0));
    assert_eq!(rate(&next, B, 3, item(900.0, 50.0), 5_240), Ok(300.0));
}

#[test]
fn what_was_not_written_was_never_granted() {
    let mut redis = Redis::default();
    let first = leading_over(&mut redis, false, Some((300.0, 7)));
    lease(&first, B, 1, item(10.0, 0.0), 3_000);
    redis.take(&first, 3_000);
    lease(&first, A, 1, item(200.0, 0.0), 3_001);
    let next = redis.successor(config(false), 3_020);
    assert_eq!(next.describe(ms(3_030))[0].1.senders, 1);
}

#[test]
fn a_leader_that_learns_leaves_no_table_to_believe() {
    let mut redis = Redis::default();
    let first = leading_over(&mut redis, false, Some((300.0, 7)));
    assert_eq!(rate(&first, A, 1, item(900.0, 100.0), 100), Ok(100.0));
    redis.take(&first, 110);
    // Another sender may hold 200 that the first leader had not heard of.
    let next = redis.successor(config(false), 200);
    assert_eq!(rate(&next, B, 1, item(900.0, 0.0), 210), Ok(0.0));
}

#[test]
fn budgets_are_not_granted_twice_over_a_change_of_leaders() {
    let mut redis = Redis::default();
    let first = leading_over(&mut redis, true, Some((300.0, 7)));
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
    lease(&first, A, 1, failing(0, 0, 0.0), 3_000);
    lease(&first, A, 2, failing(100, 50, 300.0), 3_500);
    first.tick(ms(3_600));
    lease(&first, A, 3, failing(100, 50, 300.0), 4_000);
    first.tick(ms(39_700));
    assert_eq!(
        lease(&first, A, 4, failing(100, 50, 0.0), 40_000).granted_total,
        Some(120)
    );
    redis.take(&first, 40_010);
    let next = redis.successor(config(true), 40_020);
    assert_eq!(next.describe(ms(40_030))[0].1.limited_by.as_str(), "breaker");
    let other = lease(&next, B, 1, item(900.0, 0.0), 40_040);
    assert_eq!(
        (other.rate, other.granted_total),
        (0.0, Some(0)),
        "the probes are another's"
    );
    let prober = lease(&next, A, 5, failing(100, 50, 3.0), 40_050);
    assert_eq!(prober.granted_total, Some(120), "the same twenty");
}

#[test]
fn a_state_of_a_thousand_senders_and_its_journal_are_bounded() {
    let mut redis = Redis::default();
    let desk = leading_over(&mut redis, true, Some((5_000.0, 7)));
    let holder = |n: u32, generation: u8| {
        let mut id = [generation; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        HolderId(id)
    };
    let (mut first_kept, mut bytes, mut largest) = (0, 0, 0);
    for round in 0..6_u32 {
        // The senders of each generation lapse and are remembered, beside as many that live.
        let generation = u8::try_from(round / 2).expect("small");
        for n in 0..1_000 {
            let item = Item {
                refused: Some(Reason::AccountSuspended),
                spent: 1_000_000_000_000,
                granted: 1_000_000_000_999,
                ..item(1_234.567_891_2, 0.0)
            };
            let at = 3_000 + u64::from(round) * 2_500;
            let sent = desk.refresh(
                holder(n, generation),
                u64::from(round) + 1,
                &[(key(), item)],
                ms(at),
            );
            assert!(sent.is_ok(), "it leads");
        }
        desk.tick(ms(3_001 + u64::from(round) * 2_500));
        desk.snapshot_all();
        for write in desk.depart(true, ms(3_002 + u64::from(round) * 2_500)).0 {
            desk.written(&write, write.rev + 1);
            let snapshot = write.commit.snapshot.expect("one is wanted");
            largest = largest.max(snapshot.state.len());
            bytes = bytes.max(snapshot.journal_bytes);
            first_kept = first_kept.max(snapshot.first_kept.unwrap_or(0));
        }
    }
    assert!(largest > 200_000 && largest <= STATE_BYTES_MAX, "{largest}");
    assert!(bytes <= JOURNAL_BYTES_MAX, "{bytes}");
    assert!(first_kept > 0, "what is before is cut off");
}
mod overflow;
mod shared_account;
