//! The `[[account]]` sections: SES's accounts whose quotas are asked for.

use std::time::Duration;

use jiff::civil::Date;
use paceline_domain::controller::quota::DailySend;
use paceline_kit::SettingsError;
use paceline_kit::identity::{self, IdentitySettings};
use paceline_store::throttle::RateKey;
use serde::{Deserialize, Serialize};

use super::RATE_MAX;

/// SES answers once a second at the most, and others may ask, too.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(2);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(3_600);

/// One `[[account]]`: the account of SES in one region.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    pub region: String,
    #[serde(default = "default_look_every", with = "humantime_serde")]
    pub look_every: Duration,
    /// 0: not known.
    #[serde(default)]
    pub max_send_rate: f64,
    /// -1: no limit, or not known.
    #[serde(default = "default_daily")]
    pub max_24_hour_send: i64,
}

const fn default_look_every() -> Duration {
    Duration::from_secs(60)
}

const fn default_daily() -> i64 {
    -1
}

impl AccountSettings {
    /// Recipients per second, until SES says.
    #[must_use]
    pub fn max_send_rate(&self) -> Option<f64> {
        (self.max_send_rate > 0.0).then_some(self.max_send_rate)
    }

    /// Recipients in 24 hours, until SES says.
    #[must_use]
    pub fn daily(&self) -> DailySend {
        u64::try_from(self.max_24_hour_send).map_or(DailySend::Unlimited, DailySend::Limited)
    }
}

/// The account that a key shares.
pub(super) fn of<'a>(
    key: &RateKey,
    accounts: &'a [AccountSettings],
    identities: &[IdentitySettings],
) -> Option<&'a AccountSettings> {
    let identity = identities.iter().find(|it| it.name == key.identity)?;
    accounts
        .iter()
        .find(|account| key.provider == "ses" && account.region == identity.ses.region)
}

pub(super) fn validate(
    accounts: &[AccountSettings],
    identities: &[IdentitySettings],
) -> Result<(), SettingsError> {
    let refuse = |problem: String| Err(SettingsError::invalid("account", problem));
    if !identities.is_empty() {
        identity::validate(identities)?;
    }
    for (index, account) in accounts.iter().enumerate() {
        let region = &account.region;
        if accounts[..index].iter().any(|other| other.region == *region) {
            return refuse(format!("{region} is there twice"));
        }
        if !identities.iter().any(|it| it.ses.region == *region) {
            return refuse(format!("no [[identity]] is of the region \"{region}\""));
        }
        if !(LOOK_EVERY_MIN..=LOOK_EVERY_MAX).contains(&account.look_every) {
            return refuse(format!("{region}: look_every must be 2s to 1h"));
        }
        if !(0.0..=RATE_MAX).contains(&account.max_send_rate) {
            return refuse(format!(
                "{region}: max_send_rate must be 0 (not known) or a rate of at most 1000000"
            ));
        }
        if account.max_24_hour_send < -1 {
            return refuse(format!(
                "{region}: max_24_hour_send must be -1 (no limit, or not known) or a number of recipients"
            ));
        }
    }
    Ok(())
}

/// The number of a date's day, in whole days since 1970; `None` for what is no date since then.
pub(super) fn day(text: &str) -> Option<u64> {
    let date: Date = text.parse().ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    u64::try_from((date - epoch).get_days()).ok()
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_are_counted_from_1970() {
        for (text, number) in [
            ("1970-01-01", Some(0)),
            ("2026-11-24", Some(20_781)),
            ("1969-12-31", None),
            ("2026-13-01", None),
            ("tomorrow", None),
        ] {
            assert_eq!(day(text), number, "{text}");
        }
    }
}
