//! Identities of one account: what they hold together is the account's.

use std::sync::Arc;

use paceline_domain::aimd::Totals;
use paceline_domain::controller::invariants::identities_within_account;
use paceline_domain::controller::journal::{Entry, FORMAT};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::{Account, Controller, Event};
use paceline_domain::lease::{HolderId, Line, TTL, in_books};
use paceline_kit::settings::load;
use paceline_store::throttle::{Adopted, Kept, Part, PartBody, RateKey};
use proptest::prelude::*;

use super::super::{Desk, Item, Look, Wanted, table};
use super::{adopted, item, ms, term};
use crate::config::{Config, DEFAULTS};

const IDENTITIES: [&str; 3] = ["a", "b", "c"];
const REGION: &str = "eu-west-1";

fn key(identity: usize) -> RateKey {
    RateKey {
        provider: "ses".to_owned(),
        identity: IDENTITIES[identity].to_owned(),
    }
}

fn configured() -> Config {
    let mut settings = format!("[[account]]\nregion = \"{REGION}\"\n");
    for name in IDENTITIES {
        settings += &format!(
            "[[identity]]\nname = \"{name}\"\nfrom_domains = [\"{name}.example\"]\ntenants = [\"*\"]\n[identity.ses]\n\
             region = \"{REGION}\"\nconfiguration_set = \"events\"\n"
        );
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), settings).expect("writable");
    load("throttle-coordinator", DEFAULTS, Some(file.path())).expect("good")
}

fn leading() -> Desk {
    let desk = Desk::new(Arc::new(configured()));
    desk.begin(term(4), ms(10_000_000), ms(0));
    for identity in 0..IDENTITIES.len() {
        open(&desk, identity, &Kept::default(), 0);
    }
    desk
}

/// Opens a key, whose lease table is good if there is anything in it.
fn open(desk: &Desk, identity: usize, kept: &Kept, at: u64) {
    let adopted = Adopted {
        table: !kept.leases.is_empty(),
        ..adopted(None)
    };
    let opened = desk.prepare(&term(4), &key(identity), (&adopted, kept), ms(at));
    desk.open(opened.expect("readable").expect("leads"), 2);
}

/// What a leader before leaves of a key of which one sender holds `rate`.
fn held(holder: u8, rate: f64) -> Kept {
    let line = Line {
        sequence: 0,
        wants: 500.0,
        outstanding: rate,
        safe: 0.0,
    };
    Kept {
        leases: vec![(
            HolderId([holder; 16]).to_string(),
            table::write(&line, None, 1, ms(0)),
        )],
        ..Kept::default()
    }
}

fn look(desk: &Desk, rate: f64, daily: DailySend, at: u64) {
    let (term, asked) = desk.ask_account(REGION, ms(at)).expect("leads");
    let account = Account {
        max_send_rate: Some(rate),
        daily,
        sent_last_24_hours: 0,
        enabled: true,
    };
    let answer = Ok(Look {
        account,
        knows_daily: true,
        paused: None,
    });
    desk.account_looked(REGION, (&term, asked), answer, ms(at));
}

/// One sender of one identity, which spends all that it is granted.
#[derive(Clone, Copy, Default)]
struct Sender {
    sequence: u64,
    has: f64,
    granted: u64,
    until: u64,
}

fn refresh(desk: &Desk, identity: usize, holder: u8, sender: &mut Sender, wants: f64, at: u64) {
    sender.sequence += 1;
    let has = if at < sender.until { sender.has } else { 0.0 };
    let item = Item {
        granted: sender.granted,
        spent: sender.granted,
        ..item(wants, has)
    };
    let items = [(key(identity), item)];
    let (_, leases, _) = desk
        .refresh(HolderId([holder; 16]), sender.sequence, &items, ms(at))
        .expect("leads");
    sender.has = leases[0].1.rate;
    sender.granted = leases[0].1.granted_total.unwrap_or(sender.granted);
    sender.until = at + 2_000;
}

