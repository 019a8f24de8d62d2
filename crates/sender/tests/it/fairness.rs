//! Who waits for whom: nobody for another identity, transactional mail for no flood of bulk, no tenant for another's flood.
//!
//! Counted, not timed: the order of the provider's calls, and what stands in Redis.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::record::{Record, State};
use paceline_kit::{Shutdown, Supervisor};
use paceline_sender::leases::LeaseError;
use paceline_sender::{LeaseSource, Limits, Pipeline};
use paceline_store::{Stage, StreamKey};
use paceline_testkit::eventually;
use paceline_testkit::resp::Reply;
use paceline_wire::v1;
use tokio::sync::Semaphore;

use crate::support::{Answer, Call, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

/// Leases as usual, but of some identities so many recipients and no more.
#[derive(Clone)]
struct Rationed {
    usual: Granting,
    /// By identity.
    rations: HashMap<String, u64>,
}

impl LeaseSource for Rationed {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        let mut response = self.usual.refresh(request).await?;
        for lease in &mut response.leases {
            let identity = lease.key.as_ref().map_or("", |key| key.identity.as_str());
            lease.granted_total = self.rations.get(identity).copied();
            if lease.granted_total == Some(0) {
                lease.rate = 0.0;
            }
        }
        Ok(response)
    }

    async fn release(&mut self, request: v1::ReleaseRequest) -> Result<(), LeaseError> {
        self.usual.release(request).await
    }
}

fn of(identity: &str, tenant: &str, lane: Lane) -> Record {
    Record {
        identity: identity.to_owned(),
        tenant: tenant.to_owned(),
        lane,
        ..wish()
    }
}

/// What of a ready stream is delivered and not claimed.
async fn pending(world: &World, stream: &StreamKey) -> u64 {
    let depths = world.store.depths().await.expect("redis is there");
    let own = depths.streams.iter().filter(|depth| depth.stream == *stream);
    own.map(|depth| depth.pending).sum()
}

fn ready_stream(wish: &Record) -> StreamKey {
    StreamKey::of(wish, Stage::Ready)
}

/// A provider that answers only as the semaphore lets it, and limits whose times do not run out meanwhile.
fn gated() -> (Scripted, Arc<Semaphore>, Limits) {
    let gate = Arc::new(Semaphore::new(0));
    let answers = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&answers), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.attempt_timeout = Duration::from_secs(600);
    limits.claim_lease = Duration::from_secs(700);
    limits.read_ahead.reclaim_idle = Duration::from_secs(600);
    (provider, gate, limits)
}

fn count(calls: &[Call], ids: &HashSet<MessageId>) -> usize {
    calls.iter().filter(|call| ids.contains(&call.id)).count()
}

/// 20,000 messages of `main`, of which `ration` may go, and then 100 of `other`.
async fn an_identity_that_may_send_only(ration: u64) {
    let world = World::start().await;
    let stuck = of("main", "acme", Lane::Transactional);
    let waiting: HashSet<_> = world.ready(20_000, stuck.clone()).await.into_iter().collect();
    let provider = Scripted::accepting();
    let leases = Rationed {
        usual: Granting::rate(2_000.0),
        rations: HashMap::from([("main".to_owned(), ration)]),
    };
    let stop = Shutdown::new();
    let parts = parts(world.store.clone(), provider.clone(), limits("sender-1"));
    let pipeline = Pipeline::start(parts, leases, &Supervisor::new(&stop));
    let ration = usize::try_from(ration).expect("few");
    provider.until_called(ration).await;

    let others = world.ready(100, of("other", "acme", Lane::Transactional)).await;
    world.until(&others, State::Accepted).await;
    let calls = provider.calls();
    assert_eq!(
        (count(&calls, &waiting), calls.len()),
        (ration, ration + 100),
        "the other identity's mail went, and of the first no more than it may"
    );
    eventually("nothing of the identity is held", SOON, || async {
        let held = pending(&world, &ready_stream(&stuck)).await;
        if held == 0 { Ok(()) } else { Err(held) }
    })
    .await;
    // How much of the backlog was ever read, by Redis's own account.
    let key = "{pl1:0}:ready:transactional:main:acme";
    let groups = world.redis.command(&["XINFO", "GROUPS", key]).await;
    let read = entries_read(&groups);
    assert!(
        read <= ration as i64 + 256,
        "{read} entries of a stream that may send {ration}"
    );
    stop.trigger();
    pipeline.drain().await.expect("every task ended as it should");
}

