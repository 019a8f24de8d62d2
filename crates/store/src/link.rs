//! One connection to Redis (one for each node of a Cluster), and what fred does not do by itself.
//!
//! fred is used so that it never does a thing twice behind our back: one attempt for each command, no MULTI, timeouts on
//! the client. A peer that is gone without a word is noticed by nobody in fred as long as writes go on, and its own reconnection
//! is queued behind a write that never ends; so two timeouts in a row without an answer between them have another client take the place
//! of the first. In a Cluster the answers of the other nodes say nothing of the silent one, so that timeouts add up there, whatever
//! is answered between them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::{ReconnectPolicy, Server, ServerConfig};
use fred::types::{Builder, ConnectHandle, Key, Value};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::Instant;

use crate::address::{self, Address};
use crate::connections::{ConnectionUse, Connections, Counted};
use crate::durability::Topology;
use crate::script::Script;
use crate::tls::{Handshakes, TlsError};
use crate::{StoreConfig, StoreError, Tls, TlsParts};

/// Timeouts in a row after which the connection counts as dead.
const TIMEOUTS_MAX: u64 = 2;
/// What fred says to every command once the task that drives the client was ended.
const ROUTER_GONE: &str = "Failed to send command to router.";
/// Between two attempts to connect by another client; twice as much after each, more or less by up to a half. And the longest is how
/// long a client is used at the least.
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(200);
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Commands that wait to be written; more are refused at once.
const COMMAND_BUFFER_MAX: usize = 20_000;
/// For what is under way on a client that is ended.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(5);
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
    /// The one that is used now.
    client: watch::Sender<Client>,
    topology: Topology,
    /// How another one is made.
    config: Arc<StoreConfig>,
    node: Option<Server>,
    silence: Arc<Silence>,
    /// The task that drives the client; held while another one takes its place, so that there is one attempt at a time.
    driver: Arc<Mutex<ConnectHandle>>,
    closed: Arc<AtomicBool>,
    counted: Arc<Counted>,
}

/// What is known of a client's silence.
struct Silence {
    /// The number of this client (upper half) and its timeouts in a row (lower half), in one word so that they change together.
    word: AtomicU64,
    since: Instant,
    /// When the last timeout was, in ms since then.
    last: AtomicU64,
    /// Older timeouts are forgotten, in ms.
    memory: u64,
}

impl Silence {
    fn new(command_timeout: Duration) -> Self {
        Self {
            word: AtomicU64::new(0),
            since: Instant::now(),
            last: AtomicU64::new(0),
            memory: millis(2 * command_timeout),
        }
    }

    /// The number of the client that is asked now.
    fn client(&self) -> u64 {
        self.word.load(Ordering::Relaxed) >> 32
    }

    fn answered(&self, client: u64) {
        // Nearly always there is nothing to forget, and no write to share.
        if self.word.load(Ordering::Relaxed) != client << 32 {
            self.change(|word| (word >> 32 == client).then_some(client << 32));
        }
    }

    /// True if this is one timeout too many. Commands of the client before are no news about this one.
    fn timed_out(&self, client: u64) -> bool {
        let now = millis(self.since.elapsed());
        let last = self.last.swap(now, Ordering::Relaxed);
        let before = if now.saturating_sub(last) > self.memory {
            0
        } else {
            self.word.load(Ordering::Relaxed) & u64::from(u32::MAX)
        };
        let is_last = before + 1 >= TIMEOUTS_MAX;
        let next = if is_last {
            client << 32
        } else {
            (client << 32) | (before + 1)
        };
        self.change(|word| (word >> 32 == client).then_some(next)) && is_last
    }

    /// Another client is asked from now on.
    fn replaced(&self) {
        self.change(|word| Some(((word >> 32) + 1) << 32));
    }

    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> bool {
        let changed = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to);
        changed.is_ok()
    }
}

impl Link {
    /// Connects, and from then on reconnects for ever. With a `node`, to that one alone.
    pub(crate) async fn open(
        config: &StoreConfig,
        node: Option<&Server>,
        connections: &Connections,
        used_for: ConnectionUse,
    ) -> Result<Self, StoreError> {
        let (client, driver) = connected(config, node).await?;
        let topology = topology(&client);
        let client = watch::Sender::new(client);
        let counted = connections.count(used_for, {
            let client = client.clone();
            move || client.borrow().clone()
        });
        Ok(Self {
            client,
            topology,
            config: Arc::new(config.clone()),
            node: node.cloned(),
            silence: Arc::new(Silence::new(config.command_timeout)),
            driver: Arc::new(Mutex::new(driver)),
            closed: Arc::default(),
            counted: Arc::new(counted),
        })
    }

    /// All connections of the store, this one among them.
    pub(crate) fn connections(&self) -> &Connections {
        self.counted.among()
    }

