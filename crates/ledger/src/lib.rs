//! The ledger: what became of every message, in PostgreSQL (production) or SQLite (embedded). The only user of sqlx.
