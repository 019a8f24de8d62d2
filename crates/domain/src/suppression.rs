//! Who is not written to any more: the reasons, and which mail each of them stops.
//!
//! | suppressed for | stops |
//! |---|---|
//! | a hard bounce; by hand | everything of the tenant |
//! | a complaint | bulk; transactional mail too, unless its template says otherwise |
//! | an unsubscription from a category | the mail of that category, in whichever lane it goes |
//! | an unsubscription from everything | bulk, and the mail of every category |

use std::fmt;
use std::str::FromStr;

use crate::lane::Lane;
use crate::reason::Reason;

/// The category of bulk mail whose template names none.
pub const BULK_CATEGORY: &str = "bulk";

/// The bytes of a category's name.
pub const CATEGORY_BYTES_MAX: usize = 64;

/// Why an address is suppressed. Letters are stored and never reused; the order is that of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuppressionReason {
    /// The person does not want mail of a category, or none but transactional mail.
    Unsubscribe,
    /// The person told the mailbox's provider that a message was spam.
    Complaint,
    /// Somebody decided so.
    Manual,
    /// There is no such mailbox.
    HardBounce,
}

impl SuppressionReason {
    pub const ALL: [Self; 4] = [Self::Unsubscribe, Self::Complaint, Self::Manual, Self::HardBounce];

    /// The name in files, settings and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubscribe => "unsubscribe",
            Self::Complaint => "complaint",
            Self::Manual => "manual",
            Self::HardBounce => "hard_bounce",
        }
    }

    /// The letter in stored forms.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Unsubscribe => b'u',
            Self::Complaint => b'c',
            Self::Manual => b'm',
            Self::HardBounce => b'b',
        }
    }

    /// The reason of a stored letter. A letter of a newer release reads as [`SuppressionReason::Manual`], which stops everything.
    #[must_use]
    pub fn from_letter(letter: u8) -> Self {
        let is_it = |reason: &Self| reason.letter() == letter;
        Self::ALL.into_iter().find(is_it).unwrap_or(Self::Manual)
    }
}

impl fmt::Display for SuppressionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of unsubscribe, complaint, manual, hard_bounce")]
pub struct UnknownSuppressionReason;

impl FromStr for SuppressionReason {
    type Err = UnknownSuppressionReason;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name)
            .ok_or(UnknownSuppressionReason)
    }
}

/// A name that is no category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {CATEGORY_BYTES_MAX} of the characters a-z, 0-9, _ and -")]
pub struct InvalidCategory;

/// Holds a category's name to its form.
///
/// # Errors
/// If it is empty, too long, or has another character.
pub fn check_category(name: &str) -> Result<(), InvalidCategory> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=CATEGORY_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidCategory)
    }
}

/// What an address is suppressed for, as far as one message is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// For the whole tenant.
    pub tenant: Option<SuppressionReason>,
    /// For the message's category.
    pub category: Option<SuppressionReason>,
}

/// What of a message decides whether a suppression stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stoppable {
    pub lane: Lane,
    /// True if the message has a category.
    pub has_category: bool,
    /// The template's wish: transactional mail goes although the person complained.
    pub despite_complaint: bool,
}

/// Why a message must not be sent; `None` if it may.
#[must_use]
pub fn judge(suppressed: Suppressed, message: Stoppable) -> Option<Reason> {
    let bulk = message.lane == Lane::Bulk;
    let for_tenant = suppressed.tenant.and_then(|reason| match reason {
        SuppressionReason::HardBounce => Some(Reason::HardBounced),
        SuppressionReason::Manual => Some(Reason::AddressSuppressed),
        SuppressionReason::Complaint => (bulk || !message.despite_complaint).then_some(Reason::Complained),
        SuppressionReason::Unsubscribe => (bulk || message.has_category).then_some(Reason::Unsubscribed),
    });
    for_tenant.or_else(|| {
        suppressed.category.map(|reason| match reason {
            SuppressionReason::Unsubscribe => Reason::Unsubscribed,
            SuppressionReason::Complaint => Reason::Complained,
            SuppressionReason::HardBounce => Reason::HardBounced,
            SuppressionReason::Manual => Reason::AddressSuppressed,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Stoppable, Suppressed, SuppressionReason, check_category, judge};
    use crate::lane::Lane;
    use crate::reason::Reason;

    const BULK: Stoppable = Stoppable {
        lane: Lane::Bulk,
        has_category: true,
        despite_complaint: false,
    };
    const RESET: Stoppable = Stoppable {
        lane: Lane::Transactional,
        has_category: false,
        despite_complaint: false,
    };

    #[test]
    fn each_reason_stops_what_it_is_for() {
        use SuppressionReason::{Complaint, HardBounce, Manual, Unsubscribe};
        let despite = Stoppable {
            despite_complaint: true,
            ..RESET
        };
        let digest = Stoppable {
            has_category: true,
            ..RESET
        };
        let tenant = |reason| Suppressed {
            tenant: Some(reason),
            category: None,
        };
        let category = |reason| Suppressed {
            tenant: None,
            category: Some(reason),
        };
        for (suppressed, message, reason) in [
            (Suppressed::default(), BULK, None),
            (tenant(HardBounce), BULK, Some(Reason::HardBounced)),
            (tenant(HardBounce), despite, Some(Reason::HardBounced)),
            (tenant(Manual), RESET, Some(Reason::AddressSuppressed)),
            (tenant(Complaint), BULK, Some(Reason::Complained)),
            (tenant(Complaint), RESET, Some(Reason::Complained)),
            (tenant(Complaint), despite, None),
            (tenant(Unsubscribe), BULK, Some(Reason::Unsubscribed)),
            (tenant(Unsubscribe), digest, Some(Reason::Unsubscribed)),
            (tenant(Unsubscribe), RESET, None),
            (category(Unsubscribe), BULK, Some(Reason::Unsubscribed)),
            (category(Unsubscribe), digest, Some(Reason::Unsubscribed)),
        ] {
            assert_eq!(judge(suppressed, message), reason, "{suppressed:?} {message:?}");
        }
        // What a complaint lets through, an unsubscription may still stop.
        let both = Suppressed {
            tenant: Some(Complaint),
            category: Some(Unsubscribe),
        };
        assert_eq!(
            judge(
                both,
                Stoppable {
                    has_category: true,
                    ..despite
                }
            ),
            Some(Reason::Unsubscribed)
        );
    }

    #[test]
    fn letters_and_names_read_back() {
        for reason in SuppressionReason::ALL {
            assert_eq!(SuppressionReason::from_letter(reason.letter()), reason);
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert_eq!(SuppressionReason::from_letter(b'?'), SuppressionReason::Manual);
        assert!("spam".parse::<SuppressionReason>().is_err());
    }

    #[test]
    fn a_category_is_a_short_name() {
        for good in ["news", "a", "weekly-2_x", &"x".repeat(64)] {
            check_category(good).expect(good);
        }
        for bad in ["", "News", "a b", "a\0b", "ü", &"x".repeat(65)] {
            check_category(bad).expect_err(bad);
        }
    }
}
