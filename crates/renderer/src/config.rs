//! The settings of the renderer: `config.default.toml` documents each key.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use paceline_kit::access::AccessSettings;
use paceline_kit::address_key::AddressKey;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::listen::ListenAddress;
use paceline_kit::object_url::UrlPrefixes;
use paceline_kit::redis::RedisSettings;
use paceline_kit::secret::Secret;
use paceline_kit::telemetry::TelemetrySettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::unsubscribe::UnsubscribeSettings;
use paceline_kit::{Settings, SettingsError};
use serde::{Deserialize, Serialize};

/// The commented default settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// All settings of the service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    pub tls: ServerTlsSettings,
    pub access: AccessSettings,
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    pub address_key: Secret,
    pub unsubscribe: UnsubscribeSettings,
    pub templates: TemplateSettings,
    pub attachments: AttachmentSettings,
    pub work: WorkSettings,
    pub scrub: ScrubSettings,
    pub redis: RedisSettings,
    pub telemetry: TelemetrySettings,
}

/// The `[templates]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    pub directory: PathBuf,
    pub published: bool,
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    pub cache_max: ByteSize,
    #[serde(with = "humantime_serde")]
    pub missing_wait: Duration,
    #[serde(with = "humantime_serde")]
    pub missing_max: Duration,
}

/// The `[attachments]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentSettings {
    pub url_prefixes: Vec<String>,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    pub fetches_max: NonZeroUsize,
    #[serde(with = "humantime_serde")]
    pub retry_min: Duration,
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    #[serde(with = "humantime_serde")]
    pub missing_max: Duration,
}

impl AttachmentSettings {
    /// `reclaim_idle` is the time after which other renderers take an entry over.
    fn validate(&self, reclaim_idle: Duration) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        let prefixes = UrlPrefixes::read(&self.url_prefixes)?;
        if self.retry_min < Duration::from_millis(10) || self.retry_min > self.retry_max {
            return refuse(
                "attachments.retry_min",
                "must be at least 10ms and at most attachments.retry_max",
            );
        }
        if prefixes.is_empty() {
            return Ok(());
        }
        if self.timeout.is_zero() || self.timeout > reclaim_idle / 2 {
            return refuse(
                "attachments.timeout",
                "must be over 0 and at most half of work.reclaim_idle",
            );
        }
        if self.connect_timeout.is_zero() || self.connect_timeout > self.timeout {
            return refuse(
                "attachments.connect_timeout",
                "must be over 0 and at most attachments.timeout",
            );
        }
        if self.fetches_max.get() > 256 {
            return refuse("attachments.fetches_max", "must be at most 256");
        }
        Ok(())
    }
}

/// The `[work]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WorkSettings {
    pub batch_max: NonZeroU32,
    pub batches_max: NonZeroUsize,
    pub ready_min: u64,
    #[serde(with = "humantime_serde")]
    pub ready_for: Duration,
    #[serde(with = "humantime_serde")]
    pub reclaim_idle: Duration,
    #[serde(with = "humantime_serde")]
    pub full_wait: Duration,
}

impl Config {
    /// How the gRPC listener is entered.
    ///
    /// # Errors
    /// As [`Entrance::new`].
    pub fn entrance(&self) -> Result<Entrance, SettingsError> {
        Entrance::new(self.listen, &self.tls, &self.access, Callers::Tenants)
    }
}

/// The `[scrub]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubSettings {
    #[serde(with = "humantime_serde")]
    pub pause: Duration,
    pub page: NonZeroU32,
    #[serde(with = "humantime_serde")]
    pub queued_for: Duration,
}

impl Settings for Config {
    fn validate(&self) -> Result<(), SettingsError> {
        self.entrance()?;
        let key = AddressKey::read(&self.address_key)?;
        if self.unsubscribe.read()?.is_some() && key.is_none() {
            self.address_key.check_key("address_key")?;
        }
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if self.name.len() > 128 || !self.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("name", "must be at most 128 printable ASCII characters");
        }
        if self.work.batch_max.get() > 500 {
            return refuse("work.batch_max", "must be at most 500");
        }
        if self.work.ready_min == 0 {
            return refuse("work.ready_min", "must be at least 1");
        }
        if self.work.reclaim_idle < self.redis.command_timeout * 2 {
            return refuse(
                "work.reclaim_idle",
                "must be at least twice redis.command_timeout",
            );
        }
        if !self.templates.published && self.templates.directory.as_os_str().is_empty() {
            return refuse(
                "templates.directory",
                "is empty, and templates.published is false",
            );
        }
        if self.templates.missing_wait.is_zero() || self.templates.missing_wait > self.templates.missing_max {
            return refuse(
                "templates.missing_wait",
                "must be over 0 and at most templates.missing_max",
            );
        }
        if self.templates.look_every < Duration::from_millis(10) {
            return refuse("templates.look_every", "must be at least 10ms");
        }
        self.attachments.validate(self.work.reclaim_idle)?;
        if self.scrub.pause < Duration::from_millis(10) {
            return refuse("scrub.pause", "must be at least 10ms");
        }
        if self.scrub.page.get() > 1_000 {
            return refuse("scrub.page", "must be at most 1000");
        }
        self.redis.validate()
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}

#[cfg(test)]
mod tests {
    use paceline_kit::settings::load;

    use super::{Config, DEFAULTS};

    const UNSUBSCRIBE: &str = "[unsubscribe]\nbase_url = \"https://a.example\"\n\
                               keys = [{ id = \"a\", secret = \"0123456789abcdef0123456789abcdef\" }]\n";

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("renderer", DEFAULTS, Some(file.path())).map_err(|error| error.to_string())
    }

    fn fetching(line: &str) -> String {
        format!("[attachments]\nurl_prefixes = [\"https://a.example/\"]\n{line}")
    }

    #[test]
    fn the_defaults_are_complete() {
        read("").expect("complete");
        let key = "address_key = \"0123456789abcdef0123456789abcdef\"";
        read(&format!("{key}\n{UNSUBSCRIBE}")).expect("complete for bulk mail");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (key, text) in [
            ("name", "name = \"two words\""),
            ("tls.certificate", "listen = \"[::]:7072\""),
            ("work.batch_max", "[work]\nbatch_max = 501"),
            ("work.ready_min", "[work]\nready_min = 0"),
            ("work.reclaim_idle", "[work]\nreclaim_idle = \"1s\""),
            ("templates.directory", "[templates]\ndirectory = \"\""),
            ("templates.missing_wait", "[templates]\nmissing_wait = \"25h\""),
            ("templates.look_every", "[templates]\nlook_every = \"1ms\""),
            (
                "attachments.url_prefixes",
                "attachments.url_prefixes = [\"https://a.example\"]",
            ),
            ("attachments.timeout", &fetching("timeout = \"16s\"")),
            (
                "attachments.connect_timeout",
                &fetching("connect_timeout = \"11s\""),
            ),
            ("attachments.fetches_max", &fetching("fetches_max = 257")),
            ("attachments.retry_min", &fetching("retry_min = \"11m\"")),
            ("scrub.pause", "[scrub]\npause = \"1ms\""),
            ("scrub.page", "[scrub]\npage = 1001"),
            ("redis.shards", "[redis]\nshards = 0"),
            (
                "unsubscribe.keys",
                "[unsubscribe]\nbase_url = \"https://a.example\"",
            ),
            ("address_key", &format!("address_key = \"short\"\n{UNSUBSCRIBE}")),
        ] {
            let error = read(text).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
