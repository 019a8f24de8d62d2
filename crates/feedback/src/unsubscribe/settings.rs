//! The `[unsubscribe]` section: by which keys links are known, and what the page calls senders and categories.

use std::collections::BTreeMap;

use paceline_domain::suppression::check_category;
use paceline_domain::unsubscribe::UnsubscribeKeys;
use paceline_kit::SettingsError;
use paceline_kit::unsubscribe::{UnsubscribeKeySettings, read_keys};
use serde::{Deserialize, Serialize};

const NAMES_MAX: usize = 10_000;
const NAME_CHARS_MAX: usize = 100;

/// Which links are known, and names for people; what has none is called as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnsubscribeSettings {
    /// The renderers', and those of older mail. Without any there are no links.
    pub keys: Vec<UnsubscribeKeySettings>,
    /// By tenant.
    pub senders: BTreeMap<String, String>,
    /// By category.
    pub categories: BTreeMap<String, String>,
}

impl UnsubscribeSettings {
    /// The keys, if there are any.
    ///
    /// # Errors
    /// Names the setting if they do not fit.
    pub(crate) fn read_keys(&self) -> Result<Option<UnsubscribeKeys>, SettingsError> {
        let keys = Some(&self.keys).filter(|keys| !keys.is_empty());
        keys.map(|keys| read_keys(keys)).transpose()
    }

    /// # Errors
    /// Names the setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.read_keys()?;
        for (key, names) in [
            ("unsubscribe.senders", &self.senders),
            ("unsubscribe.categories", &self.categories),
        ] {
            if names.len() > NAMES_MAX {
                return Err(SettingsError::invalid(
                    key,
                    format!("has more than {NAMES_MAX} names"),
                ));
            }
            let fits = |name: &String| (1..=NAME_CHARS_MAX).contains(&name.chars().count());
            if !names.values().all(fits) {
                return Err(SettingsError::invalid(
                    key,
                    format!("has a name that is not 1 to {NAME_CHARS_MAX} characters"),
                ));
            }
        }
        if self
            .categories
            .keys()
            .any(|category| check_category(category).is_err())
        {
            let problem = "has a key that is no category: [a-z0-9_-], at most 64 characters";
            return Err(SettingsError::invalid("unsubscribe.categories", problem));
        }
        Ok(())
    }

    pub(super) fn sender<'a>(&'a self, tenant: &'a str) -> &'a str {
        self.senders.get(tenant).map_or(tenant, String::as_str)
    }

    pub(super) fn category<'a>(&'a self, category: &'a str) -> &'a str {
        self.categories.get(category).map_or(category, String::as_str)
    }
}
