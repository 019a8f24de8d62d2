//! What people and providers' events tell the leader: checked, said to the desk in one place, answered once it holds.

use std::time::Duration;

use paceline_domain::controller::overrides::{Action, Kind, Override, Wrong};
use paceline_domain::controller::route::Way;
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::controller::{Decision, Event};
use paceline_kit::clock::Clock;
use paceline_kit::identity::is_name;
use paceline_store::throttle::RateKey;
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::v1;
use tonic::Code;

use super::describe::{read_key, set_by_hand, way_name};
use super::{Throttle, WRITE_MAX, refused};
use crate::desk::Refused;

/// `ErrorInfo.reason` of the start of a warm-up that is under way.
const WARMING_UP: &str = "warming_up";

const FEEDBACK_ITEMS_MAX: usize = 1_000;
/// What is set for less is over before the senders have heard of it.
const FOR_MIN: Duration = Duration::from_secs(1);
const FOR_MAX: Duration = Duration::from_hours(24 * 30);

impl<C: Clock> Throttle<C> {
    pub(super) async fn feedback_given(
        &self,
        request: v1::FeedbackRequest,
    ) -> Result<v1::FeedbackResponse, RpcError> {
        let batch: Result<[u8; 16], _> = request.batch_id.as_ref().try_into();
        let batch = batch.map_err(|_| InvalidFields::one("batch_id", "must be 16 bytes"))?;
        if request.items.len() > FEEDBACK_ITEMS_MAX {
            return Err(InvalidFields::one("items", "must be at most 1000").into());
        }
        let mut items = Vec::with_capacity(request.items.len());
        for (index, item) in request.items.into_iter().enumerate() {
            let key = read_key(item.key, &format!("items[{index}].key"))?;
            items.push((key, item.hard_bounces, item.complaints, item.deliveries));
        }
        self.open(items.iter().map(|(key, ..)| key)).await?;
        let bounced: Vec<(RateKey, u64)> = items.iter().map(|(key, n, ..)| (key.clone(), *n)).collect();
        let (is_new, boarded) = self
            .desk
            .feedback(batch, &bounced, self.clock.boot())
            .map_err(refused)?;
        boarded.landed(WRITE_MAX).await.map_err(refused)?;
        if is_new {
            for (key, hard_bounces, complaints, deliveries) in &items {
                for (kind, n) in [
                    ("hard_bounce", *hard_bounces),
                    ("complaint", *complaints),
                    ("delivery", *deliveries),
                ] {
                    self.metrics.feedback(key, kind, n);
                }
            }
        }
        Ok(v1::FeedbackResponse { repeated: !is_new })
    }

    pub(super) async fn override_set(
        &self,
        request: v1::SetOverrideRequest,
    ) -> Result<v1::SetOverrideResponse, RpcError> {
        let key = read_key(request.key, "key")?;
        let action = action(request.action)?;
        let lasts = Duration::from_millis(request.for_ms);
        if !(FOR_MIN..=FOR_MAX).contains(&lasts) {
            return Err(InvalidFields::one("for_ms", "must be 1 s to 30 days").into());
        }
        let mut it = Override {
            action,
            who: request.who,
            why: request.why,
            until: lasts,
        };
        let template = it.clone();
        let event = |now: Duration| {
            Event::Set(Override {
                until: now + lasts,
                ..template
            })
        };
        let decisions = self.command(&key, event).await?;
        if let Some(wrong) = decisions.iter().find_map(|decision| match decision {
            Decision::NotSet(wrong) => Some(*wrong),
            _ => None,
        }) {
            return Err(InvalidFields::one(field(wrong), wrong.to_string()).into());
        }
        it.until = lasts;
        tracing::warn!(
            %key,
            kind = it.action.kind().as_str(),
            who = it.who,
            why = it.why,
            for_s = lasts.as_secs(),
            "set by hand"
        );
        Ok(v1::SetOverrideResponse {
            r#override: Some(set_by_hand(&it, lasts)),
        })
    }

