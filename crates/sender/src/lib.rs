//! The sender: rendered mail from Redis, at the rate that the coordinator grants, to the provider.

mod config;
mod run;

pub use config::{Config, DEFAULTS, ReadAheadSettings};
pub use run::run;
