//! A candidate, tried on what was really sent.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::time::Millis;
use paceline_ledger::{Kept, LoggedMessage};
use paceline_testkit::{ServiceProcess, TestPostgres, TestRedis};
use paceline_wire::rendered as packing;
use paceline_wire::v1;
use paceline_wire::v1::replay_result::Outcome;
use paceline_wire::v1::replay_service_client::ReplayServiceClient;
use tonic::{Code, Status};

use crate::support;

const NOW: Millis = Millis(1_800_000_000_000);
const LINK: &str = "https://mail.example.com/u/abc";

/// Bulk mail that greets by name.
fn candidate(html: &str) -> HashMap<String, Bytes> {
    let files = [
        (
            "template.toml",
            "name = \"welcome\"\nversion = 2\nlane = \"bulk\"\n",
        ),
        ("subject.hbs", "Hello {{name}}"),
        ("body.html.hbs", html),
        ("body.txt.hbs", "Hello {{name}}"),
        ("schema.json", "{\"name\": \"string\"}"),
        ("examples/first.json", "{\"name\": \"Ada\"}"),
    ];
    files
        .map(|(path, text)| (path.to_owned(), Bytes::copy_from_slice(text.as_bytes())))
        .into()
}

const HTML: &str = "<p>Hello {{name}}</p>\n<a href=\"{{paceline.unsubscribe_url}}\">x</a>";

fn message(number: u8, tenant: &str, template: &str) -> LoggedMessage {
    LoggedMessage {
        id: MessageId([number; 16]),
        accepted_at: NOW + Duration::from_secs(number.into()),
        tenant: tenant.to_owned(),
        template: template.to_owned(),
        bundle_hash: Vec::new(),
        lane: Lane::Bulk,
        identity: "main".to_owned(),
        recipient: Vec::new(),
        user_hash: Vec::new(),
        send_at: Millis(0),
        expires_at: Millis(0),
        tags: "[]".to_owned(),
        digests: Vec::new(),
    }
}

fn kept(number: u8, generation: u32, content: Vec<u8>) -> Kept {
    Kept {
        id: MessageId([number; 16]),
        accepted_at: NOW + Duration::from_secs(number.into()),
        generation,
        until: NOW + Duration::from_hours(24),
        content,
    }
}

/// What was sent to someone of that name.
fn sent(name: &str) -> Vec<u8> {
    let parts = v1::RenderedMessage {
        subject: format!("Hello {name}"),
        html: format!("<p>Hello {name}</p>\n<a href=\"{LINK}\">x</a>"),
        text: format!("Hello {name}"),
        headers: vec![v1::Header {
            name: "List-Unsubscribe".to_owned(),
            value: format!("<{LINK}>"),
        }],
        ..v1::RenderedMessage::default()
    };
    packing::pack(&parts).expect("packed").to_vec()
}

/// A service whose ledger keeps three messages of "welcome", one of another template, and one of another tenant.
struct Bench {
    _service: ServiceProcess,
    _redis: TestRedis,
    address: String,
}

impl Bench {
    async fn start(url: &str) -> Self {
        let redis = TestRedis::start().await;
        let service = support::start(&redis, url, "").await.expect("a feedback service");
        let ledger = support::ledger(url).await;
        let messages = [
            (1, "acme", "welcome"),
            (2, "acme", "welcome"),
            (3, "acme", "welcome"),
            (4, "acme", "other"),
            (5, "other", "welcome"),
        ];
        let messages = messages.map(|(number, tenant, template)| message(number, tenant, template));
        ledger.append(&messages, &[], &[]).await.expect("written");
        let payload = |name: &str| format!("{{\"name\": \"{name}\"}}").into_bytes();
        let all = [
            kept(1, 0, payload("Ada")),
            kept(1, 1, sent("before a redrive")),
            kept(1, 2, sent("Ada")),
            kept(2, 0, payload("Zoe the secret")),
            kept(2, 1, sent("Zoe")),
            kept(3, 0, b"{\"nom\": \"secret\"}".to_vec()),
            kept(4, 0, payload("Eve")),
            kept(5, 0, payload("Eve")),
        ];
        ledger.keep(&all).await.expect("written");
        Self {
            address: format!("http://{}", service.grpc()),
            _service: service,
            _redis: redis,
        }
    }

    async fn replay(
        &self,
        html: &str,
        change: impl FnOnce(&mut v1::ReplayRequest),
    ) -> Result<Vec<(u8, Outcome, String)>, Status> {
        let mut request = v1::ReplayRequest {
            tenant: "acme".to_owned(),
            template: "welcome".to_owned(),
            files: candidate(html),
            messages_max: 0,
        };
        change(&mut request);
        let client = ReplayServiceClient::connect(self.address.clone()).await;
        let results = client
            .expect("it answers")
            .replay(request)
            .await?
            .into_inner()
            .results;
        let shown = results.into_iter().map(|result| {
            let id: MessageId = result.message_id.parse().expect("an id");
            (id.0[0], result.outcome(), result.detail)
        });
        Ok(shown.collect())
    }
}

async fn tells_what_would_fail_or_differ(bench: &Bench) {
    let found = bench.replay(HTML, |_| {}).await.expect("it answers");
    let differs = "subject (1 new lines), html (1 new lines), text (1 new lines)";
    assert_eq!(
        found,
        [
            (3, Outcome::Fails, "data.name is missing".to_owned()),
            (2, Outcome::Differs, differs.to_owned()),
            (1, Outcome::Same, String::new()),
        ]
    );
    let newest = bench.replay(HTML, |request| request.messages_max = 1).await;
    assert_eq!(newest.expect("it answers"), found[..1]);
    let other = |request: &mut v1::ReplayRequest| request.template = "other".to_owned();
    let renders = bench.replay(HTML, other).await.expect("it answers");
    assert_eq!(renders, [(4, Outcome::New, String::new())]);
    let fails = bench
        .replay("<p>{{missing}}</p>", other)
        .await
        .expect("it answers");
    assert_eq!((fails.len(), fails[0].1), (1, Outcome::Fails));
    assert!(fails[0].2.contains("body.html.hbs line 1"), "{fails:?}");
}

#[tokio::test]
async fn what_would_fail_or_differ_is_told_without_a_value_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    tells_what_would_fail_or_differ(&Bench::start(&url).await).await;
}

#[tokio::test]
async fn what_would_fail_or_differ_is_told_without_a_value_in_postgresql() {
    let postgres = TestPostgres::start().await;
    tells_what_would_fail_or_differ(&Bench::start(&postgres.url()).await).await;
}

#[tokio::test]
async fn what_is_no_replay_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let bench = Bench::start(&url).await;
    let refused = async |change: &dyn Fn(&mut v1::ReplayRequest)| {
        let answer = bench.replay(HTML, |request| change(request)).await;
        assert_eq!(answer.expect_err("refused").code(), Code::InvalidArgument);
    };
    refused(&|request| request.messages_max = 201).await;
    refused(&|request| request.template.clear()).await;
    refused(&|request| request.tenant = "A b".to_owned()).await;
    refused(&|request| drop(request.files.remove("subject.hbs"))).await;
}
