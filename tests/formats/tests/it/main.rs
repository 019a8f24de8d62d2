//! What every release wrote is read by this one, and what this one writes is frozen.

mod contracts;
mod frozen;
mod ledger;
mod redis;
mod written;
