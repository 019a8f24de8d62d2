//! The wish to stop, shared by all tasks of a process.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Two SIGINTs within this time are one wish: a wrapper forwards what its child got from the terminal as well.
const SAME_PRESS_MAX: Duration = Duration::from_secs(1);

/// A latch that is set once, by SIGTERM, SIGINT or a test.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn trigger(&self) {
        self.0.cancel();
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until a stop is wished for. Cancel-safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A latch that is set with this one, and may be set alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Sets the latch at the first SIGTERM or SIGINT. A repeated SIGTERM changes nothing (a supervisor and a parent may both
    /// send one); a person who presses Ctrl-C again after a second ends the process at once with 130.
    ///
    /// # Errors
    /// If the process may not install signal handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let mut requested_at = None;
            loop {
                let impatient = tokio::select! {
                    _ = terminate.recv() => false,
                    _ = interrupt.recv() => {
                        requested_at.is_some_and(|at: Instant| at.elapsed() >= SAME_PRESS_MAX)
                    }
                };
                if impatient {
                    tracing::warn!("interrupted again, leaving without a drain");
                    std::process::exit(130);
                }
                requested_at.get_or_insert_with(Instant::now);
                shutdown.trigger();
            }
        });
        Ok(())
    }
}
