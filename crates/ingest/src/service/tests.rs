//! What only a clock that the test moves can show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine;
use paceline_domain::record::Record;
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::clock::Clock as _;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_kit::{Shutdown, Supervisor};
use paceline_store::{Durability, Enqueued, NewMessage, StoreError};
use paceline_testkit::ManualClock;
use paceline_wire::convert::timestamp;
use paceline_wire::status::RpcError;
use paceline_wire::v1;
use paceline_wire::v1::ingest_service_server::IngestService;
use tonic::{Code, Request, Status};

use super::Ingest;
use crate::admission::tests::{admission_at, good};
use crate::batcher::Batcher;
use crate::fixtures::intake;
use crate::metrics::Metrics;
use crate::port::Messages;
use crate::pressure::Pressure;

const NOW: Millis = Millis(1_790_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

/// A store in memory by the rules of `domain`.
#[derive(Clone)]
struct InMemory {
    records: Arc<Mutex<HashMap<MessageId, Record>>>,
    clock: ManualClock,
}

impl Messages for InMemory {
    async fn write(&self, _shard: u16, messages: Vec<NewMessage>) -> Result<Vec<Enqueued>, StoreError> {
        let mut records = self.records.lock().expect("not poisoned");
        let answer = |message: NewMessage| match records.get(&message.id) {
            Some(record) => Enqueued::Duplicate(record.clone()),
            None => {
                let record = machine::accept(message.record, message.ttl, self.clock.wall());
                records.insert(message.id, record.clone());
                Enqueued::New(record)
            }
        };
        Ok(messages.into_iter().map(answer).collect())
    }

    fn reaches(&self, level: Durability) -> bool {
        level == Durability::Local
    }

    async fn find(&self, id: MessageId) -> Result<Option<Record>, StoreError> {
        Ok(self.records.lock().expect("not poisoned").get(&id).cloned())
    }
}

fn service(clock: &ManualClock) -> (Ingest<InMemory>, InMemory) {
    let store = InMemory {
        records: Arc::default(),
        clock: clock.clone(),
    };
    let telemetry = Telemetry::new("ingest", &TelemetrySettings::default()).expect("no endpoint");
    let metrics = Metrics::new(&telemetry.meter("ingest"));
    let (batcher, _workers) =
        Batcher::start(1, intake(), &metrics, &store, &Supervisor::new(&Shutdown::new()));
    let ingest = Ingest::new(
        admission_at(clock.clone()),
        batcher,
        store.clone(),
        Pressure::default(),
        metrics,
        Shutdown::new(),
    );
    (ingest, store)
}

async fn enqueue(
    service: &Ingest<InMemory>,
    request: v1::EnqueueRequest,
) -> Result<v1::EnqueueResponse, Status> {
    let mut request = Request::new(request);
    request.extensions_mut().insert(Caller::anyone());
    Ok(service.enqueue(request).await?.into_inner())
}

/// The fields that are named as wrong.
fn wrong(refused: Result<v1::EnqueueResponse, Status>) -> (Code, Vec<String>) {
    let error = RpcError::from(&refused.expect_err("refused"));
    (
        error.code,
        error
            .violations
            .into_iter()
            .map(|violation| violation.field)
            .collect(),
    )
}

#[tokio::test]
async fn a_repeated_call_is_told_of_its_message_though_its_times_have_passed() {
    let clock = ManualClock::at(NOW);
    let (service, store) = service(&clock);
    let timed = |user_id: &str| v1::EnqueueRequest {
        user_id: user_id.to_owned(),
        send_at: Some(timestamp(NOW + HOUR)),
        expires_at: Some(timestamp(NOW + 2 * HOUR)),
        ..good()
    };
    let first = enqueue(&service, timed("42")).await.expect("in time");
    for _ in 0..2 {
        // First the send_at passes, then the expires_at too.
        clock.advance(HOUR + HOUR / 2);
        let again = enqueue(&service, timed("42"))
            .await
            .expect("the message is there");
        assert!(again.duplicate);
        assert_eq!(again.message_id, first.message_id);
        let other = v1::EnqueueRequest {
            send_at: Some(timestamp(NOW)),
            ..timed("42")
        };
        assert_eq!(
            wrong(enqueue(&service, other).await),
            (Code::AlreadyExists, vec!["send_at".to_owned()])
        );
        let late = enqueue(&service, timed("43")).await;
        assert_eq!(wrong(late), (Code::InvalidArgument, vec!["send_at".to_owned()]));
    }
    let expired = v1::EnqueueRequest {
        send_at: None,
        ..timed("43")
    };
    let expired = enqueue(&service, expired).await;
    assert_eq!(
        wrong(expired),
        (Code::InvalidArgument, vec!["expires_at".to_owned()])
    );
    assert_eq!(store.records.lock().expect("not poisoned").len(), 1);
}
