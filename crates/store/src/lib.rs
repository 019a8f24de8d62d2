//! Paceline's Redis: the only crate that knows its keys, its scripts and its client.
//!
//! Each function of [`Store`] is one operation, atomic per message, repeatable, and true to `domain::machine`: the scripts
//! make the same transitions. What the store promises:
//!
//! - A message that was acknowledged stands in exactly one place that some worker reads: a stream, or one of the sorted
//!   sets of waiting ids.
//! - Batches are of one shard. Every record is read and checked before the first write, and each is answered for itself:
//!   one that can't be read does not stop its neighbours.
//! - An error of class [`ErrorClass::Unavailable`] says nothing about what was done; repeating is always safe.
//!
//! The client (fred) stays behind these functions, so that another can take its place.

#![forbid(unsafe_code)]

mod address;
mod batch;
mod bundles;
mod claims;
mod config;
mod connect;
mod connections;
mod depths;
mod durability;
mod error;
mod hints;
mod keys;
mod link;
mod listing;
mod load;
mod log;
mod log_copy;
mod log_mode;
mod messages;
mod packed;
mod published;
mod rendering;
mod runs;
mod script;
mod scrub;
mod stops;
mod store;
mod streams;
mod suppressions;
mod tasks;
pub mod throttle;
mod tls;
mod types;
mod unread;
mod waiting;
pub mod waiting_all;
mod waits;

pub use config::StoreConfig;
pub use connections::{ConnectionUse, Connections};
pub use durability::{Durability, UnknownDurability};
pub use error::{ErrorClass, StoreError};
pub use keys::{Stage, StreamKey};
pub use listing::Listing;
pub use log_copy::{LogBacklog, LogBody, LogEntry, Logged, Reclaimed};
pub use log_mode::{LogMode, LogUse, UnknownLogMode};
pub use packed::{FINAL_RECORD_BYTES, Transition};
pub use published::{ANNOUNCED_MAX, Announced, Announcements};
pub use runs::{Assertion, Hold, Run};
pub use script::script_hash;
pub use stops::{STOPS_MAX, StopWritten, Stopped};
pub use store::Store;
pub use suppressions::{Addressee, BucketState, Lookup, SUPPRESSION_BUCKETS, Suppression};
pub use tls::{Tls, TlsError, TlsParts};
pub use types::{
    Change, ClaimItem, Claimant, Claimed, Claims, Depths, Enqueued, Entry, EntryBody, Evidence, Finding,
    HandOff, HandOffError, Looked, NewMessage, Redrive, Report, Scrubbed, StreamDepth, TicketPage,
    Unrendered, Verdict,
};
