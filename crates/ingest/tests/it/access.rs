//! Keys of two tenants: each acts for its own, and learns nothing of the other's messages.

use paceline_kit::client::{ClientSettings, Connection};
use paceline_kit::secret::Secret;
use paceline_testkit::ApiKeys;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::dead_letters_service_client::DeadLettersServiceClient;
use paceline_wire::v1::doubt_service_client::DoubtServiceClient;
use paceline_wire::v1::enqueue_result::Result as ItemResult;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::stops_service_client::StopsServiceClient;
use tonic::{Code, Status};

use crate::running::{Running, order};

const KEYS: &[(&str, &str, &[&str])] = &[
    ("shop", "shop", &["enqueue", "read", "operate"]),
    ("other", "other", &["enqueue", "read", "operate"]),
    ("reader", "shop", &["read"]),
    ("staff", "*", &["enqueue", "read", "operate"]),
];

struct Guarded {
    service: Running,
    _keys: ApiKeys,
}

impl Guarded {
    async fn start() -> Self {
        let keys = ApiKeys::of(KEYS);
        Self {
            service: Running::with(&keys.setting()).await,
            _keys: keys,
        }
    }

    fn connection(&self, key: &str) -> Connection {
        let settings = ClientSettings {
            api_key: Secret::new(key),
            ..ClientSettings::default()
        };
        let client = settings.read().expect("no files");
        let address = format!("http://{}", self.service.bound.grpc);
        client.channel(&address).expect("loopback")
    }

    fn ingest(&self, key: &str) -> IngestServiceClient<Connection> {
        IngestServiceClient::new(self.connection(key))
    }

    fn messages(&self, key: &str) -> MessagesServiceClient<Connection> {
        MessagesServiceClient::new(self.connection(key))
    }

    async fn enqueue(&self, key: &str, request: v1::EnqueueRequest) -> Result<v1::EnqueueResponse, Status> {
        Ok(self.ingest(key).enqueue(request).await?.into_inner())
    }

    async fn get(&self, key: &str, tenant: &str, id: &str) -> Result<v1::GetResponse, Status> {
        let (tenant, message_id) = (tenant.to_owned(), id.to_owned());
        let request = v1::GetRequest { tenant, message_id };
        Ok(self.messages(key).get(request).await?.into_inner())
    }
}

fn of_other(number: u32) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        tenant: "other".to_owned(),
        ..order(number)
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let error = RpcError::from(&answer.expect_err("refused"));
    (error.code, error.reason.into_owned())
}

