//! To whom mail may go from here: everybody only where it is said so.
//!
//! Judged for each entry right before its claim, on the recipient that the rendered parts name, the same that the provider would
//! be handed. What is not allowed is never written: the claim ends it as suppressed.

use std::collections::HashSet;

use paceline_domain::address::Address;
use paceline_kit::SettingsError;
use paceline_store::Verdict;
use serde::{Deserialize, Serialize};

use crate::outgoing::unpack;

/// SES answers mail to this domain as its local part says, and delivers none of it.
/// <https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html>
const SIMULATOR: &str = "simulator.amazonses.com";

/// Whom a deployment writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverMode {
    /// Everybody.
    Live,
    /// Those of the list.
    AllowList,
    /// SES's mailbox simulator.
    Simulator,
}

impl DeliverMode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::AllowList => "allow_list",
            Self::Simulator => "simulator",
        }
    }
}

/// The rule by which recipients are judged.
#[derive(Clone, PartialEq, Eq)]
pub struct Deliver {
    mode: DeliverMode,
    /// Addresses and domains in their one spelling.
    listed: HashSet<String>,
}

impl Deliver {
    /// The rule that allows everybody.
    #[must_use]
    pub fn live() -> Self {
        Self {
            mode: DeliverMode::Live,
            listed: HashSet::new(),
        }
    }

    /// The rule of the settings.
    ///
    /// # Errors
    /// A list without an entry where it is asked for, or with entries where it is not; an entry that is neither an address nor a
    /// domain, by its number.
    pub fn new(mode: DeliverMode, allow_list: &[String]) -> Result<Self, SettingsError> {
        let refuse = |problem: String| Err(SettingsError::invalid("allow_list", problem));
        if mode != DeliverMode::AllowList && !allow_list.is_empty() {
            return refuse("is only for deliver = \"allow_list\", it would limit nothing here".to_owned());
        }
        if mode == DeliverMode::AllowList && allow_list.is_empty() {
            return refuse("needs an address or a domain for deliver = \"allow_list\"".to_owned());
        }
        let mut listed = HashSet::new();
        for (index, entry) in allow_list.iter().enumerate() {
            let Some(normal) = normal(entry) else {
                return refuse(format!("number {} is no address and no domain", index + 1));
            };
            listed.insert(normal);
        }
        Ok(Self { mode, listed })
    }

    #[must_use]
    pub const fn mode(&self) -> DeliverMode {
        self.mode
    }

    /// True if mail to `address` may be written. A domain of the list stands for itself alone, not for those below it.
    #[must_use]
    pub fn allows(&self, address: &str) -> bool {
        if self.mode == DeliverMode::Live {
            return true;
        }
        // What can't be judged is not allowed.
        let Ok(address) = Address::parse(address) else {
            return false;
        };
        match self.mode {
            DeliverMode::Live => true,
            DeliverMode::AllowList => {
                self.listed.contains(address.domain()) || self.listed.contains(address.as_str())
            }
            DeliverMode::Simulator => address.domain() == SIMULATOR,
        }
    }

    /// What the claim is told of an entry with these parts.
    pub(crate) fn verdict(&self, rendered: &[u8]) -> Verdict {
        if self.mode == DeliverMode::Live {
            return Verdict::Send;
        }
        match unpack(rendered) {
            Ok(parts) => {
                let recipient = parts.recipient.unwrap_or_default();
                if self.allows(&recipient.address) {
                    Verdict::Send
                } else {
                    Verdict::NotAllowedHere
                }
            }
            // The attempt can't read them either, and ends the message for that reason.
            Err(_) => Verdict::Send,
        }
    }
}

/// The one spelling of an address, or of a domain.
fn normal(entry: &str) -> Option<String> {
    if entry.contains('@') {
        return Some(Address::parse(entry).ok()?.as_str().to_owned());
    }
    let address = Address::parse(&format!("postmaster@{entry}")).ok()?;
    Some(address.domain().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Deliver, DeliverMode};

    fn listing(entries: &[&str]) -> Result<Deliver, String> {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        Deliver::new(DeliverMode::AllowList, &entries).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_allows_its_addresses_and_domains_and_nobody_else() {
        let deliver = listing(&["ada@Example.ORG", "example.com", "Bücher.example"]).expect("a good list");
        for (address, allowed) in [
            ("ada@example.org", true),
            ("ada@EXAMPLE.org", true),
            ("grace@example.org", false),
            // Only its host may judge the case of a local part.
            ("Ada@example.org", false),
            ("anybody@example.com", true),
            ("anybody@mail.example.com", false),
            ("anybody@example.com.evil.example", false),
            ("anybody@notexample.com", false),
            ("a@xn--bcher-kva.example", true),
            ("success@simulator.amazonses.com", false),
            ("example.com", false),
            ("a@b@example.com", false),
            ("", false),
        ] {
            assert_eq!(deliver.allows(address), allowed, "{address}");
        }
    }

    #[test]
    fn the_simulator_is_one_domain() {
        let deliver = Deliver::new(DeliverMode::Simulator, &[]).expect("nothing else is needed");
        assert!(deliver.allows("success@simulator.amazonses.com"));
        assert!(deliver.allows("bounce+label@Simulator.AmazonSES.com"));
        assert!(!deliver.allows("ada@example.com"));
        assert!(!deliver.allows("a@sub.simulator.amazonses.com"));
        assert!(!deliver.allows("a@simulator.amazonses.com.example"));
        assert!(Deliver::live().allows("ada@example.com"));
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused_without_its_addresses() {
        let entries = ["ada@example.com".to_owned()];
        for mode in [DeliverMode::Live, DeliverMode::Simulator] {
            let error = Deliver::new(mode, &entries).err().expect("it limits nothing");
            assert!(error.to_string().contains("allow_list"), "{error}");
        }
        assert!(listing(&[]).is_err_and(|error| error.contains("allow_list")));
        for bad in ["", "@example.com", "ada@", "*", "two words", "a@b@c"] {
            let error = listing(&["example.com", bad]).err().expect(bad);
            assert!(error.contains("number 2"), "{bad}: {error}");
        }
    }
}
