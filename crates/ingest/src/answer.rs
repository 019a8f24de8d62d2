//! From what a script found to what the caller is told.

use paceline_domain::id::MessageId;
use paceline_domain::identity::Digests;
use paceline_domain::record::Record;
use paceline_domain::time::Millis;
use paceline_store::Enqueued;
use paceline_wire::convert;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::Code;

use crate::error;

/// What of a request is compared with a message that is there already.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: MessageId,
    /// Of what an idempotency key does not cover; `None` without a key.
    pub(crate) digests: Option<Digests>,
    /// Zero for "at once".
    pub(crate) send_at: Millis,
}

/// The answer to one request.
pub(crate) fn to_enqueue(asked: &Asked, found: Enqueued) -> Result<v1::EnqueueResponse, RpcError> {
    match found {
        Enqueued::New(record) => Ok(response(asked, &record)),
        Enqueued::Resubmitted(record) => Ok(v1::EnqueueResponse {
            duplicate: true,
            resubmitted: true,
            ..response(asked, &record)
        }),
        Enqueued::Duplicate(record) => duplicate(asked, &record),
        Enqueued::KeyConflict(record) => Err(key_conflict(&differences(asked, &record)?)),
        Enqueued::Newer => Err(error::newer_format()),
        Enqueued::Corrupt => Err(error::corrupt()),
    }
}

/// The answer to a request whose message is there. A difference is refused: whoever repeats a call with another content
/// under the same key, or the same content with another time, must not believe that it was done.
pub(crate) fn duplicate(asked: &Asked, record: &Record) -> Result<v1::EnqueueResponse, RpcError> {
    let fields = differences(asked, record)?;
    if !fields.is_empty() {
        return Err(key_conflict(&fields));
    }
    if record.send_at != asked.send_at {
        return Err(RpcError::new(
            Code::AlreadyExists,
            reason::SEND_AT_CONFLICT,
            "send_at: the same message is there with another send_at",
        )
        .naming("send_at", "differs from that of the message that is there")
        .with("message_id", asked.id.to_string()));
    }
    let reason = if record.state.at_rest() {
        record.reason.as_str().to_owned()
    } else {
        String::new()
    };
    Ok(v1::EnqueueResponse {
        duplicate: true,
        reason,
        ..response(asked, record)
    })
}

fn response(asked: &Asked, record: &Record) -> v1::EnqueueResponse {
    v1::EnqueueResponse {
        message_id: asked.id.to_string(),
        state: v1::MessageState::from(record.state).into(),
        accepted_at: Some(convert::timestamp(record.accepted_at)),
        ..v1::EnqueueResponse::default()
    }
}

/// What a request under a key asks for otherwise than the message under it: names, never values.
fn differences(asked: &Asked, record: &Record) -> Result<Vec<String>, RpcError> {
    let Some(digests) = &asked.digests else {
        return Ok(Vec::new());
    };
    let stored = Digests::from_bytes(&record.digests).map_err(|_| error::corrupt())?;
    Ok(stored.differences(digests))
}

fn key_conflict(fields: &[String]) -> RpcError {
    let named = fields.join(", ");
    let error = RpcError::new(
        Code::AlreadyExists,
        reason::KEY_CONFLICT,
        format!("the idempotency key belongs to a message that differs in: {named}"),
    )
    .with("fields", named);
    fields.iter().fold(error, |error, field| {
        error.naming(field, "differs from that of the message under this key")
    })
}
