//! Events as the vendors document them, hostile ones, and whatever else may stand in their places.

use paceline_domain::delivery::EventKind;
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AttemptTags, ProviderEvent, mailgun, ses};

const ID: MessageId = MessageId([7; 16]);

fn attempt() -> AttemptTags {
    AttemptTags {
        message_id: ID,
        accepted_at: Millis(1_501_893_600_000),
        attempt: 2,
        tenant: "shop".to_owned(),
        template: "reset".to_owned(),
        via: String::new(),
    }
}

/// The `mail` object of the examples in SES's documentation, with our tags among its own.
fn mail() -> Value {
    json!({
        "timestamp": "2017-08-05T00:40:02.012Z",
        "source": "Sender Name <sender@example.com>",
        "sourceArn": "arn:aws:ses:us-east-1:123456789012:identity/sender@example.com",
        "sendingAccountId": "123456789012",
        "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
        "destination": ["recipient@example.com"],
        "headersTruncated": false,
        "headers": [{"name": "From", "value": "Sender Name <sender@example.com>"}],
        "tags": {
            "ses:configuration-set": ["ConfigSet"],
            "paceline_id": [ID.to_string()],
            "paceline_accepted": ["1501893600000"],
            "paceline_attempt": ["2"],
            "paceline_tenant": ["shop"],
            "paceline_template": ["reset"],
        },
    })
}

fn ses(name: &str, part: &str, content: Value) -> Value {
    let mut event = json!({"eventType": name, "mail": mail()});
    event[part] = content;
    event
}

fn of_ses(event: &Value) -> ProviderEvent {
    ses::parse(event.to_string().as_bytes()).expect("documented")
}

fn refusal_of_ses(event: &Value) -> String {
    ses::parse(event.to_string().as_bytes())
        .expect_err("hostile")
        .to_string()
}

