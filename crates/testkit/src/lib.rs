//! What the tests of several crates share: real servers that end with the test, and waits with a bound.
//!
//! A missing server fails the test: a suite that silently skips is worse than none.

pub mod api_keys;
pub mod authority;
pub mod clock;
pub mod cluster;
pub mod eventually;
pub mod link;
mod moved_clock;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod resp;
pub mod sentinel;

pub use api_keys::ApiKeys;
pub use authority::Authority;
pub use clock::ManualClock;
pub use cluster::RedisCluster;
pub use eventually::eventually;
pub use link::Link;
pub use postgres::TestPostgres;
pub use process::{NotStarted, ServiceProcess};
pub use proxy::Proxy;
pub use redis::TestRedis;
pub use sentinel::Sentinels;
