//! The sender on real Redis, with a scripted provider or the look-alike of SES.

mod account_paused_for_an_hour;
mod account_paused_with_redis;
mod backup;
mod clock_jumps;
mod coordinators;
mod copies;
mod doubt;
mod drain;
mod fairness;
mod look_alike;
mod lost_claims;
mod many_doubts;
mod not_allowed_here;
mod overflow;
mod pacing;
mod redis_trouble;
mod routing;
mod sent_once;
mod stopped;
mod support;
mod suppressed;
mod tries;
mod unread;
mod unreadable;
