//! The settings of the coordinator: `config.default.toml` documents each key.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::Settings as ControllerSettings;
use paceline_domain::controller::bounces::Resume;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::lease::Reserve;
use paceline_kit::access::AccessSettings;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::identity::{IdentitySettings, is_name};
use paceline_kit::listen::ListenAddress;
use paceline_kit::redis::RedisSettings;
use paceline_kit::telemetry::TelemetrySettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::{Settings, SettingsError};
use paceline_providers::SesSettings;
use paceline_store::throttle::RateKey;
use serde::{Deserialize, Serialize};

pub use account::AccountSettings;

mod account;

/// The commented default settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// A renewal of the lead must have its answer well before the lead is over.
const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// No provider's limit comes near; above it, times between two sends are no longer told apart.
pub(crate) const RATE_MAX: f64 = 1e6;
/// A shorter window would be judged by answers that have not come yet; a longer one would not follow a provider.
const FEEDBACK_WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// More would be a rate of its own, which no answer of the provider lowers.
const SAFE_SHARE_MAX: f64 = 0.5;
/// Less would follow a provider that flaps to and fro; more is an outage of its own.
const ROUTE_BACK_AFTERS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// All settings of the service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    pub tls: ServerTlsSettings,
    pub access: AccessSettings,
    pub advertise: String,
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    pub keys_max: NonZeroUsize,
    #[serde(with = "humantime_serde")]
    pub route_back_after: Duration,
    pub rates: RateSettings,
    pub redis: RedisSettings,
    pub telemetry: TelemetrySettings,
    pub ses: SesSettings,
    #[serde(default)]
    pub key: Vec<KeySettings>,
    #[serde(default)]
    pub account: Vec<AccountSettings>,
    #[serde(default)]
    pub identity: Vec<IdentitySettings>,
}

/// Who sets a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateMode {
    Aimd,
    Static,
}

/// The `[rates]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    pub mode: RateMode,
    pub start: f64,
    pub floor: f64,
    pub ceiling: f64,
    pub max_send_rate: f64,
    pub cut_on_errors: bool,
    #[serde(with = "humantime_serde")]
    pub feedback_window: Duration,
    /// `None`: on where the identity has a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<bool>,
    pub bounces_resume: Resume,
    pub safe_share: f64,
    pub safe_senders: NonZeroUsize,
}

/// One `[[key]]`: what differs from `[rates]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    pub provider: String,
    pub identity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RateMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_send_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_on_errors: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "humantime_serde")]
    pub feedback_window: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounces_resume: Option<Resume>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_to: Option<String>,
}

impl RateSettings {
    fn limits(&self) -> Limits {
        Limits {
            mode: match self.mode {
                RateMode::Aimd => Mode::Adaptive,
                RateMode::Static => Mode::Static,
            },
            start: self.start,
            floor: self.floor,
            ceiling: self.ceiling,
            max_send_rate: (self.max_send_rate > 0.0).then_some(self.max_send_rate),
            cut_on_errors: self.cut_on_errors,
            feedback: self.feedback_window,
        }
    }

    fn validate(&self, section: &'static str) -> Result<(), SettingsError> {
        let refuse = |problem: &str| Err(SettingsError::invalid(section, problem));
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= RATE_MAX;
        if !is_rate(self.start) || !is_rate(self.floor) || !is_rate(self.ceiling) {
            return refuse("start, floor and ceiling must be above 0 and at most 1000000");
        }
        if !FEEDBACK_WINDOWS.contains(&self.feedback_window) {
            return refuse("feedback_window must be from 1s to 60s");
        }
        if self.floor > self.ceiling {
            return refuse("floor must not exceed ceiling");
        }
        if !(0.0..=SAFE_SHARE_MAX).contains(&self.safe_share) {
            return refuse("safe_share must be from 0 to 0.5");
        }
        if self.max_send_rate != 0.0 && !is_rate(self.max_send_rate) {
            return refuse("max_send_rate must be 0 (not known) or a rate of at most 1000000");
        }
        Ok(())
    }
}

