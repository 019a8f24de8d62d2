//! The audit of ids over both databases: a volatile field that somebody forgot is found by its name.

use std::time::Duration;

use paceline_domain::address::Mailbox;
use paceline_domain::canonical::parse_data;
use paceline_domain::id::MessageId;
use paceline_domain::identity::{Content, IdentityFields, digests};
use paceline_domain::keyed::{address_hash, user_hash};
use paceline_domain::lane::Lane;
use paceline_domain::time::Millis;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_ledger::{LoggedMessage, NewEvent};
use paceline_testkit::{ServiceProcess, TestPostgres, TestRedis, eventually};
use paceline_wire::convert::timestamp;
use paceline_wire::v1;
use paceline_wire::v1::audit_service_client::AuditServiceClient;
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{self, ADDRESS_KEY};

const USERS: u16 = 500;
/// Each user asks twice, so many seconds apart.
const AGAIN: u64 = 30;

/// What ingest logs of a call.
fn message(number: u16, user: &str, template: &str, data: &serde_json::Value, at: Millis) -> LoggedMessage {
    let recipient = Mailbox::parse(&format!("{user}@example.com"), "").expect("an address");
    let data = parse_data(data.to_string().as_bytes()).expect("good data");
    let content = Content {
        tenant: "acme",
        user_id: user,
        template,
        recipient: &recipient,
        data: &data,
        identity_fields: &IdentityFields::default(),
        from: None,
        reply_to: None,
        headers: &[],
        attachments: &[],
    };
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    LoggedMessage {
        id: MessageId(id),
        accepted_at: at,
        tenant: "acme".to_owned(),
        template: template.to_owned(),
        bundle_hash: vec![1; 32],
        lane: Lane::Transactional,
        identity: "main".to_owned(),
        recipient: address_hash(ADDRESS_KEY.as_bytes(), recipient.address())
            .0
            .to_vec(),
        user_hash: user_hash(ADDRESS_KEY.as_bytes(), "acme", user).0.to_vec(),
        send_at: Millis(0),
        expires_at: Millis(0),
        tags: "[]".to_owned(),
        digests: digests(&content, b"the digest key of a deployment").to_bytes(),
    }
}

/// 1,000 receipts with a time of the call in their data, and a digest for each of the users, which differ.
fn messages(now: Millis) -> Vec<LoggedMessage> {
    let ago = |seconds: u64| now - Duration::from_secs(seconds);
    let mut messages = Vec::new();
    for number in 0..USERS {
        let user = format!("user{number}");
        for attempt in 0..2 {
            let at = ago(1_800 + u64::from(number) - u64::from(attempt) * AGAIN);
            let data = json!({"order": number, "total": "9.99", "request_ts": at.0, "trace_id": attempt});
            messages.push(message(number * 2 + attempt, &user, "receipt", &data, at));
        }
        let data = json!({"week": number});
        messages.push(message(10_000 + number, &user, "digest", &data, ago(60)));
    }
    messages
}

struct Bench {
    service: ServiceProcess,
    url: String,
    now: Millis,
    _redis: TestRedis,
}

impl Bench {
    async fn start(url: String, settings: &str) -> Self {
        let redis = TestRedis::start().await;
        let service = support::start(&redis, &url, settings)
            .await
            .expect("a feedback service");
        let now = SystemClock.wall();
        let ledger = support::ledger(&url).await;
        for part in messages(now).chunks(500) {
            ledger.append(part, &[], &[]).await.expect("the ledger is there");
        }
        Self {
            service,
            url,
            now,
            _redis: redis,
        }
    }

    async fn audit(
        &self,
        change: impl FnOnce(&mut v1::AuditIdsRequest),
    ) -> Result<v1::AuditIdsResponse, Status> {
        let mut request = v1::AuditIdsRequest {
            tenant: "acme".to_owned(),
            ..v1::AuditIdsRequest::default()
        };
        change(&mut request);
        let address = format!("http://{}", self.service.grpc());
        let mut client = AuditServiceClient::connect(address).await.expect("it answers");
        Ok(client.audit_ids(request).await?.into_inner())
    }
}

