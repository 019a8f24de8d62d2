//! Three coordinators and four senders as real processes, before a provider with a real token bucket: whatever happens to the leader,
//! to Redis or to the network between them, mail goes on and no limit is exceeded.
//!
//! The bucket refills 5 % faster than the key's rate and holds one second of it. So a refusal says that senders were over their
//! rate together: two leaders that each grant the whole of it empty the bucket in about a second.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use paceline_local::LookalikeOptions;
use paceline_local::ses::limits::Limits;
use paceline_testkit::link::Flow;
use paceline_testkit::{Link, ServiceProcess, TestRedis, eventually};
use tokio::time::Instant;

use crate::binaries::http_get;
use crate::stack::{IDENTITY, PATIENCE, Stack};

/// Emails per second.
const RATE: f64 = 200.0;
const COORDINATORS: usize = 3;
const SENDERS: usize = 4;
const MESSAGES: usize = 5_000;
/// What shows that mail goes on; as much is enqueued whenever that is to be shown.
const SOME: usize = 250;

/// A coordinator, and what lies between it and the others.
struct Coordinator {
    process: ServiceProcess,
    /// By which senders reach it.
    front: Link,
    /// By which it reaches Redis.
    back: Link,
}

impl Coordinator {
    async fn start(redis: &TestRedis) -> anyhow::Result<Self> {
        let back = Link::to(([127, 0, 0, 1], redis.port()).into()).await;
        let front = Link::start().await;
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nadvertise = \"http://{}\"\n[redis]\n\
             url = \"redis://{}\"\nallow_unsafe = true\n[rates]\nmode = \"static\"\nstart = {RATE:.1}\nceiling = {RATE:.1}\n",
            front.address(),
            back.address(),
        );
        let process = ServiceProcess::start("throttle-coordinator", &config).await?;
        front.lead_to(process.grpc());
        Ok(Self { process, front, back })
    }

    async fn leads(&self) -> anyhow::Result<bool> {
        let metrics = http_get(self.process.admin(), "/metrics").await?;
        Ok(metrics.lines().any(|line| line == "throttle_leader 1"))
    }
}

/// Everything that runs; all of it ends with this value.
struct Pacing {
    coordinators: Vec<Coordinator>,
    stack: Stack,
    enqueued: usize,
}

impl Pacing {
    /// There is work for a while.
    async fn start() -> anyhow::Result<Self> {
        let options = LookalikeOptions {
            limits: Limits {
                rate: Some(RATE * 1.05),
                burst: Some(RATE),
                latency_ms: 20,
                ..Limits::default()
            },
            ..LookalikeOptions::default()
        };
        let mut stack = Stack::start(0, options).await?;
        // Its rate is another; it gives its lead back.
        stack.coordinator.term()?;
        stack.coordinator.wait(PATIENCE).await?;
        stack.enqueue_welcomes(MESSAGES).await?;
        let redis = &stack.redis;
        let coordinators = try_join_all((0..COORDINATORS).map(|_| Coordinator::start(redis))).await?;
        let mut pacing = Self {
            coordinators,
            stack,
            enqueued: MESSAGES,
        };
        for _ in 0..SENDERS {
            pacing.add_sender(None).await?;
        }
        Ok(pacing)
    }

    /// A further sender; it does not know the coordinator `without`.
    async fn add_sender(&mut self, without: Option<usize>) -> anyhow::Result<()> {
        let known = self.coordinators.iter().enumerate();
        let known = known.filter(|(number, _)| Some(*number) != without);
        let addresses: Vec<String> = known
            .map(|(_, it)| format!("\"http://{}\"", it.front.address()))
            .collect();
        let config = format!(
            "name = \"sender-{}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ndeliver = \"live\"\n\
             coordinators = [{}]\n[redis]\nurl = {:?}\nallow_unsafe = true\n[ses]\nendpoint_url = \"{}\"\n\
             credentials = \"look_alike\"\n{IDENTITY}",
            self.stack.senders.len(),
            addresses.join(", "),
            self.stack.redis.url(),
            self.stack.lookalike.url(),
        );
        let sender = ServiceProcess::start("sender", &config).await;
        self.stack.senders.push(sender.context("a sender")?);
        Ok(())
    }

