//! Every bad request gets one clear error that names the field; what is good becomes a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::canonical::DATA_BYTES_MAX;
use paceline_domain::lane::Lane;
use paceline_domain::record::DoubtPolicy;
use paceline_domain::time::Millis;
use paceline_kit::identity::{IdentitySettings, SesIdentity};
use paceline_kit::secret::Secret;
use paceline_templates::Catalog;
use paceline_testkit::ManualClock;
use paceline_wire::convert::timestamp;
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;
use prost::Message as _;

use super::{Admission, Admitted};

const NOW: Millis = Millis(1_790_000_000_000);
const DAY: Duration = Duration::from_hours(24);
const FROM: &str = "from = { address = \"shop@example.com\", display_name = \"Shop\" }\n";
/// Stands in every bad value where it can: no error may show it.
const SECRET: &str = "s3cret";

fn write_template(directory: &Path, folder: &str, version: u32, lines: &str) {
    let folder_path = directory.join(folder);
    let name = folder.split('@').next().expect("a name");
    std::fs::create_dir_all(folder_path.join("examples")).expect("writable");
    let files = [
        (
            "template.toml",
            format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n{lines}"),
        ),
        ("subject.hbs", "Order {{order.number}} for {{name}}".to_owned()),
        ("body.html.hbs", "<p>{{name}}</p><p>{{note}}</p>".to_owned()),
        (
            "schema.json",
            r#"{"type": "object", "required": ["name", "order", "note"], "properties": {
                "name": {"type": "string"}, "note": {"type": "string"},
                "order": {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}}}"#
                .to_owned(),
        ),
        (
            "examples/first.json",
            r#"{"name": "Ada", "note": "-", "order": {"number": 1}}"#.to_owned(),
        ),
    ];
    for (file, content) in files {
        std::fs::write(folder_path.join(file), content).expect("writable");
    }
}

fn identity(name: &str, domain: &str, tenant: &str) -> IdentitySettings {
    IdentitySettings {
        name: name.to_owned(),
        from_domains: vec![domain.to_owned()],
        tenants: vec![tenant.to_owned()],
        ses: SesIdentity {
            region: "eu-west-1".to_owned(),
            configuration_set: "events".to_owned(),
            tenant_name: None,
        },
    }
}

fn admission() -> Admission {
    admission_at(ManualClock::at(NOW))
}

/// An admission with a few templates and identities.
pub(crate) fn admission_at(clock: ManualClock) -> Admission {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_template(directory.path(), "receipt", 1, FROM);
    let second = format!("{FROM}in_doubt = \"resend\"\ntime_to_live = \"1h\"\n");
    write_template(directory.path(), "receipt@2", 2, &second);
    write_template(directory.path(), "bare", 1, "");
    let headers: String = (0..10).map(|n| format!("X-Own-{n} = \"x\"\n")).collect();
    write_template(
        directory.path(),
        "heavy",
        1,
        &format!("{FROM}[headers]\n{headers}"),
    );
    Admission {
        catalog: Arc::new(Catalog::load(directory.path()).unwrap_or_else(|error| panic!("{error}"))),
        identities: vec![
            identity("main", "example.com", "shop"),
            identity("other", "other.example", "other"),
            identity("everyone", "news.example", "*"),
        ],
        digest_key: Secret::new("0123456789abcdef0123456789abcdef"),
        clock: Arc::new(clock),
    }
}

/// A request that the admission takes.
pub(crate) fn good() -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant: "shop".to_owned(),
        template: "receipt".to_owned(),
        recipient: Some(mailbox("ada@example.org", "Ada")),
        user_id: "42".to_owned(),
        data: data(r#"{"name": "Ada", "note": "two\nlines", "order": {"number": 7}}"#),
        ..v1::EnqueueRequest::default()
    }
}

fn data(json: &str) -> bytes::Bytes {
    json.to_owned().into()
}

