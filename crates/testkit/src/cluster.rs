//! A Redis Cluster of three nodes for one test.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use paceline_local::private_redis::{Endpoint, PrivateRedis, RedisOptions};
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
    nodes: Vec<PrivateRedis>,
    _dir: TempDir,
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
        Self { nodes, _dir: dir }
    }

    /// For `StoreConfig::url`.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes[0].url().replace("redis://", "redis-cluster://")
    }

    #[must_use]
    pub fn nodes(&self) -> &[PrivateRedis] {
        &self.nodes
    }
}

/// Different ports, all free now: none is let go before the last is found.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
        .collect();
    let ports: HashSet<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").port())
        .collect();
    ports.into_iter().collect()
}

fn slot_bound(node: u16) -> u16 {
    u16::try_from(u32::from(SLOTS) * u32::from(node) / u32::from(NODES)).expect("at most 16384")
}

async fn command(node: &PrivateRedis, words: &[&str]) -> Reply {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    resp::command(node.address(), &words)
        .await
        .expect("the node is there")
}

async fn assert_ok(node: &PrivateRedis, words: &[&str]) {
    assert_eq!(command(node, words).await, Reply::Bytes("OK".into()), "{words:?}");
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
