//! Links to unsubscribe, as mailbox providers and people use them, and as scanners and forgers do.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::{Suppressed, SuppressionReason};
use paceline_domain::time::Millis;
use paceline_domain::unsubscribe::{SigningKey, UnsubscribeKeys, UnsubscribeLink};
use paceline_ledger::{NewSuppression, SuppressionDeed, SuppressionKey};
use paceline_store::{Addressee, Durability, Store, StoreConfig};
use paceline_testkit::eventually;

use crate::support::Feedback;

const SECRET: &str = "swordfish-swordfish-swordfish-swordfish";
const OLD_SECRET: &str = "marlinspike-marlinspike-marlinspike";
const ADDRESS: AddressHash = AddressHash([9; 16]);
const FORM: &str = "application/x-www-form-urlencoded";
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

fn keys(id: &str, secret: &str) -> UnsubscribeKeys {
    let key = SigningKey {
        id: id.to_owned(),
        secret: secret.into(),
    };
    UnsubscribeKeys::new(vec![key]).expect("a good key")
}

fn link() -> UnsubscribeLink {
    UnsubscribeLink {
        tenant: "acme".to_owned(),
        category: "news".to_owned(),
        address: ADDRESS,
        message_id: MessageId([7; 16]),
        accepted_at: Millis(1_790_000_000_000),
    }
}

/// The path of a link that the service's first key signed.
fn path() -> String {
    let token = keys("new", SECRET).sign(&link()).expect("good names");
    format!("/unsubscribe/{token}")
}

