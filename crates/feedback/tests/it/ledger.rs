//! What people and services ask of the ledger, and what nobody but they may.

mod bench;
mod erase;

use std::time::Duration;

use paceline_domain::address::Address;
use paceline_domain::keyed;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_kit::client::{ClientSettings, Connection};
use paceline_kit::secret::Secret;
use paceline_ledger::{Act, LoggedMessage, Move, NewEvent};
use paceline_testkit::{ApiKeys, TestPostgres, TestRedis, eventually};
use paceline_wire::v1;
use paceline_wire::v1::ledger_service_client::LedgerServiceClient;
use paceline_wire::v1::stats_service_client::StatsServiceClient;
use tonic::{Code, Status};

use crate::support::{self, ADDRESS_KEY, Feedback};
use bench::{ledger_of, stats_of};

const NOW: Millis = Millis(1_800_000_000_000);
const DAY: u32 = (NOW.0 / 86_400_000) as u32;

fn id(number: u8) -> paceline_domain::id::MessageId {
    paceline_domain::id::MessageId([number; 16])
}

fn message(number: u8, address: &str, user: &str) -> LoggedMessage {
    let key = ADDRESS_KEY.as_bytes();
    let address = Address::parse(address).expect("an address");
    LoggedMessage {
        id: id(number),
        accepted_at: NOW + Duration::from_secs(number.into()),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        bundle_hash: Vec::new(),
        lane: Lane::Bulk,
        identity: "main".to_owned(),
        recipient: keyed::address_hash(key, &address).0.to_vec(),
        user_hash: keyed::user_hash(key, "acme", user).0.to_vec(),
        send_at: Millis(0),
        expires_at: Millis(0),
        tags: "[[\"wave\",\"2\"]]".to_owned(),
        digests: Vec::new(),
    }
}

fn moved(message: &LoggedMessage, revision: u32, state: State, after_ms: u64) -> Move {
    let at = message.accepted_at + Duration::from_millis(after_ms);
    Move {
        id: message.id,
        accepted_at: message.accepted_at,
        revision,
        state,
        reason: Reason::None,
        attempt: u32::from(revision > 1),
        at,
        rendered_at: match state {
            State::Sending => message.accepted_at + Duration::from_millis(4),
            _ => Millis(0),
        },
    }
}

fn event(message: &LoggedMessage, name: &str, kind: &str, after_ms: u64) -> NewEvent {
    NewEvent {
        id: name.to_owned(),
        message_id: message.id,
        accepted_at: message.accepted_at,
        attempt: 1,
        tenant: message.tenant.clone(),
        template: message.template.clone(),
        lane: message.lane,
        kind: kind.to_owned(),
        at: message.accepted_at + Duration::from_millis(after_ms),
        received_at: NOW,
        detail: "{}".to_owned(),
    }
}

fn timeline(tenant: &str, id: impl ToString) -> v1::TimelineRequest {
    v1::TimelineRequest {
        tenant: tenant.to_owned(),
        message_id: id.to_string(),
    }
}

fn search() -> v1::SearchRequest {
    v1::SearchRequest {
        tenant: "acme".to_owned(),
        ..v1::SearchRequest::default()
    }
}

fn sums() -> v1::SumsRequest {
    v1::SumsRequest {
        tenant: "acme".to_owned(),
        first_day: DAY,
        last_day: DAY,
        ..v1::SumsRequest::default()
    }
}