fn mailbox(address: &str, display_name: &str) -> v1::Mailbox {
    v1::Mailbox {
        address: address.to_owned(),
        display_name: display_name.to_owned(),
    }
}

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn tag(name: &str, value: &str) -> v1::Tag {
    v1::Tag {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn attachment(file_name: &str, content_type: &str, bytes: usize) -> v1::Attachment {
    v1::Attachment {
        file_name: file_name.to_owned(),
        content_type: content_type.to_owned(),
        content: vec![b'x'; bytes].into(),
        content_id: String::new(),
    }
}

fn admit(
    admission: &Admission,
    change: impl FnOnce(&mut v1::EnqueueRequest),
) -> Result<Admitted, InvalidFields> {
    let mut request = good();
    change(&mut request);
    admission.admit(request, String::new())
}

/// The change must break exactly `field`, and the error must not show a value.
#[track_caller]
fn refuses(admission: &Admission, field: &str, change: impl FnOnce(&mut v1::EnqueueRequest)) {
    let wrong = admit(admission, change).expect_err(field);
    let fields: Vec<_> = wrong
        .violations()
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(fields, [field], "{wrong}");
    let text = wrong.to_string();
    assert!(!text.contains(SECRET), "{text}");
    assert!(!wrong.violations()[0].problem.is_empty());
}

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
fn payloads() {
    let a = admission();
    for whole in ["", "nonsense", "[1]", "\"s3cret\"", "null"] {
        refuses(&a, "data", |r| r.data = data(whole));
    }
    refuses(&a, "data.name", |r| r.data = data("{\"name\": NaN}"));
    refuses(&a, "data", |r| {
        r.data = bytes::Bytes::from_static(b"{\"name\": \"\xff\"}")
    });
    let large = format!(r#"{{"name": "{}"}}"#, "s3cret".repeat(DATA_BYTES_MAX / 6));
    refuses(&a, "data", |r| r.data = data(&large));
    let fields = r#""name": "Ada", "note": "", "order": {"number": 7}"#;
    refuses(&a, "data.name", |r| {
        r.data = data(&format!("{{{fields}, \"name\": \"s3cret\"}}"))
    });
    refuses(&a, "data.paceline", |r| {
        r.data = data(&format!("{{{fields}, \"paceline\": 1}}"))
    });
    refuses(&a, "data.total", |r| {
        r.data = data(&format!("{{{fields}, \"total\": 9007199254740993}}"))
    });
    let deep = format!("{{{fields}, \"deep\": {}{}}}", "[".repeat(40), "]".repeat(40));
    let wrong = admit(&a, |r| r.data = data(&deep)).expect_err("too deep");
    assert!(wrong.violations()[0].field.starts_with("data.deep"), "{wrong}");
    refuses(&a, "data.order.number", |r| {
        r.data = data(r#"{"name": "Ada", "note": "", "order": {"number": "s3cret"}}"#);
    });
    refuses(&a, "data.order.number", |r| {
        r.data = data(r#"{"name": "Ada", "note": "", "order": {}}"#)
    });
    refuses(&a, "data.order", |r| {
        r.data = data(r#"{"name": "Ada", "note": ""}"#)
    });
}

#[test]
fn a_line_break_is_refused_where_the_subject_prints_it() {
    let a = admission();
    for text in [r"s3cret\r\nBcc: x@y.example", r"s3cret\n", r"s3cret\u2028"] {
        let json = format!(r#"{{"name": "{text}", "note": "{text}", "order": {{"number": 7}}}}"#);
        refuses(&a, "data.name", |r| r.data = data(&json));
    }
    admit(&a, |r| {
        r.data = data(r#"{"name": "Ada", "note": "a\r\nb", "order": {"number": 7}}"#)
    })
    .expect("a body may have lines");
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
fn headers_and_tags() {
    let a = admission();
    let name = "headers[0].name";
    for reserved in [
        "From",
        "bcc",
        "SUBJECT",
        "Message-ID",
        "X-SES-Tenant",
        "x-paceline-id",
        "Content-Type",
    ] {
        refuses(&a, name, |r| r.headers = vec![header(reserved, "x")]);
    }
    for bad in [
        "",
        "X s3cret",
        "X:s3cret",
        "X-s3cret\r\nBcc",
        "Größe-s3cret",
        &"x".repeat(127),
    ] {
        refuses(&a, name, |r| r.headers = vec![header(bad, "x")]);
    }
    let value = "headers[0].value";
    for bad in [
        "",
        "s3cret\r\nBcc: x@y.example",
        "s3cret\0",
        &"x".repeat(996),
        &"ü".repeat(500),
    ] {
        refuses(&a, value, |r| r.headers = vec![header("X-Order", bad)]);
    }
    refuses(&a, value, |r| {
        r.headers = vec![header(&"x".repeat(100), &"y".repeat(900))]
    });
    refuses(&a, "headers[1].name", |r| {
        r.headers = vec![header("X-A", "1"), header("x-a", "2")]
    });
    refuses(&a, "headers", |r| {
        r.headers = (0..11).map(|n| header(&format!("X-{n}"), "x")).collect()
    });
    refuses(&a, "headers", |r| {
        r.template = "heavy".to_owned();
        r.headers = (0..3).map(|n| header(&format!("X-{n}"), "x")).collect();
    });
    admit(&a, |r| {
        r.template = "heavy".to_owned();
        r.headers = (0..10).map(|n| header(&format!("x-own-{n}"), "x")).collect();
    })
    .expect("they take the place of the template's");

    for bad in ["", "s3cret tag", "s3cret.tag", "s3crét", &"x".repeat(257)] {
        refuses(&a, "tags[0].name", |r| r.tags = vec![tag(bad, "x")]);
        refuses(&a, "tags[0].value", |r| r.tags = vec![tag("x", bad)]);
    }
    refuses(&a, "tags[0].name", |r| r.tags = vec![tag("Paceline_id", "x")]);
    refuses(&a, "tags[1].name", |r| {
        r.tags = vec![tag("a", "x"), tag("a", "y")]
    });
    refuses(&a, "tags", |r| {
        r.tags = (0..7).map(|n| tag(&n.to_string(), "x")).collect()
    });
}

#[test]
fn attachments() {
    let a = admission();
    for bad in [
        "",
        "s3cret/passwd",
        "s3cret\\x",
        "..",
        "s3cret\r\n",
        &"x".repeat(201),
    ] {
        refuses(&a, "attachments[0].file_name", |r| {
            r.attachments = vec![attachment(bad, "text/plain", 1)]
        });
    }
    for bad in [
        "",
        "s3cret",
        "text/",
        "/plain",
        "text/plain; s3cret=x",
        "text/pl ain",
        "text/plain\r\n",
        &format!("text/{}", "x".repeat(74)),
    ] {
        refuses(&a, "attachments[0].content_type", |r| {
            r.attachments = vec![attachment("a", bad, 1)]
        });
    }
    refuses(&a, "attachments[0].content", |r| {
        r.attachments = vec![attachment("a", "text/plain", 0)]
    });
    for bad in ["<s3cret>", "s3cret x", "s3cret..x", &"x".repeat(79)] {
        refuses(&a, "attachments[0].content_id", |r| {
            let inline = attachment("a", "image/png", 1);
            r.attachments = vec![v1::Attachment {
                content_id: bad.to_owned(),
                ..inline
            }];
        });
    }
    refuses(&a, "attachments", |r| {
        r.attachments = vec![attachment("a", "text/plain", 1); 11]
    });
    refuses(&a, "attachments", |r| {
        r.attachments = vec![attachment("a", "text/plain", 4 << 20); 2]
    });
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

#[test]
fn a_good_request_becomes_a_message() {
    let a = admission();
    let admitted = admit(&a, |r| {
        r.recipient = Some(mailbox("Ada@Example.ORG", " Ada "));
        r.lane = v1::Lane::Bulk.into();
        r.headers = vec![header("X-Order", "7")];
        r.tags = vec![tag("campaign", "spring")];
        r.attachments = vec![attachment("a.pdf", "application/pdf", 3)];
    })
    .expect("good");
    let record = &admitted.message.record;
    assert_eq!((record.lane, record.identity.as_str()), (Lane::Bulk, "main"));
    assert_eq!(
        (record.tenant.as_str(), record.template.as_str()),
        ("shop", "receipt")
    );
    assert_eq!(record.policy, DoubtPolicy::Resend, "the newest version's");
    assert_eq!(admitted.message.ttl, Duration::from_hours(1));
    assert!(record.digests.is_empty());
    let stored = v1::StoredRequest::decode(admitted.message.request.clone()).expect("our own");
    assert_eq!(stored.recipient, Some(mailbox("Ada@example.org", "Ada")));
    let newest = a.catalog.get("receipt", None).expect("there");
    assert_eq!(stored.bundle_hash.as_ref(), newest.hash().0.as_slice());
    assert_eq!(
        (stored.attachments.len(), stored.tags.len(), stored.headers.len()),
        (1, 1, 1)
    );

    let first = admit(&a, |r| r.template_version = "1".to_owned()).expect("an older version");
    assert_eq!(first.message.record.policy, DoubtPolicy::Hold);
    let news = admit(&a, |r| r.from = Some(mailbox("x@NEWS.example", ""))).expect("everyone's");
    assert_eq!(news.message.record.identity, "everyone");
}

#[test]
fn the_id_is_the_content_or_the_key() {
    let a = admission();
    let id = |change: &dyn Fn(&mut v1::EnqueueRequest)| admit(&a, |r| change(r)).expect("good").asked.id;
    let original = id(&|_| {});
    assert_eq!(id(&|r| r.lane = 2), original);
    assert_eq!(id(&|r| r.tags = vec![tag("a", "b")]), original);
    assert_eq!(id(&|r| r.send_at = Some(timestamp(NOW + DAY))), original);
    assert_eq!(id(&|r| r.template_version = "1".to_owned()), original);
    for change in [
        (&|r: &mut v1::EnqueueRequest| r.user_id = "43".to_owned()) as &dyn Fn(&mut v1::EnqueueRequest),
        &|r| r.recipient = Some(mailbox("eve@example.org", "Ada")),
        &|r| r.from = Some(mailbox("x@example.com", "")),
        &|r| r.reply_to = Some(mailbox("x@example.com", "")),
        &|r| r.headers = vec![header("X-A", "b")],
        &|r| r.attachments = vec![attachment("a", "text/plain", 1)],
        &|r| r.data = data(r#"{"name": "Ada", "note": "-", "order": {"number": 8}}"#),
    ] {
        assert_ne!(id(change), original);
    }
    let keyed = |change: &dyn Fn(&mut v1::EnqueueRequest)| {
        admit(&a, |r| {
            r.idempotency_key = "order-7".to_owned();
            change(r);
        })
        .expect("good")
    };
    let first = keyed(&|_| {});
    let second = keyed(&|r| r.recipient = Some(mailbox("eve@example.org", "")));
    assert_eq!(first.asked.id, second.asked.id);
    assert!(first.asked.id != original && !first.message.record.digests.is_empty());
    let digests = (
        first.asked.digests.expect("keyed"),
        second.asked.digests.expect("keyed"),
    );
    assert_eq!(digests.0.differences(&digests.1), ["recipient"]);
}
