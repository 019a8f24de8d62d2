//! What Paceline needs from the outside, on one machine: a stand-in for Amazon SES, with an inbox to look at, and a Redis of
//! one's own.
//!
//! Both are for development and tests. Neither listens off the loopback interface, and no mail leaves the machine.

mod inbox;
pub mod private_redis;
pub mod ses;

pub use ses::{Lookalike, LookalikeError, LookalikeOptions};
