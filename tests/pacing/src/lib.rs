//! The pacing simulated: the real controller, the real books and the real leases of senders on a virtual clock, around a model of
//! Redis, of the network and of providers. All chance comes from a seed, so that a run can be repeated to the bit.

pub mod chance;
pub mod checks;
pub mod coordinator;
pub mod local;
pub mod provider;
pub mod redis;
pub mod seeds;
pub mod sender;
pub mod world;