#[test]
fn the_account_is_shared_and_says_so() {
    let desk = leading();
    look(&desk, 90.0, DailySend::Unlimited, 10);
    let mut senders = [Sender::default(); 3];
    for at in (3_000..9_000).step_by(500) {
        for (identity, sender) in senders.iter_mut().enumerate() {
            refresh(&desk, identity, 1, sender, 500.0, at);
        }
        desk.tick(ms(at + 100));
    }
    for sender in &senders {
        assert!((sender.has - 30.0).abs() < 1e-6, "{}", sender.has);
    }
    let described = desk.describe(ms(9_000));
    assert!(
        described
            .iter()
            .all(|(_, key)| key.limited_by.as_str() == "account")
    );
}

#[test]
fn what_keys_that_are_not_open_may_hold_is_given_to_nobody_after_a_change_of_leaders() {
    let desk = Desk::new(Arc::new(configured()));
    desk.begin(term(4), ms(10_000_000), ms(0));
    look(&desk, 90.0, DailySend::Unlimited, 10);
    let [mut a, mut b, mut c] = [10.0, 50.0, 30.0].map(|has| Sender {
        has,
        until: 2_000,
        ..Sender::default()
    });
    open(&desk, 0, &held(1, 10.0), 20);
    desk.tick(ms(30));
    refresh(&desk, 0, 1, &mut a, 500.0, 40);
    assert!(
        (a.has - 10.0).abs() < 1e-6,
        "80 may be held of the others: {}",
        a.has
    );
    open(&desk, 1, &held(2, 50.0), 1_000);
    desk.tick(ms(1_010));
    refresh(&desk, 0, 1, &mut a, 500.0, 1_020);
    refresh(&desk, 1, 2, &mut b, 500.0, 1_030);
    assert!(a.has + b.has <= 60.0 + 1e-6, "{} and {}", a.has, b.has);
    // Its table is lost: what it has granted is heard of its senders only.
    open(&desk, 2, &Kept::default(), 2_100);
    for at in (2_150..3_900).step_by(250) {
        desk.tick(ms(at));
        refresh(&desk, 0, 1, &mut a, 500.0, at + 1);
        refresh(&desk, 1, 2, &mut b, 500.0, at + 2);
        assert!(a.has + b.has <= 60.0 + 1e-6, "{} and {} at {at}", a.has, b.has);
    }
    for at in (5_000..8_000).step_by(250) {
        desk.tick(ms(at));
        refresh(&desk, 0, 1, &mut a, 500.0, at + 1);
        refresh(&desk, 1, 2, &mut b, 500.0, at + 2);
        refresh(&desk, 2, 3, &mut c, 500.0, at + 3);
    }
    for sender in [a, b, c] {
        assert!((sender.has - 30.0).abs() < 1e-6, "{}", sender.has);
    }
}

#[test]
fn an_identity_that_nobody_uses_keeps_the_account_s_others_waiting_for_a_lease_s_time_only() {
    let desk = Desk::new(Arc::new(configured()));
    desk.begin(term(4), ms(10_000_000), ms(0));
    look(&desk, 90.0, DailySend::Unlimited, 10);
    open(&desk, 0, &held(1, 10.0), 20);
    let mut a = Sender::default();
    for (at, rate) in [(2_219, 10.0), (2_220, 90.0)] {
        // Its lease goes on until then.
        if at == 2_219 {
            (a.has, a.until) = (10.0, 3_000);
            refresh(&desk, 0, 1, &mut a, 500.0, 1_000);
        }
        desk.tick(ms(at));
        refresh(&desk, 0, 1, &mut a, 500.0, at);
        assert!((a.has - rate).abs() < 1e-6, "{} at {at}", a.has);
    }
}

/// What a leader before leaves of a key to which this has happened.
fn left_by(config: &Config, identity: usize, event: &Event) -> Kept {
    let mut known = Controller::new(config.settings(&key(identity)), None, ms(0));
    known.step(event, ms(0));
    let left = Entry::Opened(Box::new(known));
    Kept {
        journal: vec![Part {
            rev: 1,
            epoch: 3,
            format: FORMAT,
            body: PartBody::Opened(serde_json::to_string(&left).expect("numbers and texts")),
        }],
        ..held(1, 10.0)
    }
}

