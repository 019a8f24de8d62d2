//! A queued entry that is a message, and what it turns into.

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::Ticket;
use paceline_domain::stop::StopMode;
use paceline_domain::time::Millis;
use paceline_store::{HandOff, Stopped, StreamKey, Unrendered};

use crate::kept::Packed;

/// A message of the batch.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) stream: StreamKey,
    pub(crate) entry_id: String,
    pub(crate) id: MessageId,
    pub(crate) ticket: Ticket,
}

impl Job {
    pub(crate) fn stopped(self, mode: StopMode) -> Stopped {
        Stopped {
            stream: self.stream,
            entry_id: self.entry_id,
            id: self.id,
            ticket: self.ticket,
            cancel: mode == StopMode::Cancel,
        }
    }

    pub(crate) fn unrendered(self, reason: Reason) -> Unrendered {
        Unrendered {
            stream: self.stream,
            entry_id: self.entry_id,
            id: self.id,
            ticket: self.ticket,
            reason,
        }
    }

    /// With the `act` that the log is to have, or nothing.
    pub(crate) fn hand_off(self, packed: Packed, act: Bytes, rendered_at: Millis) -> HandOff {
        HandOff {
            stream: self.stream,
            entry_id: self.entry_id,
            id: self.id,
            ticket: self.ticket,
            rendered: packed.parts,
            to: packed.to,
            kept: packed.kept,
            act,
            rendered_at,
        }
    }
}
