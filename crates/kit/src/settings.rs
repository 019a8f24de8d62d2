//! Settings: a service's own defaults, then a file, then the environment.
//!
//! Every key stands, commented, in the service's `config.default.toml`, which is compiled in. A key that nothing knows is
//! refused, so that a misspelt setting never passes for a default. `PACELINE_SENDER__REDIS__URL` sets `redis.url` of the
//! sender.

use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::telemetry::TelemetrySettings;

/// The typed settings of one service.
pub trait Settings: DeserializeOwned + Serialize {
    /// What no single key can say: how the keys fit together. Called before any socket opens.
    ///
    /// # Errors
    /// Names the keys that do not fit.
    fn validate(&self) -> Result<(), SettingsError>;

    fn telemetry(&self) -> &TelemetrySettings;
}

/// Settings that can't be used. The process leaves with 64 (`EX_USAGE`).
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("no configuration file at {0}")]
    NoFile(PathBuf),
    #[error("{0}")]
    Read(#[from] config::ConfigError),
    #[error("{key}: {problem}")]
    Invalid { key: &'static str, problem: String },
    #[error("can't print the settings: {0}")]
    Print(#[from] toml::ser::Error),
}

impl SettingsError {
    /// A value of `key` that its type allows and its meaning doesn't.
    pub fn invalid(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            key,
            problem: problem.into(),
        }
    }
}

/// Reads the settings of `service` and checks them.
///
/// # Errors
/// A file that isn't there or isn't TOML, an unknown key, a value of the wrong type, or keys that don't fit together;
/// each names the key.
pub fn load<S: Settings>(service: &str, defaults: &str, file: Option<&Path>) -> Result<S, SettingsError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(path) = file {
        if !path.is_file() {
            return Err(SettingsError::NoFile(path.to_owned()));
        }
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    let prefix = format!("PACELINE_{}", service.replace('-', "_").to_uppercase());
    let environment = Environment::with_prefix(&prefix)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    let settings: S = builder.add_source(environment).build()?.try_deserialize()?;
    settings.validate()?;
    Ok(settings)
}

/// The settings as TOML, secrets redacted.
///
/// # Errors
/// If a value has no form in TOML.
pub fn dump<S: Settings>(settings: &S) -> Result<String, SettingsError> {
    Ok(toml::to_string_pretty(settings)?)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{Settings, SettingsError, dump, load};
    use crate::secret::Secret;
    use crate::telemetry::TelemetrySettings;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        batch_max: u32,
        key: Secret,
        telemetry: TelemetrySettings,
    }

    impl Settings for Sample {
        fn validate(&self) -> Result<(), SettingsError> {
            if self.batch_max == 0 {
                Err(SettingsError::invalid("batch_max", "is 0"))
            } else {
                Ok(())
            }
        }

        fn telemetry(&self) -> &TelemetrySettings {
            &self.telemetry
        }
    }

    const DEFAULTS: &str = "batch_max = 64\nkey = \"swordfish\"\n[telemetry]\n";

    fn with_file(text: &str) -> Result<Sample, SettingsError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        load("sample", DEFAULTS, Some(file.path()))
    }

    #[test]
    fn a_file_overrides_the_defaults() {
        assert_eq!(
            load::<Sample>("sample", DEFAULTS, None)
                .expect("defaults")
                .batch_max,
            64
        );
        assert_eq!(with_file("batch_max = 7").expect("a good file").batch_max, 7);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            with_file("batch_maximum = 7")
                .expect_err("unknown")
                .to_string()
                .contains("batch_maximum")
        );
        assert!(
            with_file("batch_max = \"x\"")
                .expect_err("a string")
                .to_string()
                .contains("batch_max")
        );
        assert!(
            with_file("batch_max = 0")
                .expect_err("invalid")
                .to_string()
                .contains("batch_max")
        );
        let missing = load::<Sample>("sample", DEFAULTS, Some("/nowhere.toml".as_ref()));
        assert!(
            missing
                .expect_err("no file")
                .to_string()
                .contains("/nowhere.toml")
        );
    }

    #[test]
    fn a_dump_hides_secrets() {
        let text = dump(&load::<Sample>("sample", DEFAULTS, None).expect("defaults")).expect("prints");
        assert!(
            text.contains("batch_max = 64") && !text.contains("swordfish"),
            "{text}"
        );
    }
}
