//! Errors of the contracts: one type that becomes a gRPC status with `google.rpc` details, or the error of one item of a
//! batch, and is read back from both.
//!
//! A status carries what a program needs to react (`ErrorInfo.reason`, the fields, the delay of a retry) beside the text
//! for people, and never a value that a caller sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use prost_types::Duration as WireDuration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation as DetailViolation, StatusExt};

use crate::v1;

/// `ErrorInfo.domain` of everything that Paceline says.
pub const DOMAIN: &str = "paceline";

/// `ErrorInfo.reason`: stable codes on which callers may decide.
pub mod reason {
    /// One or more fields are wrong; the violations name them.
    pub const FIELD_INVALID: &str = "field_invalid";
    /// The same idempotency key with other content; metadata `fields` names what differs.
    pub const KEY_CONFLICT: &str = "key_conflict";
    /// The same message with another send_at.
    pub const SEND_AT_CONFLICT: &str = "send_at_conflict";
    /// No message of that tenant with that id.
    pub const NOT_FOUND: &str = "not_found";
    /// A sender has the message already, or it came to rest; metadata `state` says where it stands.
    pub const NOT_CANCELLABLE: &str = "not_cancellable";
    /// Too many messages wait to be stored, or too many watchers watch.
    pub const OVERLOADED: &str = "overloaded";
    /// Too many messages wait to be rendered or sent.
    pub const BACKLOG_FULL: &str = "backlog_full";
    /// The ledger does not come after with copying the logs; bulk mail waits for it.
    pub const LOG_FULL: &str = "log_full";
    /// There are as many stops as can be.
    pub const STOPS_FULL: &str = "stops_full";
    /// Other content was published under that version; raise the version.
    pub const VERSION_TAKEN: &str = "version_taken";
    /// There are as many newer versions as are used; raise the version.
    pub const VERSION_OUTDATED: &str = "version_outdated";
    /// There are as many published templates, or versions of one, as can be.
    pub const TEMPLATES_FULL: &str = "templates_full";
    /// The template is published, or may be, and can't be used here yet.
    pub const TEMPLATE_AWAITED: &str = "template_awaited";
    /// Redis is at its memory's bound, or near it.
    pub const STORE_FULL: &str = "store_full";
    /// Redis did not answer: what was asked for may or may not have happened.
    pub const STORE_UNAVAILABLE: &str = "store_unavailable";
    /// It is written, and not yet as durably as asked.
    pub const NOT_DURABLE: &str = "not_durable";
    /// The deployment can't keep messages as durably as the call asks.
    pub const DURABILITY_UNREACHABLE: &str = "durability_unreachable";
    /// The caller's deadline passed: what was asked for may or may not have happened.
    pub const DEADLINE: &str = "deadline";
    /// The service is going down; another one, or this one after its restart, will answer.
    pub const DRAINING: &str = "draining";
    /// A newer release wrote the message; ask that one.
    pub const NEWER_FORMAT: &str = "newer_format";
    /// The call has no API key, and this listener asks for one.
    pub const KEY_MISSING: &str = "key_missing";
    /// The API key is not known here.
    pub const KEY_UNKNOWN: &str = "key_unknown";
    /// The API key is not good for this call.
    pub const SCOPE_MISSING: &str = "scope_missing";
    /// The API key is another tenant's.
    pub const TENANT_REFUSED: &str = "tenant_refused";
    /// There is no such method.
    pub const METHOD_UNKNOWN: &str = "method_unknown";
    /// The fault is ours.
    pub const INTERNAL: &str = "internal";
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `data.order.total`.
    pub field: String,
    /// What is wrong, and what the limit is; never the value.
    pub problem: String,
}

/// The fields of one request that are wrong: all of them, so that a caller mends them in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidFields(Vec<Violation>);

/// How many violations one answer carries; a hostile request can't make it larger.
const VIOLATIONS_MAX: usize = 32;

impl InvalidFields {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer where one field alone is wrong.
    #[must_use]
    pub fn one(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let mut fields = Self::new();
        fields.add(field, problem);
        fields
    }

    /// Adds a violation. What comes after the thirty-second is dropped.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(Violation {
                field: field.into(),
                problem: problem.into(),
            });
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.0
    }

    /// `Ok` if nothing is wrong.
    ///
    /// # Errors
    /// The violations, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for InvalidFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidFields {}

/// An error as the contracts describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    pub code: Code,
    /// For people; free of values and addresses.
    pub message: String,
    /// One of [`reason`]; empty for an error that is not Paceline's own.
    pub reason: Cow<'static, str>,
    pub violations: Vec<Violation>,
    /// `ErrorInfo.metadata`.
    pub metadata: Vec<(String, String)>,
    /// Present if a retry makes sense.
    pub retry_delay: Option<Duration>,
}

