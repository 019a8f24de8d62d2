//! Answers of Mailgun: each of its errors, as it words them, gives one outcome after one request.

use std::time::Duration;

use paceline_domain::reason::Reason;
use paceline_local::Provider;
use paceline_local::fault::{Action, Failure, Fault};
use paceline_local::limits::Limits;
use paceline_providers::SendOutcome::{self, Accepted, AccountRefused, Refused, Throttled, Unknown};

use super::{DOMAIN, KEY, client, client_with, send_once, start};
use crate::{FROM, RECIPIENT, message};

/// Mailgun answers so, without a text as a proxy does; what becomes of the message?
async fn check(status: u16, text: &str, expected: SendOutcome) {
    let lookalike = start().await;
    lookalike.add_fault(Fault::always(Action::Refuse(Failure::new(status, None, text))));
    let outcome = send_once(&lookalike).await;
    assert_eq!(outcome, expected, "{status} {text}");
    let stats = lookalike.stats();
    assert_eq!(
        (stats.requests, stats.accepted),
        (1, 0),
        "one attempt is one request: {status} {text}"
    );
}

const fn unclear(reason: Reason) -> SendOutcome {
    Unknown { reason }
}

#[tokio::test]
async fn the_message_is_refused() {
    let refused = |reason| Refused { reason };
    for text in [
        "to parameter is not a valid address. please check documentation",
        "Need at least one of 'text' or 'html' parameters specified",
    ] {
        check(400, text, refused(Reason::MessageRefused)).await;
    }
    let own = format!("Domain {DOMAIN} is not allowed to send: {RECIPIENT} is no authorized recipient");
    check(400, &own, refused(Reason::MessageRefused)).await;
    for text in ["Request Entity Too Large", ""] {
        check(413, text, refused(Reason::MessageTooLarge)).await;
    }
}

#[tokio::test]
async fn the_account_is_refused() {
    let refused = |reason| AccountRefused { reason };
    let not_allowed = |why: &str| format!("Domain {DOMAIN} is not allowed to send: {why}");
    for status in [400, 403] {
        for (why, reason) in [
            (
                "The domain is unverified and requires DNS configuration.",
                Reason::FromNotVerified,
            ),
            (
                "Sandbox subdomains are for test purposes only.",
                Reason::FromNotVerified,
            ),
            ("Your account is disabled.", Reason::AccountPaused),
        ] {
            check(status, &not_allowed(why), refused(reason)).await;
        }
    }
    let both = not_allowed(&format!("{FROM} may not write to {RECIPIENT}"));
    check(400, &both, refused(Reason::AccountPaused)).await;
    for (status, text, reason) in [
        (401, "Forbidden", Reason::CredentialsRefused),
        (401, "", Reason::CredentialsRefused),
        (402, "Payment required", Reason::AccountPaused),
        (403, "Forbidden", Reason::CredentialsRefused),
        (403, "", Reason::CredentialsRefused),
        (
            404,
            "Domain not found: mg.x.example",
            Reason::ConfigurationMissing,
        ),
    ] {
        check(status, text, refused(reason)).await;
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_domain_are_the_accounts_trouble() {
    let lookalike = start().await;
    let wrong_key = client_with(lookalike.url(), "another")
        .domain(DOMAIN, None)
        .expect("a domain");
    let reason = Reason::CredentialsRefused;
    assert_eq!(wrong_key.send(&message()).await, AccountRefused { reason });
    let wrong_domain = client_with(lookalike.url(), KEY)
        .domain("other.example", None)
        .expect("a domain");
    let reason = Reason::ConfigurationMissing;
    assert_eq!(wrong_domain.send(&message()).await, AccountRefused { reason });
    let stats = lookalike.stats();
    assert_eq!((stats.requests, stats.refused), (2, 2));
}

/// The date is beyond what any wait may be, so the bound is what comes out.
#[tokio::test]
async fn a_limit_says_when_it_ends() {
    let day = Duration::from_secs(24 * 60 * 60);
    for status in [400, 403, 420, 429] {
        for unit in ["request", "recipient", "bytes"] {
            let text = format!(
                "Domain {DOMAIN} is not allowed to send: {unit} limit exceeded, try again after \
                 Tue, 20 Dec 2211 20:33:21 UTC"
            );
            let retry_after = Some(day);
            check(
                status,
                &text,
                Throttled {
                    daily: false,
                    retry_after,
                },
            )
            .await;
        }
    }
    for text in ["", "Too Many Requests"] {
        let retry_after = None;
        check(
            429,
            text,
            Throttled {
                daily: false,
                retry_after,
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_rate_is_waited_for_by_the_providers_clock() {
    let lookalike = start().await;
    let limits = Limits {
        rate: Some(0.1),
        ..Limits::default()
    };
    lookalike.set_limits_of(Provider::Mailgun, limits);
    let mailgun = client(lookalike.url());
    assert!(matches!(mailgun.send(&message()).await, Accepted { .. }));
    let outcome = mailgun.send(&message()).await;
    let Throttled {
        daily: false,
        retry_after: Some(wait),
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    // One in ten seconds, and the date is of whole seconds.
    assert!(
        (Duration::from_secs(8)..=Duration::from_secs(11)).contains(&wait),
        "{wait:?}"
    );
    let stats = lookalike.stats();
    assert_eq!((stats.requests, stats.accepted, stats.throttled), (2, 1, 1));
}

#[tokio::test]
async fn a_failure_that_says_nothing_of_the_message_leaves_doubt() {
    for status in [500, 502, 503, 504] {
        for text in ["Internal Server Error", ""] {
            check(status, text, unclear(Reason::AnswerUnclear)).await;
        }
    }
    // As a proxy may answer after it forwarded the request.
    for status in [400, 402, 404] {
        check(status, "", unclear(Reason::RefusalUnclear)).await;
    }
    check(408, "", unclear(Reason::AnswerUnclear)).await;
}
