//! The settings of the sender: `config.default.toml` documents each key.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytesize::ByteSize;
use paceline_kit::access::AccessSettings;
use paceline_kit::address_key::AddressKey;
use paceline_kit::client::ClientSettings;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::identity::{self, IdentitySettings};
use paceline_kit::listen::ListenAddress;
use paceline_kit::redis::RedisSettings;
use paceline_kit::secret::Secret;
use paceline_kit::telemetry::TelemetrySettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::{Settings, SettingsError};
use paceline_providers::{MailgunSettings, SesSettings};
use paceline_store::Durability;
use serde::{Deserialize, Serialize};

use crate::deliver::{Deliver, DeliverMode};
use crate::standing::CONNECT_MAX;

/// The commented default settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// A claim that lapses while its request is open turns a sent message into doubt, so its lease is longer by at least this.
const CLAIM_MARGIN_MIN: Duration = Duration::from_secs(30);

/// All settings of the service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    pub tls: ServerTlsSettings,
    pub access: AccessSettings,
    pub client: ClientSettings,
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    pub deliver: DeliverMode,
    pub allow_list: Vec<String>,
    pub address_key: Secret,
    pub coordinators: Vec<String>,
    pub in_flight_max: NonZeroU32,
    pub in_flight_per_identity_max: NonZeroU32,
    #[serde(with = "humantime_serde")]
    pub claim_margin: Duration,
    pub read_ahead: ReadAheadSettings,
    pub redis: RedisSettings,
    pub ses: SesSettings,
    pub mailgun: MailgunSettings,
    pub telemetry: TelemetrySettings,
    #[serde(default)]
    pub identity: Vec<IdentitySettings>,
}

/// The `[read_ahead]` section: the bounds of what is read and not yet claimed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadAheadSettings {
    pub entries_max: NonZeroUsize,
    pub bytes_max: ByteSize,
    #[serde(with = "humantime_serde")]
    pub rate_max: Duration,
    #[serde(with = "humantime_serde")]
    pub reclaim_idle: Duration,
}

impl Config {
    /// How the gRPC listener is entered.
    ///
    /// # Errors
    /// As [`Entrance::new`].
    pub fn entrance(&self) -> Result<Entrance, SettingsError> {
        Entrance::new(self.listen, &self.tls, &self.access, Callers::Services)
    }

    /// To whom mail may go.
    ///
    /// # Errors
    /// As [`Deliver::new`].
    pub fn deliver(&self) -> Result<Deliver, SettingsError> {
        Deliver::new(self.deliver, &self.allow_list)
    }

    /// How Mailgun is called: where nothing may leave, it is told to deliver nothing.
    #[must_use]
    pub fn mailgun(&self) -> MailgunSettings {
        MailgunSettings {
            test_mode: self.mailgun.test_mode || self.deliver == DeliverMode::Simulator,
            ..self.mailgun.clone()
        }
    }

    /// The longest that a call of any of the providers may take.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        if self.has_backup() {
            self.ses.attempt_timeout.max(self.mailgun.attempt_timeout)
        } else {
            self.ses.attempt_timeout
        }
    }

    /// The life of a claim.
    #[must_use]
    pub fn claim_lease(&self) -> Duration {
        self.attempt_timeout() + self.claim_margin
    }

    fn has_backup(&self) -> bool {
        self.identity.iter().any(|identity| identity.mailgun.is_some())
    }

    fn validate_providers(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if self.drain_max <= self.attempt_timeout() {
            return refuse(
                "drain_max",
                "must be longer than ses.attempt_timeout and mailgun.attempt_timeout",
            );
        }
        if let Err(problem) = self.ses.validate() {
            return refuse(problem.key, problem.problem);
        }
        let is_local = self.redis.durability == Durability::Local;
        if is_local && self.ses.connect_timeout >= CONNECT_MAX {
            return refuse(
                "ses.connect_timeout",
                "must be less than 6s at redis.durability local",
            );
        }
        if !self.has_backup() {
            return Ok(());
        }
        if let Err(problem) = self.mailgun.validate() {
            return refuse(problem.key, problem.problem);
        }
        if is_local && self.mailgun.connect_timeout >= CONNECT_MAX {
            return refuse(
                "mailgun.connect_timeout",
                "must be less than 6s at redis.durability local",
            );
        }
        Ok(())
    }
}

