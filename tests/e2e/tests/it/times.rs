//! What ends before it could be sent: an expired code, a cancelled message. Both wait for the rate while it happens.

use std::time::Duration;

use anyhow::ensure;
use paceline_local::LookalikeOptions;
use paceline_testkit::eventually;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::set_override_request::{Action, Pause};
use paceline_wire::v1::{CancelRequest, EnqueueRequest, MessageState};

use crate::stack::{PATIENCE, Stack, TENANT, welcome};
use crate::stops::{arrive, enqueue, set_by_hand, wall_clock};

const LIVES: Duration = Duration::from_secs(5);
/// Longer than what expires lives, and shorter than a test's patience.
const PAUSED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_or_was_cancelled_while_it_waited_is_never_sent() -> anyhow::Result<()> {
    let stack = Stack::start(1, LookalikeOptions::default()).await?;
    set_by_hand(&stack, Action::Pause(Pause {}), PAUSED).await?;
    let short = (0..20).map(|number| EnqueueRequest {
        expires_at: Some((wall_clock() + LIVES).into()),
        ..welcome(number)
    });
    let short = enqueue(&stack, short.collect()).await?;
    let lasting = enqueue(&stack, (100..120).map(welcome).collect()).await?;
    let cancelled = enqueue(&stack, (200..220).map(welcome).collect()).await?;
    let channel = paceline_kit::grpc::channel(&format!("http://{}", stack.ingest.grpc()))?;
    let mut messages = MessagesServiceClient::new(channel);
    for message_id in cancelled.clone() {
        let tenant = TENANT.to_owned();
        let answer = messages.cancel(CancelRequest { tenant, message_id }).await?;
        ensure!(answer.into_inner().cancelled_now);
    }
    arrive(&stack, &lasting).await;
    for (ids, end) in [
        (&short, MessageState::Expired),
        (&cancelled, MessageState::Cancelled),
    ] {
        for id in ids {
            eventually("it is at rest", PATIENCE, async || {
                let message = stack.message(id).await.map_err(|error| error.to_string())?;
                (message.state() == end)
                    .then_some(())
                    .ok_or_else(|| format!("{message:?}"))
            })
            .await;
        }
    }
    let accepted = stack.lookalike.stats().accepted;
    ensure!(accepted == lasting.len() as u64, "{accepted} were sent");
    Ok(())
}
