//! What goes as another identity, and what goes on without a coordinator.

use super::*;

const MINUTE: u64 = 60_000;

fn warm() -> RateKey {
    RateKey {
        identity: "warm".to_owned(),
        ..key()
    }
}

/// A desk that leads for days, with the key being warmed up since its first moment.
fn warming_up() -> Desk {
    let desk = Desk::new(Arc::new(config(false)));
    desk.begin(term(4), ms(3 * 24 * 60 * MINUTE), ms(0));
    open(&desk, &term(4), &adopted(None), 0);
    happen(&desk, &key(), &Event::WarmUp(Overflow::To("warm".to_owned())), 1);
    desk
}

fn happen(desk: &Desk, key: &RateKey, event: &Event, at: u64) {
    let mut state = desk.state();
    state
        .keys
        .get_mut(key)
        .expect("an open key")
        .happen(event, ms(at));
}

fn open_warm(desk: &Desk, at: u64) {
    let opened = desk.prepare(&term(4), &warm(), (&adopted(None), &Kept::default()), ms(at));
    desk.open(opened.expect("readable").expect("it leads"), 2);
}

#[test]
fn a_used_up_day_goes_over_to_an_identity_that_is_known_and_warm() {
    let desk = warming_up();
    let mut spent = 0;
    let mut asked = 0;
    let mut ask = |at| {
        asked += 1;
        let item = Item {
            granted: spent,
            spent,
            ..item(100.0, 0.0)
        };
        let lease = lease(&desk, A, asked, item, at);
        spent = lease.granted_total.expect("a budget");
        (spent, lease.overflows)
    };
    let used_up = (0..1_000).find(|minute| ask(minute * MINUTE + 10).0 == 100);
    let at = used_up.expect("the day is used up") * MINUTE;
    assert_eq!(ask(at + 20), (100, false), "nobody knows the other");
    open_warm(&desk, at + 30);
    assert_eq!(ask(at + 40), (100, true));
    happen(&desk, &warm(), &Event::WarmUp(Overflow::Defer), at + 50);
    assert_eq!(ask(at + 60), (100, false), "it is being warmed up itself");
    happen(&desk, &warm(), &Event::Warm, at + 70);
    assert_eq!(ask(at + 80), (100, true));
}

#[test]
fn the_next_leader_leaves_out_what_the_lapsed_may_go_on_with() {
    let mut redis = Redis::default();
    let with_safe = || {
        let mut config = config(false);
        config.rates.safe_share = 0.1;
        config
    };
    let desk = Desk::new(Arc::new(with_safe()));
    desk.begin(term(4), ms(60_000), ms(0));
    let knows_all = Adopted {
        table: true,
        ..adopted(None)
    };
    let opened = desk.prepare(&term(4), &key(), (&knows_all, &Kept::default()), ms(0));
    let opened = opened.expect("readable").expect("it leads");
    redis.keep(&opened.write);
    desk.open(opened, 2);
    let alone = lease(&desk, A, 1, item(900.0, 0.0), 10);
    // 500/s, less a tenth; of that tenth a quarter, since four are expected.
    assert!(
        (alone.rate - 450.0).abs() < 1e-9 && (alone.safe_rate - 12.5).abs() < 1e-9,
        "{alone:?}"
    );
    redis.take(&desk, 20);
    desk.tick(ms(3_000));
    redis.take(&desk, 3_010);
    assert_eq!(redis.kept.leases.len(), 1, "it has lapsed, and may go on");
    let next = redis.successor(with_safe(), 4_000);
    happen_cap(&next, 40.0, 4_010);
    let other = lease(&next, B, 1, item(900.0, 0.0), 4_020);
    assert!((other.rate - 27.5).abs() < 1e-9, "{other:?}");
    next.tick(ms(9_000));
    redis.take(&next, 9_010);
    assert!(
        redis.kept.leases.is_empty(),
        "all has lapsed, and the leader is another: {:?}",
        redis.kept.leases
    );
}

fn happen_cap(desk: &Desk, rate: f64, at: u64) {
    let cap = Override {
        action: Action::Cap { rate },
        who: "ops".to_owned(),
        why: "a test".to_owned(),
        until: desk.state().boot_at + ms(at + 600_000),
    };
    happen(desk, &key(), &Event::Set(cap), at);
}
