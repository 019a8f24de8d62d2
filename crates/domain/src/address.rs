//! Mail addresses, normalised.
