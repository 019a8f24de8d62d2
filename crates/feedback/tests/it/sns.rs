//! Messages that OpenSSL signed, checked against a stand-in for SNS on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use paceline_feedback::sns::{CertificateError, Envelope, SnsError, SnsSettings, Verifier};
use paceline_kit::clock::SystemClock;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use serde_json::Value;

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:ses-events";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/sns")
        .join(name)
}

fn message(name: &str) -> Value {
    let text = std::fs::read(fixture(name)).expect("a fixture");
    serde_json::from_slice(&text).expect("JSON")
}

/// Serves certificates, and counts who asks.
struct StandIn {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl StandIn {
    async fn start(other: &str) -> Self {
        let asked = Arc::new(AtomicU64::new(0));
        let signer = std::fs::read_to_string(fixture("signer.pem")).expect("a fixture");
        let served = |content: String| {
            let asked = Arc::clone(&asked);
            get(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                std::future::ready(content.clone().into_response())
            })
        };
        let routes = Router::new()
            .route("/signer.pem", served(signer))
            .route("/other.pem", served(other.to_owned()))
            .route("/large.pem", served("x".repeat(65 << 10)))
            .route(
                "/moved.pem",
                get(|| std::future::ready(Redirect::temporary("/signer.pem"))),
            )
            .route("/gone.pem", get(|| std::future::ready(StatusCode::NOT_FOUND)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, asked }
    }

    fn verifier(&self) -> Verifier {
        let settings = SnsSettings {
            topics: vec![TOPIC.to_owned()],
            ca: fixture("ca.pem"),
            loopback: Some(self.address),
        };
        settings.validate().expect("good settings");
        Verifier::new(&settings, Arc::new(SystemClock)).expect("good settings")
    }

    /// The message, its certificate served here: where it comes from is not signed.
    fn envelope(&self, mut message: Value, certificate: &str) -> Envelope {
        message["SigningCertURL"] = format!("http://{}/{certificate}", self.address).into();
        Envelope::parse(message.to_string().as_bytes()).expect("a message")
    }
}

#[tokio::test]
async fn signatures_of_both_versions_hold_and_one_certificate_is_fetched_once() {
    let sns = StandIn::start("").await;
    let verifier = sns.verifier();
    for name in [
        "notification_v1.json",
        "notification_v2.json",
        "confirmation_v1.json",
    ] {
        let envelope = sns.envelope(message(name), "signer.pem");
        verifier.verify(&envelope).await.expect(name);
    }
    assert_eq!(sns.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn whatever_is_changed_breaks_the_signature() {
    let sns = StandIn::start("").await;
    let verifier = sns.verifier();
    for name in ["notification_v1.json", "notification_v2.json"] {
        for field in ["Message", "MessageId", "Subject", "Timestamp"] {
            let mut forged = message(name);
            forged[field] = "forged".into();
            let refused = verifier.verify(&sns.envelope(forged, "signer.pem")).await;
            assert!(
                matches!(refused, Err(SnsError::Signature)),
                "{name} {field}: {refused:?}"
            );
        }
        let mut forged = message(name);
        forged["Type"] = "UnsubscribeConfirmation".into();
        forged["Token"] = "x".into();
        forged["SubscribeURL"] = "https://sns.eu-west-1.amazonaws.com/".into();
        let refused = verifier.verify(&sns.envelope(forged, "signer.pem")).await;
        assert!(matches!(refused, Err(SnsError::Signature)), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn what_is_not_for_us_asks_nobody() {
    let sns = StandIn::start("").await;
    let verifier = sns.verifier();
    let mut foreign = message("notification_v2.json");
    foreign["TopicArn"] = "arn:aws:sns:eu-west-1:999999999999:ses-events".into();
    let refused = verifier.verify(&sns.envelope(foreign, "signer.pem")).await;
    assert!(matches!(refused, Err(SnsError::Topic)), "{refused:?}");
    let elsewhere = StandIn::start("").await;
    let envelope = elsewhere.envelope(message("notification_v2.json"), "signer.pem");
    let refused = verifier.verify(&envelope).await;
    assert!(
        matches!(refused, Err(SnsError::CertificateAddress(_))),
        "{refused:?}"
    );
    let asked = sns.asked.load(Ordering::Relaxed) + elsewhere.asked.load(Ordering::Relaxed);
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn an_address_that_is_not_of_sns_is_never_confirmed() {
    let sns = StandIn::start("").await;
    let verifier = sns.verifier();
    let mut forged = message("confirmation_v1.json");
    for address in [
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/?sns.eu-west-1.amazonaws.com",
    ] {
        forged["SubscribeURL"] = address.into();
        let refused = verifier
            .confirm(&sns.envelope(forged.clone(), "signer.pem"))
            .await;
        assert!(
            matches!(refused, Err(SnsError::SubscribeAddress(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_counts_only_by_its_name_its_time_and_its_ca() {
    let certificate = |name: &str, expired: bool| {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("random bytes");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        if expired {
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        params.self_signed(&key).expect("good parameters").pem()
    };
    for (pem, expected) in [
        (certificate("sns.amazonaws.com", false), CertificateError::Chain),
        (
            certificate("sns.amazonaws.com", true),
            CertificateError::NotValidNow,
        ),
        (certificate("evil.example", false), CertificateError::Name),
        (
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(),
            CertificateError::Unreadable,
        ),
        (String::new(), CertificateError::Unreadable),
    ] {
        let sns = StandIn::start(&pem).await;
        let envelope = sns.envelope(message("notification_v2.json"), "other.pem");
        match sns.verifier().verify(&envelope).await {
            Err(refused @ SnsError::Certificate(found)) => {
                assert_eq!(found, expected);
                assert!(refused.is_transient(), "SNS takes a 403 for delivered: {refused}");
            }
            other => panic!("{expected:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_certificate_may_be_one_later() {
    let sns = StandIn::start("").await;
    let verifier = sns.verifier();
    for certificate in ["large.pem", "moved.pem", "gone.pem"] {
        let refused = verifier
            .verify(&sns.envelope(message("notification_v2.json"), certificate))
            .await;
        let refused = refused.expect_err(certificate);
        assert!(refused.is_transient(), "{certificate}: {refused:?}");
    }
    assert_eq!(sns.asked.load(Ordering::Relaxed), 1, "no redirect is followed");
    let envelope = sns.envelope(message("notification_v2.json"), "signer.pem");
    verifier.verify(&envelope).await.expect("it is still SNS's");
}
