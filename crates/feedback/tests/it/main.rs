//! The feedback service as a process against a real Redis and both databases.

mod running;
mod support;
