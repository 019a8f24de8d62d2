//! Which senders say that the provider refuses the account or the identity.
//!
//! Each sender probes a refused key with other messages on its own; here the refusal bounds what all of them may do meanwhile. Mail
//! that is accepted from anyone overrules what was said before it, until somebody says it anew. What a sender says beside accepted mail
//! counts once it says so again without any: a refusal that was over before the next call bounds nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lease::HolderId;
use crate::reason::Reason;

/// What each sender says. One entry for each living sender at the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusals {
    by: BTreeMap<HolderId, Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    /// The code of a [`Reason`].
    code: u16,
    overruled: bool,
    /// Said beside accepted mail so far.
    #[serde(default)]
    doubtful: bool,
}

impl Refusals {
    /// A sender says so, or says nothing of the kind any more; `accepted` if it had mail accepted since its last word. True if it
    /// is new.
    pub(super) fn say(&mut self, holder: HolderId, code: Option<u16>, accepted: bool) -> bool {
        let Some(code) = code else {
            self.by.remove(&holder);
            return false;
        };
        if let Some(known) = self.by.get_mut(&holder).filter(|known| known.code == code) {
            known.doubtful &= accepted;
            return false;
        }
        let refusal = Refusal {
            code,
            overruled: false,
            doubtful: accepted,
        };
        self.by.insert(holder, refusal);
        true
    }

    /// Mail was accepted.
    pub(super) fn overrule(&mut self) {
        let standing = self.by.values_mut().filter(|refusal| !refusal.doubtful);
        standing.for_each(|refusal| refusal.overruled = true);
    }

    pub(super) fn forget(&mut self, holder: HolderId) {
        self.by.remove(&holder);
    }

    /// What is said and neither overruled nor doubtful. A quota that is used up is a matter of the quota.
    pub(super) fn reason(&self) -> Option<Reason> {
        let standing = self
            .by
            .values()
            .filter(|refusal| !refusal.overruled && !refusal.doubtful);
        standing
            .map(|refusal| Reason::from_code(refusal.code))
            .find(|reason| *reason != Reason::DailyQuota)
    }
}
