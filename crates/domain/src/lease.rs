//! The coordinator's books: who holds how much of a rate.