    /// Waits until exactly one of those that run leads, and says which.
    async fn leader(&self, without: Option<usize>) -> usize {
        eventually("one leads", PATIENCE, async || {
            let mut leaders = Vec::new();
            for (number, coordinator) in self.coordinators.iter().enumerate() {
                if Some(number) != without && coordinator.leads().await.map_err(|error| error.to_string())? {
                    leaders.push(number);
                }
            }
            match leaders[..] {
                [leader] => Ok(leader),
                _ => Err(format!("{leaders:?} lead")),
            }
        })
        .await
    }

    async fn mail_goes_on(&mut self, after: &str) -> anyhow::Result<()> {
        let before = self.stack.lookalike.stats().accepted;
        let next = self.enqueued..self.enqueued + SOME;
        self.enqueued = next.end;
        self.stack.enqueue_range(next).await?;
        eventually(after, PATIENCE, async || {
            let more = self.stack.lookalike.stats().accepted - before;
            if more >= SOME as u64 { Ok(()) } else { Err(more) }
        })
        .await;
        Ok(())
    }

    /// Waits until nothing was sent for a second.
    async fn mail_stops(&self) {
        let mut last = (self.stack.lookalike.stats().requests, Instant::now());
        eventually("mail stops", PATIENCE, || {
            let requests = self.stack.lookalike.stats().requests;
            if requests != last.0 {
                last = (requests, Instant::now());
            }
            let quiet = last.1.elapsed();
            std::future::ready(if quiet >= Duration::from_secs(1) {
                Ok(())
            } else {
                Err(quiet)
            })
        })
        .await;
    }

    fn check_limit(&self, after: &str) -> anyhow::Result<()> {
        let stats = self.stack.lookalike.stats();
        ensure!(stats.throttled == 0, "over the limit {after}: {stats:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_on_within_the_limit_whatever_happens_to_the_leader() -> anyhow::Result<()> {
    let mut pacing = Pacing::start().await?;
    pacing.mail_goes_on("at the start").await?;
    pacing.check_limit("at the start")?;

    let frozen = pacing.leader(None).await;
    pacing.coordinators[frozen].process.freeze()?;
    pacing.leader(Some(frozen)).await;
    pacing.mail_goes_on("under another leader").await?;
    pacing.coordinators[frozen].process.thaw()?;
    pacing.mail_goes_on("with the old leader awake").await?;
    let leader = pacing.leader(None).await;
    ensure!(leader != frozen, "the one that slept leads");
    pacing.check_limit("when the leader was frozen")?;

    for flow in [Flow::Nothing, Flow::OnlyThere] {
        let leader = pacing.leader(None).await;
        pacing.coordinators[leader].back.carry(flow);
        pacing.leader(Some(leader)).await;
        // Were the old one still to grant, this sender's share would come on top once the new leader has learned.
        pacing.add_sender(Some(leader)).await?;
        for _ in 0..4 {
            pacing
                .mail_goes_on("while the old leader is cut off from redis")
                .await?;
        }
        pacing.coordinators[leader].back.carry(Flow::Both);
        pacing.mail_goes_on("once it is back").await?;
        pacing.check_limit("when the leader was cut off from redis")?;
    }

    let leader = pacing.leader(None).await;
    for flow in [Flow::Nothing, Flow::OnlyThere] {
        pacing.coordinators[leader].front.carry(flow);
        pacing.mail_stops().await;
        pacing.coordinators[leader].front.carry(Flow::Both);
        pacing.mail_goes_on("once senders reach the leader again").await?;
        pacing.check_limit("when senders did not reach the leader")?;
    }

    let leader = pacing.leader(None).await;
    let killed = pacing.coordinators.remove(leader);
    killed.process.kill()?;
    pacing.mail_goes_on("after the leader's death").await?;
    pacing.check_limit("after the leader's death")?;

    pacing.stack.redis.crash().await;
    pacing.stack.redis.start_again().await;
    eventually("all is sent", PATIENCE, async || {
        let stats = pacing.stack.lookalike.stats();
        if stats.distinct_ids == pacing.enqueued as u64 {
            Ok(())
        } else {
            Err(stats.distinct_ids)
        }
    })
    .await;
    pacing.check_limit("after redis's crash")?;
    let stats = pacing.stack.lookalike.stats();
    ensure!(stats.duplicates == 0, "{stats:?}");
    Ok(())
}
