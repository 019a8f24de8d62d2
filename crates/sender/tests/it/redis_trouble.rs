//! Redis breaks at the worst moments: nothing is sent twice, no result is lost.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_store::Stage;
use paceline_testkit::proxy::{Moment, Proxy};
use paceline_testkit::{RedisCluster, TestRedis, eventually};
use tokio::sync::Semaphore;

use crate::support::{Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

/// How long Redis takes to load: longer than the sender takes to notice.
const LOADING: Duration = Duration::from_secs(3);

async fn check(command: &str, skip: usize, moment: Moment) {
    let world = World::start().await;
    let proxy = Proxy::start(world.redis.server().address().clone()).await;
    let provider = Scripted::accepting();
    let store = world.another_store(&proxy.url()).await;
    let mut limits = limits("sender-1");
    limits.read_ahead.reclaim_idle = Duration::from_secs(1);
    let sender = Sender::start(parts(store, provider.clone(), limits), Granting::rate(2_000.0));
    // Warm: scripts are loaded, the lease is there.
    let first = world.ready(1, wish()).await;
    world.until(&first, State::Accepted).await;
    proxy.cut(command, skip, moment);
    // More than one batch, so that several scripts claim and several finish.
    let ids = world
        .ready(
            150,
            Record {
                doubt_window_s: 900,
                ..wish()
            },
        )
        .await;
    world.until(&ids, State::Accepted).await;
    assert!(proxy.has_cut(), "{command} {skip} {moment:?} was never reached");
    sender.drain().await;
    for &id in &ids {
        assert_eq!(provider.calls_of(id), 1, "{command} {skip} {moment:?}: {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_before_or_after_any_script_loses_and_doubles_nothing() {
    for moment in [Moment::Before, Moment::After] {
        for skip in 0..4 {
            Box::pin(check("EVALSHA", skip, moment)).await;
        }
        Box::pin(check("XREADGROUP", 0, moment)).await;
    }
}

const CLAIM: &str = include_str!("../../../store/src/lua/claim.lua");
const SHARED: [&str; 4] = [
    include_str!("../../../store/src/lua/record.lua"),
    include_str!("../../../store/src/lua/transition.lua"),
    include_str!("../../../store/src/lua/commit.lua"),
    include_str!("../../../store/src/lua/hold.lua"),
];

/// How Redis fails.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// `NOREPLICAS`.
    FewReplicas,
    /// `MISCONF`.
    FailedSnapshot,
    /// Connections stand and are made, and nothing is answered.
    Hanging,
    /// The connections end, then `LOADING`.
    Loading,
}

impl Trouble {
    async fn begin(self, redis: &mut TestRedis) {
        match self {
            Self::FewReplicas => redis.configure("min-replicas-to-write", "1").await,
            Self::FailedSnapshot => redis.fail_snapshots().await,
            Self::Hanging => redis.freeze(),
            Self::Loading => redis.restart_loading(LOADING).await,
        }
    }

    async fn end(self, redis: &TestRedis) {
        match self {
            Self::FewReplicas => redis.configure("min-replicas-to-write", "0").await,
            Self::FailedSnapshot => redis.heal_snapshots().await,
            Self::Hanging => redis.thaw(),
            Self::Loading => redis.is_ready().await,
        }
    }

    /// True if Redis answers reads all the while.
    const fn is_readable(self) -> bool {
        matches!(self, Self::FewReplicas | Self::FailedSnapshot)
    }
}

/// One call is open when the trouble begins, and is answered in it.
async fn a_result_is_kept_through(trouble: Trouble) {
    let mut world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    limits.read_ahead.reclaim_idle = Duration::from_secs(1);
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(5, wish()).await;
    provider.until_called(1).await;
    let first = provider.calls()[0].id;

    trouble.begin(&mut world.redis).await;
    open.add_permits(5);
    eventually("the sender says so", SOON, || async {
        match sender.pipeline.problem() {
            Some("results can't be written") => Ok(()),
            Some(_) if !trouble.is_readable() => Ok(()),
            other => Err(other),
        }
    })
    .await;
    if trouble.is_readable() {
        for &id in &ids {
            let expected = if id == first {
                State::Sending
            } else {
                State::Queued
            };
            assert_eq!(world.get(id).await.state, expected, "{trouble:?}");
        }
    }
    assert_eq!(provider.calls().len(), 1, "{trouble:?}: no claim, no call");
    trouble.end(&world.redis).await;
    eventually("redis answers the tests again", SOON, || world.store.ping()).await;
    let step = Duration::from_millis(100);
    world.until_moving(&ids, State::Accepted, step).await;
    eventually("nothing is wrong any more", SOON, || async {
        sender.pipeline.problem().map_or(Ok(()), Err)
    })
    .await;
    sender.drain().await;
    for &id in &ids {
        assert_eq!(provider.calls_of(id), 1, "{trouble:?}: {id}");
    }
    assert_eq!(world.get(first).await.attempt, 1, "{trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_a_result_is_kept_and_nothing_is_claimed() {
    Box::pin(a_result_is_kept_through(Trouble::FewReplicas)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_snapshot_a_result_is_kept_and_nothing_is_claimed() {
    Box::pin(a_result_is_kept_through(Trouble::FailedSnapshot)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_hangs_a_result_is_kept_and_nothing_is_claimed() {
    Box::pin(a_result_is_kept_through(Trouble::Hanging)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_loads_a_result_is_kept_and_nothing_is_claimed() {
    Box::pin(a_result_is_kept_through(Trouble::Loading)).await;
}

/// The hash of the script that claims, as the store puts it together; it was run before.
async fn claim_hash(redis: &TestRedis) -> String {
    let (shebang, own) = CLAIM.split_once('\n').expect("more than a line");
    let scripts = async || {
        let info = redis.command(&["INFO", "memory"]).await.bytes();
        let info = String::from_utf8_lossy(&info).into_owned();
        let line = info
            .lines()
            .find(|line| line.starts_with("number_of_cached_scripts:"));
        line.map(str::to_owned)
    };
    let before = scripts().await;
    let source = [shebang, &SHARED.concat(), own].join("\n");
    let hash = redis.command(&["SCRIPT", "LOAD", &source]).await.bytes();
    assert_eq!(scripts().await, before, "another script than the store's");
    String::from_utf8_lossy(&hash).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_results_are_refused_nothing_is_claimed_although_it_could_be() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(8, wish()).await;
    provider.until_called(1).await;
    // Of all scripts, only claims are done.
    let claims = format!("+evalsha|{}", claim_hash(&world.redis).await);
    let allow = ["ACL", "SETUSER", "default", "-eval", "-evalsha", &claims];
    world.redis.on_every_node(&allow).await;
    open.add_permits(1);
    eventually("the sender says so", SOON, || async {
        match sender.pipeline.problem() {
            Some("results can't be written") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // The call that may have begun before the first result was refused ends, too.
    open.add_permits(7);
    eventually("results are tried again and again", SOON, || async {
        let info = world.redis.command(&["INFO", "commandstats"]).await.bytes();
        let info = String::from_utf8_lossy(&info).into_owned();
        let line = info.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let rejected = line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next());
        let rejected = rejected.and_then(|count| count.parse::<u32>().ok());
        if rejected >= Some(6) {
            Ok(())
        } else {
            Err(rejected)
        }
    })
    .await;
    let calls = provider.calls().len();
    assert!(calls <= 2, "{calls} calls");
    let allow = ["ACL", "SETUSER", "default", "+eval", "+evalsha"];
    world.redis.on_every_node(&allow).await;
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert!(ids.iter().all(|&id| provider.calls_of(id) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_oom_what_is_ready_is_sent_and_recorded() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(5, wish()).await;
    provider.until_called(1).await;
    world.redis.configure("maxmemory", "1").await;
    open.add_permits(5);
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert!(ids.iter().all(|&id| provider.calls_of(id) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_moves_a_result_is_kept_and_then_written_at_its_new_node() {
    let cluster = RedisCluster::start().await;
    let url = cluster.url().to_owned();
    let world = World::on(cluster, &url).await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(5, wish()).await;
    provider.until_called(1).await;

    let migration = world.redis.begin_migration("{pl1:0}").await;
    open.add_permits(5);
    eventually("the sender says so", SOON, || async {
        match sender.pipeline.problem() {
            Some("results can't be written") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(provider.calls().len(), 1, "no claim, no call");
    world.redis.end_migration(migration).await;
    // Both connections learn it from a command that goes astray.
    eventually("the new node is known", SOON, || async {
        world.store.later_due(0, 1).await?;
        world.store.active(0).await
    })
    .await;
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert!(ids.iter().all(|&id| provider.calls_of(id) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sender_read_and_left_is_taken_over() {
    let world = World::start().await;
    let ids = world.ready(5, wish()).await;
    let streams = world.store.active(0).await.expect("redis is there");
    let left = world.store.read(0, Stage::Ready, "gone", &streams, 100).await;
    assert_eq!(left.expect("redis is there").len(), 5);
    let provider = Scripted::accepting();
    let mut limits = limits("sender-1");
    limits.read_ahead.reclaim_idle = Duration::from_secs(1);
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert_eq!(provider.calls().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_too_short_for_the_call_is_given_up_unsent() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let mut limits = limits("sender-1");
    limits.claim_lease = limits.attempt_timeout;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(1, wish()).await;
    world.until(&ids, State::Deferred).await;
    sender.drain().await;
    let record = world.get(ids[0]).await;
    assert_eq!((record.reason, record.tries), (Reason::NotWritten, 0));
    assert!(provider.calls().is_empty());
}
