//! What is due goes to its queue, whatever stands before it.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_kit::clock::{Clock, SystemClock};
use paceline_store::NewMessage;
use paceline_testkit::eventually;

use crate::support::{Bench, PATIENCE, message, rendered};

const ADA: &str = "{\"name\": \"Ada\"}";
const LATER: &[u8] = b"{pl1:0}:later";

/// A message whose time comes in a moment.
fn soon(number: u16) -> NewMessage {
    let mut message = message(number, ADA);
    message.record.send_at = SystemClock.wall() + Duration::from_millis(200);
    message
}

/// Puts ids at the head of the list, with these bytes as their records, or none.
async fn overdue(bench: &Bench, ids: &[MessageId], record: Option<&[u8]>) {
    for id in ids {
        let add: [&[u8]; 4] = [b"ZADD", LATER, b"1", &id.0];
        bench.redis.command(&add).await;
        if let Some(record) = record {
            let key = format!("{{pl1:0}}:m:{id}");
            let set: [&[u8]; 3] = [b"SET", key.as_bytes(), record];
            bench.redis.command(&set).await;
        }
    }
}

fn ids(numbers: std::ops::Range<u16>) -> Vec<MessageId> {
    numbers.map(|number| message(number, ADA).id).collect()
}

async fn later(bench: &Bench) -> i64 {
    let count: [&[u8]; 2] = [b"ZCARD", LATER];
    bench.redis.command(&count).await.integer()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_readable_record_leaves_the_list_and_the_good_is_promoted() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    // More than one look takes, so that the good one comes only behind them.
    overdue(&bench, &ids(1_000..1_600), None).await;
    let corrupt = ids(2_000..2_001);
    overdue(&bench, &corrupt, Some(b"\x01 no record")).await;
    bench.accept(soon(1)).await;
    let renderer = bench.renderer("");
    let entries = bench.ready(1).await;
    assert_eq!(
        rendered(&entries[0]).recipient.expect("a recipient").address,
        "user1@example.com"
    );
    eventually("nothing is left", PATIENCE, async || match later(&bench).await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    let dead = bench.store.dead(0, 10).await.expect("redis is there");
    let dead: Vec<_> = dead.into_iter().map(|(id, _)| id).collect();
    assert_eq!(dead, corrupt);
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_s_messages_stay_and_hide_nothing_behind_them() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    overdue(&bench, &ids(1_000..1_600), Some(b"\x02 of a newer release")).await;
    bench.accept(soon(1)).await;
    let renderer = bench.renderer("");
    let entries = bench.ready(1).await;
    assert_eq!(
        rendered(&entries[0]).recipient.expect("a recipient").address,
        "user1@example.com"
    );
    renderer.stop().await;
    assert_eq!(later(&bench).await, 600);
    assert_eq!(bench.store.dead(0, 10).await.expect("redis is there"), []);
}
