//! The ledger on real databases: each test runs on SQLite and on PostgreSQL.

mod append;
mod databases;
mod erasure;
mod kept;
mod lost;
mod outcomes;
mod published;
mod retention;
mod schema;
mod search;
mod suppressions;
