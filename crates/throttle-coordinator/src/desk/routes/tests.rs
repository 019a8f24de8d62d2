//! Routes at a desk whose time is passed in.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::aimd::Totals;
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::route::{Cause, Rerouted, Way};
use paceline_domain::controller::{Decision, Event};
use paceline_domain::lease::HolderId;
use paceline_kit::settings::load;
use paceline_store::throttle::{Adopted, Kept, RateKey, Term};

use super::super::{Desk, Item};
use super::{Backup, Told, key_of};
use crate::config::{Config, DEFAULTS};

const SENDERS: [HolderId; 2] = [HolderId([1; 16]), HolderId([2; 16])];

fn at(secs: u64) -> Duration {
    Duration::from_secs(1_000 + secs)
}

/// A desk with two senders that count, and their time.
struct World {
    desk: Desk,
    term: Term,
    sequence: u64,
    sent: u64,
    failed: u64,
}

impl World {
    fn new(breaker: Option<bool>, epoch: u64) -> Self {
        let mut config: Config = load("throttle-coordinator", DEFAULTS, None).expect("defaults");
        config.rates.breaker = breaker;
        let desk = Desk::new(Arc::new(config));
        let term = Term {
            epoch,
            nonce: format!("nonce-{epoch}"),
        };
        desk.begin(term.clone(), at(10_000), at(0));
        let world = Self {
            desk,
            term,
            sequence: 0,
            sent: 0,
            failed: 0,
        };
        world.open(Way::Primary);
        world
    }

    fn open(&self, way: Way) {
        let adopted = Adopted {
            rev: 1,
            saved: None,
            whole: false,
            table: false,
            lost: false,
            snapshot: None,
            journal_bytes: 0,
        };
        let (key, kept) = (key_of("main", way), Kept::default());
        let opened = self.desk.prepare(&self.term, &key, (&adopted, &kept), at(0));
        self.desk.open(opened.expect("readable").expect("it leads"), 2);
    }

    /// Both senders ask for a key, and have sent so much more since.
    fn ask(&mut self, way: Way, (sent, failed): (u64, u64), secs: u64) {
        self.sequence += 1;
        self.sent += sent;
        self.failed += failed;
        let item = Item {
            wants: 100.0,
            has: 0.0,
            has_safe: 0.0,
            has_version: 0,
            totals: Totals {
                sent: self.sent,
                errors: self.failed,
                throttled: Vec::new().into_iter().collect(),
            },
            accepted: self.sent - self.failed,
            granted: 0,
            spent: 0,
            latency: None,
            warm_up: None,
            refused: None,
        };
        for holder in SENDERS {
            let items = [(key_of("main", way), item.clone())];
            let refreshed = self.desk.refresh(holder, self.sequence, &items, at(secs));
            // Nobody waits for the write.
            drop(refreshed.expect("it leads"));
        }
    }

    fn route(&self, told: Option<(Way, u64, u64)>, secs: u64) -> Told {
        let backup = Backup {
            identity: "main".to_owned(),
            told,
        };
        self.desk.route(&[backup], at(secs)).remove(0)
    }

    /// Time passes, with the backup there and SES asked for.
    fn tick(&self, secs: u64) -> Option<(Way, Cause)> {
        self.route(None, secs);
        rerouted(self.desk.tick(at(secs)))
    }

    fn fail(&mut self, way: Way, secs: u64) {
        self.ask(way, (0, 0), secs);
        self.ask(way, (100, 100), secs);
    }

    fn happen(&self, way: Way, event: &Event, secs: u64) {
        let mut state = self.desk.state();
        let key = state.keys.get_mut(&key_of("main", way)).expect("an open key");
        key.happen(event, at(secs));
    }
}

/// The change of the way among what was decided.
fn rerouted(decisions: Vec<(RateKey, Decision)>) -> Option<(Way, Cause)> {
    decisions.into_iter().find_map(|(key, decision)| match decision {
        Decision::Rerouted(Rerouted { to, cause }) => {
            assert_eq!(key, key_of("main", Way::Primary));
            Some((to, cause))
        }
        _ => None,
    })
}

