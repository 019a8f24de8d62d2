//! What an answer of SES proves, or the lack of one.
//!
//! Only two things prove that a message was not sent: an answer by which SES refused it, and a connection that was never
//! made. Everything else is [`SendOutcome::Unknown`]. The SDK's own classes do not separate the two (a refused connection
//! and one that was reset after the request look alike), hence the walk through the error's sources.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sesv2::config::http::HttpResponse;
use aws_sdk_sesv2::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::send_email::{SendEmailError, SendEmailOutput};
use hyper_util::client::legacy::Error as ConnectionError;
use paceline_domain::reason::Reason;

use crate::answer::{Parties, source, storable};
use crate::outcome::SendOutcome;

pub(super) type SendError = SdkError<SendEmailError, HttpResponse>;

/// `started` is false only if no byte of the request was handed to a connection.
pub(super) fn classify(
    answer: &Result<SendEmailOutput, SendError>,
    parties: Parties<'_>,
    started: bool,
) -> SendOutcome {
    match answer {
        Ok(output) => match output.message_id() {
            Some(id) if !id.is_empty() => SendOutcome::Accepted {
                provider_id: storable(id),
            },
            _ => unknown(Reason::AnswerUnclear),
        },
        Err(SdkError::ServiceError(error)) => refusal(
            error.raw().status().as_u16(),
            error.err().code(),
            text(error.err()).unwrap_or_default(),
            parties,
        ),
        Err(error) => no_answer(error, started),
    }
}

/// The code of SES, for logs.
pub(super) fn code(error: &SendError) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The text of a refusal. Where SES gave no code, the SDK hides the text in its error's sources.
fn text(error: &SendEmailError) -> Option<&str> {
    error
        .message()
        .or_else(|| source::<ErrorMetadata>(error).and_then(ErrorMetadata::message))
}

const fn unknown(reason: Reason) -> SendOutcome {
    SendOutcome::Unknown { reason }
}

const fn account(reason: Reason) -> SendOutcome {
    SendOutcome::AccountRefused { reason }
}

/// An answer that is no success, by its status, its code and its text.
fn refusal(status: u16, code: Option<&str>, text: &str, parties: Parties<'_>) -> SendOutcome {
    match status {
        // A request that SES took in part (408), any success that can't be read, redirects, and failures that say
        // nothing of the message.
        408 | 100..=399 | 500..=502 | 504.. => unknown(Reason::AnswerUnclear),
        503 => unavailable(code, text),
        _ => match code {
            Some(code) => by_code(status, code, text, parties),
            // SES names its refusals. What comes without a name may be a proxy's, at any time; a proxy's own refusals of whom
            // or what it does not let through are the exception.
            None if matches!(status, 401 | 403 | 413 | 429) => by_status(status, text),
            None => unknown(Reason::RefusalUnclear),
        },
    }
}

/// A 503 proves something only if SES says so itself: a proxy's comes without SES's code, and at any time.
fn unavailable(code: Option<&str>, text: &str) -> SendOutcome {
    match code {
        Some("ServiceUnavailable" | "ServiceUnavailableException") => SendOutcome::Transient {
            reason: Reason::ProviderUnavailable,
        },
        Some("Throttling" | "ThrottlingException" | "TooManyRequestsException") => throttled(text),
        _ => unknown(Reason::AnswerUnclear),
    }
}

fn by_code(status: u16, code: &str, text: &str, parties: Parties<'_>) -> SendOutcome {
    match code {
        "TooManyRequestsException" | "LimitExceededException" | "ThrottlingException" | "Throttling" => {
            throttled(text)
        }
        "MessageRejected" => rejected(text, parties),
        "BadRequestException" => SendOutcome::Refused {
            reason: Reason::MessageRefused,
        },
        "RequestEntityTooLargeException" => SendOutcome::Refused {
            reason: Reason::MessageTooLarge,
        },
        "AccountSuspendedException" => account(Reason::AccountSuspended),
        "SendingPausedException" => account(Reason::AccountPaused),
        "MailFromDomainNotVerifiedException" => account(Reason::FromNotVerified),
        "NotFoundException" => account(Reason::ConfigurationMissing),
        _ if is_of_credentials(code) => account(Reason::CredentialsRefused),
        "RequestTimeout" | "RequestTimeoutException" => unknown(Reason::AnswerUnclear),
        _ => by_status(status, text),
    }
}

/// True for a code that refuses who calls, or when, or with which signature.
pub(super) fn is_of_credentials(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized"
            | "OptInRequired"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
    )
}

/// A refusal without a code that we know: not sent, but of unclear cause. It counts as a try of the message, so that
/// neither the message waits for ever nor one message pauses all others.
fn by_status(status: u16, text: &str) -> SendOutcome {
    match status {
        401 | 403 => account(Reason::CredentialsRefused),
        413 => SendOutcome::Refused {
            reason: Reason::MessageTooLarge,
        },
        429 => throttled(text),
        _ => SendOutcome::Transient {
            reason: Reason::RefusalUnclear,
        },
    }
}

/// SES tells its two limits apart by text alone.
fn throttled(text: &str) -> SendOutcome {
    let text = text.to_ascii_lowercase();
    let daily = text.contains("daily message quota") || text.contains("daily sending quota");
    SendOutcome::Throttled {
        daily,
        retry_after: None,
    }
}

