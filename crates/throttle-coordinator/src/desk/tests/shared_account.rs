//! Identities of one account: what they hold together is the account's.

use std::sync::Arc;

use paceline_domain::controller::Account;
use paceline_domain::controller::invariants::identities_within_account;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::lease::{HolderId, TTL, in_books};
use paceline_kit::settings::load;
use paceline_store::throttle::{Kept, RateKey};
use proptest::prelude::*;

use super::super::{Desk, Item, Look};
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

fn leading() -> Desk {
    let mut settings = format!("[[account]]\nregion = \"{REGION}\"\n");
    for name in IDENTITIES {
        settings += &format!(
            "[[identity]]\nname = \"{name}\"\nfrom_domains = [\"{name}.example\"]\ntenants = [\"*\"]\n[identity.ses]\n\
             region = \"{REGION}\"\nconfiguration_set = \"events\"\n"
        );
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), settings).expect("writable");
    let config: Config = load("throttle-coordinator", DEFAULTS, Some(file.path())).expect("good");
    let desk = Desk::new(Arc::new(config));
    desk.begin(term(4), ms(10_000_000), ms(0));
    for identity in 0..IDENTITIES.len() {
        let opened = desk.prepare(
            &term(4),
            &key(identity),
            (&adopted(None), &Kept::default()),
            ms(0),
        );
        desk.open(opened.expect("readable").expect("leads"), 2);
    }
    desk
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
                desk.account_looked(REGION, (&term, asked), Ok(Look { account, paused: None }), ms(at));
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
