//! The ingest service: takes messages over gRPC, checks them, and stores each in one atomic step.
//!
//! OK means stored. A request's id is its content, so that every call is safe to repeat: the second one finds the record of
//! the first. Nothing is kept here between calls but what waits for the next script: any number of ingest processes
//! serve the same Redis.

mod acts;
mod admission;
mod answer;
mod batcher;
mod call;
mod capacity;
mod config;
mod dead_letters;
mod deed;
mod doubts;
mod error;
#[cfg(test)]
mod fixtures;
mod follower;
mod ids;
mod messages;
mod metrics;
mod port;
mod pressure;
mod run;
mod service;
mod stops;
mod walk;
mod watch;

pub use config::{Config, DEFAULTS, IntakeSettings, TemplateSettings, WatchSettings};
pub use run::run;
