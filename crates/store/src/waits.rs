//! Waiting until writes are kept: one wait for all that came while the last one was under way.
//!
//! Waits have a connection of their own to each node, since `WAIT` holds up all that is written behind it. Three things would
//! make a wait say yes to a write that is gone (each was seen), and are ruled out here:
//!
//! - A connection that has written nothing has nothing to wait for. Redis 7.0 takes any command for a start, Valkey only a write
//!   that replicas get to see, which on a Cluster a PUBLISH is not; so a key of the shard that nobody reads is set first.
//! - A connection that came back after that, too: the first and the last command say which connection they came by.
//! - The node is not the one that ran the script, or has taken over another's history since: run and replication id must be
//!   those that the script itself saw. If they are not, the script is to be repeated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientInterface, ClientLike, ClusterInterface, ServerInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, InfoKind, Key, Value};
use tokio::sync::{mpsc, oneshot};

use crate::connections::{ConnectionUse, Connections};
use crate::durability::Wait;
use crate::link::Link;
use crate::{StoreConfig, StoreError};

/// Allowed at OOM: what was sent must be recordable, and kept.
const MARK: &str = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '', 'PX', 1000)";
/// A connection that nobody has waited on for so long is given up: in a Cluster, nodes come and go.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long the end of a connection may take.
const CLOSE_MAX: Duration = Duration::from_millis(200);
/// Writes that wait for one node; more wait for room.
const WAITING_MAX: usize = 4_096;

/// Where a script was done: the run of a server, and the history of writes that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) run: String,
    pub(crate) history: String,
}

/// What a wait found.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    Durable,
    /// Another server, or one with another history: whether the write is part of it is not known.
    Elsewhere,
}

type Answer = Result<Settled, StoreError>;

/// The waits of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct Waits {
    config: Arc<StoreConfig>,
    connections: Connections,
    nodes: Arc<Mutex<HashMap<Option<Server>, mpsc::Sender<Waiting>>>>,
}

struct Waiting {
    /// Of the shard, for the write that each wait begins with.
    mark: Key,
    origin: Origin,
    wait: Wait,
    answer: oneshot::Sender<Answer>,
}

impl Waits {
    pub(crate) fn new(config: &StoreConfig, connections: Connections) -> Self {
        Self {
            config: Arc::new(config.clone()),
            connections,
            nodes: Arc::default(),
        }
    }

    /// Waits until what a script wrote is kept. `node` is where it ran, of a Cluster.
    ///
    /// # Errors
    /// If it is not within the time of a command and of a connection: the write may be kept or not, and repeating it is safe.
    pub(crate) async fn settle(&self, node: Option<Server>, mark: Key, origin: Origin, wait: Wait) -> Answer {
        let (answer, settled) = oneshot::channel();
        let waiting = Waiting {
            mark,
            origin,
            wait,
            answer,
        };
        let gone = || StoreError::unavailable("the wait for durability ended");
        let queue = self.queue(node);
        queue.send(waiting).await.map_err(|_| gone())?;
        settled.await.map_err(|_| gone())?
    }

    fn queue(&self, node: Option<Server>) -> mpsc::Sender<Waiting> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = nodes.get(&node).filter(|queue| !queue.is_closed());
        if let Some(queue) = known {
            return queue.clone();
        }
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let (config, connections) = (Arc::clone(&self.config), self.connections.clone());
        tokio::spawn(serve(config, connections, node.clone(), waiting));
        nodes.insert(node, queue.clone());
        queue
    }
}

/// Answers the waits for one node until nobody can ask any more.
async fn serve(
    config: Arc<StoreConfig>,
    connections: Connections,
    node: Option<Server>,
    mut queue: mpsc::Receiver<Waiting>,
) {
    let open = || Link::open(&config, node.as_ref(), &connections, ConnectionUse::Waits);
    let mut link: Option<Link> = None;
    let mut group = Vec::new();
    loop {
        match tokio::time::timeout(IDLE_MAX, queue.recv_many(&mut group, WAITING_MAX)).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => {
                close(link.take()).await;
                continue;
            }
        }
        let settled = match &link {
            Some(link) => settle(link, &config, &group).await,
            None => match open().await {
                Ok(opened) => {
                    let settled = settle(&opened, &config, &group).await;
                    link = Some(opened);
                    settled
                }
                Err(error) => Err(error),
            },
        };
        let mut stands = true;
        for waiting in group.drain(..) {
            let verdict = verdict(&waiting, &settled);
            stands &= matches!(verdict, Ok(Settled::Durable) | Err(StoreError::NotDurable { .. }));
            // Who has gone needs no answer.
            let _ = waiting.answer.send(verdict);
        }
        if !stands {
            // It may lead to a server that others have replaced.
            close(link.take()).await;
        }
    }
    close(link).await;
}

async fn close(link: Option<Link>) {
    if let Some(link) = link {
        link.close(CLOSE_MAX).await;
    }
}

