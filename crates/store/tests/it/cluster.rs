//! The same scripts on a Redis Cluster of three nodes with 16 shards: every key of a script in one slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Nonce, Provider, State};
use paceline_store::{
    Change, Claimed, Enqueued, Evidence, Finding, NewMessage, Report, Stage, Store, StreamKey, Unrendered,
};
use paceline_testkit::RedisCluster;

use crate::support::{
    DOUBT_WINDOW, LEASE, START, accepted, claim_of, config, hand_off_of, message, ticket_of,
};

const SHARDS: u16 = 16;
const MESSAGES: u16 = 160;

fn messages() -> BTreeMap<u16, Vec<NewMessage>> {
    let mut by_shard: BTreeMap<u16, Vec<NewMessage>> = BTreeMap::new();
    for number in 0..MESSAGES {
        let mut id = [3; 16];
        id[..2].copy_from_slice(&(number * (u16::MAX / MESSAGES)).to_be_bytes());
        let id = MessageId(id);
        by_shard
            .entry(id.shard(SHARDS))
            .or_default()
            .push(NewMessage { id, ..message(0) });
    }
    by_shard
}

/// Reads, renders, claims and reports all of one shard.
async fn send_all(store: &Store, shard: u16, expected: usize) {
    let streams = store.active(shard).await.expect("there");
    let queued = store
        .read(shard, Stage::Queued, "r", &streams, 100)
        .await
        .expect("there");
    let items = queued.iter().map(hand_off_of).collect();
    let answers = store.hand_off(shard, items).await.expect("there");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let streams = store.active(shard).await.expect("there");
    let ready = store
        .read(shard, Stage::Ready, "s", &streams, 100)
        .await
        .expect("there");
    assert_eq!(ready.len(), expected);
    let items = ready.iter().map(claim_of).collect();
    let claims = store
        .claim(shard, Nonce([1; 8]), LEASE, Provider::Ses, items)
        .await
        .expect("there");
    let mut reports = Vec::new();
    for (claim, entry) in claims.iter().zip(&ready) {
        let Claimed::Sending(record) = claim else {
            panic!("{claim:?}")
        };
        let (id, _) = ticket_of(entry);
        reports.push(Report {
            id,
            fence: record.fence(),
            outcome: accepted(),
        });
    }
    let changes = store.finish(shard, reports).await.expect("there");
    assert!(
        changes.iter().all(|change| matches!(change, Change::Moved(_))),
        "{changes:?}"
    );
    assert_eq!(store.retire(shard, &streams).await.expect("there"), 2);
}

#[tokio::test]
async fn the_whole_way_works_on_three_nodes() {
    let cluster = RedisCluster::start().await;
    let store = Store::connect(&config(&cluster.url(), SHARDS))
        .await
        .expect("safe nodes");
    let other = Store::connect(&config(&cluster.url(), SHARDS))
        .await
        .expect("safe nodes");
    let by_shard = messages();
    assert_eq!(by_shard.len(), usize::from(SHARDS));
    for (&shard, messages) in &by_shard {
        let new = store.enqueue(shard, messages.clone()).await.expect("there");
        assert!(
            new.iter().all(|answer| matches!(answer, Enqueued::New(_))),
            "{new:?}"
        );
        let again = other.enqueue(shard, messages.clone()).await.expect("there");
        assert!(
            again
                .iter()
                .all(|answer| matches!(answer, Enqueued::Duplicate(_))),
            "{again:?}"
        );
    }
    let depths = store.depths().await.expect("there");
    assert_eq!(
        depths.streams.iter().map(|stream| stream.backlog).sum::<u64>(),
        u64::from(MESSAGES)
    );
    for (&shard, messages) in &by_shard {
        send_all(&other, shard, messages.len()).await;
    }
    for messages in by_shard.values() {
        for message in messages {
            let record = store.get(message.id).await.expect("there").expect("kept");
            assert_eq!((record.state, record.revision), (State::Accepted, 3));
        }
    }
    let wrong = store.cancel(MessageId([0; 16])).await.expect("there");
    assert_eq!(wrong, Change::Missing);
}

#[tokio::test]
async fn an_unsafe_node_is_refused_and_hints_cross_the_nodes() {
    let cluster = RedisCluster::start().await;
    let store = Store::connect(&config(&cluster.url(), SHARDS))
        .await
        .expect("safe nodes");
    let other = Store::connect(&config(&cluster.url(), SHARDS))
        .await
        .expect("safe nodes");
    store.hint(Stage::Queued);
    let long = Duration::from_secs(600);
    let woken = other.wait_hint(Stage::Queued, long);
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .expect("woken");
    let words: [&[u8]; 4] = [b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru"];
    let last = cluster.nodes().last().expect("three");
    paceline_testkit::resp::command(last.address(), &words)
        .await
        .expect("there");
    let refused = Store::connect(&config(&cluster.url(), SHARDS)).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("maxmemory-policy")));
}

fn assert_all(changes: &[Change], state: State) {
    let there = |change: &Change| matches!(change, Change::Moved(record) if record.state == state);
    assert!(changes.iter().all(there), "{state}: {changes:?}");
}

