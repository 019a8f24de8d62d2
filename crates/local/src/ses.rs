//! The look-alike of Amazon SES, API version 2: `SendEmail` and `GetAccount`, with SES's checks, limits and answers.
//!
//! It takes mail and keeps the newest of it in memory ([`store`]); people read it on the inbox page, tests through
//! [`Lookalike`] or the JSON addresses (`control`). Faults ([`fault`]) make it behave like a provider, or a network, on
//! a bad day. A mail counts as taken before it is answered, so a call whose answer is lost has still sent its email: that
//! is the case Paceline must never get wrong.

mod api;
mod connection;
mod control;
pub mod fault;
pub mod limits;
mod lookalike;
mod mime;
mod send;
pub mod store;
mod validate;

pub use lookalike::{Lookalike, LookalikeError, LookalikeOptions};

pub(crate) use api::{SentAttachment, SentEmail};
pub(crate) use lookalike::Shared;
pub(crate) use mime::source;
