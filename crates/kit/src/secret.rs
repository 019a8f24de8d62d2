//! Values that never print.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::settings::SettingsError;

/// The bytes of a key for keyed hashes.
const KEY_BYTES_MIN: usize = 32;
const REDACTED: &str = "[redacted]";
const FILE_PREFIX: &str = "file:";

/// A secret of the configuration. A value `file:PATH` is read from that file, one trailing newline cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: for the call that needs it, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Holds a key for keyed hashes, the value of `setting`, to its least length.
    ///
    /// # Errors
    /// If it is shorter.
    pub fn check_key(&self, setting: &'static str) -> Result<(), SettingsError> {
        if self.0.len() >= KEY_BYTES_MIN {
            return Ok(());
        }
        let problem = "must be at least 32 bytes; make one with `openssl rand -hex 32`";
        Err(SettingsError::invalid(setting, problem))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { REDACTED })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(path) = text.strip_prefix(FILE_PREFIX) else {
            return Ok(Self(text));
        };
        let content = std::fs::read_to_string(path).map_err(|error| {
            serde::de::Error::custom(format!("can't read the secret's file {path}: {error}"))
        })?;
        Ok(Self(content.strip_suffix('\n').unwrap_or(&content).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_read_from_its_file_and_never_prints() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "swordfish\n").expect("writable");
        let text = format!("\"file:{}\"", file.path().display());
        let secret: Secret = serde_json::from_str(&text).expect("readable");
        assert_eq!(secret.expose(), "swordfish");
        assert!(!format!("{secret:?}").contains("swordfish"));
        assert!(
            !serde_json::to_string(&secret)
                .expect("serialises")
                .contains("swordfish")
        );
    }
}
