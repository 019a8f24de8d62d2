//! Redis breaks at the worst moments: nothing is sent twice, no result is lost.

use paceline_domain::record::{Record, State};
use paceline_testkit::proxy::{Moment, Proxy};

use crate::support::{Granting, Scripted, Sender, World, limits, parts, wish};

async fn check(command: &str, skip: usize, moment: Moment) {
    let world = World::start().await;
    let proxy = Proxy::start(world.redis.server().address().clone()).await;
    let provider = Scripted::accepting();
    let store = world.another_store(&proxy.url()).await;
    let mut limits = limits("sender-1");
    limits.read_ahead.reclaim_idle = std::time::Duration::from_secs(1);
    let sender = Sender::start(parts(store, provider.clone(), limits), Granting::rate(2_000.0));
    // Warm: scripts are loaded, the lease is there.
    let first = world.ready(1, wish()).await;
    world.until(&first, State::Accepted).await;
    proxy.cut(command, skip, moment);
    let ids = world
        .ready(
            40,
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
            check("EVALSHA", skip, moment).await;
        }
        check("XREADGROUP", 0, moment).await;
    }
}
