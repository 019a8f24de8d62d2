//! The feedback service: what providers say after they took a message, and what follows from it.

mod config;
mod health;
mod retention;
mod run;

pub use config::{Config, CopySettings, DEFAULTS, LedgerSettings};
pub use run::run;
