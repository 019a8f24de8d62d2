//! Ingest's answers in, what is settled and what is tried again out.

use std::sync::Arc;
use std::time::Duration;

use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1::enqueue_result::Result as Answer;
use paceline_wire::v1::{EnqueueRequest, EnqueueResponse, EnqueueResult};
use tokio::sync::{Semaphore, mpsc};
use tonic::Code;

use super::super::reader::{Item, Refusal};
use super::super::row::Wrong;
use super::{BACKOFF_MAX, BYTES_MAX, Batch, DELAY_MAX, ROWS_MAX, is_passing};

fn item(line: u64, bytes: usize) -> Item {
    let memory = Arc::new(Semaphore::new(1))
        .try_acquire_owned()
        .expect("one is free");
    Item::new(line, bytes, EnqueueRequest::default(), memory)
}

fn batch(lines: u64) -> Batch {
    let (to_rows, mut rows) = mpsc::channel(ROWS_MAX);
    for line in 2..=lines {
        assert!(to_rows.try_send(Ok(item(line, 1))).is_ok(), "room");
    }
    Batch::gather(item(1, 1), &mut rows, &mut Vec::new())
}

fn response(duplicate: bool, resubmitted: bool) -> EnqueueResult {
    EnqueueResult {
        result: Some(Answer::Response(EnqueueResponse {
            duplicate,
            resubmitted,
            ..EnqueueResponse::default()
        })),
    }
}

fn error(error: RpcError) -> EnqueueResult {
    EnqueueResult {
        result: Some(Answer::Error(error.into())),
    }
}

fn overloaded(delay: Duration) -> RpcError {
    RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, "too much waits").retry_after(delay)
}

#[test]
fn each_row_is_settled_by_its_own_answer() {
    let invalid = RpcError::new(Code::InvalidArgument, reason::FIELD_INVALID, "two are wrong")
        .naming("data.n", "is missing")
        .naming("recipient.address", "is no address");
    let conflict = RpcError::new(Code::AlreadyExists, reason::KEY_CONFLICT, "other content");
    let short = Duration::from_secs(3);
    let long = Duration::from_secs(7);
    let answers = vec![
        response(false, false),
        response(true, false),
        response(true, true),
        error(invalid),
        error(overloaded(short)),
        error(overloaded(long)),
        error(conflict),
        EnqueueResult { result: None },
    ];
    let attempted = batch(8).settle(answers).expect("as many answers as rows");
    assert_eq!((attempted.accepted, attempted.duplicates), (2, 1));
    let refused: Vec<_> = attempted
        .refused
        .into_iter()
        .map(|refusal| (refusal.line, refusal.wrong))
        .collect();
    let fields = vec![
        Wrong::new("data.n", "is missing"),
        Wrong::new("recipient.address", "is no address"),
    ];
    assert_eq!(refused, [(4, fields), (7, vec![Wrong::row("other content")])]);
    let (again, _) = attempted.again.expect("three rows");
    let lines: Vec<_> = again.items.iter().map(|item| item.line).collect();
    assert_eq!(lines, [5, 6, 8]);
    assert!(
        again.delay >= long && again.delay < long.mul_f64(1.25),
        "{:?}",
        again.delay
    );
}

#[test]
fn delays_grow_to_a_bound_and_ingest_s_own_has_one() {
    let silent = RpcError::new(Code::Unavailable, reason::STORE_UNAVAILABLE, "no answer");
    let mut waiting = batch(1);
    let mut last = Duration::ZERO;
    for attempt in 0..20 {
        waiting = waiting.put_off(&silent);
        assert!(waiting.delay <= BACKOFF_MAX.mul_f64(1.25), "{:?}", waiting.delay);
        assert!(
            attempt > 4 || waiting.delay > last,
            "attempt {attempt} does not wait longer"
        );
        last = waiting.delay;
    }
    assert!(last >= BACKOFF_MAX);
    let for_ever = overloaded(Duration::from_secs(1 << 40));
    assert!(batch(1).put_off(&for_ever).delay <= DELAY_MAX.mul_f64(1.25));
}

#[test]
fn answers_that_do_not_fit_the_rows_end_the_run() {
    assert!(batch(2).settle(vec![response(false, false)]).is_err());
}

#[test]
fn a_batch_is_bounded_in_rows_and_bytes_and_passes_refusals_on() {
    let (to_rows, mut rows) = mpsc::channel(1_000);
    let refusal = Refusal {
        line: 2,
        wrong: vec![Wrong::row("is wrong")],
    };
    assert!(to_rows.try_send(Err(refusal)).is_ok(), "room");
    for line in 3..900 {
        assert!(to_rows.try_send(Ok(item(line, 10))).is_ok(), "room");
    }
    let mut refused = Vec::new();
    let full = Batch::gather(item(1, 10), &mut rows, &mut refused);
    assert_eq!((full.items.len(), refused.len()), (ROWS_MAX, 1));
    let heavy = Batch::gather(item(1, BYTES_MAX - 15), &mut rows, &mut refused);
    assert_eq!(heavy.items.len(), 3);
}

#[test]
fn a_connection_that_broke_under_a_call_is_tried_again_and_a_refusal_is_not() {
    let passes = |status: &tonic::Status| is_passing(&RpcError::from(status));
    for code in [
        Code::Unknown,
        Code::Internal,
        Code::Unavailable,
        Code::DeadlineExceeded,
    ] {
        assert!(passes(&tonic::Status::new(code, "transport error")), "{code:?}");
    }
    let own = RpcError::new(Code::Internal, reason::INTERNAL, "the fault is ours");
    assert!(!passes(&own.into()));
    for code in [
        Code::InvalidArgument,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::Unimplemented,
    ] {
        assert!(!passes(&tonic::Status::new(code, "no")), "{code:?}");
    }
}
