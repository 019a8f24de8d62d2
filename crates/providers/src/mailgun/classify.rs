//! What an answer of Mailgun proves, or the lack of one.
//!
//! Only three things prove that a message was not sent: an answer by which Mailgun refused it, a connection that was never
//! made, and one that was closed before the request was begun. Everything else is [`SendOutcome::Unknown`].
//!
//! Mailgun has no codes of errors: there are the status and the text of the JSON member `message`. A 4xx without that member
//! may be a proxy's that forwarded the request, so it is doubt; only the 401, 403, 413 and 429 by which a proxy itself
//! refuses are taken at their word. Where Mailgun's documentation is silent (a 5xx, a status that it does not list), it is
//! doubt, too.

use std::time::Duration;

use jiff::Timestamp;
use paceline_domain::reason::Reason;
use serde::Deserialize;

use super::exchange::{Answer, DATES, Exchange};
use crate::answer::{Parties, storable};
use crate::outcome::SendOutcome;

/// The longest window of Mailgun's limits.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What stands before the end of the window, in a text in lower case.
const RETRY_AFTER: &str = "try again after ";

/// The JSON of every answer.
#[derive(Default, Deserialize)]
struct Reply {
    id: Option<String>,
    message: Option<String>,
}

pub(super) fn classify(exchange: &Exchange, parties: Parties<'_>) -> SendOutcome {
    match exchange {
        Exchange::Answered(answer) => answered(answer, parties),
        Exchange::NotConnected => SendOutcome::Transient {
            reason: Reason::NotConnected,
        },
        Exchange::NotWritten => SendOutcome::Transient {
            reason: Reason::NotWritten,
        },
        Exchange::Cut => unknown(Reason::AnswerUnclear),
        Exchange::Lost => unknown(Reason::ConnectionLost),
        Exchange::Timeout => unknown(Reason::Timeout),
    }
}

const fn unknown(reason: Reason) -> SendOutcome {
    SendOutcome::Unknown { reason }
}

const fn account(reason: Reason) -> SendOutcome {
    SendOutcome::AccountRefused { reason }
}

const fn refused(reason: Reason) -> SendOutcome {
    SendOutcome::Refused { reason }
}

fn answered(answer: &Answer, parties: Parties<'_>) -> SendOutcome {
    let Reply { id, message } = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200 => taken(id.as_deref().unwrap_or_default()),
        status => refusal(status, message.as_deref(), answer.date, parties),
    }
}

/// The id is a Message-ID, whose brackets events leave out. A 200 without one is no proof of either: Mailgun answers so
/// for an address that it does not know.
fn taken(id: &str) -> SendOutcome {
    let id = id.trim();
    let bare = id.strip_prefix('<').unwrap_or(id);
    let bare = bare.strip_suffix('>').unwrap_or(bare);
    if bare.is_empty() {
        return unknown(Reason::AnswerUnclear);
    }
    SendOutcome::Accepted {
        provider_id: storable(bare),
    }
}

/// An answer that is no success, by its status and by Mailgun's own text, if it has one.
fn refusal(status: u16, text: Option<&str>, date: Option<Timestamp>, parties: Parties<'_>) -> SendOutcome {
    let lower = text.map(str::to_ascii_lowercase);
    match (status, lower.as_deref()) {
        // Documented as a 429, seen as a 420, and worded like the 400s and 403s that are no throttling.
        (400 | 403 | 420 | 429, Some(lower)) if is_limit(lower) => SendOutcome::Throttled {
            daily: false,
            retry_after: date.and_then(|now| retry_after(lower, now)),
        },
        (400 | 403, Some(lower)) if lower.contains("is not allowed to send") => not_allowed(lower, parties),
        (429, _) => SendOutcome::Throttled {
            daily: false,
            retry_after: None,
        },
        (401 | 403, _) => account(Reason::CredentialsRefused),
        (413, _) => refused(Reason::MessageTooLarge),
        (400, Some(_)) => refused(Reason::MessageRefused),
        // An older list has it as "request failed"; today nothing but the account's payment is known to answer so.
        (402, Some(_)) => account(Reason::AccountPaused),
        // The domain. It may be a new one that not all of Mailgun knows yet, so it is never the message's fault.
        (404, Some(_)) => account(Reason::ConfigurationMissing),
        (400..=407 | 409..=499, _) => unknown(Reason::RefusalUnclear),
        _ => unknown(Reason::AnswerUnclear),
    }
}

/// "Domain ... is not allowed to send: {request|recipient|bytes} limit exceeded, try again after ...".
fn is_limit(lower: &str) -> bool {
    lower.contains("limit exceeded") && lower.contains("try again")
}

/// "Domain ... is not allowed to send: ...", for a reason that is no limit.
fn not_allowed(lower: &str, parties: Parties<'_>) -> SendOutcome {
    if parties.only_recipient_in(lower) {
        refused(Reason::MessageRefused)
    } else if lower.contains("verif") || lower.contains("sandbox") {
        account(Reason::FromNotVerified)
    } else {
        account(Reason::AccountPaused)
    }
}