/// `entries-read` of the one group; zero where nothing was ever delivered.
fn entries_read(groups: &Reply) -> i64 {
    let group = groups.array()[0].array();
    let at = group
        .iter()
        .position(|field| *field == Reply::Bytes("entries-read".into()));
    match group[at.expect("redis 7") + 1] {
        Reply::Integer(read) => read,
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_identity_s_backlog_is_not_even_read() {
    Box::pin(an_identity_that_may_send_only(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_has_used_up_its_day_stands_in_nobody_s_way() {
    Box::pin(an_identity_that_may_send_only(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_transactional_message_waits_only_for_the_bulk_that_is_open() {
    let world = World::start().await;
    let (provider, gate, limits) = gated();
    let open_max = limits.in_flight_per_identity_max as usize;
    let bulk = of("main", "acme", Lane::Bulk);
    world.ready(5_000, bulk.clone()).await;
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits),
        Granting::rate(2_000.0),
    );
    provider.until_called(open_max).await;
    eventually("bulk is read as far as it may be", SOON, || async {
        let held = pending(&world, &ready_stream(&bulk)).await;
        if held == 192 { Ok(()) } else { Err(held) }
    })
    .await;

    let late = of("main", "acme", Lane::Transactional);
    let urgent: HashSet<_> = world.ready(20, late.clone()).await.into_iter().collect();
    eventually("the late messages are read", SOON, || async {
        let held = pending(&world, &ready_stream(&late)).await;
        if held == 20 { Ok(()) } else { Err(held) }
    })
    .await;
    gate.add_permits(500);
    provider.until_called(open_max + 200).await;
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    let calls = provider.calls();
    assert_eq!(count(&calls[..open_max], &urgent), 0, "all that was open is bulk");
    // Of what was read ahead, nothing goes before it but a claim that was on its way.
    let within = &calls[..open_max + 20 + 32];
    assert_eq!(count(within, &urgent), 20);
    sender.drain().await;
}

/// In any 100 sends in a row up to the end of the smaller one, each tenant has 40.
fn assert_turns(calls: &[Call], tenants: [&HashSet<MessageId>; 2]) {
    let is_of =
        |ids: &HashSet<MessageId>| -> Vec<bool> { calls.iter().map(|call| ids.contains(&call.id)).collect() };
    let [a, b] = tenants.map(is_of);
    let first = a
        .iter()
        .position(|own| *own)
        .max(b.iter().position(|own| *own))
        .expect("both are sent");
    let last = a
        .iter()
        .rposition(|own| *own)
        .min(b.iter().rposition(|own| *own))
        .expect("both are sent");
    assert!(
        last >= first + 200,
        "they wait together from {first} to {last} only"
    );
    for start in first..=last - 99 {
        for own in [&a, &b] {
            let had = own[start..start + 100].iter().filter(|own| **own).count();
            assert!(had >= 40, "{had} of 100 from {start} on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_of_one_identity_take_turns() {
    let world = World::start().await;
    let flood: HashSet<_> = world
        .ready(2_000, of("main", "acme", Lane::Bulk))
        .await
        .into_iter()
        .collect();
    let quiet: HashSet<_> = world
        .ready(300, of("main", "zeta", Lane::Bulk))
        .await
        .into_iter()
        .collect();
    let provider = Scripted::accepting();
    let sender = crate::support::sender(&world, provider.clone());
    let quiet_ids: Vec<_> = quiet.iter().copied().collect();
    world.until(&quiet_ids, State::Accepted).await;
    sender.drain().await;
    assert_turns(&provider.calls(), [&flood, &quiet]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_comes_later_takes_turns_with_a_flood_that_was_read_before() {
    let world = World::start().await;
    let (provider, gate, limits) = gated();
    let open_max = limits.in_flight_per_identity_max as usize;
    let flood_wish = of("main", "acme", Lane::Transactional);
    let flood: HashSet<_> = world.ready(3_000, flood_wish.clone()).await.into_iter().collect();
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits),
        Granting::rate(2_000.0),
    );
    eventually("the flood fills the read-ahead", SOON, || async {
        let held = pending(&world, &ready_stream(&flood_wish)).await;
        if held == 256 { Ok(()) } else { Err(held) }
    })
    .await;
    let quiet_wish = of("main", "zeta", Lane::Transactional);
    let quiet = world.ready(400, quiet_wish.clone()).await;
    // A few answers at a time, each time until the read-ahead is full again: how fast the reader is decides nothing.
    let (flood_stream, quiet_stream) = (ready_stream(&flood_wish), ready_stream(&quiet_wish));
    let mut called = open_max;
    provider.until_called(called).await;
    for _ in 0..50 {
        gate.add_permits(5);
        called += 5;
        eventually("five more are sent, and their room is filled", SOON, async || {
            let calls = provider.calls().len();
            let held = pending(&world, &flood_stream).await + pending(&world, &quiet_stream).await;
            if (calls, held) == (called, 256) {
                Ok(())
            } else {
                Err((calls, held))
            }
        })
        .await;
    }
    // By now each holds half of the read-ahead, so that turns go on however late the reader comes.
    gate.add_permits(100);
    provider.until_called(called + 100).await;
    let calls = provider.calls()[..called + 100].to_vec();
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    sender.drain().await;
    assert_turns(&calls, [&flood, &quiet.into_iter().collect()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_shows_as_pending_and_a_dead_sender_holds_only_what_is_open() {
    let world = World::start().await;
    let (provider, gate, limits) = gated();
    let open_max = u64::from(limits.in_flight_per_identity_max);
    let wish = of("main", "acme", Lane::Transactional);
    world.ready(2_000, wish.clone()).await;
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits),
        Granting::rate(2_000.0),
    );
    eventually("all that may be is open and read ahead", SOON, async || {
        let depths = world.store.depths().await.expect("redis is there");
        let ready = depths
            .streams
            .iter()
            .find(|depth| depth.stream == ready_stream(&wish));
        let (pending, backlog) = ready.map_or((0, 0), |depth| (depth.pending, depth.backlog));
        // Claimed entries are gone from the stream; an autoscaler sees the backlog, and what of it is in hands.
        if (depths.open, pending, backlog) == (open_max, 256, 2_000 - open_max) {
            Ok(())
        } else {
            Err((depths.open, pending, backlog))
        }
    })
    .await;
    provider
        .until_called(usize::try_from(open_max).expect("few"))
        .await;
    // What is claimed, and so in doubt should the sender die now, is what the provider was asked.
    assert_eq!(provider.calls().len() as u64, open_max);
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    sender.drain().await;
}