    pub(crate) const fn topology(&self) -> Topology {
        self.topology
    }

    /// The client as it is now.
    pub(crate) fn client(&self) -> Client {
        self.client.borrow().clone()
    }

    /// The client as it is now, and each that replaces it.
    pub(crate) fn clients(&self) -> watch::Receiver<Client> {
        self.client.subscribe()
    }

    /// Waits for a command's answer and watches whether answers come at all.
    pub(crate) async fn ask<T>(&self, command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let client = self.silence.client();
        let answer = command.await;
        match &answer {
            Err(error) if *error.kind() == ErrorKind::Timeout => {
                if self.silence.timed_out(client) && self.is_silent() {
                    tracing::warn!(timeouts = TIMEOUTS_MAX, "redis does not answer, reconnecting");
                    self.connect_anew();
                }
            }
            Err(error) if error.details() == ROUTER_GONE => {
                if self.silence.client() == client {
                    self.connect_anew();
                }
            }
            _ if self.topology == Topology::Cluster => {}
            _ => self.silence.answered(client),
        }
        answer
    }

    /// Whether nobody makes the connection anew but us. One that fred knows to be gone it makes anew by itself, while the task that drives it
    /// runs; two clients that tried would be a storm.
    fn is_silent(&self) -> bool {
        let has_ended = || self.driver.try_lock().is_ok_and(|driver| driver.is_finished());
        self.topology == Topology::Cluster || self.client.borrow().is_connected() || has_ended()
    }

    /// Runs a script. A script that Redis does not know (after a restart) is sent whole: nothing of it was done.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Value, StoreError> {
        let client = self.client();
        let known = client.evalsha::<Value, _, _, _>(script.hash.as_str(), keys.clone(), args.clone());
        match self.ask(known).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                tracing::debug!(script = script.name, "redis does not know the script yet");
                let whole = client.eval::<Value, _, _, _>(script.source.as_str(), keys, args);
                Ok(self.ask(whole).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Ends the client once what is under way is answered, but waits no longer than `at_most`. Nothing may be asked any more.
    pub(crate) async fn close(&self, at_most: Duration) {
        self.closed.store(true, Ordering::SeqCst);
        quit(&self.client(), at_most).await;
        // One that takes its place meanwhile ends by itself.
        if let Ok(driver) = self.driver.try_lock() {
            driver.abort();
        }
    }

    fn connect_anew(&self) {
        if let Ok(driver) = Arc::clone(&self.driver).try_lock_owned() {
            tokio::spawn(self.clone().replace(driver));
        }
    }

    /// Makes every connection anew, by another client. Until it has them, the one before is used for what it can still reach.
    ///
    /// fred's own `init` of a client that runs leaves it broken where commands were queued or the first attempt fails: it hands a closed
    /// channel on, and counts commands that are gone as ones that wait, after which it writes without a flush.
    async fn replace(self, mut driver: OwnedMutexGuard<ConnectHandle>) {
        let mut pause = CONNECT_PAUSE_MIN;
        while !self.closed.load(Ordering::SeqCst) {
            match connected(&self.config, self.node.as_ref()).await {
                Ok((client, next)) => {
                    let before = self.client.send_replace(client);
                    self.silence.replaced();
                    end(&before, &std::mem::replace(&mut *driver, next)).await;
                    break;
                }
                Err(error) => tracing::warn!(%error, "could not reconnect to redis"),
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            pause = (pause * 2).min(CONNECT_PAUSE_MAX);
        }
        tokio::time::sleep(CONNECT_PAUSE_MAX).await;
        if self.closed.load(Ordering::SeqCst) {
            end(&self.client(), &driver).await;
        }
    }
}

/// Ends a client for good.
async fn end(client: &Client, driver: &ConnectHandle) {
    quit(client, CLOSE_MAX).await;
    driver.abort();
}

async fn quit(client: &Client, at_most: Duration) {
    // It fails only where there is nothing to end, and who does not answer is left.
    let _ = tokio::time::timeout(at_most, client.quit()).await;
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn topology(client: &Client) -> Topology {
    match client.client_config().server {
        ServerConfig::Clustered { .. } => Topology::Cluster,
        ServerConfig::Sentinel { .. } => Topology::Sentinel,
        _ => Topology::Standalone,
    }
}

/// A client that has its connections, and the task that drives it.
async fn connected(
    config: &StoreConfig,
    node: Option<&Server>,
) -> Result<(Client, ConnectHandle), StoreError> {
    let (client, handshakes) = client_to(config, node)?;
    let driver = init(&client, handshakes.as_ref()).await?;
    Ok((client, driver))
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
    let counted = connections.count(ConnectionUse::Hints, {
        let subscriber = subscriber.clone();
        move || subscriber.clone()
    });
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