    pub(super) async fn override_cleared(
        &self,
        request: v1::ClearOverrideRequest,
    ) -> Result<v1::ClearOverrideResponse, RpcError> {
        let key = read_key(request.key, "key")?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == request.kind);
        let kind = kind.ok_or_else(|| InvalidFields::one("kind", "must be pause, resume, cap or route"))?;
        let decisions = self.command(&key, |_| Event::Cleared(kind)).await?;
        let cleared = decisions.contains(&Decision::Cleared(kind));
        if cleared {
            tracing::warn!(%key, kind = kind.as_str(), "taken back by hand");
        }
        Ok(v1::ClearOverrideResponse { cleared })
    }

    pub(super) async fn warm_up_started(
        &self,
        request: v1::StartWarmUpRequest,
    ) -> Result<v1::StartWarmUpResponse, RpcError> {
        let key = read_key(request.key, "key")?;
        let to = request.overflow_to;
        if !to.is_empty() && (!is_name(&to) || to == key.identity) {
            return Err(InvalidFields::one(
                "overflow_to",
                "must be empty, or the name of another identity, 1 to 64 of [a-z0-9_-]",
            )
            .into());
        }
        self.open(std::iter::once(&key)).await?;
        if self.desk.is_warming_up(&key) {
            let error = RpcError::new(
                Code::FailedPrecondition,
                WARMING_UP,
                "the identity is being warmed up already",
            );
            return Err(error);
        }
        let overflow = Overflow::to((!to.is_empty()).then(|| to.clone()));
        self.command(&key, |_| Event::WarmUp(overflow)).await?;
        tracing::info!(%key, overflow_to = to, "warm-up started by hand");
        Ok(v1::StartWarmUpResponse {})
    }

    pub(super) async fn warm_up_stopped(
        &self,
        request: v1::StopWarmUpRequest,
    ) -> Result<v1::StopWarmUpResponse, RpcError> {
        let key = read_key(request.key, "key")?;
        self.open(std::iter::once(&key)).await?;
        let stopped = self.desk.is_warming_up(&key);
        if stopped {
            self.command(&key, |_| Event::Warm).await?;
            tracing::info!(%key, "warm-up stopped by hand");
        }
        Ok(v1::StopWarmUpResponse { stopped })
    }

    /// The one way by which a person's word reaches the desk.
    async fn command(
        &self,
        key: &RateKey,
        event: impl FnOnce(Duration) -> Event,
    ) -> Result<Vec<Decision>, RpcError> {
        self.open(std::iter::once(key)).await?;
        let said = self.desk.command(key, event, self.clock.boot());
        let decisions = said.map_err(refused)?;
        let boarded = self.desk.snapshot(key, self.clock.boot());
        let boarded = boarded.ok_or_else(|| refused(Refused::NotLeader(String::new())))?;
        boarded.landed(WRITE_MAX).await.map_err(refused)?;
        Ok(decisions)
    }
}

fn action(action: Option<v1::set_override_request::Action>) -> Result<Action, InvalidFields> {
    use v1::set_override_request::Action as Wire;
    Ok(match action {
        None => return Err(InvalidFields::one("action", "is missing")),
        Some(Wire::Pause(_)) => Action::Pause,
        Some(Wire::Resume(_)) => Action::Resume,
        Some(Wire::Cap(cap)) => Action::Cap { rate: cap.rate },
        Some(Wire::Route(route)) => {
            let ways = [Way::Primary, Way::Backup];
            let way = ways.into_iter().find(|way| way_name(*way) == route.way);
            let wrong = || InvalidFields::one("route.way", "must be primary or backup");
            Action::Route(way.ok_or_else(wrong)?)
        }
    })
}

const fn field(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Who => "who",
        Wrong::Why => "why",
        Wrong::Until => "for_ms",
        Wrong::Cap => "cap.rate",
    }
}
