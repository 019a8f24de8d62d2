//! End-to-end tests live in `tests/it`, one file per behaviour; this crate has no code of its own.
