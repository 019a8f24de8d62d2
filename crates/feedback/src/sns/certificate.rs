//! The certificate that SNS signs with.

use std::time::Duration;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use paceline_domain::time::Millis;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use super::envelope::{Envelope, SignatureVersion};

/// No chain is longer.
const CERTIFICATES_MAX: usize = 8;
/// The names of those who sign for SNS, besides the host's own and `sns-signing.REGION`: see `signingCertCommonName` of the AWS SDK
/// for Java, version 2, which lists them by region. Both regions of GovCloud have the one name.
const NAMES: [&str; 3] = [
    "sns.amazonaws.com",
    "sns.amazonaws.com.cn",
    "sns-us-gov-west-1.amazonaws.com",
];

/// Why a certificate counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("is no certificate in PEM")]
    Unreadable,
    #[error("is not valid now")]
    NotValidNow,
    #[error("is not SNS's by its name")]
    Name,
    #[error("does not lead to a CA of the settings")]
    Chain,
}

/// A certificate that was checked.
#[derive(Debug)]
pub(super) struct Signer {
    /// `RSAPublicKey` in DER.
    public_key: Vec<u8>,
    not_after: Millis,
}

impl Signer {
    /// Reads a certificate and what may follow it in the file. `authorities`: CAs that it must lead to; none: its host vouches.
    pub(super) fn read(
        pem: &[u8],
        host: &str,
        authorities: &[TrustAnchor<'static>],
        now: Millis,
    ) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem)
            .take(CERTIFICATES_MAX)
            .collect();
        let chain = chain.map_err(|_| CertificateError::Unreadable)?;
        let (leaf, intermediates) = chain.split_first().ok_or(CertificateError::Unreadable)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|_| CertificateError::Unreadable)?;
        let end_entity = EndEntityCert::try_from(leaf).map_err(|_| CertificateError::Unreadable)?;
        let seconds = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
            return Err(CertificateError::NotValidNow);
        }
        let has_name = |name: &str| {
            ServerName::try_from(name)
                .is_ok_and(|name| end_entity.verify_is_valid_for_subject_name(&name).is_ok())
        };
        let own = of_region(host);
        if !NAMES
            .into_iter()
            .chain(own.iter().map(String::as_str))
            .any(has_name)
        {
            return Err(CertificateError::Name);
        }
        if !authorities.is_empty() {
            let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
            let usage = KeyUsage::server_auth();
            end_entity
                .verify_for_usage(
                    ALL_VERIFICATION_ALGS,
                    authorities,
                    intermediates,
                    now,
                    usage,
                    None,
                    None,
                )
                .map_err(|_| CertificateError::Chain)?;
        }
        Ok(Self {
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            not_after: Millis(
                u64::try_from(validity.not_after.timestamp())
                    .unwrap_or(0)
                    .saturating_mul(1_000),
            ),
        })
    }

    pub(super) fn is_valid(&self, now: Millis) -> bool {
        now <= self.not_after
    }

    /// True if the envelope's signature is by this certificate's key: RSA of 2,048 to 8,192 bits.
    pub(super) fn signed(&self, envelope: &Envelope) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match envelope.signature_version {
            // The default of topics.
            SignatureVersion::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            SignatureVersion::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.public_key)
            .verify(envelope.signed.as_bytes(), &envelope.signature)
            .is_ok()
    }
}

/// The names of who signs for the SNS of one region, by the host that serves its certificate, `sns.REGION.amazonaws.com`.
fn of_region(host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    if let Some(region) = host.strip_prefix("sns.") {
        // Regions that are opted in, and China's.
        names.extend([format!("sns-signing.{region}"), format!("sns-{region}")]);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::of_region;

    #[test]
    fn each_region_s_names_are_those_of_the_aws_sdk() {
        for (host, name) in [
            (
                "sns.af-south-1.amazonaws.com",
                "sns-signing.af-south-1.amazonaws.com",
            ),
            (
                "sns.mx-central-1.amazonaws.com",
                "sns-signing.mx-central-1.amazonaws.com",
            ),
            (
                "sns.cn-north-1.amazonaws.com.cn",
                "sns-cn-north-1.amazonaws.com.cn",
            ),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert!(of_region(host).iter().any(|own| own == name), "{host}");
        }
        assert_eq!(of_region("127.0.0.1").len(), 1);
    }
}
