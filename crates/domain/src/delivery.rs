//! What providers' events say of a message after it was taken, and what follows from them.
//!
//! Events come late, doubled and in any order, and some never come. So the state of a delivery is no sequence of steps but the
//! largest of what was heard, by two fixed orders: of one attempt by [`DeliveryState`]'s own order, of a message by
//! [`DeliveryState::weight`] over its attempts. A largest is the same whatever comes when, or twice. An event that proves an
//! earlier one implies it: what was opened was delivered, whether the delivery's own event came or not.

use std::collections::BTreeMap;

/// What a provider's event tells. Stored by its name; names are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The provider took the message and will try to deliver it.
    Sent,
    /// The mailbox's server did not take it yet; the provider goes on trying.
    Delayed,
    /// The mailbox's server took it.
    Delivered,
    /// It came back, or the provider gave up, for a reason that may pass.
    BouncedSoft,
    /// It came back for good: there is no such mailbox.
    BouncedHard,
    /// The recipient reported it as unwanted.
    Complained,
    /// The provider took it and then did not send it: its content.
    Rejected,
    /// The provider took it and then could not render it.
    RenderingFailed,
    Opened,
    Clicked,
    /// Opened by a machine, as the provider says: a mailbox's proxy that fetches all images, a scanner.
    MachineOpened,
    MachineClicked,
    /// By the provider's own link or header.
    Unsubscribed,
    /// A kind that this release does not know. It proves nothing.
    Other,
}

/// What an event proves about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The provider sent the message: by whichever attempt.
    Sent,
    /// The provider took this attempt: nothing of any other one.
    AttemptTaken,
    /// The provider did not send this attempt.
    AttemptNotSent,
    Nothing,
}

impl EventKind {
    pub const ALL: [Self; 14] = [
        Self::Sent,
        Self::Delayed,
        Self::Delivered,
        Self::BouncedSoft,
        Self::BouncedHard,
        Self::Complained,
        Self::Rejected,
        Self::RenderingFailed,
        Self::Opened,
        Self::Clicked,
        Self::MachineOpened,
        Self::MachineClicked,
        Self::Unsubscribed,
        Self::Other,
    ];

    /// The name in the ledger, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::BouncedSoft => "bounced_soft",
            Self::BouncedHard => "bounced_hard",
            Self::Complained => "complained",
            Self::Rejected => "rejected",
            Self::RenderingFailed => "rendering_failed",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::MachineOpened => "machine_opened",
            Self::MachineClicked => "machine_clicked",
            Self::Unsubscribed => "unsubscribed",
            Self::Other => "other",
        }
    }

    /// The kind of a name. A name of a newer release reads as [`EventKind::Other`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        let is_it = |kind: &Self| kind.as_str() == name;
        Self::ALL.into_iter().find(is_it).unwrap_or(Self::Other)
    }

    #[must_use]
    pub const fn proof(self) -> Proof {
        match self {
            Self::Sent
            | Self::Delayed
            | Self::Delivered
            | Self::Complained
            | Self::Opened
            | Self::Clicked
            | Self::MachineOpened
            | Self::MachineClicked
            | Self::Unsubscribed => Proof::Sent,
            Self::BouncedSoft | Self::BouncedHard => Proof::AttemptTaken,
            Self::Rejected | Self::RenderingFailed => Proof::AttemptNotSent,
            Self::Other => Proof::Nothing,
        }
    }

    /// How far it shows its attempt to have come; `None` if it shows nothing of that.
    #[must_use]
    pub const fn state(self) -> Option<DeliveryState> {
        Some(match self {
            Self::Sent => DeliveryState::Sent,
            Self::Delayed => DeliveryState::Delayed,
            Self::Rejected | Self::RenderingFailed => DeliveryState::NotSent,
            Self::Delivered
            | Self::Opened
            | Self::Clicked
            | Self::MachineOpened
            | Self::MachineClicked
            | Self::Unsubscribed => DeliveryState::Delivered,
            Self::BouncedSoft => DeliveryState::BouncedSoft,
            Self::BouncedHard => DeliveryState::BouncedHard,
            Self::Complained => DeliveryState::Complained,
            Self::Other => return None,
        })
    }
}

/// How far a delivery came. One attempt only ever moves on in this order: a mailbox's server may take a message and send it back
/// later, and a complaint is the last word of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryState {
    Sent,
    Delayed,
    NotSent,
    Delivered,
    BouncedSoft,
    BouncedHard,
    Complained,
}

