//! What must hold of the pacing at every instant, as functions: for unit tests, simulations and debug builds alike.
//!
//! The first eight are of leases and shares, the others of the controller's rules. `lease::invariant` has what concerns the books
//! of leases alone. Times are on any clock that does not go back, rates in recipients per second, counts in recipients.

use std::time::Duration;

use super::Controller;
use super::breaker::{PROBES, Standing};
use crate::lease::{CLOCK_DRIFT_MAX, MARGIN, TTL, in_books};

/// Rounding of sums of rates.
const SLACK: f64 = 1e-6;
/// The lead is free this long after its holder is gone, and taken within the other.
const LOCK_TTL: Duration = Duration::from_secs(3);
const ELECTION: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    #[error("senders hold {held}, the books say {outstanding}, the rate allowed {allowed}")]
    Leases {
        held: f64,
        outstanding: f64,
        allowed: f64,
    },
    #[error("{sent} were sent within {window:?}, {allowed} may be")]
    Window {
        sent: f64,
        window: Duration,
        allowed: f64,
    },
    #[error("identities hold {held} of an account's {allowed}")]
    Account { held: f64, allowed: f64 },
    #[error("({epoch}, {version}) came after ({epoch_before}, {version_before})")]
    Older {
        epoch: u64,
        version: u64,
        epoch_before: u64,
        version_before: u64,
    },
    #[error("two cuts within {0:?}")]
    Cuts(Duration),
    #[error("a rate of {rate} is not within {bottom} and {top}")]
    Bounds { rate: f64, bottom: f64, top: f64 },
    #[error("{0} of all sends is taken for noise")]
    Noise(f64),
    #[error("a message raised a lease from {before} to {after}")]
    Push { before: f64, after: f64 },
    #[error("a share of {share} is not the fair {fair}")]
    Share { share: f64, fair: f64 },
    #[error("{held} is held while a leader learns at {rate}")]
    Learning { held: f64, rate: f64 },
    #[error("{sent} were sent within a day, {allowed} may be")]
    Daily { sent: u64, allowed: u64 },
    #[error("{sent} were sent on a day of the warm-up, {cap} may be")]
    WarmUp { sent: u64, cap: u64 },
    #[error("a warm-up's cap went from {before} to {after}")]
    WarmUpCap { before: u64, after: u64 },
    #[error("{spent} were spent while the breaker was {standing:?}")]
    Breaker { spent: u64, standing: Standing },
    #[error("a send began {0:?} after a pause")]
    Paused(Duration),
    #[error("nobody led for {0:?}")]
    Vacancy(Duration),
    #[error("a number that is none: {0}")]
    Number(f64),
    #[error("a journal replays to another state")]
    Replay,
}

/// 1: what senders hold is at most what the books say, and that at most the largest rate in force within a lease's time in
/// the books ([`in_books`]).
///
/// # Errors
/// If it is not so.
pub fn leases_within_rate(
    held: f64,
    outstanding: f64,
    in_force: impl IntoIterator<Item = f64>,
) -> Result<(), Broken> {
    let allowed = in_force.into_iter().fold(0.0, f64::max);
    let holds = held <= outstanding + SLACK && outstanding <= allowed + SLACK;
    let broken = Broken::Leases {
        held,
        outstanding,
        allowed,
    };
    if holds { Ok(()) } else { Err(broken) }
}

/// 2: in every window sends are at most the rate in force over it, the bursts, and what a cut leaves to leases that still live.
///
/// `sends` and `rates` are in order of time; a rate is in force from its time on, and the first before it, too.
///
/// # Errors
/// The first window in which it is not so.
pub fn sends_within_rate(
    sends: &[(Duration, u64)],
    rates: &[(Duration, f64)],
    bursts: f64,
) -> Result<(), Broken> {
    for (index, &(from, _)) in sends.iter().enumerate() {
        let mut sent = 0.0;
        for &(to, n) in &sends[index..] {
            sent += as_rate(n);
            let window = to.saturating_sub(from);
            let allowed = in_force_over(rates, from, to) + bursts + after_cuts(rates, from, to);
            if sent > allowed + SLACK {
                return Err(Broken::Window {
                    sent,
                    window,
                    allowed,
                });
            }
        }
    }
    Ok(())
}

/// 2, for a run of any length, looked at as it goes: in every window sends are at most what the largest rate within a lease's time
/// allows over it, and the bursts. That implies [`sends_within_rate`], since each cut leaves its fall for that time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passed {
    /// The most by which the sends of a window that ends now exceed its rates.
    excess: f64,
    window: Duration,
    /// The largest within that window: what was saved up under it may have been sent at the window's begin.
    bursts: f64,
}

