//! A Redis Cluster of three nodes for one test.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paceline_local::private_redis::{Address, Endpoint, PrivateRedis, RedisOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::eventually;
use crate::resp::{self, Reply};

const NODES: u16 = 3;
const SLOTS: u16 = 16_384;
/// The three must agree before the first command.
const FORM_TIME_MAX: Duration = Duration::from_secs(30);

/// Three primaries that share the slots evenly; they go with the value.
#[derive(Debug)]
pub struct RedisCluster {
    url: String,
    nodes: Vec<PrivateRedis>,
    /// The node that answered last: a test's keys mostly lie together.
    last: AtomicUsize,
    _dir: TempDir,
}

/// A slot on its way from one node to another.
#[derive(Debug)]
pub struct Migration {
    slot: String,
    from: usize,
    to: usize,
    to_id: String,
}

impl RedisCluster {
    /// Starts the nodes, gives each a third of the slots, joins them and waits until all three see the whole.
    ///
    /// # Panics
    /// If a server can't be started or the nodes do not find each other.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("paceline-cluster-")
            .tempdir()
            .expect("a temporary directory");
        let mut ports = free_ports(2 * usize::from(NODES));
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let (port, bus) = (ports.pop().expect("enough"), ports.pop().expect("enough"));
            let options = RedisOptions {
                endpoint: Endpoint::Loopback(port),
                append_fsync: "no".to_owned(),
                settings: [
                    ("cluster-enabled", "yes"),
                    ("cluster-port", &bus.to_string()),
                    ("cluster-node-timeout", "5000"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
                ..RedisOptions::default()
            };
            let node = PrivateRedis::start(&dir.path().join(number.to_string()), &options)
                .await
                .expect("a redis-server");
            let (first, last) = (slot_bound(number), slot_bound(number + 1) - 1);
            let share = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()];
            assert_ok(&node, &share).await;
            // Each its own epoch, so that no two ever argue about a slot.
            let epoch = (number + 1).to_string();
            assert_ok(&node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            if let Some(known) = nodes.first() {
                let known: &(PrivateRedis, u16, u16) = known;
                let (port, bus) = (known.1.to_string(), known.2.to_string());
                assert_ok(&node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
            }
            nodes.push((node, port, bus));
        }
        let nodes: Vec<_> = nodes.into_iter().map(|(node, _, _)| node).collect();
        for node in &nodes {
            eventually("a cluster of three", FORM_TIME_MAX, || sees_all(node)).await;
        }
        Self {
            url: nodes[0].url().replace("redis://", "redis-cluster://"),
            nodes,
            last: AtomicUsize::new(0),
            _dir: dir,
        }
    }

    /// For `StoreConfig::url`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// In the order of their slots.
    #[must_use]
    pub fn nodes(&self) -> &[PrivateRedis] {
        &self.nodes
    }

    /// Sends one command beside the code under test to the node that has its keys; an error that Redis answers is a
    /// [`Reply::Error`].
    ///
    /// # Panics
    /// If a node can't be reached.
    pub async fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        let last = self.last.load(Ordering::Relaxed);
        let reply = command(&self.nodes[last], arguments).await;
        let Some(owner) = self.moved_to(&reply) else {
            return reply;
        };
        self.last.store(owner, Ordering::Relaxed);
        command(&self.nodes[owner], arguments).await
    }