async fn finds_the_forgotten_field(bench: &Bench) {
    let found = bench.audit(|_| {}).await.expect("the ledger is there");
    let [finding] = &found.findings[..] else {
        panic!("one finding expected, not {:?}", found.findings);
    };
    assert_eq!(
        (finding.template.as_str(), finding.pairs),
        ("receipt", u64::from(USERS))
    );
    assert_eq!(finding.fields, ["data.request_ts"]);
    let counts: Vec<_> = found
        .templates
        .iter()
        .map(|of| (of.template.as_str(), of.messages, of.near))
        .collect();
    assert_eq!(counts, [("digest", 500, 0), ("receipt", 1_000, 500)]);
    assert!(found.complete);

    // Bounds of messages, time and template hold.
    let newest = bench
        .audit(|request| request.messages_max = 600)
        .await
        .expect("the ledger is there");
    assert!(!newest.complete);
    assert_eq!(newest.templates.iter().map(|of| of.messages).sum::<u64>(), 600);
    let old = |request: &mut v1::AuditIdsRequest| {
        request.until = Some(timestamp(bench.now - Duration::from_hours(1)))
    };
    assert_eq!(bench.audit(old).await.expect("the ledger is there").templates, []);
    let of_one = bench
        .audit(|request| request.template = "digest".to_owned())
        .await;
    assert_eq!(of_one.expect("the ledger is there").findings, []);
    let other = bench.audit(|request| request.tenant = "other".to_owned()).await;
    assert_eq!(other.expect("the ledger is there").templates, []);
}

#[tokio::test]
async fn a_forgotten_field_is_found_by_name_in_sqlite() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
    finds_the_forgotten_field(&Bench::start(url, "").await).await;
}

#[tokio::test]
async fn a_forgotten_field_is_found_by_name_in_postgresql() {
    let postgres = TestPostgres::start().await;
    finds_the_forgotten_field(&Bench::start(postgres.url(), "").await).await;
}

#[tokio::test]
async fn the_share_of_each_template_is_a_metric() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
    let bench = Bench::start(url, "audit.every = \"1s\"\n").await;
    // Tenants are those of which something became.
    let outcome = NewEvent {
        id: "one".to_owned(),
        message_id: MessageId([0; 16]),
        accepted_at: bench.now,
        attempt: 1,
        tenant: "acme".to_owned(),
        template: "receipt".to_owned(),
        lane: Lane::Transactional,
        kind: "accepted".to_owned(),
        at: bench.now,
        received_at: bench.now,
        detail: "{}".to_owned(),
    };
    let ledger = support::ledger(&bench.url).await;
    ledger
        .record_events(vec![outcome])
        .await
        .expect("the ledger is there");
    eventually("the shares are shown", Duration::from_secs(30), async || {
        let metrics = support::http_get(bench.service.admin(), "/metrics").await;
        let lines: Vec<_> = metrics
            .lines()
            .filter(|line| line.starts_with("feedback_ids_near_share{"))
            .collect();
        let shown = |template: &str, share: &str| {
            let label = format!("template=\"{template}\"");
            lines
                .iter()
                .any(|line| line.contains(&label) && line.ends_with(&format!(" {share}")))
        };
        (shown("receipt", "0.5") && shown("digest", "0"))
            .then_some(())
            .ok_or_else(|| lines.join("\n"))
    })
    .await;
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_by_field() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
    let bench = Bench::start(url, "").await;
    let refused = async |change: fn(&mut v1::AuditIdsRequest), field: &str| {
        let status = bench.audit(change).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(
            String::from_utf8_lossy(status.details()).contains(field),
            "{status:?}"
        );
    };
    refused(|request| request.tenant.clear(), "tenant").await;
    refused(|request| request.template = "t".repeat(65), "template").await;
    refused(|request| request.messages_max = 100_001, "messages_max").await;
    refused(
        |request| request.since = Some(timestamp(Millis(u64::MAX >> 20))),
        "since",
    )
    .await;
}
