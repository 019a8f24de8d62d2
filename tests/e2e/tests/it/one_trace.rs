//! The trace of a call goes through the streams to the provider.

use anyhow::{Context as _, ensure};
use paceline_local::LookalikeOptions;
use paceline_testkit::eventually;
use tonic::Request;

use crate::stack::{PATIENCE, Stack, welcome};

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_call_belongs_to_the_caller_s_trace() -> anyhow::Result<()> {
    let stack = Stack::start(1, LookalikeOptions::default()).await?;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(welcome(1));
    request.metadata_mut().insert(
        "traceparent",
        format!("00-{trace_id}-00f067aa0ba902b7-01").parse()?,
    );
    stack.ingest()?.enqueue(request).await?;

    let mail = eventually("the email arrives", PATIENCE, async || {
        stack.lookalike.inbox(0, 1).pop()
    })
    .await;
    let traceparent = mail.traceparent.context("no traceparent at the provider")?;
    ensure!(traceparent.split('-').nth(1) == Some(trace_id), "{traceparent}");
    ensure!(
        !traceparent.contains("00f067aa0ba902b7"),
        "the span is still the caller's: {traceparent}"
    );
    Ok(())
}
