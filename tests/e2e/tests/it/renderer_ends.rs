//! Renderers killed at each command of a hand-off: whatever Redis had done by then, each message is sent once.
//!
//! A proxy stops all traffic before or after the command, so that the kill meets exactly that state.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use paceline_local::LookalikeOptions;
use paceline_testkit::proxy::Moment;
use paceline_testkit::resp::Reply;
use paceline_testkit::{Proxy, TestRedis, eventually};
use paceline_wire::v1::MessageState;

use crate::stack::{PATIENCE, Stack};

/// Of one hand-off.
const MESSAGES: usize = 8;

const ACTIVE: &str = "{pl1:0}:active";
const QUEUED: &str = "{pl1:0}:queued:transactional:main:demo";
const READY: &str = "{pl1:0}:ready:transactional:main:demo";
const SETTLE: &str = include_str!("../../../../crates/store/src/lua/settle.lua");

/// Takes over what the killed one has left as soon as it looks for it the first time.
const EAGER: &str = "command_timeout = \"500ms\"\n[work]\nreclaim_idle = \"1s\"\n";

/// A state in which a renderer is killed.
#[derive(Debug)]
struct KillPoint {
    /// How the command begins at which it is killed.
    command: Vec<String>,
    /// So many of these commands come before.
    skip: usize,
    moment: Moment,
    /// Messages that are ready then.
    ready: usize,
    /// Messages that are queued then.
    queued: usize,
}

/// Before and after each command: the group of the ready stream, one XADD a message, the script that ends the queued entries.
fn kill_points(settle: &str) -> Vec<KillPoint> {
    let mut points = Vec::new();
    for moment in [Moment::Before, Moment::After] {
        let done = usize::from(moment == Moment::After);
        let mut add = |command: &[&str], skip, ready, queued| {
            points.push(KillPoint {
                command: command.iter().map(|&word| word.to_owned()).collect(),
                skip,
                moment,
                ready,
                queued,
            });
        };
        add(&["XGROUP", "CREATE", READY], 0, 0, MESSAGES);
        for skip in 0..MESSAGES {
            add(&["XADD", READY], skip, skip + done, MESSAGES);
        }
        add(&["EVALSHA", settle], 0, MESSAGES, MESSAGES * (1 - done));
    }
    points
}

/// Entries of a stream, and those of them that were read and not acknowledged.
async fn entries(redis: &TestRedis, stream: &str, group: &str) -> anyhow::Result<(usize, usize)> {
    let length = redis.command(&["XLEN", stream]).await.integer();
    // Without the group nothing is pending.
    let pending = match redis.command(&["XPENDING", stream, group]).await {
        Reply::Array(summary) => summary[0].integer(),
        _ => 0,
    };
    Ok((length.try_into()?, pending.try_into()?))
}

async fn queued(stack: &Stack) -> anyhow::Result<(usize, usize)> {
    entries(&stack.redis, QUEUED, "renderers").await
}

async fn ready(stack: &Stack) -> anyhow::Result<(usize, usize)> {
    entries(&stack.redis, READY, "senders").await
}

/// Starts a renderer, and kills it when its hand-off has come to the point.
async fn kill_at(stack: &mut Stack, point: &KillPoint) -> anyhow::Result<()> {
    let proxy = Proxy::start(stack.redis.server().address().clone()).await;
    let words: Vec<&str> = point.command.iter().map(String::as_str).collect();
    proxy.freeze(&words, point.skip, point.moment);
    stack.next_renderer(&proxy.url(), "").await?;
    eventually("the hand-off comes to the point", PATIENCE, async || {
        if proxy.is_frozen() {
            Ok(())
        } else {
            Err(stack.renderer.log_tail())
        }
    })
    .await;
    stack.kill_renderer().await
}

