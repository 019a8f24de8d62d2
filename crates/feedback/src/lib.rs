//! The feedback service: what providers say after they took a message, and what follows from it.