/// A message that was sent on its way: claimed after 3 m 12 s, accepted, and redriven before, which two writers tell of.
async fn write_history(feedback: &Feedback) {
    let first = message(1, "ada@example.com", "7");
    let act = |name: &str| Act {
        id: name.to_owned(),
        at: NOW,
        act: "redrive".to_owned(),
        who: "dana".to_owned(),
        why: "the template is mended".to_owned(),
        tenant: "acme".to_owned(),
        messages: vec![id(1)],
    };
    let moves = [
        moved(&first, 1, State::Queued, 0),
        moved(&first, 2, State::Sending, 192_000),
        moved(&first, 3, State::Accepted, 192_100),
    ];
    let ledger = feedback.ledger().await;
    let acts = [act("a1"), act("a2")];
    let written = ledger.append(std::slice::from_ref(&first), &moves, &acts);
    written.await.expect("written");
    let told = vec![
        event(&first, "ses:3", "opened", 300_000),
        event(&first, "ses:1", "delayed", 193_000),
        event(&first, "ses:4", "opened", 290_000),
        event(&first, "ses:2", "delivered", 195_000),
        event(&first, "ses:5", "machine_opened", 195_100),
        event(&first, "ses:6", "rendering_failed", 192_500),
        event(&first, "ses:7", "other", 400_000),
    ];
    ledger.record_events(told).await.expect("written");
}

#[tokio::test]
async fn a_history_has_its_steps_acts_and_counts() {
    let feedback = Feedback::start("").await;
    write_history(&feedback).await;
    let mut client = ledger_of(&feedback).await;
    let answer = client.timeline(timeline("acme", id(1))).await.expect("found");
    let answer = answer.into_inner();
    let row = answer.message.expect("a message");
    assert_eq!((row.state(), row.revision), (v1::MessageState::Accepted, 3));
    assert_eq!(
        (row.tags[0].name.as_str(), row.tags[0].value.as_str()),
        ("wave", "2")
    );
    let steps = answer.transitions.iter();
    let rendered: Vec<_> = steps.map(|step| step.rendered_at.is_some()).collect();
    assert_eq!(rendered, [false, true, false]);
    assert_eq!(answer.delivery, "delivered", "in whatever order it came");
    let counts = answer.counts.iter();
    let counts: Vec<_> = counts.map(|it| (it.kind.as_str(), it.events)).collect();
    let expected = [
        ("rendering_failed", 1),
        ("delayed", 1),
        ("delivered", 1),
        ("machine_opened", 1),
        ("opened", 2),
        ("other", 1),
    ];
    assert_eq!(counts, expected, "the earliest first");
    assert_eq!(answer.events.len(), 8, "with our own outcome");
    assert_eq!(answer.acts.len(), 1, "what was written twice is one");
    let act = &answer.acts[0];
    assert_eq!((act.act.as_str(), act.who.as_str()), ("redrive", "dana"));
}

#[tokio::test]
async fn another_tenants_message_is_answered_as_one_that_is_not_there() {
    let feedback = Feedback::start("").await;
    write_history(&feedback).await;
    let mut client = ledger_of(&feedback).await;
    let others = client.timeline(timeline("other", id(1))).await;
    let missing = client.timeline(timeline("acme", id(2))).await;
    let (others, missing) = (others.expect_err("another's"), missing.expect_err("none"));
    assert_eq!((others.code(), missing.code()), (Code::NotFound, Code::NotFound));
    assert_eq!(
        others.message(),
        missing.message(),
        "the answer does not tell which"
    );
}

#[tokio::test]
async fn people_are_found_by_what_callers_know_of_them() {
    let feedback = Feedback::start("").await;
    let messages = [
        message(1, "ada@example.com", "7"),
        message(2, "ADA@Example.com", "7"),
        message(3, "bob@example.com", "8"),
    ];
    let moves = [moved(&messages[2], 1, State::Dead, 0)];
    feedback
        .ledger()
        .await
        .append(&messages, &moves, &[])
        .await
        .expect("written");
    let mut client = ledger_of(&feedback).await;
    let mut found = async |request: v1::SearchRequest| {
        let answer = client.search(request).await.expect("answers").into_inner();
        let ids: Vec<String> = answer.messages.into_iter().map(|row| row.message_id).collect();
        (ids, answer.next_page_token)
    };
    let of = |numbers: &[u8]| {
        numbers
            .iter()
            .map(|number| id(*number).to_string())
            .collect::<Vec<_>>()
    };
    let by = |recipient: &str, user_id: &str| v1::SearchRequest {
        recipient: recipient.to_owned(),
        user_id: user_id.to_owned(),
        ..search()
    };
    assert_eq!(found(by("Ada@EXAMPLE.com", "")).await.0, of(&[2, 1]));
    assert_eq!(found(by("", "8")).await.0, of(&[3]));
    assert_eq!(found(by("ada@example.com", "8")).await.0, of(&[]));
    let dead = v1::SearchRequest {
        state: v1::MessageState::Dead.into(),
        ..search()
    };
    assert_eq!(found(dead).await.0, of(&[3]));

    let mut page = v1::SearchRequest {
        page_size: 2,
        ..search()
    };
    let (ids, token) = found(page.clone()).await;
    assert_eq!(ids, of(&[3, 2]));
    page.page_token = token;
    let (ids, token) = found(page).await;
    assert_eq!((ids, token.as_str()), (of(&[1]), ""));
}

