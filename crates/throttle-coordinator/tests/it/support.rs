//! A Redis with some coordinators, and senders.

use std::time::Duration;

use paceline_domain::lease::{Counts, Grant, LocalLease};
use paceline_kit::clock::{Clock, SystemClock};
use paceline_kit::grpc;
use paceline_store::throttle::RateKey;
use paceline_store::{Durability, Store, StoreConfig};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::status::RpcError;
use paceline_wire::v1;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::Channel;

/// For what takes a lead's time, an election or the learning after it, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Client = ThrottleServiceClient<Channel>;

pub(crate) struct Coordinator {
    pub(crate) process: ServiceProcess,
    pub(crate) client: Client,
}

impl Coordinator {
    /// One with a static rate of 300/s, unless `settings` say otherwise.
    pub(crate) async fn start(redis: &TestRedis, settings: &str) -> Self {
        let rates = if settings.is_empty() {
            "[rates]\nmode = \"static\"\nstart = 300.0"
        } else {
            settings
        };
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{rates}\n[redis]\nurl = \"{}\"\ndurability = \"local\"\n",
            redis.url()
        );
        let process = ServiceProcess::start("throttle-coordinator", &config)
            .await
            .expect("a coordinator");
        let channel = grpc::channel(&format!("http://{}", process.grpc())).expect("an address");
        Self {
            process,
            client: Client::new(channel),
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.process.grpc())
    }

    pub(crate) async fn describe(&self) -> Result<v1::DescribeResponse, Status> {
        let described = self.client.clone().describe(v1::DescribeRequest::default()).await;
        described.map(tonic::Response::into_inner)
    }

    /// Waits until it leads and says in which epoch.
    pub(crate) async fn leads(&self) -> u64 {
        eventually("the coordinator leads", PATIENCE, async || {
            match self.describe().await {
                Ok(answer) if answer.leader => Ok(answer.epoch),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// `/metrics`, as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        self.admin("/metrics").await
    }

    /// What `/readyz` answers.
    pub(crate) async fn readiness(&self) -> String {
        self.admin("/readyz").await
    }

    async fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.process.admin())
            .await
            .expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    /// The rate in force, once it is known.
    pub(crate) async fn rate(&self) -> Option<f64> {
        Some(self.describe().await.ok()?.keys.first()?.rate)
    }
}

/// A sender: its lease lives by the clock of this process.
pub(crate) struct Sender {
    client: Client,
    incarnation: [u8; 16],
    sequence: u64,
    pub(crate) epoch_seen: u64,
    pub(crate) wants: f64,
    pub(crate) lease: LocalLease,
    pub(crate) counts: Counts,
    /// What it was told of a warm-up.
    pub(crate) warm_up: Option<v1::WarmUpWord>,
}

impl Sender {
    pub(crate) fn new(number: u8, wants: f64, coordinator: &Coordinator) -> Self {
        Self {
            client: coordinator.client.clone(),
            incarnation: [number; 16],
            sequence: 0,
            epoch_seen: 0,
            wants,
            lease: LocalLease::new(now()),
            counts: Counts::default(),
            warm_up: None,
        }
    }

    pub(crate) fn turn_to(&mut self, coordinator: &Coordinator) {
        self.client = coordinator.client.clone();
    }

    /// Asks once, and takes the answer.
    pub(crate) async fn refresh(&mut self) -> Result<v1::RefreshResponse, RpcError> {
        self.sequence += 1;
        let ask = self.lease.ask(now());
        let request = v1::RefreshRequest {
            sender_id: format!("sender-{}", self.incarnation[0]),
            incarnation: self.incarnation.to_vec().into(),
            sequence: self.sequence,
            items: vec![self.item(&ask)],
            epoch_seen: self.epoch_seen,
            backups: Vec::new(),
        };
        let answer = self.client.refresh(request).await;
        let answer = answer.map_err(|status| RpcError::from(&status))?.into_inner();
        self.epoch_seen = self.epoch_seen.max(answer.epoch);
        let lease = &answer.leases[0];
        let grant = Grant {
            epoch: answer.epoch,
            version: lease.version,
            rate: lease.rate,
            burst: lease.burst,
            ttl: Duration::from_millis(lease.ttl_ms.into()),
            granted_total: lease.granted_total,
            safe_rate: lease.safe_rate,
            safe_ttl: Duration::from_millis(lease.safe_ttl_ms.into()),
        };
        self.lease
            .renew(&grant, ask.at, now())
            .expect("the answer to the last question");
        self.warm_up.clone_from(&lease.warm_up);
        Ok(answer)
    }

    /// Gives the lease back.
    pub(crate) async fn release(&mut self) {
        let ask = self.lease.ask(now());
        self.lease.drop_now(now());
        let request = v1::ReleaseRequest {
            sender_id: format!("sender-{}", self.incarnation[0]),
            incarnation: self.incarnation.to_vec().into(),
            items: vec![self.item(&ask)],
        };
        self.client.release(request).await.expect("taken back");
    }

    pub(crate) fn rate(&self) -> f64 {
        self.lease.rate(now())
    }

    fn item(&self, ask: &paceline_domain::lease::Ask) -> v1::RefreshItem {
        let throttled = self.counts.throttled_by_version();
        v1::RefreshItem {
            key: Some(v1::ThrottleKey {
                provider: "ses".to_owned(),
                identity: "main".to_owned(),
            }),
            wants: self.wants,
            has_rate: ask.has_rate,
            has_epoch: ask.has_epoch,
            has_version: ask.has_version,
            sent_total: self.counts.sent_total(),
            accepted_total: self.counts.accepted_total(),
            errors_total: self.counts.errors_total(),
            throttled: throttled
                .map(|(version, total)| v1::ThrottledCount { version, total })
                .collect(),
            granted_total: ask.granted_total,
            spent_total: ask.spent_total,
            refused_reason: String::new(),
            bulk_total: 0,
            latency_ms: None,
            warm_up: self.warm_up.clone(),
            has_safe_rate: ask.has_safe,
        }
    }
}

/// Refreshes all senders until each holds its share, and sees at every step that they never hold more than `rate` together.
pub(crate) async fn settle(senders: &mut [Sender], shares: &[f64], rate: f64) {
    let deadline = now() + PATIENCE;
    loop {
        for index in 0..senders.len() {
            // An election may be under way.
            let _ = senders[index].refresh().await;
            let held: f64 = senders.iter().map(Sender::rate).sum();
            assert!(held <= rate + 1e-6, "{held} is held of {rate}");
        }
        let held: Vec<f64> = senders.iter().map(Sender::rate).collect();
        if held
            .iter()
            .zip(shares)
            .all(|(held, share)| (held - share).abs() < 0.01)
        {
            return;
        }
        assert!(now() < deadline, "{held:?} is held, the shares are {shares:?}");
    }
}

pub(crate) fn now() -> Duration {
    SystemClock.boot()
}

pub(crate) fn key() -> RateKey {
    RateKey {
        provider: "ses".to_owned(),
        identity: "main".to_owned(),
    }
}

pub(crate) async fn store(redis: &TestRedis) -> Store {
    let config = StoreConfig {
        url: redis.url().to_owned(),
        shards: 1,
        command_timeout: Duration::from_secs(2),
        durability: Durability::Local,
        replicas: 0,
        allow_unsafe: false,
        tls: None,
        allow_plaintext_password: false,
        log: paceline_store::LogUse::default(),
        log_entries_max: 1_000,
    };
    Store::connect(&config).await.expect("redis is there")
}