#[test]
fn a_failing_provider_is_left_for_the_backup_and_told_with_a_newer_version() {
    let mut world = World::new(None, 4);
    let told = world.route(None, 3);
    assert_eq!((told.way, told.version, told.probe), (Way::Primary, 0, None));
    world.fail(Way::Primary, 4);
    assert_eq!(world.tick(5), Some((Way::Backup, Cause::PrimaryAway)));
    let told = world.route(None, 5);
    assert_eq!((told.way, told.version), (Way::Backup, 1));
    assert_eq!(
        world.desk.routes(at(5)),
        [("main".to_owned(), Way::Backup)].into()
    );
    let probed = (6..60).find(|secs| {
        world.tick(*secs);
        world.route(None, *secs).probe == Some(Way::Primary)
    });
    // 30 s, a fifth more or less.
    assert!(probed.is_some_and(|secs| (29..=42).contains(&secs)), "{probed:?}");
}

#[test]
fn without_a_backup_nothing_is_left_and_without_a_breaker_neither() {
    let mut world = World::new(None, 4);
    world.fail(Way::Primary, 4);
    world.desk.tick(at(5));
    assert_eq!(world.desk.describe(at(5))[0].1.breaker, None);
    let mut world = World::new(Some(false), 4);
    world.route(None, 3);
    world.fail(Way::Primary, 4);
    assert_eq!(world.tick(5), None);
}

#[test]
fn the_backup_has_a_breaker_of_its_own_from_the_start() {
    let world = World::new(None, 4);
    world.route(None, 3);
    world.open(Way::Backup);
    let described = world.desk.describe(at(3));
    let breaker = |provider: &str| {
        let mut keys = described.iter();
        let (_, key) = keys.find(|(key, _): &&(RateKey, _)| key.provider == provider)?;
        key.breaker
    };
    assert!(breaker("mailgun").is_some() && breaker("ses").is_some());
}

#[test]
fn mail_comes_back_once_the_primary_was_well_for_a_minute() {
    let world = World::new(None, 9);
    // What a leader before had decided.
    assert_eq!(world.route(Some((Way::Backup, 8, 3)), 3).way, Way::Backup);
    assert_eq!(world.tick(4), None);
    assert_eq!(world.tick(63), None);
    assert_eq!(world.tick(64), Some((Way::Primary, Cause::PrimaryBack)));
    assert_eq!(world.route(None, 64).version, 1);
}

#[test]
fn the_newest_word_of_leaders_before_is_learned_and_none_of_ones_own_time() {
    let world = World::new(None, 9);
    assert_eq!(world.route(Some((Way::Primary, 8, 3)), 3).way, Way::Primary);
    assert_eq!(
        world.route(Some((Way::Backup, 7, 9)), 3).way,
        Way::Primary,
        "older"
    );
    assert_eq!(
        world.route(Some((Way::Backup, 9, 9)), 3).way,
        Way::Primary,
        "my own epoch"
    );
    assert_eq!(world.route(Some((Way::Backup, 8, 4)), 3).way, Way::Backup);
}

#[test]
fn a_persons_word_goes_before_all_and_lapses() {
    let world = World::new(None, 4);
    world.route(None, 3);
    let until = at(50);
    let by_hand = Override {
        action: Action::Route(Way::Backup),
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        until,
    };
    world.happen(Way::Primary, &Event::Set(by_hand), 3);
    assert_eq!(world.tick(4), Some((Way::Backup, Cause::ByHand)));
    assert_eq!(world.tick(49), None);
    // Well all the while.
    let back = (51..120).find_map(|secs| Some((secs, world.tick(secs)?)));
    assert_eq!(back, Some((64, (Way::Primary, Cause::PrimaryBack))));
}

#[test]
fn a_backup_that_no_sender_names_any_more_is_none() {
    let world = World::new(None, 9);
    world.route(Some((Way::Backup, 8, 3)), 3);
    world.desk.tick(at(4));
    let (_, cause) = rerouted(world.desk.tick(at(14))).expect("it is left");
    assert_eq!(cause, Cause::BackupAway);
}
