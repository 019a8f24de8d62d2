//! Nothing lost, nothing twice, under every fault: real processes on a real Redis with a real ledger beside the look-alike of SES,
//! producers that note what they were told, faults, and a checker that compares all of it.
//!
//! A [`world`] is everything that runs. A [`fault`](faults) is struck while [`producers`] enqueue; then the world has to come to rest.
//! [`checker`] says what is wrong. [`catalogue`] names every fault at every step, [`seeds`] mixes them at random.

#![forbid(unsafe_code)]

pub mod bullmq;
mod calls;
pub mod catalogue;
pub mod chance;
pub mod checker;
pub mod choice;
pub mod document;
pub mod faults;
pub mod places;
pub mod producers;
pub mod progress;
pub mod report;
pub mod seeds;
pub mod site;
pub mod story;
pub mod world;
