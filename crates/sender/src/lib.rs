//! The sender: rendered mail from Redis, at the rate that the coordinator grants, to the provider.
//!
//! The way of a message, one module each, in order:
//!
//! 1. `read_ahead` reads ready streams into the `buffer`, as `read_plan` deals out the room;
//! 2. `dispatch` takes an entry out once `pacing` admits it: a token of the rate lease that `leases` keeps, and the
//!    leave of the `key_gate`;
//! 3. `claim` claims a batch in one script, with the verdict of `deliver` on each;
//! 4. `attempt` looks at every deadline once more, calls the `provider`, and `outcome` says what the answer means;
//! 5. `results` keeps what is to be reported until Redis has it.
//!
//! Beside them `sweep` ends the claims of senders that are gone, and doubts whose window is over; at durability level `local` `runs`
//! notices that Redis was replaced and says what the sender is `standing` by. `pipeline` starts and drains
//! the tasks; `run` builds them from the settings.
//!
//! **Invariant: token, then claim, then write, then record.** Nothing is written without a live lease, a live claim and an open
//! gate; nothing is claimed while results can't be recorded; nothing is read that may not be sent soon.

mod attempt;
mod buffer;
mod claim;
mod config;
mod counter;
pub mod deliver;
mod demand;
mod dispatch;
mod gauges;
pub mod key_gate;
pub mod leases;
mod metrics;
pub mod outcome;
mod outgoing;
mod pacing;
pub mod pipeline;
pub mod provider;
mod read_ahead;
mod read_plan;
mod results;
mod run;
mod runs;
mod shared;
pub mod sightings;
mod standing;
mod stopped;
mod suppressed;
mod sweep;
mod unread;

pub use config::{Config, DEFAULTS, ReadAheadSettings};
pub use deliver::{Deliver, DeliverMode};
pub use leases::LeaseSource;
pub use pipeline::{Parts, Pipeline};
pub use provider::Provider;
pub use run::run;
pub use shared::Limits;
