//! One connection to Redis (one for each node of a Cluster), and what fred does not do by itself.
//!
//! fred is used so that it never does a thing twice behind our back: one attempt for each command, no MULTI, timeouts on
//! the client. A peer that is gone without a word is noticed by nobody in fred as long as writes go on; so two timeouts in a
//! row without an answer between them force a new connection. In a Cluster the answers of the other nodes say nothing of the
//! silent one, so that timeouts add up there, whatever is answered between them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::{ReconnectPolicy, Server, ServerConfig};
use fred::types::{Builder, ConnectHandle, Key, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::address::{self, Address};
use crate::connections::{ConnectionUse, Connections, Counted};
use crate::durability::Topology;
use crate::script::Script;
use crate::tls::{Handshakes, TlsError};
use crate::{StoreConfig, StoreError, Tls, TlsParts};

/// Timeouts in a row after which the connection counts as dead.
const TIMEOUTS_MAX: u64 = 2;
/// What fred says to every command once the task that drives the connection has ended.
const ROUTER_GONE: &str = "Failed to send command to router.";
/// Between two attempts to connect to a Cluster anew; twice as much after each, more or less by up to a half.
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(200);
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Commands that wait to be written; more are refused at once.
const COMMAND_BUFFER_MAX: usize = 20_000;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
const RECONNECT_PAUSE_MS_MIN: u32 = 50;
const RECONNECT_PAUSE_MS_MAX: u32 = 2_000;
/// Added to each pause but the longest, at random up to this: the clients of all processes lose Redis in one moment.
const RECONNECT_JITTER_MS: u32 = 500;
/// Messages on a channel that a slow reader may be behind; hints may be lost.
const HINTS_MAX: usize = 1_024;

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    /// The number of this connection (upper half) and its timeouts in a row (lower half), in one word so that they change
    /// together.
    silence: Arc<AtomicU64>,
    /// The task that drives the connection; held while it connects anew, so that one attempt does not end another.
    router: Arc<Mutex<ConnectHandle>>,
    counted: Arc<Counted>,
}

impl Link {
    /// Connects, and from then on reconnects for ever. With a `node`, to that one alone.
    pub(crate) async fn open(
        config: &StoreConfig,
        node: Option<&Server>,
        connections: &Connections,
        used_for: ConnectionUse,
    ) -> Result<Self, StoreError> {
        let (client, handshakes) = client_to(config, node)?;
        let counted = connections.count(used_for, client.clone());
        let router = init(&client, handshakes.as_ref()).await?;
        Ok(Self {
            client,
            silence: Arc::default(),
            router: Arc::new(Mutex::new(router)),
            counted: Arc::new(counted),
        })
    }

    /// All connections of the store, this one among them.
    pub(crate) fn connections(&self) -> &Connections {
        self.counted.among()
    }

    pub(crate) fn topology(&self) -> Topology {
        match self.client.client_config().server {
            ServerConfig::Clustered { .. } => Topology::Cluster,
            ServerConfig::Sentinel { .. } => Topology::Sentinel,
            _ => Topology::Standalone,
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for a command's answer and watches whether answers come at all.
    pub(crate) async fn ask<T>(&self, command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let connection = self.silence.load(Ordering::Relaxed) >> 32;
        let answer = command.await;
        match &answer {
            Err(error) if *error.kind() == ErrorKind::Timeout => self.timed_out(connection),
            Err(error) if error.details() == ROUTER_GONE => self.connect_anew(Anew::Router),
            _ if self.client.is_clustered() => {}
            _ => self.answered(connection),
        }
        answer
    }

    /// Runs a script. A script that Redis does not know (after a restart) is sent whole: nothing of it was done.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Value, StoreError> {
        let known = self
            .client
            .evalsha::<Value, _, _, _>(script.hash.as_str(), keys.clone(), args.clone());
        match self.ask(known).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                tracing::debug!(script = script.name, "redis does not know the script yet");
                let whole = self
                    .client
                    .eval::<Value, _, _, _>(script.source.as_str(), keys, args);
                Ok(self.ask(whole).await?)
            }
            answer => Ok(answer?),
        }
    }

    fn answered(&self, connection: u64) {
        // Nearly always there is nothing to forget, and no write to share.
        if self.silence.load(Ordering::Relaxed) != connection << 32 {
            let _ = self
                .silence
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |silence| {
                    (silence >> 32 == connection).then_some(connection << 32)
                });
        }
    }

    fn timed_out(&self, connection: u64) {
        // Commands of the connection before are no news about this one.
        let counted = self
            .silence
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |silence| {
                if silence >> 32 != connection {
                    None
                } else if (silence & u64::from(u32::MAX)) + 1 >= TIMEOUTS_MAX {
                    Some((connection + 1) << 32)
                } else {
                    Some(silence + 1)
                }
            });
        if counted.is_ok_and(|before| (before & u64::from(u32::MAX)) + 1 >= TIMEOUTS_MAX) {
            tracing::warn!(timeouts = TIMEOUTS_MAX, "redis does not answer, reconnecting");
            // In a Cluster fred keeps each connection to a node that is still part of it, the silent one too.
            self.connect_anew(if self.client.is_clustered() {
                Anew::Router
            } else {
                Anew::Connection
            });
        }
    }

    fn connect_anew(&self, what: Anew) {
        if let Ok(router) = Arc::clone(&self.router).try_lock_owned() {
            let client = self.client.clone();
            match what {
                Anew::Connection => tokio::spawn(reconnect(client, router)),
                Anew::Router => tokio::spawn(restart(client, router)),
            };
        }
    }
}