fn documented_bounce() -> Value {
    ses(
        "Bounce",
        "bounce",
        json!({
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [{
                "emailAddress": "recipient@example.com", "action": "failed", "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }],
            "timestamp": "2017-08-05T00:41:02.669Z",
            "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
            "reportingMTA": "dsn; mta.example.com",
        }),
    )
}

/// An event, its kind, its time and its detail.
type Known = (Value, EventKind, u64, &'static str);

fn documented_engagement() -> [Known; 2] {
    let open = json!({
        "ipAddress": "192.0.2.1", "timestamp": "2017-08-09T22:00:19.652Z",
        "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 10_3_3 like Mac OS X)",
    });
    let click = json!({
        "ipAddress": "192.0.2.1", "link": "http://docs.aws.amazon.com/ses/", "linkTags": {"samplekey0": ["samplevalue0"]},
        "timestamp": "2017-08-09T23:51:25.570Z", "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
    });
    [
        (
            ses("Open", "open", open),
            EventKind::Opened,
            1_502_316_019_652,
            "",
        ),
        (
            ses("Click", "click", click),
            EventKind::Clicked,
            1_502_322_685_570,
            "",
        ),
    ]
}

/// The object that SES's documentation shows for each kind of event.
fn documented() -> Vec<Known> {
    let sent = 1_501_893_602_012;
    let delay = json!({
        "timestamp": "2020-06-16T00:25:40.095Z", "delayType": "TransientCommunicationFailure",
        "expirationTime": "2020-06-16T00:25:40.914Z",
        "delayedRecipients": [{"emailAddress": "recipient@example.com", "status": "4.4.1",
            "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}],
    });
    let complaint = json!({
        "complainedRecipients": [{"emailAddress": "recipient@example.com"}],
        "timestamp": "2017-08-05T00:41:02.669Z",
        "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
        "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "complaintFeedbackType": "abuse",
        "arrivalDate": "2017-08-05T00:41:02.669Z",
    });
    let delivery = json!({
        "timestamp": "2016-10-19T23:21:04.133Z", "processingTimeMillis": 11893,
        "recipients": ["recipient@example.com"], "smtpResponse": "250 2.6.0 Message received",
        "reportingMTA": "mta.example.com",
    });
    let failure =
        json!({"errorMessage": "Attribute 'attributeName' is not present", "templateName": "MyTemplate"});
    let mut all = vec![
        (
            documented_bounce(),
            EventKind::BouncedHard,
            1_501_893_662_669,
            "Permanent/General 5.1.1",
        ),
        (
            ses("Complaint", "complaint", complaint),
            EventKind::Complained,
            1_501_893_662_669,
            "abuse",
        ),
        (
            ses("Delivery", "delivery", delivery),
            EventKind::Delivered,
            1_476_919_264_133,
            "",
        ),
        (ses("Send", "send", json!({})), EventKind::Sent, sent, ""),
        (
            ses("Reject", "reject", json!({"reason": "Bad content"})),
            EventKind::Rejected,
            sent,
            "Bad content",
        ),
        (
            ses("Rendering Failure", "failure", failure),
            EventKind::RenderingFailed,
            sent,
            "",
        ),
        (
            ses("DeliveryDelay", "deliveryDelay", delay),
            EventKind::Delayed,
            1_592_267_140_095,
            "TransientCommunicationFailure 4.4.1",
        ),
    ];
    all.extend(documented_engagement());
    all
}

#[test]
fn what_ses_documents_is_read_as_documented() {
    for (event, kind, at, detail) in documented() {
        let read = of_ses(&event);
        assert_eq!(
            (read.kind, read.at, read.detail.as_str()),
            (kind, Millis(at), detail),
            "{kind:?}"
        );
        assert_eq!(read.attempt, Some(attempt()), "{kind:?}");
        assert_eq!(read.kind_name, event["eventType"], "{kind:?}");
        assert_eq!(
            read.provider_id,
            "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"
        );
        assert!(!format!("{read:?}").contains("recipient@example.com"), "{kind:?}");
        // A notification of the identity is the same event.
        let mut notification = event.clone();
        let name = notification
            .as_object_mut()
            .and_then(|event| event.remove("eventType"));
        notification["notificationType"] = name.expect("it is there");
        assert_eq!(of_ses(&notification), read, "{kind:?}");
    }
}

#[test]
fn a_bounce_is_told_apart_by_its_own_id_and_others_by_message_kind_and_time() {
    let bounce = of_ses(&documented_bounce());
    assert_eq!(
        bounce.event_id,
        "Bounce:01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000"
    );
    assert_eq!(bounce.recipients[0].as_str(), "recipient@example.com");
    let mut ids: Vec<String> = documented()
        .iter()
        .map(|(event, ..)| of_ses(event).event_id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), documented().len());
}

#[test]
fn only_a_permanent_bounce_is_hard_and_a_new_class_is_taken() {
    for (class, sub_class, kind) in [
        ("Transient", "MailboxFull", EventKind::BouncedSoft),
        ("Undetermined", "Undetermined", EventKind::BouncedSoft),
        ("Permanent", "OnAccountSuppressionList", EventKind::BouncedHard),
        ("OfTheYear2030", "New", EventKind::BouncedSoft),
    ] {
        let mut event = documented_bounce();
        event["bounce"]["bounceType"] = class.into();
        event["bounce"]["bounceSubType"] = sub_class.into();
        assert_eq!(of_ses(&event).kind, kind, "{class}");
    }
}

#[test]
fn a_machine_is_one_where_the_provider_says_so() {
    for (agent, bot, machine) in [
        ("Mozilla/5.0", "", true),
        ("Mozilla/5.0 (Windows NT 10.0)", "Likely", true),
        ("Mozilla/5.0 (Windows NT 10.0)", "Unlikely", false),
        ("Mozilla/5.0 (Windows NT 10.0)", "", false),
    ] {
        let open = json!({"timestamp": "2017-08-09T22:00:19.652Z", "userAgent": agent, "isBotEvent": bot});
        let kind = if machine {
            EventKind::MachineOpened
        } else {
            EventKind::Opened
        };
        assert_eq!(of_ses(&ses("Open", "open", open)).kind, kind, "{agent} {bot}");
    }
}

#[test]
fn what_is_unknown_is_kept_by_its_name() {
    let read = of_ses(&ses("Telepathy", "telepathy", json!({})));
    assert_eq!(
        (read.kind, read.kind_name.as_str()),
        (EventKind::Other, "Telepathy")
    );
    assert!(ses::is_greeting(
        "Successfully validated SNS topic for Amazon SES event publishing."
    ));
}

#[test]
fn ours_is_found_in_the_headers_and_others_mail_has_no_tags() {
    let mut event = ses("Send", "send", json!({}));
    event["mail"]["tags"] = json!({"ses:configuration-set": ["ConfigSet"]});
    assert_eq!(of_ses(&event).attempt, None);
    let id = ID.to_string();
    event["mail"]["headers"] = json!([
        {"name": "X-Paceline-Id", "value": id},
        {"name": "x-paceline-accepted", "value": "1501893600000"},
        {"name": "X-Paceline-Attempt", "value": "2"},
    ]);
    let ours = of_ses(&event).attempt.expect("by its headers");
    assert_eq!((ours.message_id, ours.attempt, ours.tenant.as_str()), (ID, 2, ""));
}

#[test]
fn mail_that_went_as_another_identity_says_so() {
    let mut event = documented_bounce();
    event["mail"]["tags"]["paceline_via"] = json!(["warm"]);
    assert_eq!(of_ses(&event).attempt.expect("ours").via, "warm");
    let mut webhook = documented_failure();
    webhook["event-data"]["user-variables"]["paceline_via"] = json!("warm");
    let webhook = mailgun::parse(webhook.to_string().as_bytes()).expect("documented");
    assert_eq!(webhook.event.attempt.expect("ours").via, "warm");
}

fn refusal_of_bounce_with(path: &[&str], value: Value) -> String {
    let mut event = documented_bounce();
    let mut place = &mut event;
    for name in path {
        place = &mut place[*name];
    }
    *place = value;
    refusal_of_ses(&event)
}

#[test]
fn tags_that_are_none_of_ours_are_refused_by_the_field() {
    for (path, value, expected) in [
        (
            &["mail", "tags", "paceline_id"][..],
            json!(["u"]),
            "mail.tags.paceline_id is no message id",
        ),
        (
            &["mail", "tags", "paceline_id"],
            json!(["a", "b"]),
            "mail.tags.paceline_id has 2 entries, at most 1",
        ),
        (
            &["mail", "tags", "paceline_attempt"],
            json!(["-1"]),
            "mail.tags.paceline_attempt is no number",
        ),
        (
            &["mail", "tags", "paceline_attempt"],
            json!(["4294967296"]),
            "mail.tags.paceline_attempt is no number of an attempt",
        ),
        (
            &["mail", "tags", "paceline_accepted"],
            json!([]),
            "mail.tags.paceline_accepted is missing",
        ),
        (
            &["mail", "tags", "paceline_accepted"],
            json!(["281474976710656"]),
            "mail.tags.paceline_accepted is no time in milliseconds",
        ),
    ] {
        assert_eq!(refusal_of_bounce_with(path, value), expected);
    }
}

#[test]
fn hostile_events_are_refused_by_the_field() {
    for (path, value, expected) in [
        (&["eventType"][..], json!(7), "eventType is a number, not a text"),
        (&["eventType"], Value::Null, "eventType is missing"),
        (&["mail"], json!("mail"), "mail.messageId is missing"),
        (
            &["mail", "messageId"],
            json!("x".repeat(300)),
            "mail.messageId is 300 characters long, at most 200",
        ),
        (
            &["mail", "messageId"],
            json!("a b"),
            "mail.messageId has characters that no id has",
        ),
        (&["bounce", "feedbackId"], json!(""), "bounce.feedbackId is empty"),
        (
            &["bounce", "timestamp"],
            json!("yesterday"),
            "bounce.timestamp is no time in ISO 8601 since 1970",
        ),
        (
            &["bounce", "timestamp"],
            json!("1969-01-01T00:00:00Z"),
            "bounce.timestamp is no time in ISO 8601 since 1970",
        ),
        (
            &["bounce", "bouncedRecipients"],
            json!({}),
            "bounce.bouncedRecipients is an object, not a list",
        ),
        (
            &["bounce", "bouncedRecipients"],
            json!(vec![0; 51]),
            "bounce.bouncedRecipients has 51 entries, at most 50",
        ),
    ] {
        assert_eq!(refusal_of_bounce_with(path, value), expected);
    }
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let refused = ses::parse(nested.as_bytes()).expect_err("too deep").to_string();
    assert!(refused.starts_with("event is no JSON"), "{refused}");
    assert_eq!(
        ses::parse(b"[]").expect_err("a list").to_string(),
        "event is a list, not an object"
    );
}

/// The body that Mailgun's documentation shows for a permanent failure.
fn documented_failure() -> Value {
    json!({
        "signature": {
            "timestamp": "1529006854",
            "token": "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0",
            "signature": "d2271d12299f6592d9d44cd9d250f0704e4674c30d79d07c47a66f95ce71cf55",
        },
        "event-data": {
            "event": "failed", "severity": "permanent", "reason": "suppress-bounce", "log-level": "error",
            "id": "G9Bn5sl1TC6nu79C8C0bwg", "timestamp": 1521233195.375624,
            "delivery-status": {
                "attempt-no": 1, "code": 605, "enhanced-code": "", "message": "",
                "description": "Not delivering to previously bounced address", "session-seconds": 0.0,
            },
            "flags": {"is-routed": false, "is-authenticated": true, "is-test-mode": false},
            "envelope": {"sender": "bob@sandbox.mailgun.org", "transport": "smtp", "targets": "alice@example.com"},
            "message": {
                "headers": {"to": "Alice <alice@example.com>", "message-id": "20130503192659.13651.20287@mg.example.com"},
                "attachments": [], "size": 111,
            },
            "recipient": "alice@example.com", "recipient-domain": "example.com",
            "tags": ["my_tag_1"], "campaigns": [],
            "user-variables": {
                "paceline_id": ID.to_string(), "paceline_accepted": "1501893600000", "paceline_attempt": "2",
                "paceline_tenant": "shop", "paceline_template": "reset", "my_var_1": "Mailgun Variable #1",
            },
        },
    })
}

#[test]
fn what_mailgun_documents_is_read_as_documented() {
    let webhook = mailgun::parse(documented_failure().to_string().as_bytes()).expect("documented");
    assert_eq!(webhook.signature.timestamp, "1529006854");
    let event = webhook.event;
    assert_eq!(event.event_id, "G9Bn5sl1TC6nu79C8C0bwg");
    assert_eq!(
        (event.kind, event.at),
        (EventKind::BouncedHard, Millis(1_521_233_195_375))
    );
    assert_eq!(event.detail, "permanent suppress-bounce 605");
    assert_eq!(event.provider_id, "<20130503192659.13651.20287@mg.example.com>");
    assert_eq!(event.attempt, Some(attempt()));
    assert!(!format!("{event:?}").contains("alice"));
    assert_eq!(event.recipients[0].as_str(), "alice@example.com");
}

#[test]
fn the_kinds_of_mailgun() {
    for (name, severity, reason, bot, kind) in [
        ("accepted", "", "", "", EventKind::Sent),
        ("delivered", "", "", "", EventKind::Delivered),
        ("failed", "temporary", "generic", "", EventKind::Delayed),
        ("failed", "permanent", "old", "", EventKind::BouncedSoft),
        ("failed", "permanent", "bounce", "", EventKind::BouncedHard),
        ("opened", "", "", "", EventKind::Opened),
        ("opened", "", "", "apple", EventKind::MachineOpened),
        ("clicked", "", "", "generic", EventKind::MachineClicked),
        ("delivered", "", "", "gmail", EventKind::Delivered),
        ("unsubscribed", "", "", "", EventKind::Unsubscribed),
        ("complained", "", "", "", EventKind::Complained),
        ("rejected", "", "", "", EventKind::Rejected),
        ("list_uploaded", "", "", "", EventKind::Other),
    ] {
        let mut body = documented_failure();
        let data = &mut body["event-data"];
        data["event"] = name.into();
        data["severity"] = severity.into();
        data["reason"] = reason.into();
        data["client-info"] = json!({"bot": bot});
        // As Mailgun writes it where there are none.
        data["user-variables"] = json!([]);
        let event = mailgun::parse(body.to_string().as_bytes()).map(|webhook| webhook.event);
        let event = event.expect(name);
        assert_eq!((event.kind, event.attempt), (kind, None), "{name} {severity}");
    }
}

#[test]
fn hostile_webhooks_are_refused_by_the_field() {
    for (path, value, expected) in [
        (&["signature"][..], Value::Null, "signature.timestamp is missing"),
        (
            &["signature", "token"],
            json!("x".repeat(101)),
            "signature.token is 101 characters long, at most 100",
        ),
        (&["event-data"], json!([]), "event-data.event is missing"),
        (
            &["event-data", "id"],
            json!(5),
            "event-data.id is a number, not a text",
        ),
        (
            &["event-data", "timestamp"],
            json!("now"),
            "event-data.timestamp is a text, not a number",
        ),
        (
            &["event-data", "timestamp"],
            json!(-1.0),
            "event-data.timestamp is no time in seconds since 1970",
        ),
        (
            &["event-data", "timestamp"],
            json!(1e300),
            "event-data.timestamp is no time in seconds since 1970",
        ),
        (
            &["event-data", "severity"],
            Value::Null,
            "event-data.severity is missing",
        ),
        (
            &["event-data", "user-variables", "paceline_id"],
            json!({"deep": []}),
            "event-data.user-variables.paceline_id is an object, not a text",
        ),
    ] {
        let mut body = documented_failure();
        let mut place = &mut body;
        for name in path {
            place = &mut place[*name];
        }
        *place = value;
        let refused = mailgun::parse(body.to_string().as_bytes()).expect_err("hostile");
        assert_eq!(refused.to_string(), expected);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 60, 60, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..60).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z_]{1,12}", inner, 0..5)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// The places of a document, as JSON pointers.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            places(value, &format!("{at}/{}", name.replace('/', "~1")), into);
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, value)| places(value, &format!("{at}/{index}"), into)),
        _ => {}
    }
}

