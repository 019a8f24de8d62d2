//! Between the domain's types and the contracts'.
//!
//! What a domain type can say, the contract can: these directions can't fail. Back, an enum's number or a timestamp may be
//! one that this release does not know, and says so by its own error.

use paceline_domain::address::{AddressError, Mailbox};
use paceline_domain::id::MessageId;
use paceline_domain::lane::{Lane, UnknownLane};
use paceline_domain::record::{Record, State};
use paceline_domain::time::Millis;
use prost_types::Timestamp;

use crate::v1;

/// A timestamp that a record can't hold: before 1970, after the year 10889, or with nanoseconds out of their range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time from 1970 on")]
pub struct InvalidTimestamp;

/// A state's number that this release does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this release")]
pub struct UnknownState;

/// The message as the contract shows it. Times that are zero, "not set" in a record, are absent.
#[must_use]
pub fn message(id: MessageId, record: &Record) -> v1::Message {
    v1::Message {
        message_id: id.to_string(),
        state: v1::MessageState::from(record.state).into(),
        reason: record.reason.as_str().to_owned(),
        tenant: record.tenant.clone(),
        template: record.template.clone(),
        lane: v1::Lane::from(record.lane).into(),
        identity: record.identity.clone(),
        accepted_at: timestamp_if_set(record.accepted_at),
        changed_at: timestamp_if_set(record.changed_at),
        send_at: timestamp_if_set(record.send_at),
        expires_at: timestamp_if_set(record.expires_at),
        due_at: timestamp_if_set(record.due_at),
        attempt: record.attempt,
        tries: record.tries,
        revision: record.revision,
        generation: record.generation,
        maybe_sent: record.maybe_sent,
        provider: record
            .provider
            .map(|provider| provider.as_str().to_owned())
            .unwrap_or_default(),
        provider_message_id: record.provider_id.clone(),
    }
}

/// A point in time as the contracts write it.
#[must_use]
pub fn timestamp(at: Millis) -> Timestamp {
    let seconds = at.0 / 1_000;
    let nanos = u32::try_from(at.0 % 1_000).unwrap_or(0) * 1_000_000;
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// The same, where zero stands for "not set".
#[must_use]
pub fn timestamp_if_set(at: Millis) -> Option<Timestamp> {
    (at != Millis::default()).then(|| timestamp(at))
}

/// A point in time as the domain counts it, cut to the millisecond.
///
/// # Errors
/// If a record could not hold it.
pub fn millis(at: &Timestamp) -> Result<Millis, InvalidTimestamp> {
    let seconds = u64::try_from(at.seconds).map_err(|_| InvalidTimestamp)?;
    let nanos = u64::try_from(at.nanos).map_err(|_| InvalidTimestamp)?;
    if nanos >= 1_000_000_000 {
        return Err(InvalidTimestamp);
    }
    seconds
        .checked_mul(1_000)
        .and_then(|millis| millis.checked_add(nanos / 1_000_000))
        .map(Millis)
        .filter(|millis| *millis <= Millis::MAX)
        .ok_or(InvalidTimestamp)
}

/// An address and its display name, checked and normalised.
///
/// # Errors
/// The rule that one of the two broke.
pub fn mailbox(given: &v1::Mailbox) -> Result<Mailbox, AddressError> {
    Mailbox::parse(&given.address, &given.display_name)
}

/// The lane of a request; `None` leaves the choice to the template.
///
/// # Errors
/// If the number is no lane of this release.
pub fn lane(number: i32) -> Result<Option<Lane>, UnknownLane> {
    match v1::Lane::try_from(number) {
        Ok(v1::Lane::Unspecified) => Ok(None),
        Ok(v1::Lane::Transactional) => Ok(Some(Lane::Transactional)),
        Ok(v1::Lane::Bulk) => Ok(Some(Lane::Bulk)),
        Err(_) => Err(UnknownLane),
    }
}

/// The state behind its number.
///
/// # Errors
/// If the number is no state of this release, or unspecified.
pub fn state(number: i32) -> Result<State, UnknownState> {
    v1::MessageState::try_from(number)
        .ok()
        .and_then(|wanted| {
            State::ALL
                .into_iter()
                .find(|state| v1::MessageState::from(*state) == wanted)
        })
        .ok_or(UnknownState)
}

impl From<&Mailbox> for v1::Mailbox {
    fn from(mailbox: &Mailbox) -> Self {
        Self {
            address: mailbox.address().as_str().to_owned(),
            display_name: mailbox.display_name().unwrap_or_default().to_owned(),
        }
    }
}

impl From<Lane> for v1::Lane {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Transactional => Self::Transactional,
            Lane::Bulk => Self::Bulk,
        }
    }
}

impl From<State> for v1::MessageState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Scheduled => Self::Scheduled,
            State::Sending => Self::Sending,
            State::Deferred => Self::Deferred,
            State::InDoubt => Self::InDoubt,
            State::Held => Self::Held,
            State::Accepted => Self::Accepted,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
            State::Expired => Self::Expired,
            State::Suppressed => Self::Suppressed,
            State::Discarded => Self::Discarded,
        }
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_domain::record::State;
    use paceline_domain::time::Millis;
    use prost_types::Timestamp;

    use super::{InvalidTimestamp, lane, mailbox, millis, state, timestamp, timestamp_if_set};
    use crate::v1;

    #[test]
    fn times_read_back_to_the_millisecond() {
        for at in [Millis(0), Millis(1), Millis(1_700_000_000_123), Millis::MAX] {
            assert_eq!(millis(&timestamp(at)), Ok(at));
        }
        assert_eq!(timestamp_if_set(Millis(0)), None);
    }

    #[test]
    fn times_that_no_record_holds_are_refused() {
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (1 << 40, 0)] {
            assert_eq!(
                millis(&Timestamp { seconds, nanos }),
                Err(InvalidTimestamp),
                "{seconds} {nanos}"
            );
        }
    }

    #[test]
    fn mailboxes_are_normalised_on_their_way_in() {
        let given = v1::Mailbox {
            address: "Ada@Example.COM".to_owned(),
            display_name: " Ada ".to_owned(),
        };
        let read = v1::Mailbox::from(&mailbox(&given).expect("a good mailbox"));
        assert_eq!(
            (read.address.as_str(), read.display_name.as_str()),
            ("Ada@example.com", "Ada")
        );
    }

    #[test]
    fn every_state_and_lane_reads_back() {
        for expected in State::ALL {
            assert_eq!(state(v1::MessageState::from(expected).into()), Ok(expected));
        }
        assert!(state(0).is_err() && state(99).is_err());
        for expected in Lane::ALL {
            let read = lane(v1::Lane::from(expected).into()).expect("its own number");
            assert_eq!(read, Some(expected));
        }
        assert_eq!(lane(0).expect("the template's"), None);
        assert!(lane(7).is_err());
    }
}