#[test]
fn a_look_without_sense_in_the_day_s_quota_lifts_no_limit() {
    let mut config = configured();
    config.account[0].max_24_hour_send = 1_000;
    let desk = Desk::new(Arc::new(config));
    desk.begin(term(4), ms(10_000_000), ms(0));
    open(&desk, 0, &Kept::default(), 0);
    for (at, rate, daily, holds) in [
        (3_000, Some(90.0), None, DailySend::Limited(1_000)),
        (
            5_000,
            Some(80.0),
            Some(DailySend::Limited(600)),
            DailySend::Limited(600),
        ),
        (7_000, Some(70.0), None, DailySend::Limited(600)),
        (
            9_000,
            Some(60.0),
            Some(DailySend::Unlimited),
            DailySend::Unlimited,
        ),
    ] {
        let (term, asked) = desk.ask_account(REGION, ms(at)).expect("leads");
        let account = Account {
            max_send_rate: rate,
            daily: daily.unwrap_or(DailySend::Unlimited),
            sent_last_24_hours: 0,
            enabled: true,
        };
        let look = Look {
            account,
            knows_daily: daily.is_some(),
            paused: None,
        };
        desk.account_looked(REGION, (&term, asked), Ok(look), ms(at));
        assert_eq!(desk.accounts(ms(at))[0].daily, holds, "at {at}");
        let left = desk.details(&Wanted::default(), ms(at))[0].2.daily_left;
        assert_eq!(left.is_some(), holds != DailySend::Unlimited, "at {at}");
    }
}

#[test]
fn until_a_look_the_least_holds_of_what_is_configured_and_what_keys_have_seen() {
    for seen in [[90.0, 200.0, 70.0], [70.0, 90.0, 200.0], [200.0, 300.0, 400.0]] {
        let mut config = configured();
        config.account[0].max_send_rate = 100.0;
        let kept = seen.map(|rate| {
            let account = Account {
                max_send_rate: Some(rate),
                daily: DailySend::Unlimited,
                sent_last_24_hours: 0,
                enabled: true,
            };
            left_by(&config, 0, &Event::Account(account))
        });
        let desk = Desk::new(Arc::new(config));
        desk.begin(term(4), ms(10_000_000), ms(0));
        for (identity, kept) in kept.iter().enumerate() {
            open(&desk, identity, kept, 10);
            desk.tick(ms(20));
        }
        let least = seen.into_iter().fold(100.0, f64::min);
        assert_eq!(desk.accounts(ms(30))[0].max_send_rate, Some(least), "{seen:?}");
    }
}

#[test]
fn what_siblings_held_under_a_leader_before_counts_until_they_are_known_and_no_longer() {
    let mut config = configured();
    config.account[0].max_24_hour_send = 1_000;
    let told = Event::Siblings {
        spent: 0,
        outstanding: 400,
    };
    let kept = left_by(&config, 0, &told);
    let desk = Desk::new(Arc::new(config));
    desk.begin(term(4), ms(10_000_000), ms(0));
    open(&desk, 0, &kept, 20);
    let holds = || desk.state().keys[&key(0)].siblings_outstanding();
    let mut a = Sender::default();
    refresh(&desk, 0, 1, &mut a, 500.0, 30);
    assert_eq!(holds(), 400, "the others may hold it still");
    open(&desk, 1, &Kept::default(), 40);
    open(&desk, 2, &Kept::default(), 40);
    refresh(&desk, 0, 1, &mut a, 500.0, 50);
    assert_eq!(holds(), 0, "they are known, and hold nothing");
}

