//! The settings of ingest: `config.default.toml` documents each key.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use paceline_kit::access::AccessSettings;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::identity::{self, IdentitySettings};
use paceline_kit::incoming::IncomingSettings;
use paceline_kit::listen::ListenAddress;
use paceline_kit::object_url::UrlPrefixes;
use paceline_kit::redis::RedisSettings;
use paceline_kit::secret::Secret;
use paceline_kit::telemetry::TelemetrySettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::unsubscribe::base_url_problem;
use paceline_kit::{Settings, SettingsError};
use paceline_store::LogMode;
use serde::{Deserialize, Serialize};

/// The commented default settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// What a message may cost at most in [`IntakeSettings::bytes_max`]; a smaller bound would never take it.
const MESSAGE_BYTES_MAX: u64 = 8 << 20;

/// All settings of the service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    pub tls: ServerTlsSettings,
    pub access: AccessSettings,
    pub incoming: IncomingSettings,
    #[serde(with = "humantime_serde")]
    pub drain_notice: Duration,
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    pub digest_key: Secret,
    pub unsubscribe: UnsubscribeSettings,
    pub address_key: Secret,
    pub templates: TemplateSettings,
    pub attachments: AttachmentSettings,
    pub intake: IntakeSettings,
    pub watch: WatchSettings,
    pub redis: RedisSettings,
    pub telemetry: TelemetrySettings,
    #[serde(default)]
    pub identity: Vec<IdentitySettings>,
}

/// Whether the renderers make links to unsubscribe. Where they don't, ingest takes no mail that must have one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeSettings {
    pub base_url: String,
}

impl UnsubscribeSettings {
    /// True if the renderers make links.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        !self.base_url.is_empty()
    }

    fn validate(&self) -> Result<(), SettingsError> {
        match base_url_problem(&self.base_url) {
            Some(problem) if self.is_set() => Err(SettingsError::invalid("unsubscribe.base_url", problem)),
            _ => Ok(()),
        }
    }
}

/// Where templates come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    pub directory: PathBuf,
    pub published: bool,
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
}

/// The `[attachments]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentSettings {
    pub url_prefixes: Vec<String>,
}

/// How much may wait, and how it is gathered.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeSettings {
    pub messages_max: NonZeroU32,
    pub bytes_max: ByteSize,
    pub flights_max: NonZeroUsize,
    pub batch_messages_max: NonZeroUsize,
    pub batch_bytes_max: ByteSize,
    pub memory_watermark_bulk: f64,
    pub memory_watermark: f64,
    pub backlog_max_bulk: u64,
    pub backlog_max: u64,
    pub log_bytes_max: ByteSize,
    pub expected_rate: f64,
}

impl IntakeSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if !(ByteSize(MESSAGE_BYTES_MAX)..=ByteSize::gib(64)).contains(&self.bytes_max) {
            return refuse("intake.bytes_max", "must be from 8MiB to 64GiB");
        }
        if !(0.1..=1.0).contains(&self.memory_watermark) {
            return refuse("intake.memory_watermark", "must be from 0.1 to 1");
        }
        if !(0.1..=self.memory_watermark).contains(&self.memory_watermark_bulk) {
            return refuse(
                "intake.memory_watermark_bulk",
                "must be from 0.1 to intake.memory_watermark",
            );
        }
        if self.backlog_max_bulk == 0 || self.backlog_max_bulk > self.backlog_max {
            return refuse("intake.backlog_max_bulk", "must be from 1 to intake.backlog_max");
        }
        if self.log_bytes_max < ByteSize::mib(1) {
            return refuse("intake.log_bytes_max", "must be at least 1MiB");
        }
        if !(0.0..=100_000.0).contains(&self.expected_rate) {
            return refuse("intake.expected_rate", "must be from 0 to 100000");
        }
        Ok(())
    }
}

/// How messages are watched.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WatchSettings {
    pub watchers_max: NonZeroU32,
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    #[serde(with = "humantime_serde")]
    pub reread: Duration,
}

impl Config {
    /// How the gRPC listener is entered.
    ///
    /// # Errors
    /// As [`Entrance::new`] and [`Entrance::bounded`].
    pub fn entrance(&self) -> Result<Entrance, SettingsError> {
        let entrance = Entrance::new(self.listen, &self.tls, &self.access, Callers::Tenants)?;
        entrance.bounded(self.incoming)
    }
}

