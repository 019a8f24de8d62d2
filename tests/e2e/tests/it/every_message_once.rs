//! Ten thousand messages through separate processes with two senders: each exactly once in the inbox.

use std::collections::BTreeMap;

use anyhow::ensure;
use paceline_local::LookalikeOptions;
use paceline_testkit::eventually;
use paceline_wire::v1::MessageState;

use crate::stack::{PATIENCE, Stack};

const MESSAGES: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_arrive_exactly_once() -> anyhow::Result<()> {
    let options = LookalikeOptions {
        keep_max: 2 * MESSAGES,
        ..LookalikeOptions::default()
    };
    let stack = Stack::start(2, options).await?;
    let ids = stack.enqueue_welcomes(MESSAGES).await?;
    // The callers' retries, answered with the same ids and no second email.
    ensure!(
        stack.enqueue_welcomes(1_000).await?[..] == ids[..1_000],
        "a retry got another id"
    );

    eventually("the inbox fills and the queues empty", PATIENCE, async || {
        let stats = stack.lookalike.stats();
        let queue = stack.queue().await.map_err(|error| error.to_string())?;
        let waiting: u64 = queue.depths.iter().map(|depth| depth.backlog).sum();
        if stats.accepted >= MESSAGES as u64 && waiting == 0 && queue.sending == 0 {
            Ok(())
        } else {
            Err(format!(
                "{} accepted, {waiting} waiting, {} sending",
                stats.accepted, queue.sending
            ))
        }
    })
    .await;

    let mut arrived = BTreeMap::<String, usize>::new();
    for mail in stack.lookalike.inbox(0, 2 * MESSAGES) {
        *arrived.entry(mail.tags["paceline_id"].clone()).or_default() += 1;
    }
    for id in &ids {
        ensure!(
            arrived.get(id) == Some(&1),
            "{id} arrived {:?} times",
            arrived.get(id)
        );
    }
    ensure!(arrived.len() == MESSAGES, "{} ids in the inbox", arrived.len());
    for id in ids.iter().step_by(97) {
        let message = stack.message(id).await?;
        ensure!(message.state() == MessageState::Accepted, "{message:?}");
        // On a slow machine a claim may lapse before its request is written, and is made again.
        ensure!(!message.maybe_sent, "{message:?}");
    }
    Ok(())
}
