//! What a render has used up, and where it ends.
//!
//! Everything that takes time is paid for in steps: a tag, a part of a path, a round of a loop, a kilobyte of output. The clock
//! is looked at once in so many steps, so that no template can work for long without being seen.

use std::time::Duration;

use super::error::RenderFault;

/// The bounds of one message's rendering: subject, html and text together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub output_bytes_max: usize,
    /// The thread's own CPU time. Time on the clock would let a busy machine turn good mail into dead letters.
    pub time_max: Duration,
    /// Rounds of all loops.
    pub rounds_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_bytes_max: 1 << 20,
            time_max: Duration::from_millis(50),
            rounds_max: 100_000,
        }
    }
}

/// How many steps pass between two looks at the clock, which is a system call. A step takes well under a microsecond.
pub(super) const STEPS_PER_LOOK: u32 = 256;

/// Bytes that are written or read count as one step.
const BYTES_PER_STEP: usize = 1024;

/// The meter of one message.
pub(crate) struct Meter<'c> {
    output_bytes_left: usize,
    rounds_left: u64,
    steps: u32,
    deadline: Duration,
    clock: &'c dyn Fn() -> Duration,
}

impl<'c> Meter<'c> {
    /// `clock` tells the time that is bounded; [`cpu_time`] but in tests.
    pub(crate) fn new(limits: &Limits, clock: &'c dyn Fn() -> Duration) -> Self {
        Self {
            output_bytes_left: limits.output_bytes_max,
            rounds_left: limits.rounds_max,
            steps: 0,
            deadline: clock() + limits.time_max,
            clock,
        }
    }

    /// Pays for `count` steps of work.
    #[inline]
    pub(super) fn steps(&mut self, count: usize) -> Result<(), RenderFault> {
        self.steps = self
            .steps
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.steps < STEPS_PER_LOOK {
            return Ok(());
        }
        self.steps = 0;
        if (self.clock)() > self.deadline {
            return Err(RenderFault::TooSlow);
        }
        Ok(())
    }

    /// Pays for reading `bytes` of a value.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), RenderFault> {
        self.steps(1 + bytes / BYTES_PER_STEP)
    }

    /// Pays for `count` rounds of a loop, before the first.
    pub(super) fn rounds(&mut self, count: usize) -> Result<(), RenderFault> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.rounds_left = self
            .rounds_left
            .checked_sub(count)
            .ok_or(RenderFault::TooManyRounds)?;
        self.steps(1)
    }

    /// Pays for `bytes` of output, before they are written.
    #[inline]
    pub(super) fn output(&mut self, bytes: usize) -> Result<(), RenderFault> {
        self.output_bytes_left = self
            .output_bytes_left
            .checked_sub(bytes)
            .ok_or(RenderFault::OutputTooLarge)?;
        self.read(bytes)
    }
}

/// The CPU time of this thread.
pub(crate) fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