fn with_change(mut document: Value, place: prop::sample::Index, value: Value) -> String {
    let mut all = Vec::new();
    places(&document, "", &mut all);
    let place: &String = place.get(&all);
    *document.pointer_mut(place).expect("a place of its own") = value;
    document.to_string()
}

proptest! {
    #[test]
    fn whatever_stands_anywhere_is_read_or_refused_within_bounds(
        place in any::<prop::sample::Index>(),
        value in any_json(),
        which in 0_usize..9,
    ) {
        let event = with_change(documented()[which].0.clone(), place, value.clone());
        match ses::parse(event.as_bytes()) {
            Ok(event) => {
                prop_assert!(event.event_id.len() <= 300 && event.event_id.is_ascii());
                prop_assert!(event.detail.len() <= 200 && event.kind_name.len() <= 64);
                prop_assert!(event.recipients.len() <= 100);
            }
            Err(refused) => prop_assert!(!refused.field.is_empty()),
        }
        let body = with_change(documented_failure(), place, value);
        match mailgun::parse(body.as_bytes()) {
            Ok(webhook) => prop_assert!(webhook.event.event_id.len() <= 300),
            Err(refused) => prop_assert!(!refused.field.is_empty()),
        }
    }

    #[test]
    fn bytes_that_mean_nothing_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ses::parse(&bytes).is_err() && mailgun::parse(&bytes).is_err());
    }
}
