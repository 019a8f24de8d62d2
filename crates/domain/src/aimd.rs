//! The rate controller of one key.
