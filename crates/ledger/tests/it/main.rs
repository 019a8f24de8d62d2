//! The ledger on real databases: each test runs on SQLite and on PostgreSQL.

mod append;
mod databases;
mod outcomes;
mod retention;
mod search;
mod suppressions;
