//! The feedback service as a process against a real Redis and both databases, and its parts beside stand-ins of the providers.

mod audit;
mod copy;
mod failover;
mod ledger;
mod look_alike;
mod publish;
mod replay;
mod running;
mod sns;
mod subscribe;
mod support;
mod suppression_access;
mod suppressions;
mod unsubscribe;
mod webhooks;
