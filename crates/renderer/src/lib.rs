//! The renderer: takes accepted messages from the queued streams, renders the template that each has pinned, and hands them to
//! the senders; a message that can't be rendered goes to the dead letters with the reason.
//!
//! `reader` decides what is read and when, `batch` carries a batch to its end, `attempt` is one message's way through its template
//! and its fallbacks, `render` is the work itself. `people` knows
//! whom a message is for. `promote`
//! puts scheduled and deferred messages back into their queue when their time has come. `service` lets people look at
//! templates. Everything here happens at least once; the claim refuses a second copy.

mod attached;
mod attempt;
mod awaited;
mod batch;
mod bundles;
mod config;
mod inline_parts;
mod job;
mod kept;
mod metrics;
mod object_store;
mod people;
mod promote;
mod reader;
mod render;
mod room;
mod run;
mod scrub;
mod service;
mod shared;
mod statistics;
mod stop_sweep;

pub use config::{Config, DEFAULTS};
pub use run::run;
