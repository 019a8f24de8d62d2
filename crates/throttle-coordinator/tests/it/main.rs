//! Coordinators as processes against a real Redis, and senders that keep real leases with them over gRPC.

mod durable;
mod faults;
mod inputs;
mod leading;
mod leases;
mod support;
