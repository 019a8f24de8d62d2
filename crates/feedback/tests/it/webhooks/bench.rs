//! A feedback service beside a stand-in for SNS, and messages in doubt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::AddressHash;
use paceline_domain::lane::Lane;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, Record, State};
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_local::sns::{TOPIC, Topic};
use paceline_store::{
    Addressee, BucketState, ClaimItem, Claimant, Claimed, Durability, Enqueued, EntryBody, HandOff,
    NewMessage, Report, Stage, Store, StoreConfig, Verdict,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Feedback;

pub(crate) const SIGNING_KEY: &str = "swordfish-swordfish";

/// A service that takes messages of SNS from a stand-in.
pub(crate) struct Beside {
    pub(crate) feedback: Feedback,
    store: Store,
    client: Client<HttpConnector, Full<Bytes>>,
    _directory: TempDir,
}

/// The same with a stand-in that does nothing by itself.
pub(crate) struct Bench {
    beside: Beside,
    pub(crate) topic: Topic,
    pub(crate) stand_in: SocketAddr,
    confirmations: Arc<AtomicU64>,
}

impl std::ops::Deref for Bench {
    type Target = Beside;

    fn deref(&self) -> &Beside {
        &self.beside
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let topic = Topic::new(TOPIC);
        let confirmations = Arc::new(AtomicU64::new(0));
        let (certificate, confirmed) = (topic.certificate().to_owned(), Arc::clone(&confirmations));
        let routes = Router::new()
            .route(
                "/signer.pem",
                get(move || std::future::ready(certificate.clone())),
            )
            .route(
                "/confirm",
                get(move || {
                    confirmed.fetch_add(1, Ordering::Relaxed);
                    std::future::ready("confirmed")
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let stand_in = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            beside: Beside::start(stand_in, topic.ca()).await,
            topic,
            stand_in,
            confirmations,
        }
    }

    pub(crate) fn confirmations(&self) -> u64 {
        self.confirmations.load(Ordering::Relaxed)
    }

    pub(crate) fn certificate_url(&self) -> String {
        format!("http://{}/signer.pem", self.stand_in)
    }
}

impl Beside {
    pub(crate) async fn start(stand_in: SocketAddr, ca_pem: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, ca_pem).expect("writable");
        let feedback = Feedback::start(&format!(
            "sns.topics = [\"{TOPIC}\"]\nsns.ca = \"{}\"\nsns.loopback = \"{stand_in}\"\n\
             mailgun.signing_keys = [\"{SIGNING_KEY}\"]\n",
            ca.display()
        ))
        .await;
        let config = StoreConfig {
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
        };
        Self {
            store: Store::connect(&config).await.expect("redis is there"),
            feedback,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _directory: directory,
        }
    }

    pub(crate) async fn sns(&self, message: &Value) -> StatusCode {
        self.post("/ses/sns", message).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> StatusCode {
        let web = self.feedback.process.web().expect("it has a listener");
        self.post_to(&format!("http://{web}{path}"), body).await
    }

    pub(crate) async fn post_to(&self, url: &str, body: &Value) -> StatusCode {
        let request = Request::post(url)
            .header("authorization", "AWS4-HMAC-SHA256 look-alike")
            .body(Full::from(body.to_string()))
            .expect("a request");
        self.client.request(request).await.expect("an answer").status()
    }

    /// A signed call of the webhook: delivered.
    pub(crate) fn mailgun(&self, record: &Record, id: MessageId, event: &str, token: &str) -> Value {
        let timestamp = (SystemClock.wall().0 / 1_000).to_string();
        let signature = Hmac::<sha2::Sha256>::new_from_slice(SIGNING_KEY.as_bytes())
            .expect("a key")
            .chain_update(format!("{timestamp}{token}"))
            .finalize()
            .into_bytes();
        json!({
            "signature": {"timestamp": timestamp, "token": token, "signature": hex::encode(signature)},
            "event-data": {
                "event": "delivered", "id": event, "timestamp": 1_767_323_045.5, "recipient": "ada@example.com",
                "message": {"headers": {"message-id": "0102@mg.example.com"}},
                "user-variables": {
                    "paceline_id": id.to_string(), "paceline_accepted": record.accepted_at.0.to_string(),
                    "paceline_attempt": record.attempt.to_string(), "paceline_tenant": "acme",
                },
            },
        })
    }

    /// The kinds of a tenant's events, in the ledger's order.
    pub(crate) async fn events(&self, tenant: &str) -> Vec<String> {
        let events = self
            .feedback
            .ledger()
            .await
            .events_since(tenant, 0, &[], 100)
            .await;
        events
            .expect("the ledger is there")
            .into_iter()
            .map(|event| event.event.kind)
            .collect()
    }

    pub(crate) async fn get(&self, id: MessageId) -> Record {
        self.store
            .get(id)
            .await
            .expect("redis is there")
            .expect("it is there")
    }

    /// What senders see of an address in all of a tenant's mail.
    pub(crate) async fn suppressed(&self, tenant: &str, address: AddressHash) -> Option<SuppressionReason> {
        let to = Addressee {
            address,
            category: String::new(),
            despite_complaint: false,
        };
        let found = self.store.suppressed(&[(tenant, &to)]).await;
        found.expect("redis is there")[0].suppressed.tenant
    }

    /// One bucket that may lack something, if any does.
    pub(crate) async fn incomplete(&self) -> Option<u8> {
        for bucket in 0..=255 {
            let (_, state) = self
                .store
                .suppression_bucket(bucket)
                .await
                .expect("redis is there");
            if state != BucketState::Complete {
                return Some(bucket);
            }
        }
        None
    }

    /// Leaves an address's bucket as a failover to a replica does that was behind; answers with what it was suppressed for.
    pub(crate) async fn fall_back(&self, tenant: &str, address: AddressHash) -> Option<SuppressionReason> {
        let before = self.suppressed(tenant, address).await;
        let bucket = format!("{{pl1:sup:{}}}", address.0[0]);
        let field = [&address.0, tenant.as_bytes()].concat();
        let redis = &self.feedback.redis;
        redis.command(&[b"HDEL", bucket.as_bytes(), &field]).await;
        redis.command(&["HSET", &bucket, "run", "another"]).await;
        before
    }

    /// A message that waits for its renderer.
    pub(crate) async fn queued(&self, number: u8) -> (MessageId, Record) {
        let id = MessageId([number; 16]);
        let message = NewMessage {
            id,
            record: wish(),
            ttl: Duration::from_secs(3 * 24 * 3_600),
            request: Bytes::from_static(b"request"),
            resubmit: false,
            logged: Bytes::new(),
            durability: Durability::Local,
        };
        match self
            .store
            .enqueue(0, vec![message])
            .await
            .expect("redis is there")
            .remove(0)
        {
            Enqueued::New(record) => (id, record),
            other => panic!("a new message expected, not {other:?}"),
        }
    }

    /// A message whose one attempt had no outcome.
    pub(crate) async fn in_doubt(&self, number: u8) -> (MessageId, Record) {
        let (id, record) = self.queued(number).await;
        let entry = self.one_entry(Stage::Queued).await;
        let hand_off = HandOff {
            stream: entry.0,
            entry_id: entry.1,
            id,
            ticket: record.ticket(),
            rendered: Bytes::from_static(b"parts"),
            to: None,
            kept: Bytes::new(),
            act: Bytes::new(),
            rendered_at: Millis(0),
        };
        let handed = self
            .store
            .hand_off(0, vec![hand_off])
            .await
            .expect("redis is there");
        assert!(handed.iter().all(Result::is_ok), "{handed:?}");
        let entry = self.one_entry(Stage::Ready).await;
        let item = ClaimItem {
            stream: entry.0,
            entry_id: entry.1,
            id,
            ticket: record.ticket(),
            verdict: Verdict::Send,
            rendered_at: Millis(0),
        };
        let claimant = Claimant {
            nonce: Nonce([1; 8]),
            lease: Duration::from_secs(60),
            provider: Provider::Ses,
            run: None,
        };
        let claims = self
            .store
            .claim(0, claimant, vec![item])
            .await
            .expect("redis is there");
        let claims = claims.made().expect("no hold");
        let [Claimed::Sending(claimed)] = claims.as_slice() else {
            panic!("one claim expected, not {claims:?}");
        };
        let report = Report {
            id,
            fence: claimed.fence(),
            outcome: Outcome::Unknown {
                reason: Reason::Timeout,
            },
        };
        self.store.finish(0, vec![report]).await.expect("redis is there");
        let record = self.get(id).await;
        assert_eq!(record.state, State::InDoubt);
        (id, record)
    }

    async fn one_entry(&self, stage: Stage) -> (paceline_store::StreamKey, String) {
        let streams = self.store.active(0).await.expect("redis is there");
        let entries = self
            .store
            .read(0, stage, "test", &streams, 10)
            .await
            .expect("redis is there");
        let [entry] = entries.as_slice() else {
            panic!("one entry expected, not {entries:?}");
        };
        assert!(matches!(entry.body, EntryBody::Message { .. }));
        (entry.stream.clone(), entry.entry_id.clone())
    }
}

pub(crate) fn wish() -> Record {
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 0,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 0,
        tries: 0,
        tries_max: 3,
        maybe_sent: false,
        resent: false,
        policy: DoubtPolicy::Hold,
        lane: Lane::Transactional,
        accepted_at: Millis(0),
        changed_at: Millis(0),
        send_at: Millis(0),
        expires_at: Millis(0),
        due_at: Millis(0),
        doubt_window_s: 900,
        dedupe_window_s: 604_800,
        provider: None,
        provider_id: String::new(),
        tenant: "acme".to_owned(),
        template: "welcome".to_owned(),
        identity: "acme-mail".to_owned(),
        digests: Vec::new(),
    }
}
