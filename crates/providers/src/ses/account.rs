//! What SES says of the account in a region: `GetAccount`, which SES answers once a second at the most.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sesv2::config::http::HttpResponse;
use aws_sdk_sesv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::get_account::{GetAccountError, GetAccountOutput};

use super::{Ses, classify};
use crate::answer::source;

/// The states of an account in which SES takes its mail. Another, "SHUTDOWN" or one of tomorrow, counts as paused.
const ENFORCEMENTS_THAT_SEND: [&str; 2] = ["HEALTHY", "PROBATION"];

/// The account in one region. Recipients are the unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SesAccount {
    /// Recipients per second. `None` if SES does not say, or says what is no rate.
    pub max_send_rate: Option<f64>,
    /// Recipients in 24 hours, -1 for no limit. `None` if SES does not say.
    pub max_24_hour_send: Option<f64>,
    pub sent_last_24_hours: u64,
    /// Why SES takes no mail of it, if it takes none.
    pub paused: Option<AccountPause>,
}

/// Why SES takes no mail of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountPause {
    /// `SendingEnabled` is false.
    SendingDisabled,
    /// `EnforcementStatus` is none in which it sends.
    Enforcement,
}

impl AccountPause {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendingDisabled => "sending_disabled",
            Self::Enforcement => "enforcement",
        }
    }
}

/// Why nothing is known of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The credentials are missing, wrong, or have no `ses:GetAccount`.
    #[error("denied")]
    Denied,
    /// The endpoint has no such call, as some stand-ins for SES.
    #[error("not found")]
    NotFound,
    /// Asked too often.
    #[error("asked too often")]
    Throttled,
    /// No answer in time, or none that says anything.
    #[error("no answer")]
    NoAnswer,
}

impl AccountError {
    /// As a code for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::NoAnswer => "no_answer",
        }
    }
}

impl Ses {
    /// Looks at the account. Bounded by the timeout of an attempt; changes nothing, so that asking again is safe.
    ///
    /// # Errors
    /// If SES does not say.
    pub async fn account(&self) -> Result<SesAccount, AccountError> {
        let answer = self.client.get_account().send().await;
        let output = answer.map_err(|error| refusal(&error))?;
        read(&output).ok_or(AccountError::NoAnswer)
    }
}

/// `None` for an answer without quotas: what is absent of the rest reads as "may not send", and such an answer is none of SES's.
fn read(output: &GetAccountOutput) -> Option<SesAccount> {
    let quota = output.send_quota()?;
    let is_rate = |rate: &f64| rate.is_finite() && *rate > 0.0;
    let enforcement = output.enforcement_status().unwrap_or("HEALTHY");
    let paused = if !ENFORCEMENTS_THAT_SEND.contains(&enforcement) {
        Some(AccountPause::Enforcement)
    } else if !output.sending_enabled() {
        Some(AccountPause::SendingDisabled)
    } else {
        None
    };
    Some(SesAccount {
        max_send_rate: Some(quota.max_send_rate()).filter(is_rate),
        max_24_hour_send: Some(quota.max24_hour_send()).filter(|it| it.is_finite()),
        sent_last_24_hours: whole(quota.sent_last24_hours()),
        paused,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and what is no number is 0"
)]
fn whole(count: f64) -> u64 {
    count.ceil() as u64
}

fn refusal(error: &SdkError<GetAccountError, HttpResponse>) -> AccountError {
    let SdkError::ServiceError(answer) = error else {
        return if source::<CredentialsError>(error).is_some() {
            AccountError::Denied
        } else {
            AccountError::NoAnswer
        };
    };
    let code = answer.err().code().unwrap_or_default();
    match answer.raw().status().as_u16() {
        _ if classify::is_of_credentials(code) => AccountError::Denied,
        401 | 403 => AccountError::Denied,
        404 => AccountError::NotFound,
        429 => AccountError::Throttled,
        _ if code.starts_with("Throttling") || code == "TooManyRequestsException" => AccountError::Throttled,
        _ => AccountError::NoAnswer,
    }
}
