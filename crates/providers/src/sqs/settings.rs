//! The `[sqs]` section.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::{Credentials, InvalidSetting, endpoint_authority, is_loopback, unless_empty};

/// SQS's own bounds.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Shorter, and messages would come again while they are being stored; longer, and those of a process that died would wait for long.
const VISIBILITY: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(12 * 3_600);
const READERS_MAX: usize = 64;

/// From where SES's events are pulled.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqsSettings {
    /// Empty: nothing is pulled.
    pub queue_url: String,
    /// The queue's.
    pub region: String,
    /// Another endpoint than the region's own, such as a stand-in's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "unless_empty")]
    pub endpoint_url: Option<String>,
    pub credentials: Credentials,
    /// Calls that wait for messages at a time, each for up to ten.
    pub readers: NonZeroUsize,
    /// How long SQS waits for a message before it says that there is none.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// When a message comes again that was not deleted.
    #[serde(with = "humantime_serde")]
    pub visibility_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for SqsSettings {
    fn default() -> Self {
        Self {
            queue_url: String::new(),
            region: String::new(),
            endpoint_url: None,
            credentials: Credentials::Chain,
            readers: NonZeroUsize::MIN.saturating_add(3),
            wait: WAIT_MAX,
            visibility_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(3),
        }
    }
}

impl SqsSettings {
    /// True if there is a queue.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        !self.queue_url.is_empty()
    }

    /// What no single key can say.
    ///
    /// # Errors
    /// Names the key and the problem.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let invalid = |key, problem| Err(InvalidSetting { key, problem });
        if self.wait > WAIT_MAX {
            return invalid("sqs.wait", "must be at most 20s, as SQS has it");
        }
        if !VISIBILITY.contains(&self.visibility_timeout) {
            return invalid("sqs.visibility_timeout", "must be from 30s to 12h");
        }
        if self.connect_timeout.is_zero() {
            return invalid("sqs.connect_timeout", "is 0");
        }
        if self.readers.get() > READERS_MAX {
            return invalid("sqs.readers", "must be at most 64");
        }
        if !self.is_set() {
            return Ok(());
        }
        if endpoint_authority(&self.queue_url).is_none() {
            return invalid("sqs.queue_url", "is no http:// or https:// URL");
        }
        if self.region.is_empty() {
            return invalid("sqs.region", "must be set with sqs.queue_url");
        }
        if let Some(url) = &self.endpoint_url
            && endpoint_authority(url).is_none()
        {
            return invalid("sqs.endpoint_url", "is no http:// or https:// URL");
        }
        if self.credentials == Credentials::LookAlike && !self.endpoint_is_loopback() {
            return invalid(
                "sqs.credentials",
                "look_alike needs an sqs.endpoint_url on loopback",
            );
        }
        Ok(())
    }

    /// True if calls go to this machine.
    pub(super) fn endpoint_is_loopback(&self) -> bool {
        let endpoint = self.endpoint_url.as_deref().and_then(endpoint_authority);
        endpoint.is_some_and(|(_, authority)| is_loopback(&authority))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::SqsSettings;
    use crate::settings::Credentials;

    fn set() -> SqsSettings {
        SqsSettings {
            queue_url: "https://sqs.eu-west-1.amazonaws.com/123456789012/events".to_owned(),
            region: "eu-west-1".to_owned(),
            ..SqsSettings::default()
        }
    }

    #[test]
    fn without_a_queue_nothing_else_is_needed() {
        assert!(SqsSettings::default().validate().is_ok() && !SqsSettings::default().is_set());
        assert!(set().validate().is_ok() && set().is_set());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        type Change = fn(&mut SqsSettings);
        let changes: [(&str, Change); 8] = [
            ("sqs.queue_url", |it| it.queue_url = "events".to_owned()),
            ("sqs.region", |it| it.region.clear()),
            ("sqs.endpoint_url", |it| {
                it.endpoint_url = Some("ftp://x".to_owned())
            }),
            ("sqs.credentials", |it| it.credentials = Credentials::LookAlike),
            ("sqs.readers", |it| it.readers = it.readers.saturating_add(64)),
            ("sqs.wait", |it| it.wait = Duration::from_secs(21)),
            ("sqs.visibility_timeout", |it| {
                it.visibility_timeout = Duration::from_secs(5)
            }),
            ("sqs.connect_timeout", |it| it.connect_timeout = Duration::ZERO),
        ];
        for (key, change) in changes {
            let mut settings = set();
            change(&mut settings);
            assert_eq!(settings.validate().expect_err(key).key, key);
        }
    }
}
