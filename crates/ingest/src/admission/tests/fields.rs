//! Names, people, templates, lanes, identities and times.

use super::*;

#[test]
fn names_and_people() {
    let a = admission();
    refuses(&a, "tenant", |r| r.tenant = String::new());
    refuses(&a, "tenant", |r| r.tenant = "Shop/s3cret".to_owned());
    refuses(&a, "tenant", |r| r.tenant = "x".repeat(65));
    refuses(&a, "user_id", |r| r.user_id = String::new());
    refuses(&a, "user_id", |r| r.user_id = "s3cret\n".to_owned());
    refuses(&a, "user_id", |r| r.user_id = "ä".repeat(129));
    refuses(&a, "idempotency_key", |r| r.idempotency_key = "x".repeat(257));
    refuses(&a, "idempotency_key", |r| {
        r.idempotency_key = "s3cret\0".to_owned()
    });
    refuses(&a, "recipient", |r| r.recipient = None);
    for address in [
        "",
        "s3cret",
        "s3cret@",
        "@s3cret.example",
        "s3crét@example.com",
        "s3cret@exa mple.com",
        "s3cret@example.com\r\nBcc: x@y.example",
    ] {
        refuses(&a, "recipient.address", |r| {
            r.recipient = Some(mailbox(address, ""))
        });
    }
    let long_local = format!("{}@example.com", "l".repeat(65));
    refuses(&a, "recipient.address", |r| {
        r.recipient = Some(mailbox(&long_local, ""))
    });
    let long = format!("ada@{}com", "label-of-some-length.".repeat(13));
    refuses(&a, "recipient.address", |r| {
        r.recipient = Some(mailbox(&long, ""))
    });
    for name in ["s3cret\r\nBcc: x@y.example", "s3cret\n", "s3cret\u{2028}"] {
        refuses(&a, "recipient.display_name", |r| {
            r.recipient = Some(mailbox("ada@example.org", name));
        });
    }
    refuses(&a, "reply_to.display_name", |r| {
        r.reply_to = Some(mailbox("ada@example.org", &"ä".repeat(201)));
    });
    refuses(&a, "reply_to.address", |r| {
        r.reply_to = Some(mailbox("s3cret", ""))
    });
}

#[test]
fn templates_lanes_and_identities() {
    let a = admission();
    refuses(&a, "template", |r| r.template = String::new());
    refuses(&a, "template", |r| r.template = "s3cret".to_owned());
    refuses(&a, "template_version", |r| r.template_version = "9".to_owned());
    refuses(&a, "template_version", |r| {
        r.template_version = "s3cret".to_owned()
    });
    refuses(&a, "lane", |r| r.lane = 7);
    refuses(&a, "lane", |r| r.lane = -1);
    refuses(&a, "from.address", |r| {
        r.from = Some(mailbox("s3cret@other.example", ""))
    });
    refuses(&a, "from.address", |r| {
        r.from = Some(mailbox("s3cret@nobody.example", ""))
    });
    refuses(&a, "from.address", |r| r.from = Some(mailbox("s3cret", "")));
    refuses(&a, "from", |r| r.template = "bare".to_owned());
    refuses(&a, "tenant", |r| r.tenant = "other".to_owned());
}

#[test]
fn times() {
    let a = admission();
    let at = |millis: Millis| Some(timestamp(millis));
    refuses(&a, "send_at", |r| r.send_at = at(NOW + 367 * DAY));
    refuses(&a, "send_at", |r| {
        r.send_at = Some(prost_types::Timestamp {
            seconds: -1,
            nanos: 0,
        })
    });
    refuses(&a, "expires_at", |r| {
        r.expires_at = Some(prost_types::Timestamp {
            seconds: 1,
            nanos: -1,
        })
    });
    refuses(&a, "expires_at", |r| {
        r.send_at = at(NOW + 2 * DAY);
        r.expires_at = at(NOW + DAY);
    });
    // What has passed is for the caller to hear unless the message is there: see the service.
    let passed = |change: &dyn Fn(&mut v1::EnqueueRequest)| {
        let admitted = admit(&a, |r| change(r)).expect("no other fault");
        admitted.passed.map(|violation| violation.field)
    };
    assert_eq!(passed(&|r| r.send_at = at(NOW - DAY)), Some("send_at".to_owned()));
    assert_eq!(passed(&|r| r.expires_at = at(NOW)), Some("expires_at".to_owned()));
    assert_eq!(passed(&|r| r.send_at = at(NOW - Duration::from_secs(30))), None);
    assert_eq!(passed(&|r| r.send_at = at(NOW + 366 * DAY)), None);
    assert_eq!(passed(&|r| r.expires_at = at(NOW + DAY)), None);
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let wrong = admit(&admission(), |r| {
        r.user_id = String::new();
        r.recipient = None;
        r.data = data(r#"{"name": 1, "note": "", "order": {"number": "x"}}"#);
        r.lane = 9;
    })
    .expect_err("four faults");
    let mut fields: Vec<_> = wrong.violations().iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["data.name", "data.order.number", "lane", "recipient", "user_id"]
    );
}