/// What one round of a node found: who it is, and on how many disks or replicas everything before is.
struct Round {
    origin: Origin,
    /// Replicas that it has, whether they are waited for or not.
    attached: u32,
    replicas: u32,
    local_disk: bool,
    replica_disks: u32,
}

fn verdict(waiting: &Waiting, round: &Result<Round, StoreError>) -> Answer {
    let round = round
        .as_ref()
        .map_err(|error| StoreError::unavailable(error.to_string()))?;
    if round.origin != waiting.origin {
        return Ok(Settled::Elsewhere);
    }
    if let Wait::Replicas(wanted) | Wait::Disks(wanted @ 1..) = waiting.wait
        && round.attached > wanted
    {
        return Err(StoreError::Misconfigured {
            setting: "redis.replicas",
            found: wanted.to_string(),
            remedy: format!(
                "a primary has {}, and each that may be promoted must be waited for",
                round.attached
            ),
        });
    }
    let (reached, replicas, wanted) = match waiting.wait {
        Wait::Nothing => return Ok(Settled::Durable),
        Wait::Replicas(wanted) => (round.replicas >= wanted, round.replicas, wanted),
        Wait::Disks(wanted) => (
            round.local_disk && round.replica_disks >= wanted,
            round.replica_disks,
            wanted,
        ),
    };
    if reached {
        return Ok(Settled::Durable);
    }
    Err(StoreError::NotDurable { replicas, wanted })
}

async fn settle(link: &Link, config: &StoreConfig, group: &[Waiting]) -> Result<Round, StoreError> {
    // Within the time of a command, so that too few replicas are told from no answer; a disk that is synced once a second
    // needs more than half of the usual two.
    let time_max = config.command_timeout / 4 * 3;
    let most = |disks: bool| {
        let wanted = group.iter().filter_map(|waiting| match waiting.wait {
            Wait::Replicas(wanted) if !disks => Some(wanted),
            Wait::Disks(wanted) if disks => Some(wanted),
            _ => None,
        });
        wanted.max()
    };
    let pipeline = link.client().pipeline();
    pipeline.client_id::<()>().await?;
    if let Some(waiting) = group.first() {
        let command = CustomCommand::new_static("EVAL", ClusterHash::Random, false);
        let args = vec![
            Value::from_static_str(MARK),
            Value::from(1),
            waiting.mark.clone().into(),
        ];
        pipeline.custom::<(), Value>(command, args).await?;
    }
    pipeline.info::<()>(Some(InfoKind::Server)).await?;
    pipeline.info::<()>(Some(InfoKind::Replication)).await?;
    let (replicas, disks) = (most(false), most(true));
    if let Some(wanted) = replicas {
        pipeline.wait::<()>(wanted.into(), millis(time_max)).await?;
    }
    if let Some(wanted) = disks {
        let command = CustomCommand::new_static("WAITAOF", ClusterHash::Random, false);
        let args = vec![1, i64::from(wanted), millis(time_max)];
        pipeline.custom::<(), i64>(command, args).await?;
    }
    pipeline.client_id::<()>().await?;
    let answers: Vec<Value> = link.ask(pipeline.all()).await?;
    read(answers, replicas.is_some(), disks.is_some())
}

fn read(answers: Vec<Value>, replicas: bool, disks: bool) -> Result<Round, StoreError> {
    let mut answers = answers.into_iter();
    let mut next = || {
        answers
            .next()
            .ok_or_else(|| StoreError::bug("a wait got too few answers"))
    };
    let connection = next()?.as_i64();
    next()?;
    let (server, replication) = (next()?, next()?);
    let field = |text: &Value, name: &str| {
        let text = text.as_str().unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| StoreError::bug(format!("INFO has no {name}")))
    };
    let origin = Origin {
        run: field(&server, "run_id")?,
        history: field(&replication, "master_replid")?,
    };
    let number = |value: Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let mut round = Round {
        origin,
        attached: field(&replication, "connected_slaves")?
            .parse()
            .unwrap_or(u32::MAX),
        replicas: 0,
        local_disk: false,
        replica_disks: 0,
    };
    if replicas {
        round.replicas = number(next()?).ok_or_else(|| StoreError::bug("WAIT answered with no number"))?;
    }
    if disks {
        let counts = next()?.into_array();
        let [local, replicas] =
            <[Value; 2]>::try_from(counts).map_err(|_| StoreError::bug("WAITAOF answered with no pair"))?;
        round.local_disk = local.as_u64() == Some(1);
        round.replica_disks = number(replicas).unwrap_or(0);
    }
    if connection.is_none() || next()?.as_i64() != connection {
        return Err(StoreError::unavailable("the connection changed during a wait"));
    }
    Ok(round)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The node of a Cluster that holds the slot, as far as it is known; `None` where there is one node for all.
pub(crate) fn node_of(client: &Client, slot: u16) -> Option<Server> {
    let state = client.cached_cluster_state()?;
    state.get_server(slot).cloned()
}