/// `MessageRejected` is about the message, or about an address that is not verified. In the sandbox that may be the
/// recipient's, which is this message's own trouble; the sender's is everybody's.
fn rejected(text: &str, parties: Parties<'_>) -> SendOutcome {
    let text = text.to_ascii_lowercase();
    let own = parties.only_recipient_in(&text);
    if text.contains("not verified") && !own {
        account(Reason::FromNotVerified)
    } else {
        SendOutcome::Refused {
            reason: Reason::MessageRefused,
        }
    }
}

/// No answer, or none that is HTTP and JSON.
fn no_answer(error: &SendError, started: bool) -> SendOutcome {
    let connect_failed = source::<ConnectionError>(error).is_some_and(ConnectionError::is_connect);
    if connect_failed {
        return SendOutcome::Transient {
            reason: Reason::NotConnected,
        };
    }
    if !started {
        return if source::<CredentialsError>(error).is_some() {
            account(Reason::CredentialsRefused)
        } else {
            SendOutcome::Transient {
                reason: Reason::NotWritten,
            }
        };
    }
    match error {
        SdkError::TimeoutError(_) => unknown(Reason::Timeout),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => unknown(Reason::Timeout),
        SdkError::DispatchFailure(_) => unknown(Reason::ConnectionLost),
        _ => unknown(Reason::AnswerUnclear),
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::reason::Reason;

    use super::{Parties, SendEmailOutput, classify, refusal};
    use crate::outcome::SendOutcome::{self, AccountRefused, Refused, Throttled, Transient, Unknown};

    const fn throttled(daily: bool) -> SendOutcome {
        Throttled {
            daily,
            retry_after: None,
        }
    }

    const PARTIES: Parties<'_> = Parties {
        from: "shop@example.com",
        recipient: "Ada@customer.example",
    };

    #[track_caller]
    fn check(status: u16, code: Option<&str>, text: &str, expected: SendOutcome) {
        assert_eq!(
            refusal(status, code, text, PARTIES),
            expected,
            "{status} {code:?} {text}"
        );
    }

    #[test]
    fn the_two_limits_are_told_apart_by_text_whatever_the_code() {
        for (status, code) in [
            (429, "TooManyRequestsException"),
            (400, "LimitExceededException"),
            (400, "ThrottlingException"),
            (400, "Throttling"),
        ] {
            let code = Some(code);
            check(status, code, "Maximum sending rate exceeded.", throttled(false));
            check(status, code, "Daily message quota exceeded.", throttled(true));
            check(
                status,
                code,
                "Your DAILY SENDING QUOTA is used up",
                throttled(true),
            );
            check(status, code, "", throttled(false));
        }
        check(429, None, "Maximum sending rate exceeded.", throttled(false));
    }

    #[test]
    fn an_unverified_sender_is_everybodys_trouble_and_an_unverified_recipient_the_messages_own() {
        let verification =
            "Email address is not verified. The following identities failed the check in region EU-WEST-1: ";
        let from_not_verified = AccountRefused {
            reason: Reason::FromNotVerified,
        };
        let own = Refused {
            reason: Reason::MessageRefused,
        };
        for (names, expected) in [
            ("shop@example.com", &from_not_verified),
            ("ada@customer.example", &own),
            ("ADA@customer.example.", &own),
            ("shop@example.com, ada@customer.example", &from_not_verified),
            ("not-ada@customer.example", &from_not_verified),
            ("", &from_not_verified),
        ] {
            check(
                400,
                Some("MessageRejected"),
                &format!("{verification}{names}"),
                expected.clone(),
            );
        }
        check(400, Some("MessageRejected"), "Bad content", own);
    }

    #[test]
    fn an_unknown_refusal_is_unsent_and_counts_as_a_try() {
        let expected = Transient {
            reason: Reason::RefusalUnclear,
        };
        assert!(!expected.is_failure(), "the provider is well");
        check(400, Some("SomethingNewException"), "", expected.clone());
        check(409, Some("ConflictException"), "", expected);
    }

    /// A proxy that forwarded the request may answer so at any time.
    #[test]
    fn a_refusal_that_ses_did_not_name_proves_nothing() {
        let expected = Unknown {
            reason: Reason::RefusalUnclear,
        };
        assert!(!expected.is_failure(), "the provider may be well");
        for status in [400, 404, 409, 460, 499] {
            check(status, None, "", expected.clone());
        }
    }

    #[test]
    fn an_id_that_no_record_can_hold_does_not_make_the_message_less_accepted() {
        for (letter, bytes, kept) in [
            ("i", 60, 60),
            ("i", 255, 255),
            ("i", 256, 0),
            ("i", 100_000, 0),
            ("é", 60, 0),
        ] {
            let output = SendEmailOutput::builder()
                .message_id(letter.repeat(bytes))
                .build();
            let outcome = classify(&Ok(output), PARTIES, true);
            assert!(
                matches!(&outcome, SendOutcome::Accepted { provider_id } if provider_id.len() == kept),
                "{letter} {bytes}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_server_error_proves_nothing_even_with_a_code() {
        let expected = Unknown {
            reason: Reason::AnswerUnclear,
        };
        assert!(expected.is_failure());
        for status in [500, 502, 504, 599] {
            check(status, None, "", expected.clone());
            check(status, Some("ServiceUnavailable"), "", expected.clone());
            check(status, Some("MessageRejected"), "", expected.clone());
        }
        check(
            503,
            Some("UNAVAILABLE"),
            "upstream connect error",
            expected.clone(),
        );
        check(408, Some("RequestTimeout"), "", expected.clone());
        check(302, None, "", expected);
    }
}
