//! A CA of one test, with its certificates as files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// A CA whose files go with the value.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
    ca: PathBuf,
}

/// A certificate and its private key, as PEM files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// Until a day in 2020.
    Expired,
    /// From a day in 2200.
    NotYet,
}

impl Authority {
    /// A CA with a key that nobody else has.
    ///
    /// # Panics
    /// If no file can be written.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let key = KeyPair::generate().expect("random bytes");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let certificate = params.self_signed(&key).expect("good parameters");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, certificate.pem()).expect("writable");
        Self {
            issuer: Issuer::new(params, key),
            directory,
            ca,
        }
    }

    /// The CA's own certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// A certificate of `name` (a host name or an IP address) that holds now.
    ///
    /// # Panics
    /// If no file can be written.
    #[must_use]
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_for(name, Validity::Now)
    }

    /// The same for another time.
    ///
    /// # Panics
    /// If no file can be written.
    #[must_use]
    pub fn issue_for(&self, name: &str, validity: Validity) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        match validity {
            Validity::Now => {}
            Validity::Expired => params.not_after = date_time_ymd(2020, 1, 2),
            Validity::NotYet => params.not_before = date_time_ymd(2200, 1, 2),
        }
        let key = KeyPair::generate().expect("random bytes");
        let certificate = params.signed_by(&key, &self.issuer).expect("good parameters");
        let file = |ending: &str| {
            self.directory
                .path()
                .join(format!("{name}-{validity:?}.{ending}"))
        };
        let pair = Pair {
            certificate: file("crt"),
            key: file("key"),
        };
        std::fs::write(&pair.certificate, certificate.pem()).expect("writable");
        std::fs::write(&pair.key, key.serialize_pem()).expect("writable");
        pair
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