impl Settings for Config {
    fn validate(&self) -> Result<(), SettingsError> {
        self.entrance()?;
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        self.digest_key.check_key("digest_key")?;
        if self.redis.log == LogMode::Ledger || !self.address_key.expose().is_empty() {
            self.address_key.check_key("address_key")?;
        }
        self.intake.validate()?;
        if !self.templates.published && self.templates.directory.as_os_str().is_empty() {
            return refuse(
                "templates.directory",
                "is empty, and templates.published is false",
            );
        }
        if self.templates.look_every < Duration::from_millis(10) {
            return refuse("templates.look_every", "must be at least 10ms");
        }
        self.unsubscribe.validate()?;
        UrlPrefixes::read(&self.attachments.url_prefixes)?;
        if self.watch.poll < Duration::from_millis(10) {
            return refuse("watch.poll", "must be at least 10ms");
        }
        if self.watch.reread < self.watch.poll {
            return refuse("watch.reread", "must not be shorter than watch.poll");
        }
        self.redis.validate()?;
        identity::validate(&self.identity)
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

#[cfg(test)]
mod tests {
    use paceline_kit::settings::load;

    use super::{Config, DEFAULTS};

    const NEEDED: &str = "digest_key = \"0123456789abcdef0123456789abcdef\"\n";
    const IDENTITY: &str = "[[identity]]\nname = \"main\"\nfrom_domains = [\"example.com\"]\ntenants = [\"*\"]\n\
                            [identity.ses]\nregion = \"eu-west-1\"\nconfiguration_set = \"events\"\n";

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("ingest", DEFAULTS, Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_need_a_key_and_an_identity_and_nothing_else() {
        read(&format!("{NEEDED}{IDENTITY}")).expect("complete");
        assert!(read(IDENTITY).expect_err("no key").contains("digest_key"));
        assert!(read(NEEDED).expect_err("no identity").contains("identity"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (key, text) in [
            ("digest_key", format!("digest_key = \"short\"\n{IDENTITY}")),
            (
                "templates.directory",
                format!("{NEEDED}templates.directory = \"\"\n{IDENTITY}"),
            ),
            (
                "intake.bytes_max",
                format!("{NEEDED}intake.bytes_max = \"1MiB\"\n{IDENTITY}"),
            ),
            (
                "flights_max",
                format!("{NEEDED}intake.flights_max = 0\n{IDENTITY}"),
            ),
            (
                "intake.memory_watermark",
                format!("{NEEDED}intake.memory_watermark = 1.1\n{IDENTITY}"),
            ),
            (
                "intake.memory_watermark_bulk",
                format!("{NEEDED}intake.memory_watermark_bulk = 0.9\n{IDENTITY}"),
            ),
            (
                "intake.backlog_max_bulk",
                format!("{NEEDED}intake.backlog_max = 10\n{IDENTITY}"),
            ),
            (
                "intake.expected_rate",
                format!("{NEEDED}intake.expected_rate = -1.0\n{IDENTITY}"),
            ),
            (
                "incoming.bytes_max",
                format!("{NEEDED}incoming.bytes_max = \"1MiB\"\n{IDENTITY}"),
            ),
            (
                "unsubscribe.base_url",
                format!("{NEEDED}unsubscribe.base_url = \"http://mail.example.com\"\n{IDENTITY}"),
            ),
            (
                "attachments.url_prefixes",
                format!("{NEEDED}attachments.url_prefixes = [\"http://files.example/\"]\n{IDENTITY}"),
            ),
            ("calls_max", format!("{NEEDED}incoming.calls_max = 0\n{IDENTITY}")),
            (
                "intake.log_bytes_max",
                format!("{NEEDED}intake.log_bytes_max = \"1KiB\"\n{IDENTITY}"),
            ),
            (
                "address_key",
                format!("{NEEDED}redis.log = \"ledger\"\n{IDENTITY}"),
            ),
            ("watch.poll", format!("{NEEDED}watch.poll = \"1ms\"\n{IDENTITY}")),
            (
                "watch.reread",
                format!("{NEEDED}watch.reread = \"50ms\"\n{IDENTITY}"),
            ),
            ("redis.shards", format!("{NEEDED}redis.shards = 0\n{IDENTITY}")),
            (
                "tls.certificate",
                format!("{NEEDED}listen = \"0.0.0.0:7070\"\n{IDENTITY}"),
            ),
        ] {
            let error = read(&text).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
