//! How Mailgun is reached. The sending domain belongs to the sending identity, not here, and so may the region.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::settings::{InvalidSetting, endpoint_authority, is_loopback, unless_empty};

/// The `[mailgun]` section of a service that calls Mailgun.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailgunSettings {
    /// Another endpoint than the region's own, such as the local look-alike's: its scheme and host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "unless_empty")]
    pub endpoint_url: Option<String>,
    /// The file that holds the API key, alone. Read at the start. A key that may do nothing but send is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "path_unless_empty")]
    pub key_file: Option<PathBuf>,
    /// Where the domains of those identities are that don't name a region.
    pub region: MailgunRegion,
    /// Whether Mailgun may rewrite links and add a pixel, to count clicks and opens, for the templates that want it.
    pub tracking: bool,
    /// Mailgun takes the mail, and delivers none of it.
    pub test_mode: bool,
    /// Bounds the making of a connection, TLS included. Running into it proves that nothing was sent.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Bounds the whole call. Running into it leaves the message in doubt, so a claim's lease must be longer.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// Idle connections that are kept open, for each region.
    pub idle_connections_max: usize,
}

/// Where Mailgun keeps a domain. A domain exists in one region only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MailgunRegion {
    #[default]
    Us,
    Eu,
}

impl MailgunRegion {
    pub(super) const fn base_url(self) -> &'static str {
        match self {
            Self::Us => "https://api.mailgun.net",
            Self::Eu => "https://api.eu.mailgun.net",
        }
    }
}

impl Default for MailgunSettings {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            key_file: None,
            region: MailgunRegion::Us,
            tracking: true,
            test_mode: false,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            idle_connections_max: 256,
        }
    }
}

impl MailgunSettings {
    /// What no single key can say. Only for a service that calls Mailgun: the defaults have no key.
    ///
    /// # Errors
    /// Names the key and the problem.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let invalid = |key, problem| Err(InvalidSetting { key, problem });
        if self.key_file.is_none() {
            return invalid("mailgun.key_file", "is not set");
        }
        if self.connect_timeout.is_zero() {
            return invalid("mailgun.connect_timeout", "is 0");
        }
        if self.attempt_timeout <= self.connect_timeout {
            return invalid(
                "mailgun.attempt_timeout",
                "must be longer than mailgun.connect_timeout",
            );
        }
        if let Some(url) = &self.endpoint_url {
            let Some((scheme, authority)) = endpoint_authority(url) else {
                return invalid("mailgun.endpoint_url", "is no http:// or https:// URL");
            };
            // The key would travel in the clear.
            if scheme == http::uri::Scheme::HTTP && !is_loopback(&authority) {
                return invalid(
                    "mailgun.endpoint_url",
                    "must be https:// if it is not on loopback",
                );
            }
        }
        Ok(())
    }

    /// True if calls go to this machine: they then need no proxy.
    pub(super) fn endpoint_is_loopback(&self) -> bool {
        let endpoint = self.endpoint_url.as_deref().and_then(endpoint_authority);
        endpoint.is_some_and(|(_, authority)| is_loopback(&authority))
    }

    pub(super) fn speaks_tls(&self) -> bool {
        let endpoint = self.endpoint_url.as_deref().and_then(endpoint_authority);
        endpoint.is_none_or(|(scheme, _)| scheme == http::uri::Scheme::HTTPS)
    }

    /// The endpoint of `region`, without a slash at its end.
    pub(super) fn base_url(&self, region: MailgunRegion) -> &str {
        self.endpoint_url
            .as_deref()
            .map_or_else(|| region.base_url(), |url| url.trim_end_matches('/'))
    }
}

fn path_unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(unless_empty(deserializer)?.map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{MailgunRegion, MailgunSettings};

    fn good() -> MailgunSettings {
        MailgunSettings {
            key_file: Some(PathBuf::from("/run/secrets/mailgun")),
            ..MailgunSettings::default()
        }
    }

    #[track_caller]
    fn check_refused(settings: &MailgunSettings, key: &str) {
        assert_eq!(settings.validate().expect_err("invalid").key, key, "{settings:?}");
    }

    #[test]
    fn an_empty_text_is_none() {
        let settings: MailgunSettings =
            serde_json::from_str(r#"{"endpoint_url": "", "key_file": "", "region": "eu"}"#)
                .expect("settings");
        assert_eq!((settings.endpoint_url, settings.key_file), (None, None));
        assert_eq!(settings.region, MailgunRegion::Eu);
        assert!(serde_json::from_str::<MailgunSettings>(r#"{"api_key": "x"}"#).is_err());
    }

    #[test]
    fn a_key_and_sensible_timeouts_are_needed() {
        assert!(good().validate().is_ok());
        check_refused(&MailgunSettings::default(), "mailgun.key_file");
        let mut settings = good();
        settings.attempt_timeout = settings.connect_timeout;
        check_refused(&settings, "mailgun.attempt_timeout");
        settings.connect_timeout = std::time::Duration::ZERO;
        check_refused(&settings, "mailgun.connect_timeout");
    }

    #[test]
    fn the_key_never_travels_in_the_clear() {
        let with = |url: &str| MailgunSettings {
            endpoint_url: Some(url.to_owned()),
            ..good()
        };
        for url in [
            "http://127.0.0.1:8025",
            "http://[::1]:1/",
            "https://mailgun.example",
        ] {
            assert!(with(url).validate().is_ok(), "{url}");
        }
        for url in [
            "http://api.mailgun.net",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com/",
            "ftp://127.0.0.1",
            "127.0.0.1:80",
            "/path",
        ] {
            check_refused(&with(url), "mailgun.endpoint_url");
        }
    }

    #[test]
    fn each_region_has_its_endpoint() {
        assert_eq!(good().base_url(MailgunRegion::Us), "https://api.mailgun.net");
        assert_eq!(good().base_url(MailgunRegion::Eu), "https://api.eu.mailgun.net");
        let local = MailgunSettings {
            endpoint_url: Some("http://127.0.0.1:8025/".to_owned()),
            ..good()
        };
        assert_eq!(local.base_url(MailgunRegion::Eu), "http://127.0.0.1:8025");
    }
}
