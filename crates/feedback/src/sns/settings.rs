//! The `[sns]` section.

use std::net::SocketAddr;
use std::path::PathBuf;

use paceline_kit::SettingsError;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::{Deserialize, Serialize};

const TOPICS_MAX: usize = 100;

/// Whose messages of SNS are taken.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnsSettings {
    /// The ARNs of the topics, at most 100; without any, every message is refused.
    pub topics: Vec<String>,
    /// CAs that the signing certificate must lead to, PEM; not set: the host that serves it vouches for it.
    pub ca: PathBuf,
    /// A stand-in for SNS on this machine, asked by http; only with `ca`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopback: Option<SocketAddr>,
}

impl SnsSettings {
    /// # Errors
    /// Names the setting that can't be used.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let invalid = |key, problem: &str| Err(SettingsError::invalid(key, problem));
        if self.topics.len() > TOPICS_MAX {
            return invalid("sns.topics", "has more than 100 entries");
        }
        if self.topics.iter().any(|topic| !is_topic(topic)) {
            return invalid(
                "sns.topics",
                "has an entry that is no ARN of a topic (arn:aws:sns:REGION:ACCOUNT:NAME)",
            );
        }
        if let Some(address) = self.loopback {
            if !address.ip().is_loopback() {
                return invalid("sns.loopback", "is no loopback address");
            }
            if self.ca.as_os_str().is_empty() {
                return invalid(
                    "sns.loopback",
                    "needs sns.ca: without TLS nothing else vouches for the certificate",
                );
            }
        }
        self.authorities().map(|_| ())
    }

    /// The CAs of `ca`; none if it is not set.
    ///
    /// # Errors
    /// If the file can't be read or holds no CA.
    pub fn authorities(&self) -> Result<Vec<TrustAnchor<'static>>, SettingsError> {
        if self.ca.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        let invalid = |problem: &str| {
            let path = self.ca.display();
            SettingsError::invalid("sns.ca", format!("{path} {problem}"))
        };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.ca)
            .and_then(Iterator::collect)
            .map_err(|_| invalid("can't be read as PEM"))?;
        let anchors: Result<Vec<_>, _> = certificates
            .iter()
            .map(|certificate| webpki::anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned()))
            .collect();
        match anchors {
            Ok(anchors) if !anchors.is_empty() => Ok(anchors),
            _ => Err(invalid("holds no CA")),
        }
    }
}

fn is_topic(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts[..], ["arn", partition, "sns", region, account, name]
        if partition.starts_with("aws") && !region.is_empty() && !account.is_empty() && !name.is_empty())
        && arn.len() <= 512
        && arn.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::SnsSettings;

    #[test]
    fn what_can_t_be_used_is_refused_by_its_name() {
        let with = |topic: &str, loopback: Option<&str>| SnsSettings {
            topics: vec![topic.to_owned()],
            loopback: loopback.map(|address| address.parse().expect("an address")),
            ..SnsSettings::default()
        };
        let topic = "arn:aws:sns:eu-west-1:123456789012:ses-events";
        assert!(with(topic, None).validate().is_ok());
        for (settings, refusal) in [
            (
                with("ses-events", None),
                "sns.topics: has an entry that is no ARN",
            ),
            (
                with("arn:aws:sqs:eu-west-1:123456789012:q", None),
                "sns.topics: has an entry that is no ARN",
            ),
            (
                with(topic, Some("10.0.0.1:80")),
                "sns.loopback: is no loopback address",
            ),
            (
                with(topic, Some("0.0.0.0:80")),
                "sns.loopback: is no loopback address",
            ),
            (with(topic, Some("127.0.0.1:80")), "sns.loopback: needs sns.ca"),
            (
                SnsSettings {
                    ca: "/nowhere/ca.pem".into(),
                    ..SnsSettings::default()
                },
                "sns.ca: /nowhere/ca.pem can't be read as PEM",
            ),
        ] {
            let refused = settings.validate().expect_err(refusal).to_string();
            assert!(refused.starts_with(refusal), "{refused}");
        }
    }
}