/// Starts a renderer that takes over what was left, and kills it when nothing is.
async fn take_over(stack: &mut Stack) -> anyhow::Result<()> {
    let redis = stack.redis.url().to_owned();
    stack.next_renderer(&redis, EAGER).await?;
    eventually("what was left is taken over", PATIENCE, async || {
        match queued(stack).await {
            Ok((0, 0)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    stack.kill_renderer().await
}

/// Waits until nothing is left anywhere, and looks that each message has arrived once.
async fn assert_each_is_sent_once(stack: &Stack, ids: &[String]) -> anyhow::Result<()> {
    eventually("the inbox fills and the queues empty", PATIENCE, async || {
        let accepted = stack.lookalike.stats().accepted;
        let queue = stack.queue().await.map_err(|error| error.to_string())?;
        let streams = (queued(stack).await, ready(stack).await);
        match streams {
            (Ok((0, 0)), Ok((0, 0))) if accepted >= ids.len() as u64 && queue.sending == 0 => Ok(()),
            _ => Err(format!(
                "{accepted} accepted, {streams:?}, {} sending",
                queue.sending
            )),
        }
    })
    .await;
    let mut arrived = BTreeMap::<String, usize>::new();
    for mail in stack.lookalike.inbox(0, 2 * ids.len()) {
        *arrived.entry(mail.tags["paceline_id"].clone()).or_default() += 1;
    }
    let not_once: Vec<_> = ids.iter().filter(|&id| arrived.get(id) != Some(&1)).collect();
    ensure!(not_once.is_empty(), "not once: {not_once:?}");
    ensure!(arrived.len() == ids.len(), "{} ids in the inbox", arrived.len());
    for id in ids {
        let message = stack.message(id).await?;
        ensure!(message.state() == MessageState::Accepted, "{message:?}");
        ensure!(message.attempt == 1 && !message.maybe_sent, "{message:?}");
    }
    let queue = stack.queue().await?;
    let elsewhere = (queue.scheduled_or_deferred, queue.in_doubt, queue.dead);
    ensure!(elsewhere == (0, 0, 0), "{queue:?}");
    Ok(())
}

/// Makes the script known, so that it is asked for by its hash alone.
async fn settle_hash(redis: &TestRedis) -> anyhow::Result<String> {
    let hash = redis.command(&["SCRIPT", "LOAD", SETTLE]).await.bytes();
    Ok(String::from_utf8(hash.to_vec())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn renderers_killed_at_each_command_of_a_hand_off_lose_and_double_nothing() -> anyhow::Result<()> {
    let mut stack = Stack::start(0, LookalikeOptions::default()).await?;
    stack.kill_renderer().await?;
    let mut ids = Vec::new();
    for point in kill_points(&settle_hash(&stack.redis).await?) {
        let before = ready(&stack).await?.0;
        ids.extend(stack.enqueue_range(ids.len()..ids.len() + MESSAGES).await?);
        kill_at(&mut stack, &point).await?;
        // All was read before; nobody reads what is ready.
        ensure!(
            queued(&stack).await? == (point.queued, point.queued),
            "{point:?}: {:?} queued",
            queued(&stack).await?
        );
        let copies = ready(&stack).await?.0 - before;
        ensure!(copies == point.ready, "{point:?}: {copies} ready");

        take_over(&mut stack)
            .await
            .with_context(|| format!("{point:?}"))?;
        let copies = ready(&stack).await?.0 - before;
        ensure!(copies >= point.ready + point.queued, "{point:?}: {copies} ready");
    }
    // Each message lies there at least once, and most of them twice.
    stack.add_sender().await?;
    assert_each_is_sent_once(&stack, &ids).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_the_killed_renderers_entries_are_taken_over_is_not_sent_again()
-> anyhow::Result<()> {
    let mut stack = Stack::start(1, LookalikeOptions::default()).await?;
    stack.kill_renderer().await?;
    let ids = stack.enqueue_welcomes(MESSAGES).await?;
    let settle = settle_hash(&stack.redis).await?;
    let points = kill_points(&settle);
    let point = points
        .iter()
        .find(|point| (point.ready, point.queued) == (MESSAGES / 2, MESSAGES))
        .context("a point in the middle")?;
    kill_at(&mut stack, point).await?;
    // The settling of any other message of the stream shows the senders what is ready.
    stack.redis.command(&["SADD", ACTIVE, READY]).await;
    eventually("what is ready is sent", PATIENCE, async || {
        let accepted = stack.lookalike.stats().accepted;
        if accepted >= point.ready as u64 {
            Ok(())
        } else {
            Err(accepted)
        }
    })
    .await;
    ensure!(stack.lookalike.stats().accepted == point.ready as u64);
    take_over(&mut stack).await?;
    assert_each_is_sent_once(&stack, &ids).await
}
