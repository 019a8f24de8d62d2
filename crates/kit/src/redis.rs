//! How to reach Redis, and a connection whose own tasks are watched.

use std::path::PathBuf;
use std::time::Duration;

use paceline_store::{Durability, LogMode, LogUse, Store, StoreConfig, StoreError, Tls, TlsError, TlsParts};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::settings::SettingsError;
use crate::supervisor::Supervisor;
use crate::tls;

const CA: &str = "redis.tls.ca";
const CERTIFICATE: &str = "redis.tls.certificate";
const KEY: &str = "redis.tls.key";
const DOMAIN: &str = "redis.tls.domain";

/// The `[redis]` section of a service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// As [`StoreConfig::url`]. May hold a password.
    pub url: Secret,
    /// Sends a password in plaintext to a Redis off loopback: where the network encrypts by itself.
    pub allow_plaintext_password: bool,
    /// The number of shards, the same for every service: 1 on a standalone Redis, 16 on a Cluster.
    pub shards: u16,
    /// How long a command may take.
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    /// When a write counts as kept: `local`, `fsync` or `replicated`.
    #[serde(with = "durability")]
    pub durability: Durability,
    /// How many replicas each primary has that may be promoted; needed for `replicated`.
    pub replicas: u32,
    /// Starts on a Redis whose settings could lose mail. For development only.
    pub allow_unsafe: bool,
    /// What becomes of the logs: `ring` or `ledger`, the same for every service.
    #[serde(with = "log_mode")]
    pub log: LogMode,
    /// Changes the stored `log` where it is another one.
    pub log_change: bool,
    /// How many entries the log of each shard keeps as a ring.
    pub log_entries_max: u64,
    /// For a `rediss` URL.
    pub tls: RedisTlsSettings,
}

/// The `[redis.tls]` section. What is empty is not set.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTlsSettings {
    /// The CAs that the servers' certificates are checked against, PEM; not set: the system's.
    pub ca: PathBuf,
    /// The client's own certificate for servers that ask for one, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The name that every server's certificate must have; not set: the host or the address at which it is reached.
    pub domain: String,
}

impl RedisTlsSettings {
    /// Reads the files.
    fn read(&self) -> Result<Tls, SettingsError> {
        let ca = tls::is_set(&self.ca)
            .then(|| tls::certificates(CA, &self.ca))
            .transpose()?;
        let own = tls::pair((CERTIFICATE, &self.certificate), (KEY, &self.key))?;
        let parts = TlsParts {
            ca: ca.as_deref(),
            own: own
                .as_ref()
                .map(|(chain, key)| (chain.as_slice(), key.as_slice())),
            domain: &self.domain,
        };
        Tls::new(parts).map_err(|error| match error {
            TlsError::Ca => tls::unfit(CA, &self.ca, "a certificate that is no X.509"),
            TlsError::NoSystemCa => SettingsError::invalid(CA, "is not set, and the system has no CAs"),
            TlsError::Own => tls::not_a_pair(KEY, &self.key),
            TlsError::Domain => SettingsError::invalid(DOMAIN, error.to_string()),
        })
    }

    /// The name of one setting that is set, if any is.
    fn set(&self) -> Option<&'static str> {
        let files = [(CA, &self.ca), (CERTIFICATE, &self.certificate), (KEY, &self.key)];
        let file = files.into_iter().find(|(_, path)| tls::is_set(path));
        file.map(|(setting, _)| setting)
            .or_else(|| (!self.domain.is_empty()).then_some(DOMAIN))
    }
}

impl RedisSettings {
    /// # Errors
    /// Names the key that is out of its bounds or can't be used.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.url.expose().is_empty() {
            return Err(SettingsError::invalid("redis.url", "is empty"));
        }
        if !(1..=256).contains(&self.shards) {
            return Err(SettingsError::invalid("redis.shards", "must be from 1 to 256"));
        }
        if self.command_timeout < Duration::from_millis(100) {
            return Err(SettingsError::invalid(
                "redis.command_timeout",
                "must be at least 100ms",
            ));
        }
        self.store().map(|_| ())
    }

    /// What the store is connected with; the TLS files are read for it.
    ///
    /// # Errors
    /// A file that can't be used, or a URL that can't be or would carry a password in the clear; names the setting.
    pub fn store(&self) -> Result<StoreConfig, SettingsError> {
        let url = self.url.expose();
        let tls = if url.starts_with("rediss") {
            Some(self.tls.read()?)
        } else if let Some(setting) = self.tls.set() {
            let problem = format!("is not rediss://, so the TLS setting {setting} would not be used");
            return Err(SettingsError::invalid("redis.url", problem));
        } else {
            None
        };
        let config = StoreConfig {
            url: url.to_owned(),
            tls,
            allow_plaintext_password: self.allow_plaintext_password,
            shards: self.shards,
            command_timeout: self.command_timeout,
            durability: self.durability,
            replicas: self.replicas,
            allow_unsafe: self.allow_unsafe,
            log: LogUse {
                mode: self.log,
                change: self.log_change,
            },
            log_entries_max: self.log_entries_max,
        };
        config.check().map_err(invalid)?;
        Ok(config)
    }
}

fn invalid(error: StoreError) -> SettingsError {
    match error {
        StoreError::Misconfigured {
            setting,
            found,
            remedy,
        } => SettingsError::invalid(setting, format!("is {found}: {remedy}")),
        other => SettingsError::invalid("redis.url", other.to_string()),
    }
}

/// Connects. A task of the store's own that is gone stops the service, as one of the service's does.
///
/// # Errors
/// As [`Store::connect`].
pub async fn connect(config: &StoreConfig, supervisor: &Supervisor) -> Result<Store, StoreError> {
    let store = Store::connect(config).await?;
    let (watched, stop) = (store.clone(), supervisor.shutdown().clone());
    supervisor.spawn("store", async move {
        tokio::select! {
            () = stop.requested() => {}
            () = watched.task_gone() => {}
        }
    });
    Ok(store)
}

/// The level by its name.
mod durability {
    use paceline_store::Durability;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(level: &Durability, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(level.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Durability, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The mode by its name.
mod log_mode {
    use paceline_store::LogMode;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(mode: &LogMode, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(mode.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogMode, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