    /// Sends one command to each node.
    ///
    /// # Panics
    /// If a node can't be reached or answers an error.
    pub async fn on_every_node<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let reply = command(node, arguments).await;
            assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
            replies.push(reply);
        }
        replies
    }

    /// Freezes every node: connections stand and are made, and nothing comes back. Thaw them before they are dropped.
    ///
    /// # Panics
    /// If one is gone.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets frozen nodes go on.
    ///
    /// # Panics
    /// If one is gone.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for node in &self.nodes {
            let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
            kill_process(pid.expect("a pid"), signal).expect("it runs");
        }
    }

    /// Changes a setting of every node.
    ///
    /// # Panics
    /// If a node refuses it.
    pub async fn configure(&self, name: &str, value: &str) {
        self.on_every_node(&["CONFIG", "SET", name, value]).await;
    }

    /// Lets the cluster name another loopback port for a node, so that clients come through a proxy; `None` for its own
    /// again. Returns when all nodes do.
    ///
    /// # Panics
    /// If a node can't be reached or the nodes do not agree.
    pub async fn announce(&self, node: usize, proxy: Option<u16>) {
        let setting = proxy.unwrap_or(0).to_string();
        assert_ok(
            &self.nodes[node],
            &["CONFIG", "SET", "cluster-announce-port", &setting],
        )
        .await;
        let expected = i64::from(proxy.unwrap_or_else(|| port(&self.nodes[node])));
        for asked in &self.nodes {
            eventually("the announced port", FORM_TIME_MAX, || async move {
                let ports = ports_seen_by(asked).await;
                (ports[node] == expected).then_some(()).ok_or(ports)
            })
            .await;
        }
    }

    /// Begins to move the slot of `key` to another node and returns that: until [`RedisCluster::end_migration`] the slot is
    /// under migration, and no key of it is at the other node yet.
    ///
    /// # Panics
    /// If a node can't be reached or refuses.
    pub async fn begin_migration(&self, key: &str) -> Migration {
        let slot = command(&self.nodes[0], &["CLUSTER", "KEYSLOT", key])
            .await
            .integer();
        let slot = u16::try_from(slot).expect("a slot");
        let from = holder(slot);
        let to = (from + 1) % self.nodes.len();
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        let slot = slot.to_string();
        let (importing, migrating) = (["IMPORTING", &from_id], ["MIGRATING", &to_id]);
        for (node, [state, id]) in [(to, importing), (from, migrating)] {
            assert_ok(&self.nodes[node], &["CLUSTER", "SETSLOT", &slot, state, id]).await;
        }
        Migration {
            slot,
            from,
            to,
            to_id,
        }
    }

    async fn id(&self, node: usize) -> String {
        let id = command(&self.nodes[node], &["CLUSTER", "MYID"]).await.bytes();
        String::from_utf8_lossy(&id).into_owned()
    }

    /// Moves the slot's keys and tells every node whose it is now.
    ///
    /// # Panics
    /// If a node can't be reached or refuses.
    pub async fn end_migration(&self, migration: Migration) {
        let Migration {
            slot,
            from,
            to,
            to_id,
        } = migration;
        let to_port = port(&self.nodes[to]).to_string();
        loop {
            let keys = ["CLUSTER", "GETKEYSINSLOT", &slot, "1000"];
            let keys = command(&self.nodes[from], &keys).await;
            if keys.array().is_empty() {
                break;
            }
            let keys: Vec<_> = keys.array().iter().map(Reply::bytes).collect();
            let move_to = ["MIGRATE", "127.0.0.1", &to_port, "", "0", "5000", "KEYS"];
            let words = move_to
                .iter()
                .map(|word| word.as_bytes())
                .chain(keys.iter().map(|key| &key[..]));
            let moved = command(&self.nodes[from], &words.collect::<Vec<_>>()).await;
            assert_eq!(moved, Reply::Bytes("OK".into()));
        }
        // The new holder first, so that at no time nobody has it.
        for node in [to, from]
            .into_iter()
            .chain((0..self.nodes.len()).filter(|node| ![to, from].contains(node)))
        {
            assert_ok(&self.nodes[node], &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
    }

    /// The node that holds the slot, if the answer is `MOVED <slot> <host>:<port>`.
    fn moved_to(&self, reply: &Reply) -> Option<usize> {
        let Reply::Error(error) = reply else {
            return None;
        };
        let (slot, address) = error.strip_prefix("MOVED ")?.split_once(' ')?;
        let named: Option<u16> = address.rsplit(':').next()?.parse().ok();
        // A node behind a proxy is named by that one's port; no slot of it moves.
        let by_port = self.nodes.iter().position(|node| Some(port(node)) == named);
        by_port.or_else(|| Some(holder(slot.parse().ok()?)))
    }
}

/// Different ports, all free now: none is let go before the last is found.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
        .collect();
    let ports: HashSet<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").port())
        .collect();
    ports.into_iter().collect()
}

/// The node that holds a slot as the Cluster was formed.
fn holder(slot: u16) -> usize {
    let found = (0..NODES).find(|&node| slot < slot_bound(node + 1));
    usize::from(found.expect("a slot"))
}

fn slot_bound(node: u16) -> u16 {
    u16::try_from(u32::from(SLOTS) * u32::from(node) / u32::from(NODES)).expect("at most 16384")
}

fn port(node: &PrivateRedis) -> u16 {
    match node.address() {
        Address::Loopback(port) => *port,
        Address::Socket(path) => unreachable!("{} is no port", path.display()),
    }
}

async fn command<A: AsRef<[u8]>>(node: &PrivateRedis, words: &[A]) -> Reply {
    let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    resp::command(node.address(), &words)
        .await
        .expect("the node is there")
}

async fn assert_ok(node: &PrivateRedis, words: &[&str]) {
    assert_eq!(command(node, words).await, Reply::Bytes("OK".into()), "{words:?}");
}

/// The ports of the nodes, in the order of their slots, as one of them names them.
async fn ports_seen_by(node: &PrivateRedis) -> Vec<i64> {
    let slots = command(node, &["CLUSTER", "SLOTS"]).await;
    let mut ranges: Vec<_> = slots
        .array()
        .iter()
        .map(|range| (range.array()[0].integer(), range.array()[2].array()[1].integer()))
        .collect();
    ranges.sort_unstable();
    ranges.into_iter().map(|(_, port)| port).collect()
}

async fn sees_all(node: &PrivateRedis) -> Result<(), String> {
    let info = command(node, &["CLUSTER", "INFO"]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let slots = command(node, &["CLUSTER", "SLOTS"]).await;
    let complete = [
        "cluster_state:ok",
        "cluster_known_nodes:3",
        "cluster_slots_ok:16384",
    ]
    .iter()
    .all(|line| info.contains(line));
    if complete && slots.array().len() == usize::from(NODES) {
        Ok(())
    } else {
        Err(info)
    }
}