impl Passed {
    /// `sent` within the last `time`, while the largest rate within a lease's time was `allowed`.
    ///
    /// # Errors
    /// If a window that ends now has more.
    pub fn step(&mut self, sent: u64, allowed: f64, bursts: f64, time: Duration) -> Result<(), Broken> {
        self.excess -= allowed * time.as_secs_f64();
        self.window += time;
        if self.excess <= 0.0 {
            *self = Self::default();
        }
        self.excess += as_rate(sent);
        self.bursts = self.bursts.max(bursts);
        if self.excess > self.bursts + SLACK {
            return Err(Broken::Window {
                sent: self.excess,
                window: self.window,
                allowed: self.bursts,
            });
        }
        Ok(())
    }
}

/// 3: all identities of an account hold at most what it allows: the most that it allowed within a lease's time in the books.
///
/// # Errors
/// If it is not so.
pub fn identities_within_account(
    held: impl IntoIterator<Item = f64>,
    max_send_rates: impl IntoIterator<Item = f64>,
) -> Result<(), Broken> {
    let held = held.into_iter().sum();
    let allowed = max_send_rates.into_iter().fold(0.0, f64::max);
    if held > allowed + SLACK {
        return Err(Broken::Account { held, allowed });
    }
    Ok(())
}

/// 4: what a sender accepts, or Redis keeps, never goes back: (epoch, version).
///
/// # Errors
/// The first pair that does.
pub fn never_older(accepted: impl IntoIterator<Item = (u64, u64)>) -> Result<(), Broken> {
    let mut last = (0, 0);
    for (epoch, version) in accepted {
        if (epoch, version) < last {
            let (epoch_before, version_before) = last;
            return Err(Broken::Older {
                epoch,
                version,
                epoch_before,
                version_before,
            });
        }
        last = (epoch, version);
    }
    Ok(())
}

/// 5, first half: no two cuts by the provider's answers within a window.
///
/// # Errors
/// If there are.
pub fn one_cut_per_window(cuts: &[Duration], window: Duration) -> Result<(), Broken> {
    let gaps = cuts.iter().zip(cuts.iter().skip(1));
    for gap in gaps.map(|(earlier, later)| later.saturating_sub(*earlier)) {
        if gap < window {
            return Err(Broken::Cuts(gap));
        }
    }
    Ok(())
}

/// 5, second half: a rate is 0, or within the floor that is possible and the cap. What other rules than AIMD set is below.
///
/// # Errors
/// If it is not so.
pub fn rate_within_bounds(rate: f64, bottom: f64, top: f64) -> Result<(), Broken> {
    if rate == 0.0 || (bottom - SLACK..=top + SLACK).contains(&rate) {
        return Ok(());
    }
    Err(Broken::Bounds { rate, bottom, top })
}

/// 5, what cuts nothing: of all sends at most 2 %, or no limit would be found any more.
///
/// # Errors
/// If it is more.
pub fn noise_is_small(share: f64) -> Result<(), Broken> {
    if share <= 0.02 {
        return Ok(());
    }
    Err(Broken::Noise(share))
}

/// 6: a broadcast alone never raises a lease.
///
/// # Errors
/// If it did.
pub fn push_only_lowers(before: f64, after: f64) -> Result<(), Broken> {
    if after > before + SLACK {
        return Err(Broken::Push { before, after });
    }
    Ok(())
}

/// 7: shares are max-min fair to one in a hundred, which is work-conserving, too. What is fair is found otherwise than by
/// `lease::share`: as the level up to which everybody gets what it wants.
///
/// # Errors
/// The first share that is not.
pub fn shares_are_fair(capacity: f64, wants: &[f64], shares: &[f64]) -> Result<(), Broken> {
    let given = |level: f64| wants.iter().map(|want| want.min(level)).sum::<f64>();
    let (mut low, mut high) = (0.0, wants.iter().copied().fold(0.0, f64::max));
    if given(high) > capacity {
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if given(middle) > capacity {
                high = middle;
            } else {
                low = middle;
            }
        }
    }
    for (share, want) in shares.iter().copied().zip(wants) {
        let fair = want.min(high);
        if (share - fair).abs() > 0.01 * fair + SLACK {
            return Err(Broken::Share { share, fair });
        }
    }
    Ok(())
}

/// 8: while a leader learns, at most its rate is held.
///
/// # Errors
/// If more is.
pub fn learning_within_rate(held: f64, rate: f64) -> Result<(), Broken> {
    if held > rate + SLACK {
        return Err(Broken::Learning { held, rate });
    }
    Ok(())
}

/// 9: no 24 hours hold more than the account allows. `sent` is in order of time.
///
/// # Errors
/// If some do.
pub fn days_within_quota(sent: &[(Duration, u64)], max_24_hour_send: u64) -> Result<(), Broken> {
    for (index, &(to, _)) in sent.iter().enumerate() {
        let within = sent[..=index].iter().rev().take_while(|(at, _)| *at + DAY > to);
        let sum = within.fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        if sum > max_24_hour_send {
            return Err(Broken::Daily {
                sent: sum,
                allowed: max_24_hour_send,
            });
        }
    }
    Ok(())
}