/// Reads all that is queued in one shard after giving it back once, hands it off and claims it.
async fn claim_all(store: &Store, shard: u16) {
    let streams = store.active(shard).await.expect("there");
    let read = async |stage| store.read(shard, stage, "c", &streams, 100).await.expect("there");
    let entries = read(Stage::Queued).await;
    let ids: Vec<_> = entries.iter().map(|entry| entry.entry_id.clone()).collect();
    store
        .give_back(shard, &entries[0].stream, &ids)
        .await
        .expect("there");
    let items = read(Stage::Queued).await.iter().map(hand_off_of).collect();
    let answers = store.hand_off(shard, items).await.expect("there");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let streams = store.active(shard).await.expect("there");
    let ready = store
        .read(shard, Stage::Ready, "c", &streams, 100)
        .await
        .expect("there");
    let items = ready.iter().map(claim_of).collect();
    let claims = store
        .claim(shard, Nonce([1; 8]), LEASE, Provider::Ses, items)
        .await;
    let claims = claims.expect("there");
    assert!(claims.iter().all(|claim| matches!(claim, Claimed::Sending(_))));
}

#[tokio::test]
async fn schedules_doubts_and_wishes_work_on_three_nodes() {
    let cluster = RedisCluster::start().await;
    let time = Arc::new(AtomicU64::new(START.0));
    let advance = |by: Duration| {
        time.fetch_add(u64::try_from(by.as_millis()).expect("short"), Ordering::SeqCst);
    };
    let store = Store::connect(&config(&cluster.url(), SHARDS)).await;
    let store = store.expect("safe nodes").with_time(Arc::clone(&time));
    let by_shard = messages();
    for (&shard, messages) in &by_shard {
        let mut later = messages.clone();
        for message in &mut later {
            message.record.send_at = START + Duration::from_secs(1);
            message.record.policy = DoubtPolicy::Hold;
        }
        store.enqueue(shard, later).await.expect("there");
    }
    advance(Duration::from_secs(1));
    for &shard in by_shard.keys() {
        let due = store.later_due(shard, 100).await.expect("there");
        let stream = StreamKey::of(&message(0).record, Stage::Queued);
        let items: Vec<_> = due.iter().map(|(id, _)| (*id, stream.clone())).collect();
        assert_all(&store.promote(shard, &items).await.expect("there"), State::Queued);
        claim_all(&store, shard).await;
    }
    advance(LEASE);
    for (&shard, messages) in &by_shard {
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        let records = store.get_many(shard, &ids).await.expect("there");
        let fences = records
            .iter()
            .map(|record| record.as_ref().expect("kept").fence());
        let items: Vec<_> = ids.iter().copied().zip(fences).collect();
        assert_all(&store.lapse(shard, &items).await.expect("there"), State::InDoubt);
        advance(DOUBT_WINDOW);
        assert_all(&store.resolve(shard, &items).await.expect("there"), State::Dead);
        let redriven = store.redrive(ids[0]).await.expect("there");
        assert_all(&[redriven], State::Queued);
        let cancelled = store.cancel(ids[0]).await.expect("there");
        assert_all(&[cancelled], State::Cancelled);
        let discarded = store.discard(ids[1]).await.expect("there");
        assert_all(&[discarded], State::Discarded);
    }
}

#[tokio::test]
async fn evidence_and_what_can_t_be_rendered_work_on_three_nodes() {
    let cluster = RedisCluster::start().await;
    let store = Store::connect(&config(&cluster.url(), SHARDS))
        .await
        .expect("safe nodes");
    for (shard, messages) in messages() {
        store.enqueue(shard, messages.clone()).await.expect("there");
        let streams = store.active(shard).await.expect("there");
        let read = store
            .read(shard, Stage::Queued, "r", &streams, 100)
            .await
            .expect("there");
        let unrendered: Vec<_> = read
            .iter()
            .map(|entry| {
                let (id, ticket) = ticket_of(entry);
                let (stream, entry_id) = (entry.stream.clone(), entry.entry_id.clone());
                Unrendered {
                    stream,
                    entry_id,
                    id,
                    ticket,
                    reason: Reason::RenderFailed,
                }
            })
            .collect();
        let [first, second, rest @ ..] = &unrendered[..] else {
            panic!("{} entries", read.len())
        };
        assert_all(
            &store.bury(shard, vec![first.clone()]).await.expect("there"),
            State::Dead,
        );
        let wait = Duration::from_secs(5);
        assert_all(
            &store
                .postpone(shard, wait, vec![second.clone()])
                .await
                .expect("there"),
            State::Deferred,
        );
        let sent = rest.iter().map(|item| Evidence {
            id: item.id,
            finding: Finding::Sent {
                provider: Provider::Ses,
                provider_id: "event".to_owned(),
            },
        });
        assert_all(
            &store.evidence(shard, sent.collect()).await.expect("there"),
            State::Accepted,
        );
        let ids: Vec<_> = rest.iter().map(|item| item.entry_id.clone()).collect();
        store
            .drop_entries(shard, &read[0].stream, &ids)
            .await
            .expect("there");
        let removed = store
            .remove_idle_consumers(shard, &read[0].stream, Duration::ZERO)
            .await
            .expect("there");
        assert_eq!(removed, 1, "the reader holds nothing any more");
    }
}
