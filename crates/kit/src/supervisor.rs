//! Notices at once when one of a service's tasks is gone.
//!
//! A service without one of its loops looks alive and does only part of its work, so it stops, with an error: whoever
//! started it starts it anew. The stop is the usual one, so what is under way is finished and recorded.
//!
//! This is for tasks that live as long as their service. One that works for a single call or message harms only that one if it
//! panics, and a message that does so each time must not stop every service it comes to.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use crate::shutdown::Shutdown;

/// The first task that went wrong, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    #[error("task {0} panicked")]
    Panicked(&'static str),
    #[error("task {0} ended by itself")]
    Ended(&'static str),
}

impl TaskError {
    const fn name(self) -> &'static str {
        match self {
            Self::Panicked(name) | Self::Ended(name) => name,
        }
    }
}

/// Watches the tasks of one service. Clones are one supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    failure: Arc<OnceLock<TaskError>>,
}

impl Supervisor {
    /// For a service that stops by `shutdown`: its tasks end only after that.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Self {
        Self {
            shutdown: shutdown.clone(),
            failure: Arc::default(),
        }
    }

    /// The stop that the tasks end after, and that is triggered when one of them ends too early.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The task, watched: it never panics, and one that panics, or ends before the shutdown, stops the service. A task that is
    /// dropped says nothing.
    pub fn watch<F>(&self, name: &'static str, task: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        let supervisor = self.clone();
        async move {
            // Nothing of the task is looked at any more; what it shares with others is what they would find after the panic of
            // an ordinary task, too.
            match AssertUnwindSafe(task).catch_unwind().await {
                Err(_) => supervisor.fail(TaskError::Panicked(name)),
                Ok(()) if !supervisor.shutdown.is_requested() => supervisor.fail(TaskError::Ended(name)),
                Ok(()) => {}
            }
        }
    }

    /// Runs the task on its own, watched.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.watch(name, task))
    }

    /// How the tasks have fared so far: ask once they are at their end.
    ///
    /// # Errors
    /// The first that panicked, or ended before the shutdown.
    pub fn outcome(&self) -> Result<(), TaskError> {
        self.failure.get().copied().map_or(Ok(()), Err)
    }

    fn fail(&self, error: TaskError) {
        tracing::error!(task = error.name(), %error, "a task is gone, the service stops");
        // Only the first one counts: others may go for want of it.
        let _ = self.failure.set(error);
        self.shutdown.trigger();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Shutdown, Supervisor, TaskError};

    #[tokio::test]
    async fn a_task_that_panics_stops_the_service_with_an_error() {
        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(&shutdown);
        let other = supervisor.spawn("other", {
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        let broken = supervisor.spawn("broken", async { panic!("as the test wishes") });
        let stops = tokio::time::timeout(Duration::from_secs(10), shutdown.requested()).await;
        stops.expect("the service stops");
        broken.await.expect("the panic is caught");
        other.await.expect("it ends with the shutdown");
        assert_eq!(supervisor.outcome(), Err(TaskError::Panicked("broken")));
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_stops_the_service_with_an_error() {
        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(&shutdown);
        supervisor.watch("first", async {}).await;
        supervisor
            .watch("second", async { panic!("as the test wishes") })
            .await;
        assert!(shutdown.is_requested());
        assert_eq!(supervisor.outcome(), Err(TaskError::Ended("first")));
    }

    #[tokio::test]
    async fn after_the_shutdown_a_task_may_end_and_still_not_panic() {
        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(&shutdown);
        assert_eq!(supervisor.outcome(), Ok(()));
        shutdown.trigger();
        supervisor.watch("first", async {}).await;
        assert_eq!(supervisor.outcome(), Ok(()));
        supervisor
            .watch("second", async { panic!("as the test wishes") })
            .await;
        assert_eq!(supervisor.outcome(), Err(TaskError::Panicked("second")));
    }
}
