//! How to reach Redis.

use std::fmt;
use std::time::Duration;

use crate::{Durability, LogUse, StoreError, Tls, address};

/// What [`Store::connect`](crate::Store::connect) needs to know.
#[derive(Clone)]
pub struct StoreConfig {
    /// `redis://[user:password@]host:port`, `redis+unix:///path`, `redis-cluster://host:port?node=host:port&...`, or
    /// `redis-sentinel://[user:password@]host:port?sentinelServiceName=NAME&node=host:port&...`, where the password is the servers'
    /// and `sentinelPassword=` the sentinels' own; `rediss` for TLS.
    pub url: String,
    /// For a `rediss` URL; `None`: the system's CAs, and no certificate of one's own.
    pub tls: Option<Tls>,
    /// Sends a password in plaintext to a Redis off loopback: where the network encrypts by itself.
    pub allow_plaintext_password: bool,
    /// The number of shards; the same for every process, as the stored one says.
    pub shards: u16,
    /// How long a command may take before its outcome counts as unknown.
    pub command_timeout: Duration,
    /// When a write counts as kept, for acknowledgements and claims alike.
    pub durability: Durability,
    /// How many replicas each primary has that may be promoted; waited for at [`Durability::Replicated`].
    pub replicas: u32,
    /// Accepts a Redis that evicts, or writes no append-only file. For development only.
    pub allow_unsafe: bool,
    /// What becomes of the logs; the same mode for every process, as the stored one says.
    pub log: LogUse,
    /// How many entries the log of each shard keeps as a ring, roughly.
    pub log_entries_max: u64,
}

impl StoreConfig {
    /// Checks what can be checked without a connection.
    ///
    /// # Errors
    /// The setting that can't be used.
    pub fn check(&self) -> Result<(), StoreError> {
        address::read(self).map(|_| ())
    }
}

impl fmt::Debug for StoreConfig {
    /// Without the url, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("tls", &self.tls)
            .field("allow_plaintext_password", &self.allow_plaintext_password)
            .field("shards", &self.shards)
            .field("command_timeout", &self.command_timeout)
            .field("durability", &self.durability)
            .field("replicas", &self.replicas)
            .field("allow_unsafe", &self.allow_unsafe)
            .field("log", &self.log)
            .field("log_entries_max", &self.log_entries_max)
            .finish_non_exhaustive()
    }
}
