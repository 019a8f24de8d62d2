//! A feedback service's callers, and mail in Redis that is to be sent.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Nonce, Provider, Record, State};
use paceline_domain::time::Millis;
use paceline_store::{
    ClaimItem, Claimant, Claimed, Durability, EntryBody, HandOff, LogUse, NewMessage, Report, Stage, Store,
    StoreConfig, Verdict,
};
use paceline_wire::v1;
use paceline_wire::v1::ledger_service_client::LedgerServiceClient;
use paceline_wire::v1::stats_service_client::StatsServiceClient;
use prost::Message as _;
use tonic::transport::Channel;

use super::id;
use crate::support::Feedback;
use crate::webhooks::bench::wish;

pub(crate) async fn ledger_of(feedback: &Feedback) -> LedgerServiceClient<Channel> {
    let address = format!("http://{}", feedback.process.grpc());
    LedgerServiceClient::connect(address).await.expect("it answers")
}

pub(crate) async fn stats_of(feedback: &Feedback) -> StatsServiceClient<Channel> {
    let address = format!("http://{}", feedback.process.grpc());
    StatsServiceClient::connect(address).await.expect("it answers")
}

/// A store of the test's own on the service's Redis.
pub(crate) struct Mail(pub(crate) Store);

impl Mail {
    pub(crate) async fn of(feedback: &Feedback) -> Self {
        let config = StoreConfig {
            url: feedback.redis.url().to_owned(),
            tls: None,
            allow_plaintext_password: false,
            shards: 1,
            command_timeout: Duration::from_secs(5),
            durability: Durability::Fsync,
            replicas: 0,
            allow_unsafe: true,
            log: LogUse::default(),
            log_entries_max: 10_000,
        };
        Self(Store::connect(&config).await.expect("redis is there"))
    }

    /// A message to `address` that waits for its renderer, or for its time.
    pub(crate) async fn accept(&self, number: u8, tenant: &str, address: &str, send_at: Millis) {
        let request = v1::StoredRequest {
            tenant: tenant.to_owned(),
            user_id: "7".to_owned(),
            template: "welcome".to_owned(),
            recipient: Some(v1::Mailbox {
                address: address.to_owned(),
                display_name: "Ada".to_owned(),
            }),
            data: Bytes::from_static(b"{}"),
            ..v1::StoredRequest::default()
        };
        let message = NewMessage {
            id: id(number),
            record: Record {
                send_at,
                tenant: tenant.to_owned(),
                ..wish()
            },
            ttl: Duration::from_secs(3 * 24 * 3_600),
            request: request.encode_to_vec().into(),
            logged: Bytes::new(),
            resubmit: false,
            durability: Durability::Local,
        };
        self.0.enqueue(0, vec![message]).await.expect("redis is there");
    }

    /// Hands on to the senders what waits.
    pub(crate) async fn render(&self) {
        let streams = self.0.active(0).await.expect("redis is there");
        let entries = self.0.read(0, Stage::Queued, "test", &streams, 100).await;
        let items = entries.expect("redis is there").into_iter().map(|entry| {
            let EntryBody::Message { id, ticket, .. } = entry.body else {
                panic!("a message expected")
            };
            HandOff {
                stream: entry.stream,
                entry_id: entry.entry_id,
                id,
                ticket,
                rendered: Bytes::from_static(b"parts"),
                to: None,
                kept: Bytes::new(),
                act: Bytes::new(),
                rendered_at: Millis(0),
            }
        });
        let handed = self.0.hand_off(0, items.collect()).await.expect("redis is there");
        assert!(handed.iter().all(Result::is_ok), "{handed:?}");
    }

    /// Claims what is ready.
    pub(crate) async fn claim(&self) -> Vec<(MessageId, Record)> {
        let streams = self.0.active(0).await.expect("redis is there");
        let entries = self.0.read(0, Stage::Ready, "test", &streams, 100).await;
        let items: Vec<ClaimItem> = entries
            .expect("redis is there")
            .into_iter()
            .map(|entry| {
                let EntryBody::Message { id, ticket, .. } = entry.body else {
                    panic!("a message expected")
                };
                ClaimItem {
                    stream: entry.stream,
                    entry_id: entry.entry_id,
                    id,
                    ticket,
                    verdict: Verdict::Send,
                    rendered_at: Millis(0),
                }
            })
            .collect();
        let claimant = Claimant {
            nonce: Nonce([1; 8]),
            lease: Duration::from_secs(60),
            provider: Provider::Ses,
            run: None,
        };
        let ids: Vec<MessageId> = items.iter().map(|item| item.id).collect();
        let claims = self.0.claim(0, claimant, items).await.expect("redis is there");
        let claims = claims.made().expect("no hold").into_iter();
        ids.into_iter()
            .zip(claims)
            .filter_map(|(id, claim)| match claim {
                Claimed::Sending(record) => Some((id, record)),
                _ => None,
            })
            .collect()
    }

    pub(crate) async fn report(&self, (id, record): &(MessageId, Record), outcome: Outcome) {
        let report = Report {
            id: *id,
            fence: record.fence(),
            outcome,
        };
        self.0.finish(0, vec![report]).await.expect("redis is there");
    }

    pub(crate) async fn record(&self, number: u8) -> (State, Reason) {
        let record = self.0.get(id(number)).await.expect("redis is there");
        let record = record.expect("it is there");
        (record.state, record.reason)
    }

    pub(crate) async fn has_request(&self, number: u8) -> bool {
        let requests = self.0.requests(0, &[id(number)]).await.expect("redis is there");
        requests[0].is_some()
    }

    /// Entries that wait for a sender.
    pub(crate) async fn ready(&self) -> Vec<MessageId> {
        let mut ready = Vec::new();
        for stream in self.0.active(0).await.expect("redis is there") {
            if stream.stage == Stage::Ready {
                let page = self
                    .0
                    .tickets(0, &stream, None, 100)
                    .await
                    .expect("redis is there");
                ready.extend(page.tickets.into_iter().map(|(id, _)| id));
            }
        }
        ready.sort_unstable();
        ready
    }
}