fn config(feedback: &Feedback) -> StoreConfig {
    StoreConfig {
        url: feedback.redis.url().to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: Duration::from_secs(5),
        durability: Durability::Fsync,
        replicas: 0,
        allow_unsafe: true,
        log: paceline_store::LogUse::default(),
        log_entries_max: 10_000,
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// A service with links, and a store beside it.
struct Bench {
    feedback: Feedback,
    store: Store,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Bench {
    async fn start() -> Self {
        let feedback = Feedback::start(&format!(
            "unsubscribe.keys = [{{ id = \"new\", secret = \"{SECRET}\" }}, {{ id = \"old\", secret = \"{OLD_SECRET}\" }}]\n\
             unsubscribe.senders = {{ acme = \"Acme <Bikes>\" }}\n"
        ))
        .await;
        Self {
            store: Store::connect(&config(&feedback)).await.expect("redis is there"),
            feedback,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn ask(&self, method: Method, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let web = self.feedback.process.web().expect("it has a listener");
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{web}{path}"))
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body.into()))
            .expect("a request");
        let answer = self.client.request(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", "").await
    }

    async fn post(&self, path: &str, body: &'static str) -> Answer {
        self.ask(Method::POST, path, FORM, body).await
    }

    /// What senders see of the address, in a category.
    async fn suppressed(&self, category: &str) -> Suppressed {
        let to = Addressee {
            address: ADDRESS,
            category: category.to_owned(),
            despite_complaint: false,
        };
        let found = self.store.suppressed(&[("acme", &to)]).await;
        found.expect("redis is there")[0].suppressed
    }

    async fn is_unsubscribed(&self) -> bool {
        self.suppressed("news").await.category == Some(SuppressionReason::Unsubscribe)
    }

    /// Kind and detail of the tenant's events.
    async fn events(&self) -> Vec<(String, String)> {
        let events = self
            .feedback
            .ledger()
            .await
            .events_since("acme", 0, &[], 100)
            .await;
        let events = events.expect("the ledger is there").into_iter();
        events
            .map(|event| (event.event.kind, event.event.detail))
            .collect()
    }
}

fn is_strict(answer: &Answer) {
    let header = |name: &str| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("location"));
    let shown = answer.body.split("</style>").last().unwrap_or_default();
    assert!(
        !answer.body.contains("<script") && !shown.contains('@'),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn one_click_unsubscribes_at_once_and_only_once() {
    let bench = Bench::start().await;
    for _ in 0..2 {
        let answer = bench.post(&path(), ONE_CLICK).await;
        assert_eq!(answer.status, StatusCode::OK);
        is_strict(&answer);
        assert!(bench.is_unsubscribed().await);
    }
    let parts =
        "--xx\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--xx--\r\n";
    let answer = bench
        .ask(Method::POST, &path(), "multipart/form-data; boundary=xx", parts)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let said = r#"{"by":"one_click","category":"news"}"#;
    assert_eq!(
        bench.events().await,
        [("unsubscribed".to_owned(), said.to_owned())]
    );
    // Nothing else is.
    assert_eq!(bench.suppressed("offers").await, Suppressed::default());
}

#[tokio::test]
async fn a_link_of_an_older_key_holds() {
    let bench = Bench::start().await;
    let token = keys("old", OLD_SECRET).sign(&link()).expect("good names");
    let answer = bench.post(&format!("/unsubscribe/{token}"), ONE_CLICK).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(bench.is_unsubscribed().await);
}

#[tokio::test]
async fn whoever_only_looks_changes_nothing() {
    let bench = Bench::start().await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let answer = bench.ask(method, &path(), "", "").await;
        assert_eq!(answer.status, StatusCode::OK);
        is_strict(&answer);
    }
    let page = bench.get(&path()).await.body;
    assert!(
        page.contains("Acme &lt;Bikes&gt;") && page.contains("<strong>news</strong>"),
        "{page}"
    );
    // What is not asked for by one of the two ways is not done.
    for body in ["", "List-Unsubscribe=Yes", "action=delete"] {
        let answer = bench.post(&path(), body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        is_strict(&answer);
    }
    assert!(!bench.is_unsubscribed().await);
    assert_eq!(bench.events().await, []);
    // The page is the same for whom is unsubscribed: it tells no one's secrets.
    bench.post(&path(), ONE_CLICK).await;
    assert_eq!(bench.get(&path()).await.body, page);
}

#[tokio::test]
async fn a_person_unsubscribes_undoes_it_and_does_it_again() {
    let bench = Bench::start().await;
    let done = bench.post(&path(), "action=unsubscribe").await;
    assert_eq!(done.status, StatusCode::OK);
    is_strict(&done);
    assert!(
        done.body.contains("You are unsubscribed") && done.body.contains("value=\"resubscribe\""),
        "{}",
        done.body
    );
    assert!(bench.is_unsubscribed().await);
    for _ in 0..2 {
        let undone = bench.post(&path(), "action=resubscribe").await;
        assert_eq!(undone.status, StatusCode::OK);
        assert!(undone.body.contains("value=\"unsubscribe\""), "{}", undone.body);
        assert!(!bench.is_unsubscribed().await);
    }
    bench.post(&path(), "action=unsubscribe").await;
    assert!(bench.is_unsubscribed().await);
    let kinds: Vec<_> = bench.events().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["unsubscribed", "resubscribed", "unsubscribed"]);
}

#[tokio::test]
async fn nobody_is_subscribed_again_to_what_stopped_for_another_reason() {
    let bench = Bench::start().await;
    let bounced = NewSuppression {
        key: SuppressionKey {
            tenant: "acme".to_owned(),
            category: String::new(),
            address: ADDRESS,
        },
        reason: SuppressionReason::HardBounce,
        at: Millis(1),
        sealed: Vec::new(),
    };
    let complained = NewSuppression {
        key: SuppressionKey {
            category: "news".to_owned(),
            ..bounced.key.clone()
        },
        reason: SuppressionReason::Complaint,
        ..bounced.clone()
    };
    let deed = SuppressionDeed {
        source: "event".to_owned(),
        who: "ses".to_owned(),
        why: String::new(),
        now: Millis(1),
        act: None,
    };
    let ledger = bench.feedback.ledger().await;
    ledger
        .suppress(&[bounced, complained], &deed)
        .await
        .expect("the ledger is there");
    bench.post(&path(), ONE_CLICK).await;
    bench.post(&path(), "action=resubscribe").await;
    assert_eq!(
        bench.suppressed("news").await.category,
        Some(SuppressionReason::Complaint)
    );
}

#[tokio::test]
async fn what_is_none_of_our_links_gets_one_answer_that_tells_nothing() {
    let bench = Bench::start().await;
    let good = path();
    let with = |id, secret| {
        let token = keys(id, secret).sign(&link()).expect("good names");
        format!("/unsubscribe/{token}")
    };
    let long = format!("/unsubscribe/{}", "A".repeat(4_000));
    let mut seen = Vec::new();
    for bad in [
        &good[..good.len() - 1],
        &good[..good.len() / 2],
        &format!("{good}A"),
        &with("new", OLD_SECRET),
        &with("other", SECRET),
        "/unsubscribe/x",
        "/unsubscribe/%ff%00",
        &long,
    ] {
        for answer in [bench.get(bad).await, bench.post(bad, ONE_CLICK).await] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{bad}");
            is_strict(&answer);
            seen.push(answer.body);
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    assert!(!bench.is_unsubscribed().await);
    let big = bench.ask(Method::POST, &good, FORM, "x".repeat(100_000)).await;
    assert_eq!(big.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_not_durable_is_answered_503_and_done_by_the_repetition() {
    let mut bench = Bench::start().await;
    bench.feedback.redis.crash().await;
    let answer = bench.post(&path(), ONE_CLICK).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    is_strict(&answer);
    bench.feedback.redis.start_again().await;
    eventually("the repetition is taken", Duration::from_secs(60), async || {
        let status = bench.post(&path(), ONE_CLICK).await.status;
        (status == StatusCode::OK).then_some(()).ok_or(status)
    })
    .await;
    let kinds: Vec<_> = bench.events().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["unsubscribed"]);
    let store = Store::connect(&config(&bench.feedback))
        .await
        .expect("redis is back");
    bench.store = store;
    assert!(bench.is_unsubscribed().await);
}

#[tokio::test]
async fn without_settings_there_are_no_links() {
    let feedback = Feedback::start("").await;
    let web = feedback.process.web().expect("it has a listener");
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{web}{}", path()));
    let request = request.body(Full::default()).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}
