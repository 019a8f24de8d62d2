//! What is refused, where, and that nothing of a value shows.