#[tokio::test]
async fn sums_tell_people_from_machines_and_what_we_sent_from_what_was_heard() {
    let feedback = Feedback::start("").await;
    let first = message(1, "ada@example.com", "7");
    let moves = [
        moved(&first, 1, State::Queued, 0),
        moved(&first, 2, State::Accepted, 1),
    ];
    let ledger = feedback.ledger().await;
    ledger
        .append(std::slice::from_ref(&first), &moves, &[])
        .await
        .expect("written");
    let told = [
        "opened",
        "opened",
        "machine_opened",
        "bounced_hard",
        "unsubscribed",
        "delayed",
    ];
    let told = told.iter().enumerate();
    let told = told.map(|(number, kind)| event(&first, &number.to_string(), kind, 2));
    ledger.record_events(told.collect()).await.expect("written");
    let mut client = stats_of(&feedback).await;
    let days = client.sums(sums()).await.expect("answers").into_inner().days;
    let [day] = days.as_slice() else {
        panic!("one day, template and lane: {days:?}")
    };
    let count = |events, messages| Some(v1::SumCount { events, messages });
    assert_eq!((day.day, day.sent, day.delivered), (DAY, count(1, 1), None));
    assert_eq!((day.opened, day.machine_opened), (count(2, 1), count(1, 1)));
    assert_eq!((day.bounced_hard, day.unsubscribed), (count(1, 1), count(1, 1)));
    assert_eq!(day.others.get("delayed").copied(), count(1, 1));
    let other_days = v1::SumsRequest {
        first_day: DAY - 2,
        last_day: DAY - 1,
        ..sums()
    };
    assert_eq!(
        client.sums(other_days).await.expect("answers").into_inner().days,
        []
    );
}

/// What no field should be, and no answer repeat.
const SECRET: &str = "not-an-address-of-ada";

