//! Waiting for a state, with a bound.
//!
//! A test waits for what it wants to see ("three entries are there"), never for a time: then it is as fast as the code, and
//! a slow machine does not break it. The condition is looked at again and again, so that no notification can be missed.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks: short against anything that is waited for, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(5);

/// What a look at the condition may give.
pub trait Look {
    type Value;

    /// The value, or what is still missing.
    ///
    /// # Errors
    /// The text says what was seen instead.
    fn settle(self) -> Result<Self::Value, String>;
}

impl<T> Look for Option<T> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Debug> Look for Result<T, E> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Looks until there is something (`Some`, `Ok`) and returns it.
///
/// # Panics
/// When `at_most` is over, with what was seen last.
pub async fn eventually<L, F, Fut>(what: &str, at_most: Duration, mut look: F) -> L::Value
where
    L: Look,
    F: FnMut() -> Fut,
    Fut: Future<Output = L>,
{
    let deadline = Instant::now() + at_most;
    loop {
        let missing = match look().await.settle() {
            Ok(value) => return value,
            Err(missing) => missing,
        };
        assert!(
            Instant::now() < deadline,
            "{what}: not within {at_most:?}; last seen: {missing}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}
