//! When a message may be sent.

use std::time::Duration;

use paceline_domain::time::Millis;
use paceline_wire::convert;
use paceline_wire::status::{InvalidFields, Violation};
use prost_types::Timestamp;

/// How far a caller's clock may be behind ours: a `send_at` of "now" must not be refused for it.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
const SEND_AT_AHEAD: Duration = Duration::from_hours(366 * 24);

/// A request's times; zero for "not asked for".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) send_at: Millis,
    pub(crate) expires_at: Millis,
    /// What has passed since: refused, unless the message is there already. A caller who repeats a call whose answer was lost
    /// repeats its times too, and must be told of its message, not of its times.
    pub(crate) passed: Option<Violation>,
}

/// Reads the times of a request and adds what is wrong with them.
pub(super) fn read(
    send_at: Option<&Timestamp>,
    expires_at: Option<&Timestamp>,
    now: Millis,
    wrong: &mut InvalidFields,
) -> Times {
    let mut point = |field: &str, at: Option<&Timestamp>| match at.map(convert::millis) {
        None => Millis::default(),
        Some(Ok(at)) if at != Millis::default() => at,
        Some(_) => {
            wrong.add(field, "must be a time after 1970");
            Millis::default()
        }
    };
    let send_at = point("send_at", send_at);
    let expires_at = point("expires_at", expires_at);
    if send_at > now + SEND_AT_AHEAD {
        let days = send_at.since(now).as_secs().div_ceil(24 * 3_600);
        wrong.add("send_at", format!("is {days} days ahead, at most 366"));
    }
    let expires = expires_at != Millis::default();
    if expires && expires_at <= send_at {
        wrong.add("expires_at", "must be after send_at");
    }
    let passed = |field: &str| {
        Some(Violation {
            field: field.to_owned(),
            problem: "lies in the past".to_owned(),
        })
    };
    Times {
        send_at,
        expires_at,
        passed: if send_at != Millis::default() && send_at + CLOCK_SKEW < now {
            passed("send_at")
        } else if expires && expires_at <= now {
            passed("expires_at")
        } else {
            None
        },
    }
}