#[test]
fn a_cut_tells_senders_how_much_less_may_be_leased_and_nothing_if_that_did_not_fall() {
    // Alone the key may lease all of the account's 450, with another one half of it. Its own rate is cut to something between.
    for (is_shared, held, falls) in [(false, 450.0, true), (true, 225.0, false)] {
        let desk = leading();
        look(&desk, 450.0, DailySend::Unlimited, 10);
        let [mut a, mut b] = [Sender::default(); 2];
        for at in [3_000, 3_200, 3_400] {
            refresh(&desk, 0, 1, &mut a, 900.0, at);
            refresh(&desk, 1, 2, &mut b, if is_shared { 900.0 } else { 0.0 }, at + 10);
            desk.tick(ms(at + 100));
        }
        assert!((a.has - held).abs() < 1e-6, "{}", a.has);
        // The look's own.
        drop(desk.depart(true, ms(3_550)));
        let before = desk.describe(ms(3_600))[0].1;
        let version = before.version;
        let report = Item {
            has_version: version,
            totals: Totals {
                sent: 300,
                errors: 0,
                throttled: vec![(version, 40)],
            },
            ..item(900.0, a.has)
        };
        let reported = desk.refresh(HolderId([1; 16]), 4, &[(key(0), report)], ms(4_000));
        assert!(reported.is_ok());
        desk.tick(ms(4_100));
        let after = desk.describe(ms(4_110))[0].1;
        assert!(after.version > version, "it is cut");
        assert_eq!(after.rate < before.rate, falls, "{is_shared}");
        let writes = desk.depart(true, ms(4_120)).0;
        let cuts: Vec<f64> = writes
            .iter()
            .flat_map(|write| &write.commit.cuts)
            .map(|cut| cut.ratio)
            .collect();
        assert_eq!(cuts.len(), usize::from(falls), "{is_shared}: {cuts:?}");
        let is_told = |ratio: f64| (ratio - after.rate / before.rate).abs() < 1e-9;
        assert!(cuts.iter().copied().all(is_told), "{is_shared}: {cuts:?}");
    }
}

proptest! {
    /// Whatever is asked, looked and lost, all identities hold at most what the account allowed within a lease's time, and no day's
    /// quota is granted twice.
    #[test]
    fn identities_together_stay_within_the_account(
        steps in prop::collection::vec(
            (0_usize..3, 1_u8..3, 0.0_f64..400.0, 1_u64..900, prop::option::weighted(0.1, 5.0_f64..200.0)),
            1..150,
        ),
    ) {
        let desk = leading();
        let quota = 2_000;
        look(&desk, 100.0, DailySend::Limited(quota), 0);
        let mut senders = [[Sender::default(); 2]; 3];
        let (mut at, mut allowed) = (3_000, vec![(0, 100.0)]);
        for (identity, holder, wants, wait, new) in steps {
            at += wait;
            if let Some(rate) = new {
                let sent = senders.iter().flatten().map(|it| it.granted).sum();
                let (term, asked) = desk.ask_account(REGION, ms(at)).expect("leads");
                let account = Account { max_send_rate: Some(rate), daily: DailySend::Limited(quota), sent_last_24_hours: sent, enabled: true };
                desk.account_looked(REGION, (&term, asked), Ok(Look { account, knows_daily: true, paused: None }), ms(at));
                allowed.push((at, rate));
            }
            desk.tick(ms(at));
            refresh(&desk, identity, holder, &mut senders[identity][usize::from(holder) - 1], wants, at);
            let held: Vec<f64> = senders.iter().flatten().filter(|it| at < it.until).map(|it| it.has).collect();
            let since = at.saturating_sub(u64::try_from(in_books(TTL).as_millis()).expect("short"));
            let last_before = allowed.iter().rposition(|(when, _)| *when <= since).unwrap_or(0);
            let rates = allowed[last_before..].iter().map(|(_, rate)| *rate);
            prop_assert_eq!(identities_within_account(held, rates), Ok(()));
            let granted: u64 = senders.iter().flatten().map(|it| it.granted).sum();
            prop_assert!(granted <= quota, "{} of {quota}", granted);
        }
    }
}
