//! What the ledger takes and gives.

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;

/// A message as its acceptance has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedMessage {
    pub id: MessageId,
    pub accepted_at: Millis,
    pub tenant: String,
    pub template: String,
    /// SHA-256 of the template's bundle.
    pub bundle_hash: Vec<u8>,
    pub lane: Lane,
    pub identity: String,
    /// Keyed hash of the recipient's address; empty once erased, or not known.
    pub recipient: Vec<u8>,
    /// Keyed hash of the caller's user id; as above.
    pub user_hash: Vec<u8>,
    pub send_at: Millis,
    pub expires_at: Millis,
    /// JSON: `[[name, value], ...]`.
    pub tags: String,
    /// Keyed digests of the fields that enter the id, as they came.
    pub digests: Vec<u8>,
}

/// A transition of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub id: MessageId,
    pub accepted_at: Millis,
    pub revision: u32,
    pub state: State,
    pub reason: Reason,
    pub attempt: u32,
    pub at: Millis,
    /// Of a claim: when what it claimed was rendered, by the renderer's clock. 0 where it is not known, and of all else.
    pub rendered_at: Millis,
}

/// What a person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Names the act: written again, it changes nothing.
    pub id: String,
    pub at: Millis,
    pub act: String,
    pub who: String,
    pub why: String,
    pub tenant: String,
    pub messages: Vec<MessageId>,
}

/// What [`Ledger::append`](crate::Ledger::append) found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Moves that were not there before.
    pub moves: u64,
    /// Revisions that have another content already: Redis lost writes.
    pub conflicts: u64,
}

/// An outcome to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The provider's own id of the event: written again, it changes nothing.
    pub id: String,
    pub message_id: MessageId,
    pub accepted_at: Millis,
    pub attempt: u32,
    pub tenant: String,
    pub template: String,
    pub lane: Lane,
    /// "delivered", "bounced", ...; a kind that this release does not know is kept as it came.
    pub kind: String,
    pub at: Millis,
    pub received_at: Millis,
    /// JSON without personal data.
    pub detail: String,
}

/// An outcome, and its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Rises; not without gaps.
    pub seq: u64,
    pub event: NewEvent,
}

/// A message and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub message: LoggedMessage,
    /// `None`: of a newer release, or nothing was copied yet.
    pub state: Option<State>,
    pub reason: Reason,
    pub revision: u32,
    pub changed_at: Millis,
    /// When it was forgotten whose it was; 0 if it was not.
    pub erased_at: Millis,
}

/// Which sums are asked for; empty texts and `None` are all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumFilter {
    pub tenant: String,
    pub template: String,
    pub lane: Option<Lane>,
    /// Days since the Unix epoch, UTC, both included.
    pub days: (u64, u64),
}

/// Events of one kind on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub tenant: String,
    pub template: String,
    pub lane: Lane,
    pub day: u64,
    pub kind: String,
    pub events: u64,
    /// Messages of which this was the first event of the kind.
    pub messages: u64,
}

/// How lanes are stored.
pub(crate) const fn lane_code(lane: Lane) -> i64 {
    match lane {
        Lane::Transactional => 1,
        Lane::Bulk => 2,
    }
}

pub(crate) const fn lane(code: i64) -> Lane {
    match code {
        2 => Lane::Bulk,
        _ => Lane::Transactional,
    }
}