fn check_named(field: &str, refused: &Status) {
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
    assert!(refused.message().contains(field), "{field}: {refused}");
    assert!(!refused.message().contains(SECRET), "{refused}");
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named_and_never_repeated() {
    let feedback = Feedback::start("").await;
    let mut client = ledger_of(&feedback).await;
    for (field, request) in [
        ("tenant", timeline("", id(1))),
        ("message_id", timeline("acme", SECRET)),
    ] {
        check_named(field, &client.timeline(request).await.expect_err(field));
    }
    let with = |change: fn(&mut v1::SearchRequest)| {
        let mut request = search();
        change(&mut request);
        request
    };
    for (field, request) in [
        ("tenant", with(|it| it.tenant.clear())),
        ("recipient", with(|it| it.recipient = SECRET.to_owned())),
        ("user_id", with(|it| it.user_id = format!("{SECRET}\n"))),
        ("state", with(|it| it.state = 99)),
        ("page_size", with(|it| it.page_size = 1_001)),
        ("page_token", with(|it| it.page_token = SECRET.to_owned())),
    ] {
        check_named(field, &client.search(request).await.expect_err(field));
    }
}

#[tokio::test]
async fn days_and_sums_have_bounds() {
    let feedback = Feedback::start("").await;
    let mut client = ledger_of(&feedback).await;
    for keep_days in [0, 59, 36_501] {
        let request = v1::RetainRequest {
            keep_days,
            dry_run: true,
        };
        check_named(
            "keep_days",
            &client.retain(request).await.expect_err("too few or too many"),
        );
    }
    let mut stats = stats_of(&feedback).await;
    let with = |change: fn(&mut v1::SumsRequest)| {
        let mut request = sums();
        change(&mut request);
        request
    };
    for (field, request) in [
        ("last_day", with(|it| it.first_day = DAY + 1)),
        ("last_day", with(|it| it.first_day = DAY - 401)),
        ("lane", with(|it| it.lane = 7)),
    ] {
        check_named(field, &stats.sums(request).await.expect_err(field));
    }
}

const KEYS: &[(&str, &str, &[&str])] = &[
    ("shop", "shop", &["read", "operate"]),
    ("reader", "acme", &["read"]),
];

fn with_key(feedback: &Feedback, key: &str) -> Connection {
    let settings = ClientSettings {
        api_key: Secret::new(key),
        ..ClientSettings::default()
    };
    let client = settings.read().expect("good settings");
    let address = format!("http://{}", feedback.process.grpc());
    client.channel(&address).expect("an address")
}

#[tokio::test]
async fn a_tenants_key_learns_of_no_other_tenants_mail_and_a_readers_erases_nothing() {
    let keys = ApiKeys::of(KEYS);
    let feedback = Feedback::start(&keys.setting()).await;
    let first = message(1, "ada@example.com", "7");
    let ledger = feedback.ledger().await;
    ledger.append(&[first], &[], &[]).await.expect("written");

    let shop = with_key(&feedback, "shop-key");
    let (mut of_shop, mut stats_of_shop) = (
        LedgerServiceClient::new(shop.clone()),
        StatsServiceClient::new(shop),
    );
    let refusals = [
        of_shop
            .timeline(timeline("acme", id(1)))
            .await
            .expect_err("not its own"),
        of_shop.search(search()).await.expect_err("not its own"),
        of_shop
            .erase(erase::request("ada@example.com"))
            .await
            .expect_err("not its own"),
        of_shop
            .retain(v1::RetainRequest {
                keep_days: 60,
                dry_run: true,
            })
            .await
            .expect_err("all tenants'"),
        stats_of_shop.sums(sums()).await.expect_err("not its own"),
        stats_of_shop
            .sums(v1::SumsRequest {
                tenant: String::new(),
                ..sums()
            })
            .await
            .expect_err("all tenants'"),
    ];
    for refused in refusals {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let mut reader = LedgerServiceClient::new(with_key(&feedback, "reader-key"));
    reader.timeline(timeline("acme", id(1))).await.expect("its own");
    let refused = reader
        .erase(erase::request("ada@example.com"))
        .await
        .expect_err("only reads");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let found = reader.search(search()).await.expect("its own").into_inner();
    assert_eq!(found.messages.len(), 1, "nothing was erased");
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_unavailable_and_comes_back() {
    let redis = TestRedis::start().await;
    let mut postgres = TestPostgres::start().await;
    let process = support::start(&redis, &postgres.url(), "ledger.timeout = \"500ms\"\n").await;
    let process = process.expect("a feedback service");
    let address = format!("http://{}", process.grpc());
    let mut client = LedgerServiceClient::connect(address.clone())
        .await
        .expect("it answers");
    let mut stats = StatsServiceClient::connect(address).await.expect("it answers");
    postgres.kill().await;
    let refusals = [
        client
            .timeline(timeline("acme", id(1)))
            .await
            .expect_err("no ledger"),
        client.search(search()).await.expect_err("no ledger"),
        client
            .erase(erase::request("ada@example.com"))
            .await
            .expect_err("no ledger"),
        stats.sums(sums()).await.expect_err("no ledger"),
    ];
    for refused in refusals {
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    postgres.resume().await;
    eventually("the ledger answers again", Duration::from_secs(20), || {
        let mut client = client.clone();
        async move { client.search(search()).await.ok() }
    })
    .await;
}
