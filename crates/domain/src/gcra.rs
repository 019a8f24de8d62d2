//! The sender's local pacing: the generic cell rate algorithm.
