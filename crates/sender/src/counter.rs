//! Counts what is under way.
//!
//! Each part of a count is a value that ends with the work it stands for, so that the count is right also when a task
//! panics or is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

/// One that is counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counter {
    /// One more, until the answer is dropped.
    #[must_use]
    pub(crate) fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.0))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[tokio::test]
    async fn a_panic_or_a_cancellation_leaves_nothing_counted() {
        let counter = Counter::default();
        let (cancelled, panics) = (counter.enter(), counter.enter());
        let cancelled = tokio::spawn(async move {
            let _cancelled = cancelled;
            std::future::pending::<()>().await;
        });
        assert_eq!(counter.get(), 2);
        let panics = tokio::spawn(async move {
            let _panics = panics;
            panic!("as the test wishes");
        });
        assert!(panics.await.is_err());
        assert_eq!(counter.get(), 1);
        cancelled.abort();
        assert!(cancelled.await.is_err());
        assert_eq!(counter.get(), 0);
    }
}
