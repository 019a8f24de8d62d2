//! The house rules that no lint knows, as tests. This crate has no code of its own.
