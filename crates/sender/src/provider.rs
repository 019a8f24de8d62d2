//! Who takes the mail: SES and its backup, Mailgun, in production; a scripted provider in tests.

use std::collections::HashMap;

use paceline_domain::reason::Reason;
use paceline_domain::record::Provider as ProviderName;
use paceline_kit::identity::{IdentitySettings, MailgunPlace};
use paceline_providers::{
    ConnectError, Mailgun, MailgunDomain, MailgunRegion, MailgunSettings, OutgoingMessage, SendOutcome, Ses,
    SesSettings, mailgun,
};

/// One attempt to send one message. Whatever happens is an outcome.
pub trait Provider: Send + Sync + 'static {
    /// Sends `message` by the provider `by`, as it knows `identity`.
    fn send(
        &self,
        by: ProviderName,
        identity: &IdentitySettings,
        message: &OutgoingMessage<'_>,
    ) -> impl Future<Output = SendOutcome> + Send;
}

/// SES, a client for each region that the identities name, and Mailgun for those that have a domain there.
#[derive(Debug)]
pub struct Providers {
    regions: HashMap<String, Ses>,
    /// By the identity's name.
    domains: HashMap<String, MailgunDomain>,
}

/// A provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProvidersError {
    #[error("SES can't be used")]
    Ses(#[from] ConnectError),
    #[error("Mailgun can't be used")]
    Mailgun(#[from] mailgun::ConnectError),
}

impl Providers {
    /// Sets the clients up; opens no connection yet. Without an identity that has a backup Mailgun's settings are not looked at.
    ///
    /// # Errors
    /// If the settings don't fit together, or Mailgun's key can't be read.
    pub async fn connect(
        identities: &[IdentitySettings],
        ses: &SesSettings,
        mailgun: &MailgunSettings,
    ) -> Result<Self, ProvidersError> {
        let mut regions = HashMap::new();
        for identity in identities {
            let region = &identity.ses.region;
            if !regions.contains_key(region) {
                regions.insert(region.clone(), Ses::connect(region, ses).await?);
            }
        }
        let mut domains = HashMap::new();
        let mut client: Option<Mailgun> = None;
        for identity in identities {
            let Some(backup) = &identity.mailgun else { continue };
            let client = match &mut client {
                Some(client) => client,
                none => none.insert(Mailgun::connect(mailgun)?),
            };
            let region = backup.region.map(|place| match place {
                MailgunPlace::Us => MailgunRegion::Us,
                MailgunPlace::Eu => MailgunRegion::Eu,
            });
            domains.insert(identity.name.clone(), client.domain(&backup.domain, region)?);
        }
        Ok(Self { regions, domains })
    }
}

impl Provider for Providers {
    async fn send(
        &self,
        by: ProviderName,
        identity: &IdentitySettings,
        message: &OutgoingMessage<'_>,
    ) -> SendOutcome {
        let missing = SendOutcome::AccountRefused {
            reason: Reason::ConfigurationMissing,
        };
        // Identities are fixed at the start, and each has what it names here.
        match by {
            ProviderName::Ses => match self.regions.get(&identity.ses.region) {
                Some(ses) => ses.send(message).await,
                None => missing,
            },
            ProviderName::Mailgun => match self.domains.get(&identity.name) {
                Some(domain) => domain.send(message).await,
                None => missing,
            },
        }
    }
}