impl RpcError {
    #[must_use]
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: Cow::Borrowed(reason),
            violations: Vec::new(),
            metadata: Vec::new(),
            retry_delay: None,
        }
    }

    /// Says when to try again.
    #[must_use]
    pub const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// Adds an entry of `ErrorInfo.metadata`.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Adds a field violation.
    #[must_use]
    pub fn naming(mut self, field: impl Into<String>, problem: impl Into<String>) -> Self {
        self.violations.push(Violation {
            field: field.into(),
            problem: problem.into(),
        });
        self
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for RpcError {}

impl From<InvalidFields> for RpcError {
    fn from(fields: InvalidFields) -> Self {
        let message = fields.to_string();
        let mut error = Self::new(Code::InvalidArgument, reason::FIELD_INVALID, message);
        error.violations = fields.0;
        error
    }
}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        let mut details = ErrorDetails::new();
        if !error.reason.is_empty() {
            let metadata: HashMap<String, String> = error.metadata.into_iter().collect();
            details.set_error_info(error.reason, DOMAIN, metadata);
        }
        for violation in error.violations {
            details.add_bad_request_violation(violation.field, violation.problem);
        }
        if error.retry_delay.is_some() {
            details.set_retry_info(error.retry_delay);
        }
        Self::with_error_details(error.code, error.message, details)
    }
}

impl From<InvalidFields> for Status {
    fn from(fields: InvalidFields) -> Self {
        RpcError::from(fields).into()
    }
}

impl From<&Status> for RpcError {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let violation = |found: &DetailViolation| Violation {
            field: found.field.clone(),
            problem: found.description.clone(),
        };
        let info = details.error_info();
        let mut metadata: Vec<_> = info
            .map(|info| {
                info.metadata
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect()
            })
            .unwrap_or_default();
        metadata.sort();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info
                .map(|info| Cow::Owned(info.reason.clone()))
                .unwrap_or_default(),
            violations: details
                .bad_request()
                .map(|bad| bad.field_violations.iter().map(violation).collect())
                .unwrap_or_default(),
            metadata,
            retry_delay: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

impl From<RpcError> for v1::EnqueueError {
    fn from(error: RpcError) -> Self {
        let field_violations = error
            .violations
            .into_iter()
            .map(|violation| v1::FieldViolation {
                field: violation.field,
                description: violation.problem,
            })
            .collect();
        Self {
            code: error.code.into(),
            message: error.message,
            reason: error.reason.into_owned(),
            field_violations,
            retry_delay: error
                .retry_delay
                .and_then(|delay| WireDuration::try_from(delay).ok()),
        }
    }
}

impl From<v1::EnqueueError> for RpcError {
    fn from(error: v1::EnqueueError) -> Self {
        Self {
            code: Code::from(error.code),
            message: error.message,
            reason: Cow::Owned(error.reason),
            violations: error
                .field_violations
                .into_iter()
                .map(|violation| Violation {
                    field: violation.field,
                    problem: violation.description,
                })
                .collect(),
            metadata: Vec::new(),
            retry_delay: error.retry_delay.and_then(|delay| delay.try_into().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};

    use super::{InvalidFields, RpcError, reason};
    use crate::v1;

    #[test]
    fn wrong_fields_become_a_status_that_names_them() {
        let mut fields = InvalidFields::new();
        fields.add("data.total", "is missing");
        fields.add("user_id", "must be 1 to 128 characters");
        let status = Status::from(fields.into_result().expect_err("two violations"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "data.total: is missing; user_id: must be 1 to 128 characters"
        );
        let read = RpcError::from(&status);
        assert_eq!(read.reason, reason::FIELD_INVALID);
        let named: Vec<_> = read.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(named, ["data.total", "user_id"]);
    }

    #[test]
    fn an_error_reads_back_from_a_status_and_from_a_batch_s_item() {
        let error = RpcError::new(Code::ResourceExhausted, reason::OVERLOADED, "too much waits")
            .retry_after(Duration::from_millis(1_500))
            .naming("requests", "is full");
        assert_eq!(RpcError::from(&Status::from(error.clone())), error);
        let item = v1::EnqueueError::from(error.clone());
        assert_eq!(item.code, 8);
        assert_eq!(RpcError::from(item), error);

        let with_metadata = RpcError::new(Code::FailedPrecondition, reason::NOT_CANCELLABLE, "sent")
            .with("state", "accepted");
        assert_eq!(
            RpcError::from(&Status::from(with_metadata.clone())),
            with_metadata
        );
    }

    #[test]
    fn a_foreign_status_reads_as_itself() {
        let error = RpcError::from(&Status::unavailable("connection refused"));
        assert_eq!(
            (error.code, error.reason.as_ref(), error.retry_delay),
            (Code::Unavailable, "", None)
        );
    }

    #[test]
    fn a_hostile_request_gets_a_bounded_answer() {
        let mut fields = InvalidFields::new();
        for index in 0..10_000 {
            fields.add(format!("headers[{index}].name"), "is reserved");
        }
        assert_eq!(fields.violations().len(), 32);
    }
}
