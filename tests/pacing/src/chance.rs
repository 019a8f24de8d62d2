//! Chance and clocks: both come from one seed.

use std::time::Duration;

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to less than `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    /// From 0 to 1.
    pub fn part(&mut self) -> f64 {
        self.below(1_000_001) as f64 / 1_000_000.0
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// `part` rounded up or down, so that it is right in the mean.
    pub fn whole(&mut self, part: f64) -> u32 {
        (part + self.part()).floor() as u32
    }
}

/// A process's boot-time clock: it shows nobody else's time, and runs up to 1 % fast or slow against another.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: Duration,
    speed: f64,
}

impl Clock {
    pub fn new(chance: &mut Chance) -> Self {
        Self {
            offset: Duration::from_secs(1 + chance.below(1_000_000)),
            speed: 1.0 + (chance.below(1_001) as f64 - 500.0) / 100_000.0,
        }
    }

    /// What it shows at `true_ms`.
    pub fn at(self, true_ms: u64) -> Duration {
        self.offset + Duration::from_millis(true_ms).mul_f64(self.speed)
    }
}