/// How long the limit holds, by Mailgun's own clock: no clock of ours is compared with it.
fn retry_after(lower: &str, now: Timestamp) -> Option<Duration> {
    let (_, until) = lower.split_once(RETRY_AFTER)?;
    let until = DATES
        .parse_timestamp(until.trim_end_matches(['.', ' ', '\n']))
        .ok()?;
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;
    use paceline_domain::reason::Reason;

    use super::{Answer, Exchange, Parties, classify};
    use crate::outcome::SendOutcome::{self, Accepted, AccountRefused, Refused, Throttled, Unknown};

    const UNCLEAR: SendOutcome = Unknown {
        reason: Reason::AnswerUnclear,
    };

    const UNNAMED: SendOutcome = Unknown {
        reason: Reason::RefusalUnclear,
    };

    fn outcome(status: u16, date: Option<&str>, body: &str) -> SendOutcome {
        let answer = Answer {
            status,
            date: date.map(|date| date.parse::<Timestamp>().expect("a time")),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let parties = Parties {
            from: "shop@example.com",
            recipient: "Ada@customer.example",
        };
        classify(&Exchange::Answered(answer), parties)
    }

    #[track_caller]
    fn check(status: u16, text: &str, expected: SendOutcome) {
        let body = serde_json::json!({ "message": text }).to_string();
        assert_eq!(outcome(status, None, &body), expected, "{status} {text}");
    }

    #[track_caller]
    fn check_id(id: &str, expected: SendOutcome) {
        let body = serde_json::json!({ "id": id, "message": "Queued. Thank you." }).to_string();
        assert_eq!(outcome(200, None, &body), expected, "{id}");
    }

    #[test]
    fn an_id_is_kept_without_its_brackets_if_a_record_can_hold_it() {
        let kept = |id: &str| Accepted {
            provider_id: id.to_owned(),
        };
        check_id("<2024.1@x.example>", kept("2024.1@x.example"));
        check_id("2024.1@x.example", kept("2024.1@x.example"));
        check_id(&format!("<{}>", "i".repeat(255)), kept(&"i".repeat(255)));
        check_id(&"i".repeat(256), kept(""));
        check_id("<é@x.example>", kept(""));
    }

    #[test]
    fn a_success_without_an_id_proves_nothing() {
        check_id("", UNCLEAR);
        check_id("<>", UNCLEAR);
        for body in [
            "",
            "Mailgun Magnificent API",
            "{\"id\": 7}",
            "[]",
            "{\"message\": \"Queued. Thank you.\"}",
        ] {
            assert_eq!(outcome(200, None, body), UNCLEAR, "{body}");
        }
        for status in [201, 202, 204, 302] {
            check(status, "Queued. Thank you.", UNCLEAR);
        }
    }

    #[test]
    fn a_limit_is_no_refusal_whatever_its_status() {
        for status in [400, 403, 420, 429] {
            for unit in ["request", "recipient", "bytes"] {
                let text = format!(
                    "Domain x.example is not allowed to send: {unit} limit exceeded, try again after \
                     Mon, 20 Dec 2021 20:33:21 UTC"
                );
                let body = serde_json::json!({ "message": text }).to_string();
                let expected = |retry_after: Option<u64>| Throttled {
                    daily: false,
                    retry_after: retry_after.map(Duration::from_secs),
                };
                for (date, retry_after) in [
                    (Some("2021-12-20T20:32:20Z"), Some(61)),
                    (Some("2021-12-20T20:33:21Z"), Some(0)),
                    (Some("2021-12-20T21:00:00Z"), Some(0)),
                    (Some("2021-11-20T20:33:21Z"), Some(86_400)),
                    (None, None),
                ] {
                    assert_eq!(
                        outcome(status, date, &body),
                        expected(retry_after),
                        "{status} {date:?}"
                    );
                }
            }
        }
        let unreadable = r#"{"message": "recipient limit exceeded, try again after a while"}"#;
        let expected = Throttled {
            daily: false,
            retry_after: None,
        };
        assert_eq!(outcome(429, Some("2021-12-20T20:32:20Z"), unreadable), expected);
        assert_eq!(outcome(429, None, "slow down"), expected);
    }

    #[test]
    fn a_domain_that_may_not_send_is_everybodys_trouble() {
        let account = |reason| AccountRefused { reason };
        for status in [400, 403] {
            let sandbox = "Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes \
                           only. Please add your own domain or add the address to authorized recipients in Account Settings.";
            check(status, sandbox, account(Reason::FromNotVerified));
            let unverified = "Domain x.example is not allowed to send: The domain is unverified and requires DNS configuration.";
            check(status, unverified, account(Reason::FromNotVerified));
            let inactive = "Domain x.example is not allowed to send: Your account is inactive.";
            check(status, inactive, account(Reason::AccountPaused));
            let own =
                "Domain x.example is not allowed to send: ada@customer.example is no authorized recipient.";
            check(
                status,
                own,
                Refused {
                    reason: Reason::MessageRefused,
                },
            );
        }
    }

    #[test]
    fn what_mailgun_did_not_name_proves_nothing() {
        for status in [400, 402, 404, 420] {
            for body in ["", "<html>", "404 page not found", "{\"error\": \"x\"}"] {
                assert_eq!(outcome(status, None, body), UNNAMED, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_status_that_is_not_documented_proves_nothing() {
        for status in [304, 408, 500, 502, 503, 504, 599] {
            check(status, "Something went wrong", UNCLEAR);
        }
        for status in [405, 409, 420, 422, 451, 499] {
            check(status, "Something went wrong", UNNAMED);
        }
    }
}
