//! What must hold of leases at every instant, as functions: for unit tests, simulations and debug builds alike.

use std::time::Duration;

use super::Books;

/// Rounding of sums of rates.
const SLACK: f64 = 1e-6;

/// A broken promise, in recipients per second.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    #[error("senders hold {held}, the books say at most {outstanding}")]
    BeyondBooks { held: f64, outstanding: f64 },
    #[error("senders hold {held}, the rate allows {allowed}")]
    BeyondRate { held: f64, allowed: f64 },
    #[error("{granted} is granted of {bound}")]
    BeyondBound { granted: f64, bound: f64 },
}

/// What all senders may spend, by their own clocks, is at most what the books say. Not while they learn: they are told of
/// every lease only once each sender has asked or lapsed.
///
/// # Errors
/// Both figures, if it is not so.
pub fn held_within_books(held: f64, books: &Books, now: Duration) -> Result<(), Broken> {
    let outstanding = books.outstanding(now);
    if held > outstanding + SLACK && !books.is_learning(now) {
        return Err(Broken::BeyondBooks { held, outstanding });
    }
    Ok(())
}

/// What all senders may spend is at most the largest of the rates that were in force within the time of a lease in the books.
///
/// # Errors
/// Both figures, if it is not so.
pub fn held_within_rate(held: f64, in_force: impl IntoIterator<Item = f64>) -> Result<(), Broken> {
    let allowed = in_force.into_iter().fold(0.0, f64::max);
    if held > allowed + SLACK {
        return Err(Broken::BeyondRate { held, allowed });
    }
    Ok(())
}

/// What was granted last to all senders is at most the largest rate in force when a living lease was issued.
///
/// # Errors
/// Both figures, if it is not so.
pub fn granted_within_bound(books: &Books, now: Duration) -> Result<(), Broken> {
    let (granted, bound) = (books.leased(now), books.bound(now));
    if granted > bound + SLACK {
        return Err(Broken::BeyondBound { granted, bound });
    }
    Ok(())
}
