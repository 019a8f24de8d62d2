//! What a render has used up, and where it ends.
//!
//! The meter is a thread's: a render runs on one thread from start to end, and the helpers, which handlebars shares between
//! all renders, find the meter of theirs there.

use std::cell::Cell;
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

/// How many steps pass between two looks at the clock, which is a system call.
const STEPS_PER_LOOK: u32 = 64;

/// Bytes that are written count as one step.
const BYTES_PER_STEP: usize = 1024;

#[derive(Clone, Copy)]
struct State {
    output_bytes_left: usize,
    rounds_left: u64,
    steps: u32,
    deadline: Duration,
    /// Why it ended. Handlebars' own error then only carries the place.
    fault: Option<Exceeded>,
}

/// The bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exceeded {
    Output,
    Time,
    Rounds,
}

thread_local! {
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

/// Runs `render` under a fresh meter. The meter goes even if `render` panics.
pub(crate) fn metered<T>(limits: &Limits, render: impl FnOnce() -> T) -> T {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            STATE.set(None);
        }
    }
    STATE.set(Some(State {
        output_bytes_left: limits.output_bytes_max,
        rounds_left: limits.rounds_max,
        steps: 0,
        deadline: cpu_time() + limits.time_max,
        fault: None,
    }));
    let _guard = Guard;
    render()
}

/// Why the current render was ended, if a bound ended it.
pub(super) fn fault() -> Option<RenderFault> {
    STATE.get()?.fault.map(|exceeded| match exceeded {
        Exceeded::Output => RenderFault::OutputTooLarge,
        Exceeded::Time => RenderFault::TooSlow,
        Exceeded::Rounds => RenderFault::TooManyRounds,
    })
}

/// The render is over; unwind.
#[derive(Debug, thiserror::Error)]
#[error("a bound of rendering is exceeded")]
pub(super) struct Over;

/// Pays for one step of work.
pub(super) fn step() -> Result<(), Over> {
    pay(|state| state.work(1))
}

/// Pays for `count` rounds of a loop, before the first.
pub(super) fn rounds(count: usize) -> Result<(), Over> {
    pay(|state| {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        state.rounds_left = state.rounds_left.checked_sub(count).ok_or(Exceeded::Rounds)?;
        state.work(1)
    })
}

/// Pays for `count` bytes of output.
pub(super) fn output(count: usize) -> Result<(), Over> {
    pay(|state| {
        state.output_bytes_left = state
            .output_bytes_left
            .checked_sub(count)
            .ok_or(Exceeded::Output)?;
        state.work(1 + count / BYTES_PER_STEP)
    })
}

impl State {
    fn work(&mut self, steps: usize) -> Result<(), Exceeded> {
        self.steps = self
            .steps
            .saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps < STEPS_PER_LOOK {
            return Ok(());
        }
        self.steps = 0;
        if cpu_time() > self.deadline {
            return Err(Exceeded::Time);
        }
        Ok(())
    }
}

/// Outside a render nothing is counted.
fn pay(cost: impl FnOnce(&mut State) -> Result<(), Exceeded>) -> Result<(), Over> {
    let Some(mut state) = STATE.get() else {
        return Ok(());
    };
    if state.fault.is_some() {
        return Err(Over);
    }
    let paid = cost(&mut state);
    state.fault = paid.err();
    STATE.set(Some(state));
    paid.map_err(|_| Over)
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
