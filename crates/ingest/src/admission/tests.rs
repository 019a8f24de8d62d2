//! Every bad request gets one clear error that names the field; what is good becomes a message.

mod accepted;
mod attached;
mod data;
mod extras;
mod fields;
mod logged;
mod sizes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::canonical::DATA_BYTES_MAX;
use paceline_domain::lane::Lane;
use paceline_domain::record::DoubtPolicy;
use paceline_domain::time::Millis;
use paceline_kit::address_key::AddressKey;
use paceline_kit::identity::{IdentitySettings, SesIdentity};
use paceline_kit::object_url::UrlPrefixes;
use paceline_kit::secret::Secret;
use paceline_templates::LiveCatalog;
use paceline_testkit::ManualClock;
use paceline_wire::convert::timestamp;
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;
use prost::Message as _;

use super::{Admission, Admitted};

const NOW: Millis = Millis(1_790_000_000_000);
const DAY: Duration = Duration::from_hours(24);
const FROM: &str = "from = { address = \"shop@example.com\", display_name = \"Shop\" }\n";
/// Below which attachments may be fetched.
const PREFIX: &str = "https://files.example/mail/";
const ADDRESS_KEY: &str = "fedcba9876543210fedcba9876543210";
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
        mailgun: None,
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
    let digest = format!("{FROM}category = \"digest\"\n");
    write_template(directory.path(), "digest", 1, &digest);
    write_template(directory.path(), "kept", 1, &format!("{FROM}keep = \"30d\"\n"));
    let headers: String = (0..10).map(|n| format!("X-Own-{n} = \"x\"\n")).collect();
    write_template(
        directory.path(),
        "heavy",
        1,
        &format!("{FROM}[headers]\n{headers}"),
    );
    Admission {
        catalog: Arc::new(
            LiveCatalog::load(directory.path(), true).unwrap_or_else(|error| panic!("{error}")),
        ),
        identities: vec![
            identity("main", "example.com", "shop"),
            identity("other", "other.example", "other"),
            identity("everyone", "news.example", "*"),
        ],
        makes_links: true,
        url_prefixes: UrlPrefixes::read(&[PREFIX.to_owned()]).expect("a prefix"),
        digest_key: Secret::new("0123456789abcdef0123456789abcdef"),
        address_key: AddressKey::read(&Secret::new(ADDRESS_KEY)).expect("long enough"),
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
        ..v1::Attachment::default()
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