fn tenant_refused() -> (Code, String) {
    (Code::PermissionDenied, reason::TENANT_REFUSED.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_enqueues_for_its_tenant_alone() {
    let guarded = Guarded::start().await;
    let missing = guarded.service.enqueue(order(1)).await;
    assert_eq!(
        refusal(missing),
        (Code::Unauthenticated, reason::KEY_MISSING.to_owned())
    );
    let unknown = guarded.enqueue("nobody-key", order(1)).await;
    assert_eq!(
        refusal(unknown),
        (Code::Unauthenticated, reason::KEY_UNKNOWN.to_owned())
    );
    let scope = guarded.enqueue("reader-key", order(1)).await;
    assert_eq!(
        refusal(scope),
        (Code::PermissionDenied, reason::SCOPE_MISSING.to_owned())
    );
    assert_eq!(
        refusal(guarded.enqueue("other-key", order(1)).await),
        tenant_refused()
    );
    // Not even whether the rest of the request is good.
    let empty = v1::EnqueueRequest::default();
    assert_eq!(
        refusal(guarded.enqueue("other-key", empty).await),
        tenant_refused()
    );
    assert_eq!(guarded.service.records().await, 0);

    guarded.enqueue("shop-key", order(1)).await.expect("its own");
    guarded
        .enqueue("staff-key", of_other(1))
        .await
        .expect("every tenant's");
    assert_eq!(guarded.service.records().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_and_in_a_stream_each_message_is_judged() {
    let guarded = Guarded::start().await;
    let requests = vec![order(1), of_other(2), order(3)];
    let refused: Vec<bool> = {
        let request = v1::EnqueueBatchRequest {
            requests: requests.clone(),
        };
        let answer = guarded.ingest("shop-key").enqueue_batch(request).await;
        let results = answer.expect("a key of its scope").into_inner().results;
        let is_refused = |result: v1::EnqueueResult| is_refused(result.result);
        results.into_iter().map(is_refused).collect()
    };
    assert_eq!(refused, [false, true, false]);

    let items = requests.into_iter().zip(0..).map(|(request, sequence)| {
        let request = Some(request);
        v1::EnqueueStreamRequest { sequence, request }
    });
    let items: Vec<_> = items.collect();
    let stream = guarded
        .ingest("other-key")
        .enqueue_stream(futures_util::stream::iter(items))
        .await;
    let mut stream = stream.expect("a key of its scope").into_inner();
    let mut refused = [None; 3];
    while let Some(answer) = stream.message().await.expect("a good stream") {
        let sequence = usize::try_from(answer.sequence).expect("one of three");
        refused[sequence] = Some(is_refused(answer.result.and_then(|result| result.result)));
    }
    assert_eq!(refused, [Some(true), Some(false), Some(true)]);
    assert_eq!(guarded.service.records().await, 3);
}

fn is_refused(result: Option<ItemResult>) -> bool {
    match result.expect("an answer") {
        ItemResult::Response(_) => false,
        ItemResult::Error(error) => {
            assert_eq!((Code::from(error.code), error.reason), tenant_refused());
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_s_message_is_one_that_is_not_there() {
    let guarded = Guarded::start().await;
    let id = guarded
        .enqueue("shop-key", order(1))
        .await
        .expect("stored")
        .message_id;
    let absent = "0".repeat(26);
    let not_found = (Code::NotFound, reason::NOT_FOUND.to_owned());
    for id in [&id, &absent] {
        assert_eq!(refusal(guarded.get("other-key", "shop", id).await), not_found);
        let (tenant, message_id) = ("shop".to_owned(), id.clone());
        let cancel = v1::CancelRequest { tenant, message_id };
        let cancel = guarded.messages("other-key").cancel(cancel).await;
        assert_eq!(refusal(cancel), not_found);
        let (tenant, message_id) = ("shop".to_owned(), id.clone());
        let watch = v1::WatchRequest { tenant, message_id };
        let watch = guarded.messages("other-key").watch(watch).await;
        assert_eq!(refusal(watch), not_found);
    }
    for key in ["shop-key", "reader-key", "staff-key"] {
        let found = guarded.get(key, "shop", &id).await.expect("its tenant's");
        let state = found.message.expect("a message").state();
        assert_eq!(state, v1::MessageState::Queued, "not even cancelled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_all_tenants_needs_a_key_for_all() {
    let guarded = Guarded::start().await;
    let queue = guarded.messages("shop-key").queue(v1::QueueRequest {}).await;
    assert_eq!(refusal(queue), tenant_refused());
    let queue = guarded.messages("staff-key").queue(v1::QueueRequest {}).await;
    queue.expect("a key for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_tenant_operates_only_where_its_tenant_is_named() {
    let guarded = Guarded::start().await;
    let stops = |key: &str| StopsServiceClient::new(guarded.connection(key));
    let stop = |tenant: &str| v1::StopRequest {
        selector: Some(v1::StopSelector {
            tenant: tenant.to_owned(),
            template: "receipt".to_owned(),
            ..v1::StopSelector::default()
        }),
        cancel: false,
        who: "ops".to_owned(),
        why: "test".to_owned(),
    };
    let list = |tenant: &str| v1::ListStopsRequest {
        tenant: tenant.to_owned(),
    };
    for tenant in ["other", ""] {
        let refused = stops("shop-key").stop(stop(tenant)).await;
        assert_eq!(refusal(refused), tenant_refused(), "{tenant}");
        let refused = stops("shop-key").list_stops(list(tenant)).await;
        assert_eq!(refusal(refused), tenant_refused(), "{tenant}");
        let letters = v1::ListDeadLettersRequest {
            filter: Some(v1::MessageFilter {
                tenant: tenant.to_owned(),
                ..v1::MessageFilter::default()
            }),
            ..v1::ListDeadLettersRequest::default()
        };
        let mut dead_letters = DeadLettersServiceClient::new(guarded.connection("shop-key"));
        let refused = dead_letters.list_dead_letters(letters).await;
        assert_eq!(refusal(refused), tenant_refused(), "{tenant}");
        let settling = v1::SettleDoubtsRequest {
            act: Some(v1::MessageAct {
                filter: Some(v1::MessageFilter {
                    tenant: tenant.to_owned(),
                    ..v1::MessageFilter::default()
                }),
                who: "ops".to_owned(),
                why: "test".to_owned(),
                ..v1::MessageAct::default()
            }),
            verdict: v1::DoubtVerdict::Sent.into(),
        };
        let mut doubts = DoubtServiceClient::new(guarded.connection("shop-key"));
        let refused = doubts.settle_doubts(settling).await;
        assert_eq!(refusal(refused), tenant_refused(), "{tenant}");
    }
    let own = stops("shop-key").stop(stop("shop")).await.expect("its tenant's");
    let own = own.into_inner().stop.expect("one");
    assert_eq!(own.who, "ops (key shop)");
    let all = stops("staff-key").stop(stop("")).await.expect("a key for all");
    let all = all.into_inner().stop.expect("one");
    let seen = stops("shop-key").list_stops(list("shop")).await.expect("listed");
    assert_eq!(seen.into_inner().stops, [own]);
    let release = v1::ReleaseStopRequest {
        stop_id: all.stop_id,
        who: "ops".to_owned(),
        why: "test".to_owned(),
        ..v1::ReleaseStopRequest::default()
    };
    let refused = stops("shop-key").release_stop(release).await;
    assert_eq!(refusal(refused).0, Code::NotFound);
}