/// What is made anew where Redis does not answer.
#[derive(Clone, Copy)]
enum Anew {
    Connection,
    /// The task that drives all connections, and them with it.
    Router,
}

/// Makes the connection anew; after a failure fred goes on by itself.
async fn reconnect(client: Client, _turn: OwnedMutexGuard<ConnectHandle>) {
    if let Err(error) = client.force_reconnection().await {
        tracing::warn!(%error, "could not reconnect to redis");
    }
}

/// Makes every connection anew, by another router.
///
/// fred ends the one before, which hands its closed channel of commands back while the next one connects. Once that fails fred has no
/// other any more, and no command reaches a router: then each one's error leads here again.
async fn restart(client: Client, mut router: OwnedMutexGuard<ConnectHandle>) {
    let mut pause = CONNECT_PAUSE_MIN;
    loop {
        match client.init().await {
            Ok(next) => {
                *router = next;
                return;
            }
            Err(error) => tracing::warn!(%error, "could not reconnect to redis"),
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause = (pause * 2).min(CONNECT_PAUSE_MAX);
    }
}

/// Connects a client that only listens to channels.
pub(crate) async fn open_subscriber(
    config: &StoreConfig,
    connections: &Connections,
) -> Result<(SubscriberClient, Counted), StoreError> {
    let (subscriber, handshakes) = {
        let (builder, handshakes) = builder(config)?;
        (builder.build_subscriber_client()?, handshakes)
    };
    let counted = connections.count(ConnectionUse::Hints, subscriber.clone());
    init(&subscriber, handshakes.as_ref()).await?;
    Ok((subscriber, counted))
}

fn client_to(
    config: &StoreConfig,
    node: Option<&Server>,
) -> Result<(Client, Option<Handshakes>), StoreError> {
    let (mut builder, handshakes) = builder(config)?;
    if let Some(node) = node {
        address::check_password(config, node)?;
        builder.with_config(|config| config.server = ServerConfig::Centralized { server: node.clone() });
    }
    Ok((builder.build()?, handshakes))
}

/// Sets a client up. Its handshakes, where it speaks TLS, are noted.
fn builder(config: &StoreConfig) -> Result<(Builder, Option<Handshakes>), StoreError> {
    let Address { mut client, tls } = address::read(config)?;
    let handshakes = if tls {
        let tls = match &config.tls {
            Some(tls) => tls.clone(),
            None => Tls::new(TlsParts::default()).map_err(no_system_ca)?,
        };
        let (connector, handshakes) = tls.connector();
        client.tls = Some(connector);
        Some(handshakes)
    } else {
        None
    };
    let mut builder = Builder::from_config(client);
    builder.set_policy(reconnect_policy());
    let timeout = config.command_timeout;
    builder.with_connection_config(|connection| {
        connection.max_command_attempts = 1;
        connection.max_command_buffer_len = COMMAND_BUFFER_MAX;
        connection.connection_timeout = CONNECT_TIME_MAX;
        connection.internal_command_timeout = timeout;
        connection.unresponsive.max_timeout = Some(timeout * 2);
        connection.unresponsive.interval = timeout / 2;
        connection.tcp.nodelay = Some(true);
    });
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = timeout;
        performance.broadcast_channel_capacity = HINTS_MAX;
    });
    Ok((builder, handshakes))
}

/// For ever, with pauses that double, and differ by chance.
fn reconnect_policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, RECONNECT_PAUSE_MS_MIN, RECONNECT_PAUSE_MS_MAX, 2);
    policy.set_jitter(RECONNECT_JITTER_MS);
    policy
}

fn no_system_ca(error: TlsError) -> StoreError {
    StoreError::Misconfigured {
        setting: "redis.tls.ca",
        found: "not set".to_owned(),
        remedy: format!("{error}: set it to the file of the CA of redis's certificate"),
    }
}

/// Connects a client for the first time.
async fn init(
    client: &impl ClientLike,
    handshakes: Option<&Handshakes>,
) -> Result<ConnectHandle, StoreError> {
    let error = match client.init().await {
        Ok(router) => return Ok(router),
        Err(error) => StoreError::from(error),
    };
    Err(match handshakes {
        Some(handshakes) => handshakes.explain(error),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::reconnect_policy;

    #[test]
    fn clients_that_lose_redis_together_do_not_start_again_together() {
        let first = || reconnect_policy().next_delay().expect("there is always a next");
        let firsts: Vec<u64> = (0..1_000).map(|_| first()).collect();
        let within = |from: u64, to: u64| firsts.iter().filter(|pause| (from..to).contains(pause)).count();
        assert_eq!(within(50, 550), 1_000);
        for slot in 0..5 {
            let (from, to) = (50 + 100 * slot, 150 + 100 * slot);
            let share = within(from, to);
            assert!(
                (100..300).contains(&share),
                "{share} of 1000 from {from} to {to} ms"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_two_seconds_and_never_end() {
        let mut policy = reconnect_policy();
        let mut pauses = std::iter::from_fn(|| policy.next_delay());
        for least in [50, 100, 200, 400, 800, 1_600] {
            let pause = pauses.next().expect("there is always a next");
            assert!((least..least + 500).contains(&pause), "{pause} after {least}");
        }
        assert_eq!(pauses.nth(1_000), Some(2_000));
    }
}
