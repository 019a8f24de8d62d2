//! By which provider an identity's mail goes, as the coordinator says. Pure.
//!
//! The newest word counts, by the leader's epoch and the version of its decision; an older one that comes late changes nothing.
//! Without an answer the last word stays, and nothing is sent by it once the leases have lapsed.

use paceline_domain::record::Provider;
use paceline_wire::v1;

/// The newest word of one identity's route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    by: Provider,
    /// Epoch and version of the word; `None` before the first.
    order: Option<(u64, u64)>,
    /// The other provider, while it is probed.
    probe: Option<Provider>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            by: Provider::Ses,
            order: None,
            probe: None,
        }
    }
}

impl Route {
    pub(super) const fn by(&self) -> Provider {
        self.by
    }

    pub(super) const fn probe(&self) -> Option<Provider> {
        self.probe
    }

    /// True if mail may go by the provider now.
    pub(super) fn leads_to(&self, provider: Provider) -> bool {
        self.by == provider || self.probe == Some(provider)
    }

    /// Takes an answer of the coordinator of `epoch`; `word` is what it says of this identity, `None` for nothing, as one does that
    /// knows no routes. True if mail goes by another provider from here on.
    pub(super) fn hear(&mut self, word: Option<&v1::Route>, epoch: u64) -> bool {
        let (by, order, probe) = match word {
            Some(word) => {
                // A provider of a newer release is none that mail could go by from here.
                let Some(by) = Provider::named(&word.provider) else {
                    return false;
                };
                (by, (word.epoch, word.version), Provider::named(&word.probe))
            }
            None => (Provider::Ses, (epoch, 0), None),
        };
        let known = self.order.unwrap_or_default();
        let is_older = if word.is_some() {
            order < known
        } else {
            // Within an epoch one that tells routes goes on telling them.
            order.0 <= known.0 && self.order.is_some()
        };
        if is_older {
            return false;
        }
        let is_other = self.by != by;
        *self = Self {
            by,
            order: Some(order),
            probe: probe.filter(|probe| *probe != by),
        };
        is_other
    }

    /// The word as the coordinator is told of it; `None` before the first.
    pub(super) fn word(&self, identity: &str) -> Option<v1::Route> {
        let (epoch, version) = self.order?;
        Some(v1::Route {
            identity: identity.to_owned(),
            provider: self.by.as_str().to_owned(),
            epoch,
            version,
            probe: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::record::Provider;
    use paceline_wire::v1;

    use super::Route;

    fn word(provider: &str, epoch: u64, version: u64, probe: &str) -> v1::Route {
        v1::Route {
            identity: "main".to_owned(),
            provider: provider.to_owned(),
            epoch,
            version,
            probe: probe.to_owned(),
        }
    }

    #[test]
    fn the_newest_word_counts_whenever_it_comes() {
        let mut route = Route::default();
        assert_eq!((route.by(), route.word("main")), (Provider::Ses, None));
        assert!(route.hear(Some(&word("mailgun", 3, 1, "")), 3));
        for older in [word("ses", 3, 0, ""), word("ses", 2, 9, "")] {
            assert!(!route.hear(Some(&older), older.epoch));
        }
        assert!(!route.hear(Some(&word("a_newer_one", 9, 9, "")), 9));
        assert_eq!(route.by(), Provider::Mailgun);
        assert_eq!(route.word("main"), Some(word("mailgun", 3, 1, "")));
        assert!(route.hear(Some(&word("ses", 4, 0, "")), 4), "a newer leader");
    }

    #[test]
    fn a_probe_leads_besides_and_ends_with_the_next_word() {
        let mut route = Route::default();
        route.hear(Some(&word("mailgun", 1, 1, "ses")), 1);
        assert!(route.leads_to(Provider::Mailgun) && route.leads_to(Provider::Ses));
        assert!(!route.hear(Some(&word("mailgun", 1, 1, "")), 1), "the same way");
        assert!(!route.leads_to(Provider::Ses));
    }

    #[test]
    fn a_coordinator_that_knows_no_routes_means_ses() {
        let mut route = Route::default();
        assert!(!route.hear(None, 1));
        route.hear(Some(&word("mailgun", 2, 1, "")), 2);
        assert!(!route.hear(None, 1), "an older one");
        assert_eq!(route.by(), Provider::Mailgun);
        assert!(route.hear(None, 3));
        assert_eq!(route.by(), Provider::Ses);
    }
}
