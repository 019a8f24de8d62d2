//! What goes into the store's operations and what comes out.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Nonce, Provider, Record, Ticket};
use paceline_domain::time::Millis;

use crate::Durability;
use crate::StoreError;
use crate::keys::StreamKey;
use crate::runs::{Hold, Run};
use crate::suppressions::Addressee;

/// A message to accept.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub id: MessageId,
    /// What the caller and the template say. State, counters and times of the acceptance are the script's; a zero `send_at`
    /// is "at once", a zero `expires_at` no wish.
    pub record: Record,
    /// The template's time to live.
    pub ttl: Duration,
    /// The request, as the renderer will read it.
    pub request: Bytes,
    /// What the ledger is to know of it: `LoggedMessages` with this one. Empty where there is no ledger.
    pub logged: Bytes,
    /// Takes up again what ended provably unsent.
    pub resubmit: bool,
    /// When it counts as kept; the deployment's level if that is more.
    pub durability: Durability,
}

/// What became of a [`NewMessage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    New(Record),
    /// The message was there, as the record says. With a key, the caller compares the digests.
    Duplicate(Record),
    /// It had ended unsent and is on its way again.
    Resubmitted(Record),
    /// A resubmission under the same key with other content; nothing changed.
    KeyConflict(Record),
    /// The record has a format of a newer release; nothing changed.
    Newer,
    /// The record can't be read; nothing changed.
    Corrupt,
}

/// What became of one message in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Moved(Record),
    /// The event does not apply; the record as it stands.
    Unchanged(Record),
    /// There is no such message (any more).
    Missing,
    /// The record has a format of a newer release and was left alone.
    Newer,
    /// The record can't be read.
    Corrupt,
}

/// An entry of a stream, delivered to this consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub stream: StreamKey,
    pub entry_id: String,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    pub body: EntryBody,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryBody {
    Message {
        id: MessageId,
        ticket: Ticket,
        /// The rendered parts, compressed; in ready streams only.
        rendered: Option<Bytes>,
        /// `None` where a renderer of another release has left it to the sender to find out.
        to: Option<Addressee>,
        /// By the renderer's clock; 0 in queued streams, and where a renderer of an older release said nothing of it.
        rendered_at: Millis,
    },
    /// Of a newer release: give it back.
    Newer,
    /// Not an entry of ours.
    Corrupt,
}

/// A rendered message, on its way from its queue to the senders.
#[derive(Clone, Debug)]
pub struct HandOff {
    /// The queued entry's stream and id.
    pub stream: StreamKey,
    pub entry_id: String,
    pub id: MessageId,
    pub ticket: Ticket,
    /// The rendered parts, compressed.
    pub rendered: Bytes,
    /// `None` leaves it to the sender to find out.
    pub to: Option<Addressee>,
    /// `KeptParts` for the log, where the template keeps them; else empty.
    pub kept: Bytes,
    /// A `LoggedAct` for the log, of a message that a fallback rendered; else empty.
    pub act: Bytes,
    /// By the renderer's clock.
    pub rendered_at: Millis,
}

/// How far the hand-off of a message came.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandOffError {
    /// It may be tried again as a whole.
    #[error("not added to the ready stream: {0}")]
    NotAdded(StoreError),
    /// The rendered message is ready and only its queued entry is still there: another hand-off would add another copy, so
    /// only `settle_handed_off` may follow.
    #[error("added to the ready stream, the queued entry not ended: {0}")]
    NotSettled(StoreError),
}

/// A queued message that can't be rendered.
#[derive(Clone, Debug)]
pub struct Unrendered {
    /// The queued entry's stream and id.
    pub stream: StreamKey,
    pub entry_id: String,
    pub id: MessageId,
    pub ticket: Ticket,
    pub reason: Reason,
}

/// What was found out about a message before its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Send,
    /// The address is suppressed, for this reason.
    Suppressed(Reason),
    /// This deployment does not write to the address.
    NotAllowedHere,
}

