//! The settings of feedback: `config.default.toml` documents each key.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use paceline_kit::access::AccessSettings;
use paceline_kit::client::ClientSettings;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::listen::ListenAddress;
use paceline_kit::redis::RedisSettings;
use paceline_kit::secret::Secret;
use paceline_kit::telemetry::TelemetrySettings;
use paceline_kit::tls::ServerTlsSettings;
use paceline_kit::web::WebSettings;
use paceline_kit::{Settings, SettingsError};
use paceline_providers::sqs::SqsSettings;
use serde::{Deserialize, Serialize};

use crate::audit::share::AuditSettings;
use crate::sns::SnsSettings;
use crate::unsubscribe::UnsubscribeSettings;
use crate::webhooks::MailgunWebhookSettings;

/// The commented default settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Two months: what is still under way must not be dropped.
const RETENTION_MIN: Duration = Duration::from_secs(60 * 24 * 3600);

/// All settings of the service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    pub tls: ServerTlsSettings,
    pub access: AccessSettings,
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    pub coordinators: Vec<String>,
    pub address_key: Secret,
    pub ledger: LedgerSettings,
    pub copy: CopySettings,
    pub web: WebSettings,
    pub sns: SnsSettings,
    pub sqs: SqsSettings,
    pub mailgun: MailgunWebhookSettings,
    pub unsubscribe: UnsubscribeSettings,
    pub audit: AuditSettings,
    pub client: ClientSettings,
    pub redis: RedisSettings,
    pub telemetry: TelemetrySettings,
}

/// The `[ledger]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// May hold a password.
    pub url: Secret,
    pub connections_max: NonZeroU32,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

/// How the logs are copied.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CopySettings {
    pub batch_entries_max: NonZeroU64,
    #[serde(with = "humantime_serde")]
    pub batch_wait: Duration,
    #[serde(with = "humantime_serde")]
    pub reclaim_after: Duration,
}

impl LedgerSettings {
    /// What the ledger is connected with.
    #[must_use]
    pub fn connection(&self) -> paceline_ledger::LedgerSettings {
        paceline_ledger::LedgerSettings {
            url: self.url.expose().to_owned(),
            connections_max: self.connections_max.get(),
            timeout: self.timeout,
        }
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        let url = self.url.expose();
        if !["sqlite:", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return refuse("ledger.url", "must be sqlite:PATH or postgres://...");
        }
        if self.timeout < Duration::from_millis(100) {
            return refuse("ledger.timeout", "must be at least 100ms");
        }
        if !self.retention.is_zero() && self.retention < RETENTION_MIN {
            return refuse(
                "ledger.retention",
                "must be at least 60 days, or 0s to keep everything",
            );
        }
        if self.retention > 36_500 * DAY {
            return refuse("ledger.retention", "must be at most 100 years");
        }
        Ok(())
    }
}

impl CopySettings {
    fn validate(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if self.batch_entries_max.get() > 10_000 {
            return refuse("copy.batch_entries_max", "must be at most 10000");
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(10)).contains(&self.batch_wait) {
            return refuse("copy.batch_wait", "must be from 1ms to 10s");
        }
        if self.reclaim_after < Duration::from_secs(1) {
            return refuse("copy.reclaim_after", "must be at least 1s");
        }
        Ok(())
    }
}

impl Config {
    /// How the gRPC listener is entered.
    ///
    /// # Errors
    /// As [`Entrance::new`].
    pub fn entrance(&self) -> Result<Entrance, SettingsError> {
        Entrance::new(self.listen, &self.tls, &self.access, Callers::Tenants)
    }

    fn check_coordinators(&self) -> Result<(), SettingsError> {
        let client = self.client.read()?;
        for address in &self.coordinators {
            if let Err(problem) = client.check(address) {
                return Err(SettingsError::invalid(
                    "coordinators",
                    format!("\"{address}\" {problem}"),
                ));
            }
        }
        Ok(())
    }
}

impl Settings for Config {
    fn validate(&self) -> Result<(), SettingsError> {
        self.entrance()?;
        self.address_key.check_key("address_key")?;
        self.ledger.validate()?;
        self.copy.validate()?;
        self.web.read()?;
        self.sns.validate()?;
        self.sqs
            .validate()
            .map_err(|error| SettingsError::invalid(error.key, error.problem))?;
        self.mailgun.validate()?;
        self.unsubscribe.validate()?;
        self.audit.validate()?;
        self.check_coordinators()?;
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

    const NEEDED: &str =
        "address_key = \"0123456789abcdef0123456789abcdef\"\nledger.url = \"sqlite:ledger.db\"\n";

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("feedback", DEFAULTS, Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_need_a_ledger_and_a_key_and_nothing_else() {
        read(NEEDED).expect("complete");
        assert!(read("").expect_err("neither").contains("address_key"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (key, text) in [
            ("address_key", "address_key = \"short\""),
            ("ledger.url", "ledger.url = \"mysql://localhost\""),
            ("ledger.timeout", "ledger.timeout = \"1ms\""),
            ("ledger.retention", "ledger.retention = \"1d\""),
            ("copy.batch_entries_max", "copy.batch_entries_max = 100000"),
            ("copy.batch_wait", "copy.batch_wait = \"1h\""),
            ("copy.reclaim_after", "copy.reclaim_after = \"10ms\""),
            ("coordinators", "coordinators = [\"10.0.0.1:7071\"]"),
            (
                "unsubscribe.keys",
                "unsubscribe.keys = [{ id = \"a\", secret = \"short\" }]",
            ),
            (
                "unsubscribe.categories",
                "unsubscribe.categories = { \"A B\" = \"x\" }",
            ),
            ("unsubscribe.senders", "unsubscribe.senders = { shop = \"\" }"),
            ("audit.every", "audit.every = \"1ms\""),
            ("audit.messages_max", "audit.messages_max = 0"),
            ("web.certificate", "web.listen = \"0.0.0.0:8074\""),
            ("sns.topics", "sns.topics = [\"ses-events\"]"),
            ("mailgun.signing_keys", "mailgun.signing_keys = [\"short\"]"),
            ("mailgun.window", "mailgun.window = \"1s\""),
            ("redis.shards", "redis.shards = 0"),
            ("tls.certificate", "listen = \"0.0.0.0:7074\""),
        ] {
            // The later of two equal keys would be refused by TOML.
            let needed = NEEDED
                .lines()
                .filter(|line| !text.starts_with(line.split(" = ").next().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("\n");
            let error = read(&format!("{needed}\n{text}\n")).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