impl Settings for Config {
    fn validate(&self) -> Result<(), SettingsError> {
        self.entrance()?;
        self.deliver()?;
        AddressKey::read(&self.address_key)?;
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if self.name.len() > 128 || !self.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("name", "must be at most 128 printable ASCII characters");
        }
        if self.coordinators.is_empty() {
            return refuse("coordinators", "at least one is needed");
        }
        if let Some(address) = self.coordinators.iter().find(|address| !is_endpoint(address)) {
            return refuse(
                "coordinators",
                &format!("\"{address}\" is no http://HOST:PORT or https://HOST:PORT"),
            );
        }
        let client = self.client.read()?;
        for address in &self.coordinators {
            if let Err(problem) = client.check(address) {
                return refuse("coordinators", &format!("\"{address}\" {problem}"));
            }
        }
        if self.claim_margin < CLAIM_MARGIN_MIN {
            return refuse("claim_margin", "must be at least 30s");
        }
        if self.in_flight_per_identity_max > self.in_flight_max {
            return refuse("in_flight_per_identity_max", "must not exceed in_flight_max");
        }
        if self.read_ahead.bytes_max < ByteSize::mib(1) {
            return refuse("read_ahead.bytes_max", "must be at least 1MiB");
        }
        if self.read_ahead.reclaim_idle < Duration::from_secs(1) {
            return refuse("read_ahead.reclaim_idle", "must be at least 1s");
        }
        self.redis.validate()?;
        self.validate_providers()?;
        identity::validate(&self.identity)
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

/// True for `http://HOST:PORT` and `https://HOST:PORT`.
fn is_endpoint(address: &str) -> bool {
    tonic::transport::Endpoint::from_shared(address.to_owned()).is_ok_and(|endpoint| {
        matches!(endpoint.uri().scheme_str(), Some("http" | "https")) && endpoint.uri().port().is_some()
    })
}

#[cfg(test)]
mod tests {
    use paceline_kit::settings::load;

    use super::{Config, DEFAULTS};

    const IDENTITY: &str = "[[identity]]\nname = \"main\"\nfrom_domains = [\"example.com\"]\ntenants = [\"*\"]\n\
                            [identity.ses]\nregion = \"eu-west-1\"\nconfiguration_set = \"events\"\n";

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("sender", DEFAULTS, Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_need_an_identity_and_nothing_else() {
        read(IDENTITY).expect("complete");
        assert!(read("").expect_err("no identity").contains("identity"));
    }

    #[test]
    fn mailgun_is_for_identities_that_name_a_domain_there_and_delivers_nothing_in_a_simulation() {
        let backup = format!("{IDENTITY}[identity.mailgun]\ndomain = \"mg.example.com\"\nregion = \"eu\"\n");
        assert!(read(&backup).expect_err("no key").contains("mailgun.key_file"));
        let key = "[mailgun]\nkey_file = \"/run/secrets/mailgun\"\nattempt_timeout = \"20s\"\n";
        let config = read(&format!("{key}{backup}")).expect("complete");
        assert!(
            config.mailgun().test_mode,
            "deliver = \"simulator\" is the default"
        );
        assert_eq!(config.claim_lease().as_secs(), 20 + 30);
        let live = read(&format!("deliver = \"live\"\n{key}{backup}")).expect("complete");
        assert!(!live.mailgun().test_mode);
        let unused = read(&format!("{key}{IDENTITY}")).expect("complete");
        assert_eq!(unused.claim_lease().as_secs(), 10 + 30);
        let local = "redis.durability = \"local\"\nmailgun.connect_timeout = \"6s\"\n";
        let text = format!("{local}mailgun.key_file = \"/k\"\n{backup}");
        assert!(
            read(&text)
                .expect_err("too long")
                .contains("mailgun.connect_timeout")
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (key, text) in [
            ("coordinators", "coordinators = []"),
            ("coordinators", "coordinators = [\"not a uri\"]"),
            ("coordinators", "coordinators = [\"127.0.0.1:7071\"]"),
            (
                "coordinators",
                "coordinators = [\"http://coordinator:7071\"]\n[client]\napi_key = \"swordfish\"",
            ),
            ("deliver", "deliver = \"everybody\""),
            ("allow_list", "deliver = \"allow_list\""),
            ("allow_list", "allow_list = [\"example.com\"]"),
            ("client.key", "[client]\ncertificate = \"/nowhere.pem\""),
            ("tls.certificate", "listen = \"10.0.0.1:7073\""),
            ("claim_margin", "claim_margin = \"5s\""),
            ("drain_max", "drain_max = \"10s\""),
            ("in_flight_max", "in_flight_max = 0"),
            ("in_flight_per_identity_max", "in_flight_max = 8"),
            ("read_ahead.bytes_max", "read_ahead.bytes_max = \"1KiB\""),
            ("read_ahead.reclaim_idle", "read_ahead.reclaim_idle = \"5ms\""),
            ("ses.credentials", "ses.credentials = \"look_alike\""),
            ("redis.shards", "redis.shards = 0"),
            (
                "ses.connect_timeout",
                "redis.durability = \"local\"\nses.connect_timeout = \"6s\"",
            ),
            ("name", "name = \"two words\""),
        ] {
            let error = read(&format!("{text}\n{IDENTITY}")).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
