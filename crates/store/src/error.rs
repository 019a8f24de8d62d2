//! What can go wrong between us and Redis, sorted by what the caller may conclude.

use fred::error::{Error, ErrorKind};

/// What fred says without a kind where a connection changed under a command: it is lost, or the slot is another node's now.
const WITHOUT_KIND: [&str; 5] = [
    "Too many failed write attempts.",
    "Missing response.",
    "Missing expected connection.",
    "Failed to route command.",
    "Failed to send command to router.",
];

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Nothing is known: the command may have been done or not. Every operation may be repeated.
    Unavailable,
    /// Provably not done; it may work later.
    Refused,
    /// A person must change a setting.
    Misconfigured,
    /// A mistake in our own code, or something in Redis that is not ours.
    Bug,
}

/// A failed operation of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer, a broken connection, or a server that is loading or failing over.
    #[error("redis is not available: {detail}")]
    Unavailable { detail: String },
    /// `maxmemory` is reached; nothing was written.
    #[error("redis is out of memory")]
    OutOfMemory,
    /// Fewer replicas than `min-replicas-to-write` asks for; nothing was written.
    #[error("redis has too few replicas to write")]
    TooFewReplicas,
    /// The write was made, and is not known to be on as many replicas or disks as the level asks for.
    #[error("the write is not durable yet: on {replicas} of {wanted} replicas")]
    NotDurable { replicas: u32, wanted: u32 },
    /// The server is a replica; nothing was written.
    #[error("redis is read-only here")]
    ReadOnly,
    /// A setting of Redis or of ours that could lose mail.
    #[error("{setting} is {found}: {remedy}")]
    Misconfigured {
        setting: &'static str,
        found: String,
        remedy: String,
    },
    /// An answer that this code should never get.
    #[error("unexpected answer of redis: {detail}")]
    Bug { detail: String },
}

impl StoreError {
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } | Self::NotDurable { .. } => ErrorClass::Unavailable,
            Self::OutOfMemory | Self::TooFewReplicas | Self::ReadOnly => ErrorClass::Refused,
            Self::Misconfigured { .. } => ErrorClass::Misconfigured,
            Self::Bug { .. } => ErrorClass::Bug,
        }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable {
            detail: detail.into(),
        }
    }

    pub(crate) fn bug(detail: impl Into<String>) -> Self {
        Self::Bug {
            detail: detail.into(),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // Redis starts an error with its code; fred keeps the text and knows few of the codes.
        let code = error
            .details()
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default();
        match code.trim_start_matches('-') {
            "OOM" => return Self::OutOfMemory,
            "NOREPLICAS" => return Self::TooFewReplicas,
            "READONLY" => return Self::ReadOnly,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => {
                return Self::Misconfigured {
                    setting: "redis.url",
                    found: "refused by redis".to_owned(),
                    remedy: "set the user and password that redis asks for".to_owned(),
                };
            }
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "MISCONF" | "UNKILLABLE" => {
                return Self::Unavailable {
                    detail: error.details().to_owned(),
                };
            }
            _ => {}
        }
        match error.kind() {
            ErrorKind::Config | ErrorKind::Url => Self::Misconfigured {
                setting: "redis.url",
                found: "not usable".to_owned(),
                remedy: error.details().to_owned(),
            },
            ErrorKind::Auth => Self::Misconfigured {
                setting: "redis.url",
                found: "refused by redis".to_owned(),
                remedy: "set the user and password that redis asks for".to_owned(),
            },
            ErrorKind::IO
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Routing
            | ErrorKind::Cluster
            | ErrorKind::Backpressure
            | ErrorKind::Sentinel
            | ErrorKind::Tls => Self::Unavailable {
                detail: error.to_string(),
            },
            _ if WITHOUT_KIND.contains(&error.details()) => Self::unavailable(error.to_string()),
            _ => Self::bug(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use fred::error::{Error, ErrorKind};

    use super::{ErrorClass, StoreError};

    #[test]
    fn errors_are_sorted_by_what_is_known() {
        let check = |kind, text: &'static str, class| {
            assert_eq!(StoreError::from(Error::new(kind, text)).class(), class, "{text}");
        };
        check(ErrorKind::Timeout, "Request timed out.", ErrorClass::Unavailable);
        check(ErrorKind::IO, "Connection closed.", ErrorClass::Unavailable);
        check(
            ErrorKind::Unknown,
            "TRYAGAIN Multiple keys request",
            ErrorClass::Unavailable,
        );
        check(
            ErrorKind::Unknown,
            "Too many failed write attempts.",
            ErrorClass::Unavailable,
        );
        check(ErrorKind::Unknown, "OOM command not allowed", ErrorClass::Refused);
        check(
            ErrorKind::Unknown,
            "-OOM allow-oom flag is not set on the script",
            ErrorClass::Refused,
        );
        check(
            ErrorKind::Unknown,
            "NOREPLICAS Not enough good replicas to write.",
            ErrorClass::Refused,
        );
        check(ErrorKind::Auth, "WRONGPASS invalid", ErrorClass::Misconfigured);
        check(
            ErrorKind::Unknown,
            "ERR user_script:3: attempt to index",
            ErrorClass::Bug,
        );
    }
}
