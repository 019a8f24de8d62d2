//! Amazon SES, API version 2: `SendEmail` and `GetAccount`, with SES's checks and answers.

mod account;
mod api;
mod send;
mod validate;

pub use account::AccountAnswer;
pub(crate) use account::{account, answer, set_answer};
pub(crate) use send::send_email;

pub use crate::lookalike::{fault, limits, store};
