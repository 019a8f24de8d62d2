//! The wording of the tables, and of JSON.

use paceline_wire::v1::{
    AccountDescription, DescribeResponse, KeyDescription, Override, SenderShare, ThrottleKey,
    WarmUpDescription,
};

use super::draw;
use crate::throttle::json;

fn key(identity: &str) -> Option<ThrottleKey> {
    Some(ThrottleKey {
        provider: "ses".to_owned(),
        identity: identity.to_owned(),
    })
}

fn answer() -> DescribeResponse {
    let main = KeyDescription {
        key: key("main"),
        rate: 12.5,
        limited_by: "warm_up".to_owned(),
        wanted: 500.0,
        leased: 10.0,
        measured: 9.25,
        throttled: 0.5,
        senders: 2,
        version: 41,
        warm_up: Some(WarmUpDescription {
            day: 3,
            cap: 400,
            spent: 120,
            overflow_to: String::new(),
        }),
        daily_left: Some(48_000),
        breaker: "half_open".to_owned(),
        route: "mailgun".to_owned(),
        overrides: vec![
            Override {
                kind: "cap".to_owned(),
                rate: 20.0,
                who: "ops".to_owned(),
                why: "a slow\x1b[2J day".to_owned(),
                left_ms: 3_599_400,
                ..Override::default()
            },
            Override {
                kind: "route".to_owned(),
                way: "backup".to_owned(),
                who: "eva".to_owned(),
                why: "SES fails".to_owned(),
                left_ms: 60_000,
                ..Override::default()
            },
        ],
        sender_shares: vec![SenderShare {
            sender_id: "sender-1".to_owned(),
            wanted: 250.0,
            leased: 5.0,
            used: 4.5,
        }],
        ..KeyDescription::default()
    };
    DescribeResponse {
        epoch: 7,
        leader: true,
        leader_address: "http://10.0.0.1:7071".to_owned(),
        keys: vec![
            main,
            KeyDescription {
                key: key("news"),
                rate: 14.0,
                limited_by: "quota".to_owned(),
                ..KeyDescription::default()
            },
        ],
        accounts: vec![AccountDescription {
            name: "ses/eu-west-1".to_owned(),
            age_ms: Some(12_000),
            outcome: "ok".to_owned(),
            max_send_rate: 14.0,
            max_24_hour_send: -1,
            sent_last_24_hours: 1_200,
            paused: "enforcement".to_owned(),
        }],
    }
}

/// The cells of each line: columns are two spaces apart at least.
fn cells(text: &str) -> Vec<Vec<&str>> {
    let split = |line| -> Vec<&str> {
        let cells = str::split(line, "  ").map(str::trim);
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    text.lines().map(split).collect()
}

#[test]
fn each_key_has_a_line_with_its_rate_and_what_sets_it() {
    let text = draw(&answer());
    let cells = cells(&text);
    assert!(
        text.contains("epoch 7") && text.contains("leader http://10.0.0.1:7071"),
        "{text}"
    );
    for line in [
        [
            "key",
            "rate",
            "set by",
            "wanted",
            "leased",
            "used",
            "throttled/s",
            "senders",
            "version",
            "warm-up",
            "daily left",
            "breaker",
            "route",
        ],
        [
            "ses/main",
            "12.5",
            "warm_up",
            "500.0",
            "10.0",
            "9.25",
            "0.50",
            "2",
            "41",
            "day 3: 120/400",
            "48000",
            "half_open",
            "mailgun",
        ],
        [
            "ses/news", "14.0", "quota", "0.0", "0.0", "0.0", "0.0", "0", "0", "-", "-", "-", "-",
        ],
    ] {
        assert!(cells.contains(&line.to_vec()), "{line:?} is not in\n{text}");
    }
}

#[test]
fn what_is_set_the_shares_and_the_accounts_stand_below() {
    let text = draw(&answer());
    let cells = cells(&text);
    for line in [
        &[
            "ses/main",
            "cap",
            "20.0",
            "59m 59s",
            "ops",
            "a slow\u{fffd}[2J day",
        ][..],
        &["ses/main", "route", "backup", "1m", "eva", "SES fails"],
        &["ses/main", "sender-1", "250.0", "5.00", "4.50"],
        &[
            "ses/eu-west-1",
            "12s ago",
            "ok",
            "14.0",
            "-",
            "1200",
            "enforcement",
        ],
    ] {
        assert!(cells.contains(&line.to_vec()), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "what others wrote steers no terminal");
}

#[test]
fn columns_are_straight() {
    let text = draw(&answer());
    let lines: Vec<_> = text.lines().skip(2).take(3).collect();
    let ends = |word: &str, line: &str| line.find(word).map(|at| at + word.len());
    assert_eq!(ends("rate", lines[0]), ends("12.5", lines[1]));
    assert_eq!(ends("rate", lines[0]), ends("14.0", lines[2]));
    assert_eq!(lines[0].find("set by"), lines[1].find("warm_up"));
    assert_eq!(lines[0].find("set by"), lines[2].find("quota"));
}

#[test]
fn nothing_known_is_said() {
    let mut nothing = DescribeResponse {
        epoch: 7,
        ..DescribeResponse::default()
    };
    assert!(draw(&nothing).contains("no coordinator leads now"));
    nothing.leader = true;
    assert!(draw(&nothing).contains("no such key is paced"));
}

#[test]
fn json_has_the_same() {
    let text = json::of(&answer()).to_string();
    assert!(!text.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let main = &value["keys"][0];
    assert_eq!((&value["epoch"], &value["leader"]), (&7.into(), &true.into()));
    assert_eq!((&main["key"], &main["rate"]), (&"ses/main".into(), &12.5.into()));
    assert_eq!(main["warm_up"]["cap"], 400);
    assert_eq!(
        (&main["overrides"][0]["rate"], &main["overrides"][1]["way"]),
        (&20.0.into(), &"backup".into())
    );
    assert_eq!(main["overrides"][0]["way"], serde_json::Value::Null);
    assert_eq!(main["sender_shares"][0]["sender_id"], "sender-1");
    assert_eq!(value["keys"][1]["daily_left"], serde_json::Value::Null);
    assert_eq!(value["accounts"][0]["paused"], "enforcement");
}