/// 10: a day of a warm-up has at most 100 * 2^d recipients, `days` being those since its start; its cap never shrinks, and does not
/// grow over a paused day.
///
/// # Errors
/// If it is not so.
pub fn warm_up_within_cap(sent: u64, days: u32) -> Result<(), Broken> {
    let cap = 100_u64
        .checked_shl(days)
        .filter(|cap| *cap >= 100)
        .unwrap_or(u64::MAX);
    if sent > cap {
        return Err(Broken::WarmUp { sent, cap });
    }
    Ok(())
}

/// 10, the cap: `before` and `after` a day.
///
/// # Errors
/// If it shrank, more than doubled, or grew over a paused day.
pub fn warm_up_grows_slowly(before: u64, after: u64, was_paused: bool) -> Result<(), Broken> {
    let most = if was_paused {
        before
    } else {
        before.saturating_mul(2)
    };
    if (before..=most).contains(&after) {
        return Ok(());
    }
    Err(Broken::WarmUpCap { before, after })
}

/// 11: while the breaker is open nothing is spent, while it is half-open at most the probes.
///
/// # Errors
/// If more was.
pub fn breaker_holds(standing: Standing, spent: u64) -> Result<(), Broken> {
    let most = match standing {
        Standing::Closed => u64::MAX,
        Standing::Open => 0,
        Standing::HalfOpen => PROBES,
    };
    if spent > most {
        return Err(Broken::Breaker { spent, standing });
    }
    Ok(())
}

/// 12: no send begins later after a pause than a lease lives.
///
/// # Errors
/// If one did.
pub fn pause_holds(paused_at: Duration, sent_at: Duration) -> Result<(), Broken> {
    let after = sent_at.saturating_sub(paused_at);
    if after >= in_books(TTL) {
        return Err(Broken::Paused(after));
    }
    Ok(())
}

/// 13: when a leader is gone for good, another leads within the lock's time and an election's.
///
/// # Errors
/// If it took longer.
pub fn led_again(gone_at: Duration, leads_at: Duration) -> Result<(), Broken> {
    let vacancy = leads_at.saturating_sub(gone_at);
    if vacancy > LOCK_TTL + ELECTION {
        return Err(Broken::Vacancy(vacancy));
    }
    Ok(())
}

/// 14, first half: no number is negative, infinite or none.
///
/// # Errors
/// The first that is.
pub fn numbers_are_sound(numbers: impl IntoIterator<Item = f64>) -> Result<(), Broken> {
    let unsound = |number: &f64| !number.is_finite() || *number < 0.0;
    numbers
        .into_iter()
        .find(unsound)
        .map_or(Ok(()), |number| Err(Broken::Number(number)))
}

/// 14, second half: a journal replays to the same state.
///
/// # Errors
/// If it does not.
pub fn replays(state: &Controller, replayed: &Controller) -> Result<(), Broken> {
    if state == replayed {
        Ok(())
    } else {
        Err(Broken::Replay)
    }
}

/// What can be seen of one controller: 5, 11 and 14.
///
/// # Errors
/// What is broken.
pub fn controller_is_sound(controller: &Controller) -> Result<(), Broken> {
    let aimd = controller.aimd();
    let rate = controller.in_force().rate;
    numbers_are_sound([rate, aimd.rate()])?;
    rate_within_bounds(aimd.rate(), aimd.limits().bottom(), aimd.limits().top())?;
    rate_within_bounds(rate, 0.0, aimd.rate())?;
    noise_is_small(aimd.noise())?;
    let may_go = match controller.standing() {
        Standing::Open => 0.0,
        Standing::HalfOpen | Standing::Closed => aimd.rate().max(1.0),
    };
    rate_within_bounds(rate, 0.0, may_go)
}

/// Recipients that the rates in force allow from `from` to `to`.
fn in_force_over(rates: &[(Duration, f64)], from: Duration, to: Duration) -> f64 {
    let mut sum = 0.0;
    for (index, &(since, rate)) in rates.iter().enumerate() {
        let begins = if index == 0 { from } else { since.max(from) };
        let ends = rates.get(index + 1).map_or(to, |(next, _)| (*next).min(to));
        sum += rate * ends.saturating_sub(begins).as_secs_f64();
    }
    sum
}

/// What the cuts that a lease can outlive into the window leave to it: each the fall of the rate over a lease's time.
fn after_cuts(rates: &[(Duration, f64)], from: Duration, to: Duration) -> f64 {
    let lives = TTL.mul_f64(1.0 + CLOCK_DRIFT_MAX) + MARGIN;
    let cuts = rates.iter().zip(rates.iter().skip(1));
    cuts.filter(|(_, (at, _))| *at <= to && *at + lives > from)
        .map(|((_, before), (_, after))| (before - after).max(0.0) * lives.as_secs_f64())
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "recipients of a test")]
fn as_rate(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
