//! `paceline send --file`: a row at a time from the file, a few batches at a time to ingest.
//!
//! Nothing is noted on the side: a message's id is its content or its key, so a run that was cut is started again and what ingest
//! has is a duplicate. Memory is bounded by what is read and not answered, whatever the file's size.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use paceline_wire::status::RpcError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tonic::Code;

use super::batch::{Attempted, Batch};
use super::progress::Progress;
use super::reader::{self, Rows};
use super::row::Defaults;
use super::{FileOptions, Format};
use crate::args::Target;
use crate::client;

/// Batches that are asked for and not answered.
const CALLS_MAX: usize = 4;
/// How long ingest may be out of reach, or its store be. That there is no room is no reason to give up: the room comes back as mail goes out.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// # Errors
/// If the file can't be read, ingest refuses the calls or is out of reach, the run is interrupted, or a row was refused.
pub(super) async fn run(target: &Target, file: &FileOptions, defaults: Defaults) -> anyhow::Result<()> {
    let format = file.format.map_or_else(|| Format::of(&file.path), Ok)?;
    if let Some(report) = &file.report {
        ensure!(!is_same(&file.path, report), "--report is the file that is read");
    }
    let ingest = client::ingest(target)?;
    // From here on an interruption ends in a summary.
    let interrupts = signal(SignalKind::interrupt()).context("no signals")?;
    let mut rows = reader::start(&file.path, format, defaults)?;
    let mut progress = Progress::new(file.report.as_deref(), rows.read.clone(), rows.size)?;
    let sent = send(&mut rows, &mut progress, interrupts, |batch: Batch| {
        batch.attempt(ingest.clone())
    });
    let sent = sent.await;
    progress.clear();
    println!("{}", progress.counts());
    sent.context("not all rows were sent; run it again, nothing is sent twice")?;
    rows.end
        .await
        .unwrap_or_else(|_| Err(anyhow!("the reader has ended")))?;
    ensure!(progress.refused == 0, "{} rows were refused", progress.refused);
    Ok(())
}

/// True if both paths lead to one file that exists; `-` is standard input.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let path = if path.as_os_str() == "-" {
            Path::new("/dev/stdin")
        } else {
            path
        };
        std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
    };
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Until every row is answered.
async fn send<F: Future<Output = Result<Attempted, RpcError>>>(
    rows: &mut Rows,
    progress: &mut Progress,
    mut interrupts: Signal,
    attempt: impl Fn(Batch) -> F,
) -> anyhow::Result<()> {
    let mut calls: FuturesUnordered<F> = FuturesUnordered::new();
    let mut look = tokio::time::interval_at(Instant::now() + progress.period(), progress.period());
    let mut heard = Instant::now();
    let mut is_read = false;
    loop {
        tokio::select! {
            Some(attempted) = calls.next() => {
                let attempted = attempted.map_err(|error| anyhow!("ingest refuses: {error}"))?;
                progress.add(&attempted)?;
                let settled = attempted.accepted + attempted.duplicates + attempted.refused.len() as u64;
                if settled > 0 {
                    heard = Instant::now();
                }
                match attempted.again {
                    Some((batch, error)) => {
                        if error.code == Code::ResourceExhausted {
                            heard = Instant::now();
                        }
                        ensure!(heard.elapsed() < SILENCE_MAX, "nothing was taken for {} s: {error}", SILENCE_MAX.as_secs());
                        calls.push(attempt(batch));
                    }
                    None => heard = Instant::now(),
                }
            }
            row = rows.rows.recv(), if !is_read && calls.len() < CALLS_MAX => match row {
                Some(Ok(item)) => {
                    let mut refused = Vec::new();
                    let batch = Batch::gather(item, &mut rows.rows, &mut refused);
                    for refusal in &refused {
                        progress.refuse(refusal)?;
                    }
                    if calls.is_empty() {
                        // Nothing was asked for: the silence before is the file's.
                        heard = Instant::now();
                    }
                    calls.push(attempt(batch));
                }
                Some(Err(refusal)) => progress.refuse(&refusal)?,
                None => is_read = true,
            },
            _ = look.tick() => progress.show(),
            _ = interrupts.recv() => bail!("interrupted"),
        }
        if is_read && calls.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn a_report_over_the_file_that_is_read_is_noticed_by_whatever_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (list, link, other) = (
            folder.path().join("list.csv"),
            folder.path().join("link.csv"),
            folder.path().join("report.txt"),
        );
        std::fs::write(&list, "x").expect("written");
        std::os::unix::fs::symlink(&list, &link).expect("linked");
        assert!(is_same(&list, &list) && is_same(&list, &link));
        assert!(!is_same(&list, &other), "not there yet");
        std::fs::write(&other, "x").expect("written");
        assert!(!is_same(&list, &other));
    }
}
