//! The renderer's bounds: how much is rendered ahead, a full Redis, and entries that never come to an end.

use std::collections::BTreeSet;
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_store::{Claimed, Stage};
use paceline_testkit::eventually;

use crate::support::{Bench, PATIENCE, message, rendered};

const ADA: &str = "{\"name\": \"Ada\"}";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_senders_can_t_use_yet_stays_a_request() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    for number in 0..100 {
        bench.accept(message(number, ADA)).await;
    }
    let renderer = bench.renderer("[work]\nready_min = 10\nbatch_max = 5\nbatches_max = 1\n");
    // The bound and what was under way when it was reached.
    let (least, most) = (10, 20);
    eventually("the bound is reached", PATIENCE, async || {
        let ready = bench.backlog(Stage::Ready).await;
        if ready >= least { Ok(()) } else { Err(ready) }
    })
    .await;
    // Each message of another tenant takes a look at all streams, and this one is looked at beside it.
    for number in 200..210 {
        let mut other = message(number, ADA);
        other.record.tenant = format!("tenant-{number}");
        bench.accept(other.clone()).await;
        let entries = bench.ready_of(&other.record.tenant).await;
        assert!(matches!(bench.claim(&entries).await[..], [Claimed::Sending(_)]));
        let ready = bench.backlog(Stage::Ready).await;
        assert!(ready <= most, "{ready} are ready");
    }
    // What is taken away is made up for.
    let mut seen = 0;
    while seen < 100 {
        let entries = bench.ready(1).await;
        seen += entries.len();
        bench.claim(&entries).await;
    }
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_redis_does_not_take_waits_as_a_request() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message(1, ADA);
    bench.accept(sent.clone()).await;
    bench.knows_address_key().await;
    bench.redis.configure("maxmemory", "1").await;
    let renderer = bench.renderer("[work]\nfull_wait = \"1s\"\n");
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!((waiting.reason, waiting.tries), (Reason::StoreFull, 0));
    bench.redis.configure("maxmemory", "0").await;
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "Hello Ada");
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_ends_its_renderer_again_and_again_is_buried_alone() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let poison = message(1, ADA);
    bench.accept(poison.clone()).await;
    for number in 2..=64 {
        bench.accept(message(number, ADA)).await;
    }
    // All were read together by a renderer that died; then the first alone, five times.
    let streams = bench.store.active(0).await.expect("redis is there");
    let queued: Vec<_> = streams
        .iter()
        .filter(|stream| stream.stage == Stage::Queued)
        .cloned()
        .collect();
    let together = bench
        .store
        .read(0, Stage::Queued, "dead", &queued, 64)
        .await
        .expect("redis is there");
    // One delivery less than the poison: it is rendered all the same.
    let (key, group) = (format!("{{pl1:0}}:{}", queued[0]), Stage::Queued.group());
    for _ in 0..4 {
        let alone = ["XCLAIM", &key, group, "dead", "0", &together[1].entry_id];
        assert_eq!(bench.redis.command(&alone).await.array().len(), 1);
    }
    for _ in 0..5 {
        let alone = bench
            .store
            .reclaim(0, &queued[0], "dead", Duration::ZERO, 1)
            .await
            .expect("redis is there");
        assert_eq!(alone.len(), 1);
    }
    let renderer = bench.renderer("[work]\nreclaim_idle = \"4s\"\n");
    assert_eq!(
        bench.becomes(poison.id, State::Dead).await.reason,
        Reason::PoisonEntry
    );
    let entries = bench.ready(63).await;
    let neighbours: BTreeSet<_> = entries
        .iter()
        .map(|entry| rendered(entry).recipient.expect("a recipient").address)
        .collect();
    let expected = (2..=64).map(|number| format!("user{number}@example.com"));
    assert_eq!(neighbours, expected.collect());
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_scripts_are_refused_the_ready_stream_does_not_grow() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message(1, ADA);
    bench.accept(sent.clone()).await;
    let refuse = ["ACL", "SETUSER", "default", "-eval", "-evalsha"];
    bench.redis.command(&refuse).await;
    let renderer = bench.renderer("");
    // Several rounds of the renderer, as Redis counts them.
    eventually("it tries to settle several times", PATIENCE, async || {
        let stats = bench.redis.command(&["INFO", "commandstats"]).await.bytes();
        let stats = String::from_utf8_lossy(&stats).into_owned();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let rejected = line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next());
        let rejected = rejected.and_then(|count| count.parse::<u32>().ok());
        if rejected.is_some_and(|count| count >= 12) && bench.backlog(Stage::Ready).await > 0 {
            Ok(())
        } else {
            Err(rejected)
        }
    })
    .await;
    assert_eq!(bench.backlog(Stage::Ready).await, 1);
    let allow = ["ACL", "SETUSER", "default", "+eval", "+evalsha"];
    bench.redis.command(&allow).await;
    let entries = bench.ready(1).await;
    assert!(matches!(bench.claim(&entries).await[..], [Claimed::Sending(_)]));
    renderer.stop().await;
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_s_entries_are_left_pending_and_bulk_goes_on() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    bench.accept(message(1, ADA)).await;
    let streams = bench.store.active(0).await.expect("redis is there");
    let queued = streams.iter().find(|stream| stream.stage == Stage::Queued);
    let key = format!("{{pl1:0}}:{}", queued.expect("one is queued"));
    for _ in 0..10 {
        bench
            .redis
            .command(&["XADD", &key, "*", "e2", "of a newer release"])
            .await;
    }
    let renderer = bench.renderer("[work]\nbatch_max = 5\nbatches_max = 1\n");
    let mut bulk = message(2, ADA);
    bulk.record.lane = Lane::Bulk;
    bench.ready(1).await;
    bench.accept(bulk).await;
    bench.ready(1).await;
    renderer.stop().await;
    let info = bench.redis.command(&["XINFO", "STREAM", &key]).await;
    let fields = info.array();
    let added = fields
        .chunks(2)
        .find(|pair| pair[0].bytes()[..] == b"entries-added"[..]);
    assert_eq!(added.expect("counted")[1].integer(), 11, "nothing is given back");
    assert_eq!(bench.backlog(Stage::Queued).await, 10);
}