impl DeliveryState {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delayed => "delayed",
            Self::NotSent => "not_sent",
            Self::Delivered => "delivered",
            Self::BouncedSoft => "bounced_soft",
            Self::BouncedHard => "bounced_hard",
            Self::Complained => "complained",
        }
    }

    /// Which of several attempts counts for the message, the largest: a complaint; else that it arrived, whatever became of the
    /// others; else that it is on its way; else why it is not.
    #[must_use]
    pub const fn weight(self) -> u8 {
        match self {
            Self::Complained => 6,
            Self::Delivered => 5,
            Self::Sent => 3,
            Self::Delayed => 4,
            Self::BouncedHard => 2,
            Self::BouncedSoft => 1,
            Self::NotSent => 0,
        }
    }

    /// The state of a message by all that was heard of its attempts, in any order and any number of times; `None` before anything
    /// was.
    #[must_use]
    pub fn of(events: impl IntoIterator<Item = (u32, EventKind)>) -> Option<Self> {
        let mut attempts: BTreeMap<u32, Self> = BTreeMap::new();
        for (attempt, kind) in events {
            if let Some(state) = kind.state() {
                let known = attempts.entry(attempt).or_insert(state);
                *known = state.max(*known);
            }
        }
        attempts.into_values().max_by_key(|state| state.weight())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DeliveryState, EventKind};

    fn kinds() -> impl Strategy<Value = EventKind> {
        (0..EventKind::ALL.len()).prop_map(|index| EventKind::ALL[index])
    }

    type History = Vec<(u32, EventKind)>;

    /// Some events, and the same in another order, some of them again.
    fn histories() -> impl Strategy<Value = (History, History)> {
        prop::collection::vec((1_u32..4, kinds()), 0..12).prop_flat_map(|events| {
            let shuffled = Just(events.clone()).prop_shuffle();
            let again = prop::sample::subsequence(events.clone(), 0..=events.len());
            (Just(events), shuffled, again).prop_map(|(events, mut other, again)| {
                other.extend(again);
                (events, other)
            })
        })
    }

    proptest! {
        #[test]
        fn neither_order_nor_doubles_change_the_state((events, other) in histories()) {
            prop_assert_eq!(DeliveryState::of(events), DeliveryState::of(other));
        }

        #[test]
        fn what_comes_later_never_takes_an_attempt_back(events in prop::collection::vec(kinds(), 1..12)) {
            let mut before = None;
            for end in 1..=events.len() {
                let heard = events[..end].iter().map(|&kind| (1, kind));
                let now = DeliveryState::of(heard);
                prop_assert!(now >= before, "{before:?} became {now:?}");
                before = now;
            }
        }

        #[test]
        fn a_message_that_arrived_has_arrived_whatever_other_attempts_did(
            events in prop::collection::vec((2_u32..4, kinds()), 0..12),
        ) {
            let arrived = [(1, EventKind::Delivered)].into_iter().chain(events);
            let state = DeliveryState::of(arrived);
            prop_assert!(matches!(state, Some(DeliveryState::Delivered | DeliveryState::Complained)), "{state:?}");
        }
    }

    #[test]
    fn the_states_of_histories_that_people_know() {
        use EventKind::{
            BouncedHard, BouncedSoft, Clicked, Complained, Delayed, Delivered, Opened, Other, Rejected, Sent,
        };
        let of = |kinds: &[EventKind]| DeliveryState::of(kinds.iter().map(|&kind| (1, kind)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Other]), None);
        assert_eq!(of(&[Delayed, Sent]), Some(DeliveryState::Delayed));
        assert_eq!(of(&[Sent, Delayed, Delivered]), Some(DeliveryState::Delivered));
        assert_eq!(of(&[Opened]), Some(DeliveryState::Delivered));
        assert_eq!(
            of(&[Sent, Clicked, BouncedSoft]),
            Some(DeliveryState::BouncedSoft)
        );
        assert_eq!(of(&[BouncedHard, Delivered]), Some(DeliveryState::BouncedHard));
        assert_eq!(
            of(&[Complained, Opened, BouncedHard]),
            Some(DeliveryState::Complained)
        );
        assert_eq!(of(&[Rejected, Sent]), Some(DeliveryState::NotSent));
        let resent = [(1, BouncedSoft), (2, Sent)];
        assert_eq!(DeliveryState::of(resent), Some(DeliveryState::Sent));
    }

    #[test]
    fn every_kind_reads_back_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::named(kind.as_str()), kind);
        }
        assert_eq!(EventKind::named("of_a_newer_release"), EventKind::Other);
    }
}
