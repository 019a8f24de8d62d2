//! Sending identities: who may send as whom, and by what.

use paceline_domain::address::Address;
use serde::{Deserialize, Serialize};

use crate::settings::SettingsError;

/// One `[[identity]]`: the domains of a From, the tenants that may use them, and how the providers know it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// `[a-z0-9_-]`, at most 64 characters. Part of stream names and of every pacing key.
    pub name: String,
    /// The domains that a From may have, lower case, in punycode.
    pub from_domains: Vec<String>,
    /// The tenants that may use it; `["*"]` for all.
    pub tenants: Vec<String>,
    pub ses: SesIdentity,
    /// Absent: its mail goes by SES alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailgun: Option<MailgunIdentity>,
}

/// How Mailgun, the backup, knows an identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailgunIdentity {
    /// The sending domain, lower case, in punycode.
    pub domain: String,
    /// Where Mailgun keeps the domain; absent: where `[mailgun]` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<MailgunPlace>,
}

/// Mailgun's regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MailgunPlace {
    Us,
    Eu,
}

/// How SES knows an identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SesIdentity {
    pub region: String,
    /// Required: without a configuration set no event of SES carries our tags.
    pub configuration_set: String,
    /// The SES tenant, where the account uses tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_name: Option<String>,
}

impl SesIdentity {
    /// The names as SES takes them; a wrong one would refuse every message.
    fn validate(&self) -> Result<(), &'static str> {
        if self.region.is_empty()
            || !self
                .region
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err("ses.region must be the name of a region");
        }
        if !is_ses_name(&self.configuration_set) {
            return Err("ses.configuration_set must be 1 to 64 of [A-Za-z0-9_-]");
        }
        if self
            .tenant_name
            .as_deref()
            .is_some_and(|tenant| !is_ses_name(tenant))
        {
            return Err("ses.tenant_name must be 1 to 64 of [A-Za-z0-9_-]");
        }
        Ok(())
    }
}

impl IdentitySettings {
    #[must_use]
    pub fn allows(&self, tenant: &str) -> bool {
        self.tenants
            .iter()
            .any(|allowed| allowed == "*" || allowed == tenant)
    }

    #[must_use]
    pub fn sends_from(&self, domain: &str) -> bool {
        self.from_domains.iter().any(|own| own == domain)
    }
}

/// Checks all identities together.
///
/// # Errors
/// A malformed or doubled name, an identity without domains or tenants, a domain that two identities claim for one tenant,
/// or a missing configuration set.
pub fn validate(identities: &[IdentitySettings]) -> Result<(), SettingsError> {
    let invalid = |problem: String| Err(SettingsError::invalid("identity", problem));
    if identities.is_empty() {
        return invalid("at least one [[identity]] is needed".to_owned());
    }
    for (index, identity) in identities.iter().enumerate() {
        let name = &identity.name;
        if !is_name(name) {
            return invalid(format!(
                "name of number {} must be 1 to 64 of [a-z0-9_-]",
                index + 1
            ));
        }
        if identities[..index].iter().any(|other| other.name == *name) {
            return invalid(format!("{name} is there twice"));
        }
        if identity.from_domains.is_empty() || identity.tenants.is_empty() {
            return invalid(format!("{name} needs from_domains and tenants"));
        }
        let unfit = identity
            .from_domains
            .iter()
            .find(|domain| !is_normal_domain(domain));
        if let Some(domain) = unfit {
            return invalid(format!(
                "{name}: the domain \"{domain}\" is not in lower case and punycode"
            ));
        }
        identity
            .ses
            .validate()
            .map_err(|problem| SettingsError::invalid("identity", format!("{name}: {problem}")))?;
        let backup = identity.mailgun.as_ref();
        if backup.is_some_and(|mailgun| !is_normal_domain(&mailgun.domain)) {
            return invalid(format!(
                "{name}: mailgun.domain is no domain in lower case and punycode"
            ));
        }
        if let Some(other) = identities[..index].iter().find(|other| collide(other, identity)) {
            return invalid(format!(
                "{} and {name} claim one domain for one tenant",
                other.name
            ));
        }
    }
    Ok(())
}

/// True for a domain in the form that a From's domain has after its normalisation.
fn is_normal_domain(domain: &str) -> bool {
    Address::parse(&format!("postmaster@{domain}")).is_ok_and(|address| address.domain() == domain)
}

fn is_ses_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn collide(a: &IdentitySettings, b: &IdentitySettings) -> bool {
    let tenants = a.tenants.iter().any(|tenant| tenant == "*" || b.allows(tenant))
        || b.tenants.iter().any(|tenant| tenant == "*");
    tenants && a.from_domains.iter().any(|domain| b.sends_from(domain))
}

/// True for 1 to 64 characters of `[a-z0-9_-]`: what may stand in a key's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{IdentitySettings, MailgunIdentity, SesIdentity, validate};

    fn identity(name: &str, domain: &str, tenant: &str) -> IdentitySettings {
        IdentitySettings {
            name: name.to_owned(),
            from_domains: vec![domain.to_owned()],
            tenants: vec![tenant.to_owned()],
            ses: SesIdentity {
                region: "eu-west-1".to_owned(),
                configuration_set: "events".to_owned(),
                tenant_name: None,
            },
            mailgun: None,
        }
    }

    #[test]
    fn identities_must_be_told_apart() {
        assert!(validate(&[identity("a", "a.example", "t"), identity("b", "b.example", "t")]).is_ok());
        assert!(validate(&[identity("a", "a.example", "t"), identity("b", "a.example", "u")]).is_ok());
        let refused = [
            vec![],
            vec![identity("A b", "a.example", "t")],
            vec![identity("a", "a.example", "t"), identity("a", "b.example", "t")],
            vec![identity("a", "a.example", "t"), identity("b", "a.example", "*")],
            vec![identity("a", "a.example", "*"), identity("b", "a.example", "u")],
        ];
        for identities in refused {
            assert!(validate(&identities).is_err(), "{identities:?}");
        }
        for domain in ["Example.com", "bücher.example", "a@b.example", ""] {
            let refusal = validate(&[identity("a", domain, "t")])
                .expect_err(domain)
                .to_string();
            assert!(refusal.contains("punycode"), "{refusal}");
        }
        assert!(validate(&[identity("a", "xn--bcher-kva.example", "t")]).is_ok());
        let mut misspelt = identity("a", "a.example", "t");
        misspelt.ses.configuration_set = "my set".to_owned();
        assert!(validate(&[misspelt]).is_err(), "a configuration set with a space");
        let mut backup = identity("a", "a.example", "t");
        for (domain, good) in [
            ("mg.a.example", true),
            ("MG.a.example", false),
            ("", false),
            ("a/b", false),
        ] {
            backup.mailgun = Some(MailgunIdentity {
                domain: domain.to_owned(),
                region: None,
            });
            assert_eq!(validate(std::slice::from_ref(&backup)).is_ok(), good, "{domain}");
        }
        let mut without_set = identity("a", "a.example", "t");
        without_set.ses.configuration_set.clear();
        assert!(
            validate(&[without_set])
                .expect_err("no set")
                .to_string()
                .contains("configuration_set")
        );
    }
}
