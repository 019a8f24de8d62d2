//! A Cluster of three primaries with a replica each.

use std::time::Duration;

use anyhow::Context as _;
use paceline_local::private_redis::{Address, Endpoint, PrivateRedis, RedisOptions};
use paceline_testkit::cluster::free_ports;
use paceline_testkit::eventually;
use paceline_testkit::resp::{self, Reply};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::REDIS_MAX;

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;
/// So long a node says nothing until the others take it for dead.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// Six servers; `None` after a crash.
#[derive(Debug)]
pub struct ClusterSite {
    nodes: Vec<Option<PrivateRedis>>,
    options: Vec<RedisOptions>,
    frozen: Option<usize>,
    dir: TempDir,
}

impl ClusterSite {
    /// The first three nodes share the slots; each of the others follows one of them.
    pub(super) async fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("paceline-chaos-")
            .tempdir()
            .expect("a temporary directory");
        let ports = free_ports(2 * NODES);
        let options: Vec<_> = ports.chunks(2).map(|ports| options(ports[0], ports[1])).collect();
        let mut site = Self {
            nodes: Vec::new(),
            options,
            frozen: None,
            dir,
        };
        for number in 0..NODES {
            let node = site.launch(number).await;
            site.nodes.push(Some(node));
        }
        for number in 0..PRIMARIES {
            let first = (SLOTS * number / PRIMARIES).to_string();
            let last = (SLOTS * (number + 1) / PRIMARIES - 1).to_string();
            site.ok(number, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .await;
            let epoch = (number + 1).to_string();
            site.ok(number, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        for ports in ports.chunks(2).skip(1) {
            let first = &[
                "CLUSTER",
                "MEET",
                "127.0.0.1",
                &ports[0].to_string(),
                &ports[1].to_string(),
            ];
            site.ok(0, first).await;
        }
        for number in PRIMARIES..NODES {
            let primary = site
                .command(number - PRIMARIES, &["CLUSTER", "MYID"])
                .await
                .bytes();
            let primary = String::from_utf8_lossy(&primary).into_owned();
            eventually("a node that follows", REDIS_MAX, || async {
                match site.command(number, &["CLUSTER", "REPLICATE", &primary]).await {
                    Reply::Error(error) => Err(error),
                    _ => Ok(()),
                }
            })
            .await;
        }
        site.is_whole().await;
        site
    }

    /// Through any of the nodes.
    pub(super) fn url(&self) -> String {
        let others: Vec<_> = (1..NODES)
            .map(|number| format!("node=127.0.0.1:{}", self.port(number)))
            .collect();
        format!("redis-cluster://127.0.0.1:{}?{}", self.port(0), others.join("&"))
    }

    /// The addresses of those that hold slots.
    pub(super) async fn primaries(&self) -> Vec<Address> {
        let roles = self.roles().await;
        let primaries = roles.into_iter().filter(|(_, role)| role == "master");
        primaries
            .map(|(number, _)| Address::Loopback(self.port(number)))
            .collect()
    }

    /// The numbers of those that hold slots.
    pub async fn primary_numbers(&self) -> Vec<usize> {
        let roles = self.roles().await;
        let primaries = roles.into_iter().filter(|(_, role)| role == "master");
        primaries.map(|(number, _)| number).collect()
    }

    async fn roles(&self) -> Vec<(usize, String)> {
        let mut roles = Vec::new();
        for number in 0..NODES {
            if self.nodes[number].is_some()
                && self.frozen != Some(number)
                && let Ok(Reply::Array(role)) = self.try_command(number, &["ROLE"]).await
            {
                let role = String::from_utf8_lossy(&role[0].bytes()).into_owned();
                roles.push((number, role));
            }
        }
        roles
    }

    /// Kills a node as a crash would; its files stay.
    pub async fn crash(&mut self, number: usize) {
        if let Some(node) = self.nodes[number].take() {
            node.kill().await;
        }
    }

    /// Freezes a node, as if its machine had lost the network.
    ///
    /// # Panics
    /// If it has crashed.
    pub fn freeze(&mut self, number: usize) {
        self.signal(number, Signal::STOP);
        self.frozen = Some(number);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let node = self.nodes[number].as_ref().expect("it runs");
        let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it runs");
    }

    /// Brings back what is away, and waits until each primary has its replica.
    pub async fn heal(&mut self) {
        if let Some(number) = self.frozen.take() {
            self.signal(number, Signal::CONT);
        }
        for number in 0..NODES {
            if self.nodes[number].is_none() {
                self.nodes[number] = Some(self.launch(number).await);
            }
        }
        self.is_whole().await;
    }

    /// Waits until all slots have a primary again, although this node is away.
    pub async fn fails_over_from(&self, away: usize) {
        let asked = (away + 1) % NODES;
        eventually("all slots have a primary", REDIS_MAX, || async {
            let slots = self.command(asked, &["CLUSTER", "SLOTS"]).await;
            let gone = i64::from(self.port(away));
            let holds = slots
                .array()
                .iter()
                .any(|range| range.array()[2].array()[1].integer() == gone);
            let info = self.info(asked, &["CLUSTER", "INFO"]).await;
            let whole = !holds && info.contains("cluster_state:ok");
            whole.then_some(()).ok_or(info)
        })
        .await;
    }

    /// Waits until each primary has a replica that is online, and every node sees that all is well.
    async fn is_whole(&self) {
        eventually("three primaries with a replica each", REDIS_MAX, || async {
            let mut primaries = 0;
            for number in 0..NODES {
                let info = self.info(number, &["CLUSTER", "INFO"]).await;
                if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:6") {
                    return Err(info);
                }
                let info = self.info(number, &["INFO", "replication"]).await;
                if info.contains("role:master") {
                    primaries += 1;
                    if !info.contains("state=online") {
                        return Err(info);
                    }
                }
            }
            (primaries == PRIMARIES)
                .then_some(())
                .ok_or_else(|| format!("{primaries} primaries"))
        })
        .await;
    }

    async fn info(&self, number: usize, words: &[&str]) -> String {
        match self.command(number, words).await {
            Reply::Bytes(text) => String::from_utf8_lossy(&text).into_owned(),
            other => format!("{other:?}"),
        }
    }

    async fn launch(&self, number: usize) -> PrivateRedis {
        let dir = self.dir.path().join(number.to_string());
        PrivateRedis::start(&dir, &self.options[number])
            .await
            .expect("a redis-server")
    }

    fn port(&self, number: usize) -> u16 {
        match self.options[number].endpoint {
            Endpoint::Loopback(port) => port,
            Endpoint::Socket => unreachable!("all are on ports"),
        }
    }

    async fn try_command(&self, number: usize, words: &[&str]) -> anyhow::Result<Reply> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        resp::command(&Address::Loopback(self.port(number)), &words)
            .await
            .context("the node is there")
    }

    async fn command(&self, number: usize, words: &[&str]) -> Reply {
        self.try_command(number, words).await.expect("the node is there")
    }

    async fn ok(&self, number: usize, words: &[&str]) {
        let reply = self.command(number, words).await;
        assert_eq!(reply, Reply::Bytes("OK".into()), "{words:?}");
    }
}

fn options(port: u16, bus: u16) -> RedisOptions {
    let timeout = NODE_TIMEOUT.as_millis().to_string();
    let settings = [
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus.to_string()),
        ("cluster-node-timeout", &timeout),
        ("repl-diskless-sync-delay", "0"),
    ];
    RedisOptions {
        endpoint: Endpoint::Loopback(port),
        append_fsync: "always".to_owned(),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..RedisOptions::default()
    }
}
