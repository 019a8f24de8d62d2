//! Whether a message is SNS's own, and for one of our topics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use paceline_kit::SettingsError;
use paceline_kit::clock::Clock;
use rustls_pki_types::TrustAnchor;

use super::certificate::{CertificateError, Signer};
use super::endpoint::{self, EndpointError};
use super::envelope::Envelope;
use super::fetch::{Fetch, FetchError};
use super::settings::SnsSettings;

/// SNS has one certificate a region, and changes it once in a while.
const SIGNERS_MAX: usize = 64;

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnsError {
    #[error("the topic is none of the settings'")]
    Topic,
    #[error("SigningCertURL {0}")]
    CertificateAddress(#[source] EndpointError),
    #[error("SubscribeURL {0}")]
    SubscribeAddress(#[source] EndpointError),
    #[error("the certificate {0}")]
    Certificate(#[from] CertificateError),
    #[error("the signature does not hold")]
    Signature,
    #[error("SNS could not be asked: {0}")]
    Fetch(#[from] FetchError),
}

impl SnsError {
    /// True if the same message may be taken later: nothing was found out about it. A certificate that does not count was served by a host of
    /// SNS's nevertheless, so our clock, our CAs or a name that is new may be at fault, and SNS would take a refusal for delivered.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Certificate(_))
    }
}

/// Checks messages, and keeps the certificates that it needed.
pub struct Verifier {
    topics: Vec<String>,
    authorities: Vec<TrustAnchor<'static>>,
    loopback: Option<SocketAddr>,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    signers: Mutex<HashMap<String, Arc<Signer>>>,
    /// One certificate is fetched at a time, whoever asks for how many.
    fetching: tokio::sync::Mutex<()>,
}

impl Verifier {
    /// # Errors
    /// A setting that can't be used, or a system without CAs.
    pub fn new(settings: &SnsSettings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        let no_roots = |error: std::io::Error| {
            SettingsError::invalid("sns.topics", format!("can't be asked: the system's CAs: {error}"))
        };
        Ok(Self {
            topics: settings.topics.clone(),
            authorities: settings.authorities()?,
            loopback: settings.loopback,
            fetch: Fetch::new().map_err(no_roots)?,
            clock,
            signers: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Checks the topic, then the signature.
    ///
    /// # Errors
    /// Why the message is not SNS's, not for us, or can't be told yet.
    pub async fn verify(&self, envelope: &Envelope) -> Result<(), SnsError> {
        if !self.topics.contains(&envelope.topic_arn) {
            return Err(SnsError::Topic);
        }
        if self.signer(envelope).await?.signed(envelope) {
            Ok(())
        } else {
            Err(SnsError::Signature)
        }
    }

    /// Answers the question whether we want the topic's messages, by asking the address that SNS named. For what was verified.
    ///
    /// # Errors
    /// If the address is not SNS's, or does not answer.
    pub async fn confirm(&self, envelope: &Envelope) -> Result<(), SnsError> {
        let url = envelope.subscribe_url.as_deref().unwrap_or_default();
        let uri = endpoint::of_sns(url, self.loopback).map_err(SnsError::SubscribeAddress)?;
        self.fetch.get(uri).await?;
        Ok(())
    }

    async fn signer(&self, envelope: &Envelope) -> Result<Arc<Signer>, SnsError> {
        let url = &envelope.signing_cert_url;
        let uri = endpoint::certificate(url, self.loopback).map_err(SnsError::CertificateAddress)?;
        if let Some(known) = self.known(url) {
            return Ok(known);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(known) = self.known(url) {
            return Ok(known);
        }
        let host = uri.host().unwrap_or_default().to_owned();
        let pem = self.fetch.get(uri).await?;
        let signer = Signer::read(&pem, &host, &self.authorities, self.clock.wall())?;
        let signer = Arc::new(signer);
        let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        if signers.len() >= SIGNERS_MAX {
            signers.clear();
        }
        signers.insert(url.clone(), Arc::clone(&signer));
        Ok(signer)
    }

    fn known(&self, url: &str) -> Option<Arc<Signer>> {
        let signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        signers
            .get(url)
            .filter(|signer| signer.is_valid(self.clock.wall()))
            .cloned()
    }
}
