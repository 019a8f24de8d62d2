//! What Paceline needs from the outside, on one machine: a stand-in for Amazon SES and Mailgun, with an inbox to look at, and
//! a Redis of one's own.
//!
//! Both are for development and tests. Neither listens off the loopback interface, and no mail leaves the machine.

mod inbox;
mod lookalike;
mod mailgun;
pub mod private_redis;
pub mod ses;
pub mod sns;

pub use lookalike::{
    Lookalike, LookalikeError, LookalikeOptions, MailgunAccount, Provider, events, fault, limits, store,
};
