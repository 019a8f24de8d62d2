//! Ingest as its callers see it: over gRPC, on a real Redis.

mod access;
mod bad_input;
mod batch;
mod duplicates;
mod ids;
mod incoming;
mod lifecycle;
mod links;
mod messages;
mod operator;
mod pressure;
mod published;
mod reload;
mod running;
mod slow_store;
mod stream;
