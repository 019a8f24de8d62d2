//! Who takes the mail: SES in production, a scripted provider in tests.

use std::collections::HashMap;

use paceline_kit::identity::IdentitySettings;
use paceline_providers::{ConnectError, OutgoingMessage, SendOutcome, Ses, SesSettings};

/// One attempt to send one message. Whatever happens is an outcome.
pub trait Provider: Send + Sync + 'static {
    /// Sends `message` in the provider's `region`.
    fn send(&self, region: &str, message: &OutgoingMessage<'_>) -> impl Future<Output = SendOutcome> + Send;
}

/// SES, a client for each region that the identities name.
#[derive(Debug)]
pub struct SesRegions(HashMap<String, Ses>);

impl SesRegions {
    /// Sets the clients up; opens no connection yet.
    ///
    /// # Errors
    /// If the settings don't fit together.
    pub async fn connect(
        identities: &[IdentitySettings],
        settings: &SesSettings,
    ) -> Result<Self, ConnectError> {
        let mut regions = HashMap::new();
        for identity in identities {
            let region = &identity.ses.region;
            if !regions.contains_key(region) {
                regions.insert(region.clone(), Ses::connect(region, settings).await?);
            }
        }
        Ok(Self(regions))
    }
}

impl Provider for SesRegions {
    async fn send(&self, region: &str, message: &OutgoingMessage<'_>) -> SendOutcome {
        match self.0.get(region) {
            Some(ses) => ses.send(message).await,
            // Identities are fixed at the start, and each has its region here.
            None => SendOutcome::AccountRefused {
                reason: paceline_domain::reason::Reason::ConfigurationMissing,
            },
        }
    }
}