impl KeySettings {
    fn rates(&self, default: &RateSettings) -> RateSettings {
        RateSettings {
            mode: self.mode.unwrap_or(default.mode),
            start: self.start.unwrap_or(default.start),
            floor: self.floor.unwrap_or(default.floor),
            ceiling: self.ceiling.unwrap_or(default.ceiling),
            max_send_rate: self.max_send_rate.unwrap_or(default.max_send_rate),
            cut_on_errors: self.cut_on_errors.unwrap_or(default.cut_on_errors),
            feedback_window: self.feedback_window.unwrap_or(default.feedback_window),
            breaker: self.breaker.or(default.breaker),
            bounces_resume: self.bounces_resume.unwrap_or(default.bounces_resume),
            safe_share: self.safe_share.unwrap_or(default.safe_share),
            safe_senders: default.safe_senders,
        }
    }
}

impl Config {
    /// How the gRPC listener is entered.
    ///
    /// # Errors
    /// As [`Entrance::new`].
    pub fn entrance(&self) -> Result<Entrance, SettingsError> {
        Entrance::new(self.listen, &self.tls, &self.access, Callers::Services)
    }

    /// The limits of a key.
    #[must_use]
    pub fn limits(&self, key: &RateKey) -> Limits {
        self.rates_of(key).limits()
    }

    /// What the key's controller is told of the configuration.
    #[must_use]
    pub fn settings(&self, key: &RateKey) -> ControllerSettings {
        let rates = self.rates_of(key);
        let account = account::of(key, &self.account, &self.identity);
        let mut limits = rates.limits();
        let of_account = account.and_then(AccountSettings::max_send_rate);
        limits.max_send_rate = match (limits.max_send_rate, of_account) {
            (Some(own), Some(of_account)) => Some(own.min(of_account)),
            (own, of_account) => own.or(of_account),
        };
        ControllerSettings {
            limits,
            daily: account.map_or(DailySend::Unlimited, AccountSettings::daily),
            resume: rates.bounces_resume,
            breaker: rates.breaker.unwrap_or(false),
            route_back_after: self.route_back_after,
        }
    }

    /// Whether the key has a breaker, where the configuration says so.
    #[must_use]
    pub fn breaker(&self, key: &RateKey) -> Option<bool> {
        self.rates_of(key).breaker
    }

    /// The first day of the key's warm-up, by the settings, in whole UTC days since the epoch.
    #[must_use]
    pub fn warm_up_from(&self, key: &RateKey) -> Option<u64> {
        account::day(self.own(key)?.warm_up.as_deref()?)
    }

    /// What becomes of mail above a day's cap of the warm-up of the settings.
    #[must_use]
    pub fn overflow(&self, key: &RateKey) -> Overflow {
        Overflow::to(self.own(key).and_then(|own| own.overflow_to.clone()))
    }

    /// What is kept back of the key's rate, to be gone on with while no coordinator answers.
    #[must_use]
    pub fn reserve(&self, key: &RateKey) -> Reserve {
        let rates = self.rates_of(key);
        Reserve {
            share: rates.safe_share,
            senders: rates.safe_senders.get(),
        }
    }

    /// True if something is kept back of any key's rate.
    #[must_use]
    pub fn keeps_back(&self) -> bool {
        let own = self.key.iter().filter_map(|key| key.safe_share);
        own.chain([self.rates.safe_share]).any(|share| share > 0.0)
    }

    fn rates_of(&self, key: &RateKey) -> RateSettings {
        self.own(key).map_or(self.rates, |own| own.rates(&self.rates))
    }

    fn own(&self, key: &RateKey) -> Option<&KeySettings> {
        let is_it = |own: &&KeySettings| own.provider == key.provider && own.identity == key.identity;
        self.key.iter().find(is_it)
    }
}

