//! A backlog that can't be sent stands before nobody else's mail.

use paceline_domain::lane::Lane;
use paceline_store::{NewMessage, Stage, StreamKey};
use paceline_testkit::eventually;

use crate::support::{Bench, PATIENCE, message};

const STUCK: u16 = 5_000;
const READY_MIN: u64 = 200;
/// What may come beyond the bound: what is under way, and what is read, when it is reached.
const READ_MAX: u64 = 64 * 3;

fn stream(stage: Stage, identity: &str) -> StreamKey {
    StreamKey {
        stage,
        lane: Lane::Transactional,
        identity: identity.to_owned(),
        tenant: "acme".to_owned(),
    }
}

async fn accept(bench: &Bench, numbers: std::ops::Range<u16>, identity: &str) {
    let messages: Vec<NewMessage> = numbers
        .map(|number| {
            let mut message = message(number, "{\"name\": \"Ada\"}");
            message.record.identity = identity.to_owned();
            message
        })
        .collect();
    for messages in messages.chunks(100) {
        let messages = messages.iter().map(|message| NewMessage {
            id: message.id,
            record: message.record.clone(),
            request: message.request.clone(),
            logged: message.logged.clone(),
            ..*message
        });
        bench
            .store
            .enqueue(0, messages.collect())
            .await
            .expect("redis is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_waits_for_one_turn_of_the_others_and_not_for_their_backlog() {
    const TENANTS: u16 = 40;
    const EACH: u16 = 25;
    const BATCH: usize = 16;
    /// What is read of each in its turn.
    const OF_EACH: usize = 4;
    let bench = Bench::start().await;
    bench.put_bundle().await;
    for tenant in 0..TENANTS {
        let messages = (0..EACH).map(|number| {
            let mut message = message(tenant * EACH + number, "{\"name\": \"Ada\"}");
            message.record.tenant = format!("tenant-{tenant:02}");
            message
        });
        bench
            .store
            .enqueue(0, messages.collect())
            .await
            .expect("redis is there");
    }
    let renderer = bench.renderer(&format!("[work]\nbatch_max = {BATCH}\nbatches_max = 1\n"));
    let all = usize::from(TENANTS * EACH);
    let mut order = Vec::new();
    while order.len() < all {
        for entry in bench.ready(1).await {
            let at: u64 = entry
                .entry_id
                .split('-')
                .next()
                .expect("a time")
                .parse()
                .expect("in ms");
            order.push((at, entry.stream.tenant));
        }
    }
    order.sort();
    let mut firsts = std::collections::BTreeMap::new();
    for (at, tenant) in &order {
        firsts.entry(tenant).or_insert(*at);
    }
    assert_eq!(firsts.len(), usize::from(TENANTS));
    for (tenant, first) in firsts {
        let before = order.iter().filter(|(at, _)| at < &first).count();
        // A turn, and what may be under way beside it.
        let most = usize::from(TENANTS) * OF_EACH + 2 * BATCH;
        assert!(
            before <= most,
            "{before} were rendered before the first of {tenant}"
        );
    }
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_nobody_sends_for_is_rendered_to_its_bound_and_others_go_on() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    accept(&bench, 0..STUCK, "stuck").await;
    let renderer = bench.renderer(&format!("[work]\nready_min = {READY_MIN}\n"));
    let backlog = async |stage, identity: &str| {
        let backlog = bench.store.backlog(0, &stream(stage, identity)).await;
        backlog.expect("redis is there")
    };
    eventually("the stuck identity is at its bound", PATIENCE, async || {
        let ready = backlog(Stage::Ready, "stuck").await;
        if ready >= READY_MIN { Ok(()) } else { Err(ready) }
    })
    .await;

    accept(&bench, STUCK..STUCK + 500, "other").await;
    // It takes its mail away as senders do, so that its own bound holds nothing back.
    let mut sent = 0;
    while sent < 500 {
        sent += eventually("the other identity's mail is rendered", PATIENCE, async || {
            let streams = [stream(Stage::Ready, "other")];
            let read = bench.store.read(0, Stage::Ready, "sender", &streams, 100).await;
            // Nothing is there before the first is rendered.
            let entries = read.unwrap_or_default();
            let ids: Vec<String> = entries.into_iter().map(|entry| entry.entry_id).collect();
            if ids.is_empty() {
                return None;
            }
            let dropped = bench.store.drop_entries(0, &streams[0], &ids).await;
            dropped.expect("redis is there");
            Some(ids.len())
        })
        .await;
    }
    assert_eq!(sent, 500);
    let stuck = backlog(Stage::Ready, "stuck").await;
    assert!(
        stuck <= READY_MIN + READ_MAX,
        "{stuck} are rendered that nobody sends"
    );
    assert_eq!(
        backlog(Stage::Queued, "stuck").await + stuck,
        u64::from(STUCK),
        "the rest waits as requests"
    );
    renderer.stop().await;
}
