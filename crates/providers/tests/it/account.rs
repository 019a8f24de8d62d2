//! `GetAccount`: what SES says of the account, and what it means if SES does not say.

use paceline_local::fault::Failure;
use paceline_local::limits::Limits;
use paceline_local::ses::AccountAnswer;
use paceline_providers::{AccountError, AccountPause, SesAccount};

use super::{HASTY, client, client_of, start};

const UNLIMITED: SesAccount = SesAccount {
    max_send_rate: Some(1e6),
    max_24_hour_send: Some(-1.0),
    sent_last_24_hours: 0,
    paused: None,
};

async fn look(answer: AccountAnswer) -> Result<SesAccount, AccountError> {
    let lookalike = start().await;
    lookalike.set_account(answer);
    client(lookalike.url()).await.account().await
}

#[tokio::test]
async fn the_quotas_are_as_ses_says() {
    assert_eq!(look(AccountAnswer::default()).await, Ok(UNLIMITED));
    let sandbox = AccountAnswer {
        max_send_rate: Some(1.0),
        max_24_hour_send: Some(200.0),
        sent_last_24_hours: Some(7.0),
        enforcement_status: Some("PROBATION".to_owned()),
        ..AccountAnswer::default()
    };
    let expected = SesAccount {
        max_send_rate: Some(1.0),
        max_24_hour_send: Some(200.0),
        sent_last_24_hours: 7,
        paused: None,
    };
    assert_eq!(look(sandbox).await, Ok(expected));
}

#[tokio::test]
async fn an_account_that_may_not_send_is_paused() {
    let disabled = AccountAnswer {
        sending_enabled: Some(false),
        ..AccountAnswer::default()
    };
    let paused = |why| SesAccount {
        paused: Some(why),
        ..UNLIMITED
    };
    assert_eq!(look(disabled).await, Ok(paused(AccountPause::SendingDisabled)));
    for status in ["SHUTDOWN", "A_STATE_OF_TOMORROW"] {
        let shut = AccountAnswer {
            enforcement_status: Some(status.to_owned()),
            ..AccountAnswer::default()
        };
        assert_eq!(
            look(shut).await,
            Ok(paused(AccountPause::Enforcement)),
            "{status}"
        );
    }
    let lookalike = start().await;
    lookalike.set_limits(Limits {
        paused: true,
        ..Limits::default()
    });
    let account = client(lookalike.url()).await.account().await;
    assert_eq!(
        account.map(|it| it.paused),
        Ok(Some(AccountPause::SendingDisabled))
    );
}

#[tokio::test]
async fn an_error_is_told_apart_and_asked_for_once() {
    for (status, code, expected) in [
        (403, Some("AccessDeniedException"), AccountError::Denied),
        (400, Some("UnrecognizedClientException"), AccountError::Denied),
        (403, None, AccountError::Denied),
        (404, Some("NotFoundException"), AccountError::NotFound),
        (404, None, AccountError::NotFound),
        (429, Some("TooManyRequestsException"), AccountError::Throttled),
        (400, Some("ThrottlingException"), AccountError::Throttled),
        (400, Some("BadRequestException"), AccountError::NoAnswer),
        (500, None, AccountError::NoAnswer),
        (503, Some("ServiceUnavailableException"), AccountError::NoAnswer),
    ] {
        let lookalike = start().await;
        lookalike.set_account(AccountAnswer {
            failure: Some(Failure::new(status, code, "no")),
            ..AccountAnswer::default()
        });
        let account = client(lookalike.url()).await.account().await;
        assert_eq!(account, Err(expected), "{status} {code:?}");
        assert_eq!(lookalike.looks(), 1, "one look is one call: {status} {code:?}");
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_in_time() {
    let lookalike = start().await;
    lookalike.set_account(AccountAnswer {
        hangs: true,
        ..AccountAnswer::default()
    });
    let client_in_haste = client_of(HASTY, lookalike.url()).await;
    assert_eq!(client_in_haste.account().await, Err(AccountError::NoAnswer));
    let nobody = client("http://127.0.0.1:9".to_owned()).await.account().await;
    assert_eq!(nobody, Err(AccountError::NoAnswer));
}
