//! The ledger: what became of every message, in PostgreSQL (production) or SQLite (embedded). The only user of sqlx.
//!
//! Redis knows where a message stands; the ledger knows how it came there, for as long as its retention says. It is written
//! from the shards' logs and from providers' events, idempotently: what is written again changes nothing.
//!
//! Every writer takes the events' counter first, so that writers follow each other: no deadlocks, and a reader who goes on from
//! a number never misses a lower one.

mod acts;
mod append;
mod erasure;
mod error;
mod events;
mod kept;
mod ledger;
mod lost;
mod outcomes;
mod published;
mod query;
mod retention;
mod rows;
mod suppressions;
mod types;

pub use erasure::{Erased, Erasure, Taken};
pub use error::{ErrorClass, LedgerError};
pub use events::SUMS_MAX;
pub use kept::Kept;
pub use ledger::{Ledger, LedgerSettings};
pub use lost::OpenMessage;
pub use published::{NewVersion, NewestVersion, PublishBounds, PublishedVersion, Publishing};
pub use query::{Filter, Page, Timeline};
pub use retention::Retained;
pub use suppressions::{
    NewSuppression, StandingSuppression, Suppressing, SuppressionDeed, SuppressionFilter, SuppressionKey,
    SuppressionPage, SuppressionRemoval, SuppressionRemoved, SuppressionRow, SuppressionsChanged,
};
pub use types::{Act, Appended, Event, LoggedMessage, MessageRow, Move, NewEvent, Sum, SumFilter};
