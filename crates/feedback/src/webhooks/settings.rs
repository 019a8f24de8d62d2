//! The `[mailgun]` section.

use std::time::Duration;

use paceline_kit::SettingsError;
use paceline_kit::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::mailgun_signature::Signatures;

const KEYS_MAX: usize = 4;

/// Whose webhook calls are taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailgunWebhookSettings {
    /// The HTTP webhook signing keys, at most 4: two while one is changed. Without any, every call is refused.
    pub signing_keys: Vec<Secret>,
    /// For how long a call is taken after Mailgun signed it. Mailgun repeats for 8 hours what was not taken.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Calls whose signatures are remembered within the window, some 50 bytes each.
    pub tokens_max: usize,
}

impl Default for MailgunWebhookSettings {
    fn default() -> Self {
        Self {
            signing_keys: Vec::new(),
            window: Duration::from_secs(9 * 3_600),
            tokens_max: 2_000_000,
        }
    }
}

impl MailgunWebhookSettings {
    /// # Errors
    /// Names the setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let invalid = |key, problem| Err(SettingsError::invalid(key, problem));
        if self.signing_keys.len() > KEYS_MAX {
            return invalid("mailgun.signing_keys", "has more than 4 entries");
        }
        // Anyone could sign with it.
        if self.signing_keys.iter().any(|key| key.expose().len() < 16) {
            return invalid("mailgun.signing_keys", "has an entry of less than 16 characters");
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(24 * 3_600)).contains(&self.window) {
            return invalid("mailgun.window", "must be from 1m to 24h");
        }
        if !(1_000..=10_000_000).contains(&self.tokens_max) {
            return invalid("mailgun.tokens_max", "must be from 1,000 to 10,000,000");
        }
        Ok(())
    }

    /// What checks the calls.
    #[must_use]
    pub(crate) fn signatures(&self) -> Signatures {
        Signatures::new(self.signing_keys.clone(), self.window, self.tokens_max)
    }
}

#[cfg(test)]
mod tests {
    use super::MailgunWebhookSettings;

    #[test]
    fn by_default_sixty_events_a_second_are_remembered_for_the_whole_window() {
        let settings = MailgunWebhookSettings::default();
        let per_second = settings.tokens_max as u64 / settings.window.as_secs();
        assert!(per_second >= 60, "{per_second}");
    }
}
