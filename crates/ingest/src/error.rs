//! The errors that ingest answers with, each made in one place, so that equal causes read alike to every caller.

use std::time::Duration;

use paceline_store::StoreError;
use paceline_wire::status::{RpcError, reason};
use tonic::Code;

/// When to come again where nothing better is known. Callers should add jitter.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The same where the store is full: that does not pass in a second.
const FULL_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The answer to a failure of the store.
pub(crate) fn of_store(failure: &StoreError) -> RpcError {
    match failure {
        StoreError::Unavailable { .. } => RpcError::new(
            Code::Unavailable,
            reason::STORE_UNAVAILABLE,
            "the store did not answer: it may or may not have happened; repeat the call",
        )
        .retry_after(RETRY_DELAY),
        StoreError::NotDurable { .. } => RpcError::new(
            Code::Unavailable,
            reason::NOT_DURABLE,
            "the store has it and could not make it as durable as asked in time; repeat the call",
        )
        .retry_after(RETRY_DELAY),
        StoreError::OutOfMemory => RpcError::new(
            Code::ResourceExhausted,
            reason::STORE_FULL,
            "the store is full; nothing was written",
        )
        .retry_after(FULL_RETRY_DELAY),
        StoreError::TooFewReplicas | StoreError::ReadOnly => RpcError::new(
            Code::Unavailable,
            reason::STORE_UNAVAILABLE,
            "the store takes no writes now; nothing was written",
        )
        .retry_after(RETRY_DELAY),
        StoreError::Misconfigured { .. } => RpcError::new(
            Code::Unavailable,
            reason::STORE_UNAVAILABLE,
            "the store is not set up so that it may be used",
        )
        .retry_after(FULL_RETRY_DELAY),
        StoreError::Bug { .. } => internal("the store gave an unexpected answer"),
    }
}

/// The level that a call asks for is not one of this deployment's.
pub(crate) fn unreachable_durability() -> RpcError {
    RpcError::new(
        Code::FailedPrecondition,
        reason::DURABILITY_UNREACHABLE,
        "durability is more than this deployment's Redis is set up for; nothing was written",
    )
}

/// Too much waits.
pub(crate) fn overloaded() -> RpcError {
    RpcError::new(
        Code::ResourceExhausted,
        reason::OVERLOADED,
        "too many messages wait to be stored; nothing was written",
    )
    .retry_after(RETRY_DELAY)
}

/// Redis is nearly full.
pub(crate) fn nearly_full() -> RpcError {
    RpcError::new(
        Code::ResourceExhausted,
        reason::STORE_FULL,
        "the store is nearly full; nothing was written",
    )
    .retry_after(FULL_RETRY_DELAY)
}

/// Too much waits to be rendered or sent.
pub(crate) fn backlogged() -> RpcError {
    RpcError::new(
        Code::ResourceExhausted,
        reason::BACKLOG_FULL,
        "too many messages wait to be sent; nothing was written",
    )
    .retry_after(FULL_RETRY_DELAY)
}

/// The ledger does not come after.
pub(crate) fn log_full() -> RpcError {
    RpcError::new(
        Code::ResourceExhausted,
        reason::LOG_FULL,
        "too much of the log waits for the ledger; nothing was written",
    )
    .retry_after(FULL_RETRY_DELAY)
}

/// Too many watch.
pub(crate) fn too_many_watchers() -> RpcError {
    RpcError::new(
        Code::ResourceExhausted,
        reason::OVERLOADED,
        "too many calls of Watch are open",
    )
    .retry_after(FULL_RETRY_DELAY)
}

/// The service is going down.
pub(crate) fn draining() -> RpcError {
    RpcError::new(
        Code::Unavailable,
        reason::DRAINING,
        "this process is going down; repeat the call",
    )
    .retry_after(RETRY_DELAY)
}

/// The caller's time is over.
pub(crate) fn deadline() -> RpcError {
    RpcError::new(
        Code::DeadlineExceeded,
        reason::DEADLINE,
        "the call's time is over: it may or may not have happened; repeat the call",
    )
}

/// No such message, or another tenant's: the answer does not tell which.
pub(crate) fn not_found() -> RpcError {
    RpcError::new(
        Code::NotFound,
        reason::NOT_FOUND,
        "no message of this tenant with this id",
    )
}

/// The template may be published, and is not here yet.
pub(crate) fn template_awaited() -> RpcError {
    RpcError::new(
        Code::Unavailable,
        reason::TEMPLATE_AWAITED,
        "template is published, or may be, and can't be used here yet; nothing was written",
    )
    .retry_after(RETRY_DELAY)
}

/// The caller's key is another tenant's.
pub(crate) fn tenant_refused() -> RpcError {
    RpcError::new(
        Code::PermissionDenied,
        reason::TENANT_REFUSED,
        "the key is not for this tenant",
    )
}

/// The record is of a newer release.
pub(crate) fn newer_format() -> RpcError {
    RpcError::new(
        Code::FailedPrecondition,
        reason::NEWER_FORMAT,
        "the message was written by a newer release",
    )
}

/// The record can't be read.
pub(crate) fn corrupt() -> RpcError {
    internal("the message's record can't be read")
}

/// The fault is ours.
pub(crate) fn internal(what: &str) -> RpcError {
    RpcError::new(Code::Internal, reason::INTERNAL, what)
}
