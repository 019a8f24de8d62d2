//! The wish to stop, shared by all tasks of a process.

use tokio_util::sync::CancellationToken;

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

    /// Sets the latch at the first SIGTERM or SIGINT; the second one ends the process at once with 130.
    ///
    /// # Errors
    /// If the process may not install signal handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if shutdown.is_requested() {
                    tracing::warn!("second signal, leaving without a drain");
                    std::process::exit(130);
                }
                tracing::info!("draining");
                shutdown.trigger();
            }
        });
        Ok(())
    }
}
