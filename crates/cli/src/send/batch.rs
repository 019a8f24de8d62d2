//! One attempt at a batch of rows: what ingest took or refused, and what is to be tried again, and when.

use std::time::Duration;

use paceline_kit::client::Connection;
use paceline_wire::status::{RpcError, Violation};
use paceline_wire::v1::enqueue_result::Result as Answer;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{EnqueueBatchRequest, EnqueueResult};
use rand::RngExt as _;
use tokio::sync::mpsc;
use tonic::Code;

use super::reader::{Item, Refusal};
use super::row::Wrong;
use crate::client;

/// A batch is closed by whichever comes first.
const ROWS_MAX: usize = 200;
const BYTES_MAX: usize = 1 << 20;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The longest delay that ingest may ask for.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Rows for one request.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    /// Attempts in a row that settled nothing.
    failures: u32,
    delay: Duration,
}

/// What came of an attempt.
#[derive(Default)]
pub(super) struct Attempted {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) refused: Vec<Refusal>,
    /// What is to be tried again, with why.
    pub(super) again: Option<(Batch, RpcError)>,
}

impl Batch {
    /// `first` and what waits behind it, as much as one request may hold. Refusals met on the way are put into `refused`.
    pub(super) fn gather(
        first: Item,
        rows: &mut mpsc::Receiver<Result<Item, Refusal>>,
        refused: &mut Vec<Refusal>,
    ) -> Self {
        let mut bytes = first.bytes;
        let mut items = vec![first];
        while items.len() < ROWS_MAX && bytes < BYTES_MAX {
            match rows.try_recv() {
                Ok(Ok(item)) => {
                    bytes += item.bytes;
                    items.push(item);
                }
                Ok(Err(refusal)) => refused.push(refusal),
                Err(_) => break,
            }
        }
        Self {
            items,
            failures: 0,
            delay: Duration::ZERO,
        }
    }

    /// Waits as long as the last attempt said, then asks ingest.
    ///
    /// # Errors
    /// If ingest refuses the call itself, so that no other batch has a chance either.
    pub(super) async fn attempt(
        self,
        mut ingest: IngestServiceClient<Connection>,
    ) -> Result<Attempted, RpcError> {
        tokio::time::sleep(self.delay).await;
        let requests = self.items.iter().map(|item| item.request.clone()).collect();
        let call = ingest.enqueue_batch(client::within(EnqueueBatchRequest { requests }));
        match call.await {
            Ok(answer) => self.settle(answer.into_inner().results),
            Err(status) => {
                let error = RpcError::from(&status);
                if !is_passing(&error) {
                    return Err(error);
                }
                Ok(Attempted {
                    again: Some((self.put_off(&error), error)),
                    ..Attempted::default()
                })
            }
        }
    }

    fn settle(self, results: Vec<EnqueueResult>) -> Result<Attempted, RpcError> {
        if results.len() != self.items.len() {
            let message = format!("{} answers to {} requests", results.len(), self.items.len());
            return Err(RpcError::new(Code::Internal, "", message));
        }
        let count = self.items.len();
        let mut attempted = Attempted::default();
        let mut left = Vec::new();
        let mut why: Option<RpcError> = None;
        for (item, result) in self.items.into_iter().zip(results) {
            let error = match result.result {
                Some(Answer::Response(response)) if response.duplicate && !response.resubmitted => {
                    attempted.duplicates += 1;
                    continue;
                }
                Some(Answer::Response(_)) => {
                    attempted.accepted += 1;
                    continue;
                }
                Some(Answer::Error(error)) => RpcError::from(error),
                None => RpcError::new(Code::Unavailable, "", "an empty answer"),
            };
            if is_passing(&error) {
                left.push(item);
                // Of several delays the longest: all of these rows are asked for again at once.
                if why.as_ref().is_none_or(|why| why.retry_delay < error.retry_delay) {
                    why = Some(error);
                }
            } else {
                attempted.refused.push(refusal(item.line, error));
            }
        }
        if let Some(error) = why {
            let rest = Self {
                failures: if left.len() < count { 0 } else { self.failures },
                items: left,
                delay: self.delay,
            };
            attempted.again = Some((rest.put_off(&error), error));
        }
        Ok(attempted)
    }

    /// The same batch, not before its backoff and what ingest asks for are over.
    fn put_off(mut self, error: &RpcError) -> Self {
        let backoff = BACKOFF_MIN
            .saturating_mul(1 << self.failures.min(10))
            .min(BACKOFF_MAX);
        let asked = error.retry_delay.unwrap_or_default().min(DELAY_MAX);
        // Up to a quarter more, so that the batches of many callers do not come back together.
        self.delay = backoff.max(asked).mul_f64(rand::rng().random_range(1.0..1.25));
        self.failures += 1;
        self
    }
}

/// Whether the same request may be taken later. A connection that broke under a call comes as one of the last two codes, and
/// then without the reason that ingest gives with each of its own errors.
fn is_passing(error: &RpcError) -> bool {
    match error.code {
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted => true,
        Code::Unknown | Code::Internal => error.reason.is_empty(),
        _ => false,
    }
}

fn refusal(line: u64, error: RpcError) -> Refusal {
    let wrong = if error.violations.is_empty() {
        vec![Wrong::row(error.message)]
    } else {
        let wrong = |violation: Violation| Wrong::new(violation.field, violation.problem);
        error.violations.into_iter().map(wrong).collect()
    };
    Refusal { line, wrong }
}

#[cfg(test)]
mod tests;
