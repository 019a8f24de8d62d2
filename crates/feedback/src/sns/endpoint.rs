//! To which addresses a message of SNS may make us connect: hosts of SNS by TLS, and one of this machine for tests.

use std::net::SocketAddr;

use http::Uri;

/// A rule that an address broke. The address itself stands in no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("is no address of SNS by https")]
    Foreign,
    #[error("is no *.pem")]
    NoCertificate,
}

/// The address of a certificate.
pub(super) fn certificate(url: &str, loopback: Option<SocketAddr>) -> Result<Uri, EndpointError> {
    let uri = of_sns(url, loopback)?;
    if uri.path().ends_with(".pem") && uri.query().is_none() {
        Ok(uri)
    } else {
        Err(EndpointError::NoCertificate)
    }
}

/// An address of SNS.
pub(super) fn of_sns(url: &str, loopback: Option<SocketAddr>) -> Result<Uri, EndpointError> {
    let uri: Uri = url.parse().map_err(|_| EndpointError::Foreign)?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let scheme = uri.scheme_str().unwrap_or_default();
    let is_ours = loopback.is_some_and(|address| scheme == "http" && authority == address.to_string());
    if is_ours || (scheme == "https" && is_sns_host(authority.strip_suffix(":443").unwrap_or(authority))) {
        Ok(uri)
    } else {
        Err(EndpointError::Foreign)
    }
}

/// `sns.REGION.amazonaws.com`, or `.com.cn`.
fn is_sns_host(host: &str) -> bool {
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com")
            .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    let in_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    region.is_some_and(|region| !region.is_empty() && region.bytes().all(in_region))
}

#[cfg(test)]
mod tests {
    use super::{EndpointError, certificate, of_sns};

    #[test]
    fn only_sns_is_asked() {
        for url in [
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
            "https://sns.us-gov-west-1.amazonaws.com:443/a.pem",
            "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
        ] {
            assert!(certificate(url, None).is_ok(), "{url}");
        }
        for url in [
            "http://sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
            "https://user@sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
            "https://sns..amazonaws.com/a.pem",
            "https://sns.amazonaws.com/a.pem",
            "https://sns.evil.example?.amazonaws.com/a.pem",
            "https://sns.a.b.amazonaws.com/a.pem",
            "https://bucket.s3.amazonaws.com/a.pem",
            "https://169.254.169.254/a.pem",
            "http://127.0.0.1:80/a.pem",
            "file:///etc/passwd",
            "/a.pem",
            "",
        ] {
            assert_eq!(certificate(url, None), Err(EndpointError::Foreign), "{url}");
        }
        for url in [
            "https://sns.eu-west-1.amazonaws.com/a.pem?x=y",
            "https://sns.eu-west-1.amazonaws.com/",
        ] {
            assert_eq!(certificate(url, None), Err(EndpointError::NoCertificate), "{url}");
        }
    }

    #[test]
    fn on_loopback_only_the_one_address_is_asked() {
        let ours = Some(([127, 0, 0, 1], 4_444).into());
        assert!(of_sns("http://127.0.0.1:4444/?Action=ConfirmSubscription", ours).is_ok());
        for url in [
            "http://127.0.0.1:4445/",
            "http://localhost:4444/",
            "https://127.0.0.1:4444/",
            "http://10.0.0.1:4444/",
        ] {
            assert_eq!(of_sns(url, ours), Err(EndpointError::Foreign), "{url}");
        }
    }
}
