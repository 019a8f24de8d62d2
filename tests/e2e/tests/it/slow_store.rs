//! `EnqueueStream` while the store stands still: what a caller writes stops, and the service's memory stays flat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use futures_util::stream;
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1::enqueue_result::Result as ItemResult;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{Attachment, EnqueueStreamRequest};

use crate::stack::{PATIENCE, start_ingest, welcome};

const STREAMS: u64 = 4;
const ROWS: u64 = 4_000;
/// What each message carries; all of them are 125 MiB.
const ATTACHMENT_BYTES: usize = 8 << 10;
/// What the service may take while the store stands still: its bound on what is begun and the connections' windows, with the
/// allocator's share.
const GROWTH_MIB_MAX: u64 = 48;

/// The resident memory of a process in MiB, by the kernel's account.
fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? >> 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_stop_and_memory_stays_flat_while_the_store_stands_still() -> anyhow::Result<()> {
    let redis = TestRedis::on_loopback(&[]).await;
    // A store that takes long is not one that is gone.
    let ingest = start_ingest(redis.url(), "command_timeout = \"60s\"\n").await?;
    let pid = ingest.pid()?;
    let mut first = IngestServiceClient::connect(format!("http://{}", ingest.grpc())).await?;
    first.enqueue(welcome(0)).await?;
    redis.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await;
    let before = resident_mib(pid)?;

    let written = Arc::new(AtomicU64::new(0));
    let attachment = Attachment {
        file_name: "filler.bin".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        content: vec![7; ATTACHMENT_BYTES].into(),
        ..Attachment::default()
    };
    let mut calls = Vec::new();
    for number in 0..STREAMS {
        let (written, attachment, example) = (Arc::clone(&written), attachment.clone(), welcome(0));
        let requests = stream::iter((0..ROWS).map(move |sequence| {
            written.fetch_add(1, Ordering::SeqCst);
            let mut request = example.clone();
            request.user_id = format!("{number}-{sequence}");
            request.attachments.push(attachment.clone());
            EnqueueStreamRequest {
                sequence,
                request: Some(request),
            }
        }));
        // Each on a connection, and so with windows, of its own.
        let mut client = IngestServiceClient::connect(format!("http://{}", ingest.grpc())).await?;
        calls.push(tokio::spawn(async move {
            let mut answers = client.enqueue_stream(requests).await?.into_inner();
            let mut stored = 0_u64;
            while let Some(answer) = answers.message().await? {
                match answer.result.and_then(|result| result.result) {
                    Some(ItemResult::Response(_)) => stored += 1,
                    other => anyhow::bail!("refused: {other:?}"),
                }
            }
            Ok(stored)
        }));
    }
    let (mut last, mut looks) = (0, 0);
    let stopped = eventually("callers that have stopped", PATIENCE, || {
        let now = written.load(Ordering::SeqCst);
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
        std::future::ready(if looks >= 200 { Ok(now) } else { Err(now) })
    })
    .await;
    let growth = resident_mib(pid)?.saturating_sub(before);
    redis.command(&["CLIENT", "UNPAUSE"]).await;
    let mut stored = 0;
    for call in calls {
        stored += call.await??;
    }
    ensure!(stored == STREAMS * ROWS, "{stored} stored");
    ensure!(
        stopped < STREAMS * 800,
        "{stopped} were written before the callers stopped"
    );
    ensure!(growth <= GROWTH_MIB_MAX, "{growth} MiB more, from {before}");
    let after = resident_mib(pid)?.saturating_sub(before);
    ensure!(
        after <= GROWTH_MIB_MAX,
        "{after} MiB more at the end, from {before}"
    );
    Ok(())
}
