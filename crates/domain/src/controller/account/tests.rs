//! Allotments by hand, and then identities whose books lease them while answers get lost and the account changes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Account, Demand};
use crate::controller::invariants;
use crate::lease::{Books, HolderId, Request, TTL, in_books};

fn demand(wants: f64, cap: f64, outstanding: f64) -> Demand {
    Demand {
        wants,
        cap,
        outstanding,
    }
}

#[track_caller]
fn check(account: &mut Account<&'static str>, demands: &[(&'static str, Demand)], expected: &[f64]) {
    account.allot(&demands.iter().copied().collect());
    let allotted: Vec<f64> = demands.iter().map(|(key, _)| account.allotted(key)).collect();
    let same = allotted.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(same, "{allotted:?} is not {expected:?}");
}

#[test]
fn identities_share_the_account_max_min_and_who_joins_waits_for_the_others() {
    let mut account = Account::new(100.0);
    check(
        &mut account,
        &[
            ("a", demand(1_000.0, 500.0, 0.0)),
            ("b", demand(30.0, 500.0, 0.0)),
        ],
        &[70.0, 30.0],
    );
    let joined = |outstanding| {
        [
            ("a", demand(1_000.0, 500.0, outstanding)),
            ("b", demand(30.0, 500.0, 30.0)),
            ("c", demand(50.0, 500.0, 0.0)),
        ]
    };
    // a must hand over first: it holds 70 of its 35.
    check(&mut account, &joined(70.0), &[35.0, 30.0, 0.0]);
    check(&mut account, &joined(50.0), &[35.0, 30.0, 20.0]);
    check(&mut account, &joined(35.0), &[35.0, 30.0, 35.0]);
}

#[test]
fn a_key_gets_no_more_than_its_controller_allows_and_what_nobody_wants_is_spare() {
    let mut account = Account::new(100.0);
    check(
        &mut account,
        &[("a", demand(1_000.0, 20.0, 0.0)), ("b", demand(10.0, 500.0, 0.0))],
        &[20.0, 80.0],
    );
    check(
        &mut account,
        &[
            ("a", demand(f64::NAN, f64::INFINITY, 0.0)),
            ("b", demand(-1.0, 40.0, 0.0)),
        ],
        &[0.0, 40.0],
    );
    account.set_max_send_rate(f64::NAN);
    check(&mut account, &[("b", demand(10.0, 40.0, 0.0))], &[0.0]);
}

#[test]
fn after_a_cut_of_the_account_each_gets_what_the_others_leave() {
    let mut account = Account::new(100.0);
    let both = |a, b| [("a", demand(60.0, 500.0, a)), ("b", demand(60.0, 500.0, b))];
    check(&mut account, &both(0.0, 0.0), &[50.0, 50.0]);
    account.set_max_send_rate(80.0);
    check(&mut account, &both(50.0, 50.0), &[30.0, 30.0]);
    check(&mut account, &both(30.0, 50.0), &[30.0, 40.0]);
    check(&mut account, &both(30.0, 40.0), &[40.0, 40.0]);
}

/// Identities, each with its books and two senders that hold what the last answer said, on one clock.
struct World {
    account: Account<usize>,
    books: Vec<Books>,
    /// What each sender holds, and since when.
    held: Vec<[(f64, Duration); 2]>,
    caps: Vec<f64>,
    sequence: u64,
    now: Duration,
    rates: Vec<(Duration, f64)>,
}

impl World {
    fn new() -> Self {
        let now = Duration::from_secs(100);
        let learned = now - in_books(TTL);
        Self {
            account: Account::new(100.0),
            books: (0..3).map(|_| Books::new(0.0, learned)).collect(),
            held: vec![[(0.0, now); 2]; 3],
            caps: vec![80.0; 3],
            sequence: 0,
            now,
            rates: vec![(now, 100.0)],
        }
    }

    fn ask(&mut self, key: usize, sender: usize, wants: f64, answer_lost: bool) {
        self.sequence += 1;
        let (held, since) = self.held[key][sender];
        let is_live = self.now - since < TTL.mul_f64(0.99);
        let request = Request {
            sequence: self.sequence,
            wants,
            has: if is_live { held } else { 0.0 },
            has_safe: 0.0,
            keeps: false,
        };
        let id = HolderId([sender as u8; 16]);
        let granted = self.books[key].refresh(id, &request, self.now).expect("in order");
        if !answer_lost {
            self.held[key][sender] = (granted.rate, self.now);
        }
    }

    fn tick(&mut self) {
        let mut demands = BTreeMap::new();
        for (key, books) in self.books.iter_mut().enumerate() {
            books.expire(self.now);
            let (wants, outstanding) = (books.wanted(self.now), books.outstanding(self.now));
            demands.insert(key, demand(wants, self.caps[key], outstanding));
        }
        self.account.allot(&demands);
        for (key, books) in self.books.iter_mut().enumerate() {
            books.set_rate(self.account.allotted(&key).min(self.caps[key]));
        }
    }

    /// What senders hold is within what the account allowed while the leases were issued; so is what the books say, which count a
    /// lease anew when its holder asks before it is over.
    fn check(&self) -> Result<(), invariants::Broken> {
        let held = self.held.iter().flatten();
        let live = held.filter(|(_, since)| self.now - *since < TTL.mul_f64(0.99));
        invariants::identities_within_account(live.map(|(rate, _)| *rate), self.allowed(in_books(TTL)))?;
        let outstanding = self.books.iter().map(|books| books.outstanding(self.now));
        invariants::identities_within_account(outstanding, self.allowed(in_books(TTL) * 2))
    }

    fn allowed(&self, within: Duration) -> impl Iterator<Item = f64> + '_ {
        let horizon = self.now.saturating_sub(within);
        let first = self.rates.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        self.rates[first..].iter().map(|(_, rate)| *rate)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_identities_together_never_hold_more_than_the_account_allows(
        steps in prop::collection::vec((0_usize..3, 0_usize..2, 0.0_f64..200.0, 0_u8..20, 0_u64..400), 1..200),
    ) {
        let mut world = World::new();
        world.tick();
        for (key, sender, wants, what, wait) in steps {
            world.now += Duration::from_millis(wait);
            match what {
                0 => {
                    // So much that no key's senders take turns.
                    let rate = 80.0 + wants;
                    world.account.set_max_send_rate(rate);
                    world.rates.push((world.now, rate));
                }
                1 => world.caps[key] = wants,
                // A sender that has crashed holds nothing, but the books do not know.
                2 => world.held[key][sender].0 = 0.0,
                _ => world.ask(key, sender, wants, what == 3),
            }
            prop_assert_eq!(world.check(), Ok(()));
            world.tick();
            prop_assert_eq!(world.check(), Ok(()));
        }
        // After a calm time each identity holds its max-min share, if its senders want it.
        world.caps = vec![500.0; 3];
        for _ in 0..40 {
            world.now += Duration::from_millis(100);
            for key in 0..3 {
                world.ask(key, 0, 300.0, false);
                world.ask(key, 1, 300.0, false);
            }
            world.tick();
        }
        let shares: Vec<f64> = world.books.iter().map(|books| books.leased(world.now)).collect();
        let rate = world.account.max_send_rate();
        prop_assert_eq!(invariants::shares_are_fair(rate, &[600.0; 3], &shares), Ok(()));
    }
}
