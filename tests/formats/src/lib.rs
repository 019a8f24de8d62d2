//! The formats live in `tests/it`: what writes them, and what reads what was frozen. This crate has no code of its own.
