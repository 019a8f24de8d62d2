//! What Paceline knows, without any I/O and without a clock: ids, the state machine, retries, pacing.
//!
//! Everything here is a pure function of its arguments. Time comes in as [`time::Millis`] or a `Duration`, randomness as
//! a generator or a number, so that production, tests and simulations run the same code.

pub mod address;
pub mod aimd;
pub mod canonical;
pub mod controller;
pub mod delivery;
mod exact;
pub mod gcra;
pub mod id;
pub mod identity;
pub mod keyed;
pub mod lane;
pub mod latency;
pub mod lease;
pub mod machine;
pub mod reason;
pub mod record;
pub mod retry;
pub mod stop;
pub mod suppression;
pub mod time;
pub mod unsubscribe;
