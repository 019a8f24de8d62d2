//! Why a message is where it is, as a code that records, metrics and answers share.

/// Defines the codes once: their number in the stored record, and their name everywhere else.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A reason's code. Numbers are stored and never reused.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reason {
            /// Nothing to say.
            #[default]
            None = 0,
            $($(#[$doc])* $variant = $number,)*
        }

        impl Reason {
            pub const ALL: &'static [Self] = &[Self::None, $(Self::$variant,)*];

            /// The name in metrics, logs and answers; empty for [`Reason::None`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::None => "",
                    $(Self::$variant => $name,)*
                }
            }

            /// The reason of a name. A name of a newer release reads as [`Reason::Other`].
            #[must_use]
            pub fn named(name: &str) -> Self {
                let is_it = |reason: &&Self| reason.as_str() == name;
                Self::ALL.iter().find(is_it).copied().unwrap_or(Self::Other)
            }

            /// The number in a stored record.
            #[must_use]
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The reason of a stored number. A number of a newer release reads as [`Reason::Other`].
            #[must_use]
            pub const fn from_code(code: u16) -> Self {
                match code {
                    0 => Self::None,
                    $($number => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

reasons! {
    /// A code that this release does not know.
    Other = 1, "other";

    // Refused for this message's own sake.
    /// The provider refused the message: bad content or recipient (SES MessageRejected, BadRequestException).
    MessageRefused = 10, "message_refused";
    /// The request was larger than the provider takes (413).
    MessageTooLarge = 11, "message_too_large";
    /// Out of tries; each one failed for the message's own reasons.
    TriesExhausted = 12, "tries_exhausted";

    // Rendering.
    /// The template could not be rendered with this data.
    RenderFailed = 20, "render_failed";
    /// The bundle was not to be found.
    BundleMissing = 21, "bundle_missing";
    /// The request was not to be found.
    RequestMissing = 22, "request_missing";
    /// What is stored could not be read.
    RecordCorrupt = 23, "record_corrupt";
    /// Redis took no rendered mail (out of memory, too few replicas).
    StoreFull = 24, "store_full";
    /// Read five times alone without an end.
    PoisonEntry = 25, "poison_entry";
    /// Its mail must have a link to unsubscribe, and the renderer's settings do not say how.
    UnsubscribeUnset = 26, "unsubscribe_unset";
    /// An attachment's url is not allowed here, its store refuses it, or what is there is too large.
    AttachmentRefused = 27, "attachment_refused";
    /// An attachment's store does not answer, or not now.
    AttachmentUnavailable = 28, "attachment_unavailable";
    /// What is at an attachment's url is not what its SHA-256 says.
    AttachmentChanged = 29, "attachment_changed";

    // The account or the identity, not the message.
    /// The provider's rate was exceeded.
    Throttled = 30, "throttled";
    /// The provider's daily quota is used up.
    DailyQuota = 31, "daily_quota";
    AccountPaused = 32, "account_paused";
    AccountSuspended = 33, "account_suspended";
    CredentialsRefused = 34, "credentials_refused";
    /// The From address, its domain or the MAIL FROM domain is not verified.
    FromNotVerified = 35, "from_not_verified";
    /// A configuration set, tenant or identity that we name does not exist at the provider.
    ConfigurationMissing = 36, "configuration_missing";
    /// The key is paused for another message's refusal.
    KeyPaused = 37, "key_paused";

    // Not written, or no outcome.
    /// No connection was made: provably not sent.
    NotConnected = 40, "not_connected";
    /// The provider said that it failed, and that it did not send.
    ProviderUnavailable = 41, "provider_unavailable";
    /// The claim, the rate lease or `expires_at` ran out before the request was written.
    NotWritten = 42, "not_written";
    /// No answer in time.
    Timeout = 43, "timeout";
    /// The connection broke after the request was written.
    ConnectionLost = 44, "connection_lost";
    /// An answer that can't be read, or a failure that proves nothing.
    AnswerUnclear = 45, "answer_unclear";
    /// The sender that had claimed it is gone.
    ClaimLapsed = 46, "claim_lapsed";
    /// The window for evidence is over.
    DoubtUnsettled = 47, "doubt_unsettled";
    /// A refusal (4xx) that the provider did not name, or by a name that this release does not know. It tells nothing of how the
    /// provider is.
    RefusalUnclear = 49, "refusal_unclear";
    /// Sent once more by the template's policy.
    DoubtResent = 48, "doubt_resent";

    // Ends by wish or by time.
    CancelledByCaller = 60, "cancelled_by_caller";
    PastExpiry = 61, "past_expiry";
    AddressSuppressed = 62, "address_suppressed";
    Redriven = 63, "redriven";
    Resubmitted = 64, "resubmitted";
    DiscardedByOperator = 65, "discarded_by_operator";
    Stopped = 66, "stopped";
    /// Evidence by a provider's event.
    EventSaysSent = 67, "event_says_sent";
    /// This deployment does not write to the address.
    NotAllowedHere = 68, "not_allowed_here";
    /// What was known of its recipient was erased.
    Erased = 69, "erased";
    /// The address is suppressed: there is no such mailbox.
    HardBounced = 70, "hard_bounced";
    /// The address is suppressed: the person complained.
    Complained = 71, "complained";
    /// The address is suppressed: the person unsubscribed.
    Unsubscribed = 72, "unsubscribed";
    /// A person said of a doubt that it was not sent.
    SettledByOperator = 80, "settled_by_operator";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_code_reads_back_as_its_reason() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), reason);
            assert_eq!(Reason::named(reason.as_str()), reason);
        }
        assert_eq!(Reason::from_code(9_999), Reason::Other);
        assert_eq!(Reason::named("of a newer release"), Reason::Other);
    }
}