impl Verdict {
    /// Why the message is not to be sent; `None` where it is.
    #[must_use]
    pub const fn suppression(self) -> Option<Reason> {
        match self {
            Self::Send => None,
            Self::Suppressed(reason) => Some(reason),
            Self::NotAllowedHere => Some(Reason::NotAllowedHere),
        }
    }
}

/// Who claims, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// New for each call.
    pub nonce: Nonce,
    pub lease: Duration,
    pub provider: Provider,
    /// Where claims may be lost, the run of Redis that the caller stands on: see [`Store::hold`](crate::Store::hold).
    pub run: Option<&'a Run>,
}

/// A ready entry to claim.
#[derive(Clone, Debug)]
pub struct ClaimItem {
    pub stream: StreamKey,
    pub entry_id: String,
    pub id: MessageId,
    pub ticket: Ticket,
    pub verdict: Verdict,
    /// As the entry has it, for the log.
    pub rendered_at: Millis,
}

/// What became of a call that claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claims {
    /// Each item is answered for itself.
    Made(Vec<Claimed>),
    /// Nothing was claimed and nothing changed: Redis is another one than the caller stands on, or was replaced just now.
    Held(Hold),
}

impl Claims {
    /// The answers; `None` if nothing was claimed.
    #[must_use]
    pub fn made(self) -> Option<Vec<Claimed>> {
        match self {
            Self::Made(claims) => Some(claims),
            Self::Held(_) => None,
        }
    }
}

/// What became of a [`ClaimItem`]. The entry is gone in every case but `Newer`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived, and nearly always the large one"
)]
pub enum Claimed {
    /// It is ours until the record's `due_at`.
    Sending(Record),
    /// The entry matched no queued record: a second copy, or cancelled meanwhile.
    Dropped,
    Expired,
    Suppressed,
    /// Left where it is.
    Newer,
    /// The record can't be read; its id stands among the dead letters.
    Corrupt,
}

/// What came of a claim.
#[derive(Clone, Debug)]
pub struct Report {
    pub id: MessageId,
    pub fence: Fence,
    pub outcome: Outcome,
}

/// A dead letter to be sent again.
#[derive(Clone, Debug)]
pub struct Redrive {
    pub id: MessageId,
    /// The request that replaces its own: the same one with another version of its template.
    pub request: Option<Bytes>,
}

/// What a provider's event shows.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub id: MessageId,
    pub finding: Finding,
}

/// The two things that evidence can show.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Some attempt was sent.
    Sent { provider: Provider, provider_id: String },
    /// This attempt was not.
    NotSent {
        attempt: u32,
        reason: Reason,
        delay: Duration,
    },
}

/// What stands under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    Record(Box<Record>),
    Missing,
    /// A record with a format of a newer release.
    Newer,
    /// The record can't be read.
    Corrupt,
}

/// What the scrub found of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived, a page of them at a time")]
pub enum Scrubbed {
    /// All is well, or nothing that this release may judge.
    Named,
    /// Nothing named it; its place does again: the record, or `None` if it can't be read and stands among the dead letters.
    Indexed(Option<Record>),
    /// A request without a record.
    Orphan,
}

/// The messages that some entries of a stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketPage {
    /// The last entry, `None` at the stream's end.
    pub last: Option<String>,
    pub tickets: Vec<(MessageId, Ticket)>,
    /// True if there were entries that this release can't read: nobody knows what they name.
    pub others: bool,
}

/// How much is where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    pub streams: Vec<StreamDepth>,
    /// Claimed.
    pub open: u64,
    /// Scheduled and deferred.
    pub later: u64,
    pub doubt: u64,
    pub dead: u64,
    pub held: u64,
}

/// How much is in one stream of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDepth {
    pub shard: u16,
    pub stream: StreamKey,
    /// All entries, delivered or not.
    pub backlog: u64,
    /// Delivered and not yet acknowledged.
    pub pending: u64,
    /// When the oldest entry came.
    pub oldest: Option<Millis>,
}
