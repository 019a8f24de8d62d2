//! What a provider may do on a bad day.

use std::time::Duration;

use paceline_local::ses::fault::{Action, Failure, Fault};
use paceline_local::ses::limits::Limits;

use super::lasts;
use crate::world::World;

/// Calls that a fault meets.
const CALLS: u64 = 8;
/// How long an account is limited.
const LIMITED: Duration = Duration::from_secs(2);
/// Longer than a sender waits for an answer.
const TOO_LATE_MS: u64 = 1_500;

/// One kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    NeverAnswers,
    AnswersLate,
    ResetsAfter,
    ClosesAfter,
    Truncates,
    Garbles,
    TakesAndSays500,
    Says500,
    Says503,
    ResetsBefore,
    Throttles,
    DailyQuota,
    AccountPaused,
}

impl Trouble {
    pub const ALL: [Self; 13] = [
        Self::NeverAnswers,
        Self::AnswersLate,
        Self::ResetsAfter,
        Self::ClosesAfter,
        Self::Truncates,
        Self::Garbles,
        Self::TakesAndSays500,
        Self::Says500,
        Self::Says503,
        Self::ResetsBefore,
        Self::Throttles,
        Self::DailyQuota,
        Self::AccountPaused,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NeverAnswers => "takes and never answers",
            Self::AnswersLate => "answers after our timeout",
            Self::ResetsAfter => "resets after the request",
            Self::ClosesAfter => "closes after the request",
            Self::Truncates => "truncates its answer",
            Self::Garbles => "answers what is no JSON",
            Self::TakesAndSays500 => "takes and says 500",
            Self::Says500 => "refuses with 500",
            Self::Says503 => "refuses with 503",
            Self::ResetsBefore => "resets new connections",
            Self::Throttles => "429",
            Self::DailyQuota => "daily quota",
            Self::AccountPaused => "account paused",
        }
    }

    fn fault(self) -> Option<Fault> {
        let internal = || Failure::new(500, None, "");
        let action = match self {
            Self::NeverAnswers => Action::AcceptThenHang,
            Self::AnswersLate => Action::Accept,
            Self::ResetsAfter => Action::AcceptThenReset,
            Self::ClosesAfter => Action::AcceptThenClose,
            Self::Truncates => Action::AcceptThenTruncate,
            Self::Garbles => Action::AcceptThenGarble,
            Self::TakesAndSays500 => Action::AcceptThenFail(internal()),
            Self::Says500 => Action::Refuse(internal()),
            Self::Says503 => Action::Refuse(Failure::new(
                503,
                Some("ServiceUnavailableException"),
                "Service is unavailable.",
            )),
            Self::ResetsBefore => Action::ResetBeforeReading,
            Self::Throttles => Action::Refuse(Failure::new(
                429,
                Some("TooManyRequestsException"),
                "Maximum sending rate exceeded.",
            )),
            Self::DailyQuota | Self::AccountPaused => return None,
        };
        Some(Fault {
            calls: Some(CALLS),
            delay_ms: if self == Self::AnswersLate { TOO_LATE_MS } else { 0 },
            ..Fault::always(action)
        })
    }

    pub(super) fn arm(self, world: &World) {
        if let Some(fault) = self.fault() {
            world.provider.add_fault(fault);
        }
    }

    pub(super) async fn strike(self, world: &World) {
        match self {
            Self::DailyQuota => world.provider.set_limits(Limits {
                daily_max: Some(10),
                ..Limits::default()
            }),
            Self::AccountPaused => world.provider.set_limits(Limits {
                paused: true,
                ..Limits::default()
            }),
            _ => {
                let before = world.provider.stats().accepted;
                world.has_sent(before, CALLS).await;
                return;
            }
        }
        lasts(LIMITED).await;
    }

    pub(super) fn heal(self, world: &World) {
        world.provider.clear_faults();
        if matches!(self, Self::DailyQuota | Self::AccountPaused) {
            world.provider.set_limits(Limits::default());
        }
    }
}
