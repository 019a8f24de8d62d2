//! The two clocks of a process, behind a trait so that a test can move them.

use std::time::Duration;

use paceline_domain::time::Millis;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. Compared only with times that people chose (`send_at`).
    fn wall(&self) -> Millis;

    /// Time since the machine started, suspensions included (`CLOCK_BOOTTIME`): for leases and windows. A process that was
    /// frozen sees all the time that has passed.
    fn boot(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock enters")]
    fn wall(&self) -> Millis {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Millis::default() + since_epoch
    }

    fn boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or(0),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        )
    }
}
