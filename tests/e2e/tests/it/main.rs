//! The whole way, with real processes: the services' binaries, a real redis-server, the look-alike of SES.
//!
//! Needs the workspace's binaries (`make build`); a missing one fails.

mod backup;
mod binaries;
mod by_hand;
mod capacity;
mod clock_jumps;
mod connection_storm;
mod doubts;
mod every_message_once;
mod ground;
mod off_loopback;
mod one_trace;
mod open_streams;
mod pacing;
mod published;
mod redis_trouble;
mod renderer_ends;
mod rolling_deploy;
mod send_file;
mod sender_ends;
mod slow_store;
mod stack;
mod stops;
mod suppression;
mod templates;
mod throttle_command;
mod times;
mod unsubscribe;
mod up;