impl Settings for Config {
    fn validate(&self) -> Result<(), SettingsError> {
        let entrance = self.entrance()?;
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        let scheme = if entrance.is_tls() { "https" } else { "http" };
        if self.advertise.is_empty() {
            if self.listen.is_unspecified() {
                return refuse("advertise", "must be set: nobody reaches the address of listen");
            }
        } else if !is_url(&self.advertise, scheme) {
            return refuse("advertise", &format!("must be empty or {scheme}://HOST:PORT"));
        }
        if !ROUTE_BACK_AFTERS.contains(&self.route_back_after) {
            return refuse("route_back_after", "must be from 1s to 1h");
        }
        self.rates.validate("rates")?;
        for (index, key) in self.key.iter().enumerate() {
            if !is_name(&key.provider) || !is_name(&key.identity) {
                return refuse("key", "provider and identity must be 1 to 64 of [a-z0-9_-]");
            }
            let is_same =
                |other: &KeySettings| other.provider == key.provider && other.identity == key.identity;
            if self.key[..index].iter().any(is_same) {
                return refuse(
                    "key",
                    &format!("{}/{} is there twice", key.provider, key.identity),
                );
            }
            key.rates(&self.rates).validate("key")?;
            if key
                .warm_up
                .as_deref()
                .is_some_and(|date| account::day(date).is_none())
            {
                return refuse("key", "warm_up must be a date such as \"2026-12-01\"");
            }
            if let Some(to) = &key.overflow_to {
                if key.warm_up.is_none() {
                    return refuse("key", "overflow_to needs warm_up");
                }
                if !is_name(to) || *to == key.identity {
                    return refuse("key", "overflow_to must be the name of another identity");
                }
            }
        }
        account::validate(&self.account, &self.identity)?;
        self.ses
            .validate()
            .map_err(|error| SettingsError::invalid(error.key, error.problem))?;
        self.redis.validate()?;
        if self.redis.command_timeout > COMMAND_TIMEOUT_MAX {
            return refuse("redis.command_timeout", "must be at most 1s: the lead lasts 3s");
        }
        Ok(())
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

/// True for `SCHEME://HOST:PORT`.
fn is_url(address: &str, scheme: &str) -> bool {
    tonic::transport::Endpoint::from_shared(address.to_owned())
        .is_ok_and(|endpoint| endpoint.uri().scheme_str() == Some(scheme) && endpoint.uri().port().is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::aimd::Mode;
    use paceline_kit::settings::load;
    use paceline_store::throttle::RateKey;

    use super::{Config, DEFAULTS};

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("throttle-coordinator", DEFAULTS, Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_pace_any_key() {
        let config = read("").expect("complete");
        let key = RateKey {
            provider: "ses".to_owned(),
            identity: "anything".to_owned(),
        };
        let limits = config.limits(&key);
        assert_eq!((limits.mode, limits.max_send_rate), (Mode::Adaptive, None));
    }

    #[test]
    fn a_key_of_its_own_differs_only_in_what_it_says() {
        let config =
            read("[[key]]\nprovider = \"ses\"\nidentity = \"main\"\nmode = \"static\"\nstart = 14\nbreaker = true\nfeedback_window = \"3s\"\n")
                .expect("complete");
        let key = RateKey {
            provider: "ses".to_owned(),
            identity: "main".to_owned(),
        };
        let limits = config.limits(&key);
        assert_eq!(limits.mode, Mode::Static);
        assert!((limits.start - 14.0).abs() < 1e-9 && (limits.ceiling - 5_000.0).abs() < 1e-9);
        assert!(config.settings(&key).breaker);
        assert_eq!(limits.window(), Duration::from_secs(3));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (key, text) in [
            ("rates", "rates.floor = 6000.0"),
            ("rates", "rates.start = 0.0"),
            ("rates", "rates.max_send_rate = -1.0"),
            ("rates", "rates.feedback_window = \"500ms\""),
            ("rates", "rates.safe_share = 0.6"),
            ("rates", "rates.safe_share = -0.1"),
            ("rates", "rates.safe_senders = 0"),
            (
                "key",
                "[[key]]\nprovider = \"ses\"\nidentity = \"a\"\noverflow_to = \"b\"",
            ),
            (
                "key",
                "[[key]]\nprovider = \"ses\"\nidentity = \"a\"\nwarm_up = \"2026-12-01\"\noverflow_to = \"a\"",
            ),
            ("advertise", "advertise = \"not a uri\""),
            ("advertise", "advertise = \"127.0.0.1:7071\""),
            ("advertise", "advertise = \"https://127.0.0.1:7071\""),
            ("tls.certificate", "listen = \"0.0.0.0:7071\""),
            ("redis.command_timeout", "redis.command_timeout = \"2s\""),
            ("keys_max", "keys_max = 0"),
            ("route_back_after", "route_back_after = \"0s\""),
            ("route_back_after", "route_back_after = \"2h\""),
            ("key", "[[key]]\nprovider = \"ses\"\nidentity = \"Main\""),
            (
                "key",
                "[[key]]\nprovider = \"ses\"\nidentity = \"a\"\n[[key]]\nprovider = \"ses\"\nidentity = \"a\"",
            ),
            (
                "key",
                "[[key]]\nprovider = \"ses\"\nidentity = \"a\"\nfloor = 9000.0",
            ),
        ] {
            let error = read(text).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
