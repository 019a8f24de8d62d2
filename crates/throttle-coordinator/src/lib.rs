//! The throttle coordinator: owns the rate of every (provider, identity) and leases it to senders.
//!
//! Of several coordinators one leads, by a lease of the lead in Redis; the others answer with its address. All that decides
//! anything is pure and lives in `domain`: the controller (`aimd`), the books (`lease::books`). This crate gives it time,
//! calls and Redis:
//!
//! - `desk` is the leader's state, every change of it behind one lock that is never held over an await;
//! - `election` settles who leads, and since when;
//! - `looks` asks the providers what their accounts allow;
//! - `pace` lets time pass;
//! - `commit` writes what the desk decides, before it is said;
//! - `service` speaks gRPC.

mod commit;
mod config;
mod desk;
mod election;
mod looks;
mod metrics;
mod pace;
mod run;
mod service;

pub use config::{AccountSettings, Config, DEFAULTS, KeySettings, RateMode, RateSettings};
pub use run::run;
