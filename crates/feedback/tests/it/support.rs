//! A feedback service with its Redis and its ledger.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use paceline_ledger::Ledger;
use paceline_testkit::{ServiceProcess, TestRedis};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// At least 32 bytes.
pub(crate) const ADDRESS_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A running service, its Redis, and an SQLite ledger; all of it goes with the value.
pub(crate) struct Feedback {
    pub(crate) process: ServiceProcess,
    pub(crate) redis: TestRedis,
    pub(crate) url: String,
    dir: TempDir,
}

impl Feedback {
    /// One with these settings beside those that it needs.
    pub(crate) async fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
        let redis = TestRedis::start().await;
        let process = start(&redis, &url, settings).await.expect("a feedback service");
        Self {
            process,
            redis,
            url,
            dir,
        }
    }

    /// Where its ledger lies.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Its ledger, through a connection of the test's own.
    pub(crate) async fn ledger(&self) -> Ledger {
        ledger(&self.url).await
    }
}

/// A service on `redis` with the ledger at `url`, which copies no log.
pub(crate) async fn start(redis: &TestRedis, url: &str, settings: &str) -> anyhow::Result<ServiceProcess> {
    start_with(redis, url, settings, "log = \"ring\"").await
}

/// One with these settings of Redis, too.
pub(crate) async fn start_with(
    redis: &TestRedis,
    url: &str,
    settings: &str,
    of_redis: &str,
) -> anyhow::Result<ServiceProcess> {
    start_at(redis.url(), url, settings, of_redis).await
}

/// One whose Redis has that address.
pub(crate) async fn start_at(
    redis: &str,
    url: &str,
    settings: &str,
    of_redis: &str,
) -> anyhow::Result<ServiceProcess> {
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nweb.listen = \"127.0.0.1:0\"\naddress_key = \"{ADDRESS_KEY}\"\n\
         ledger.url = \"{url}\"\n{settings}\n[redis]\nurl = \"{redis}\"\ndurability = \"local\"\n{of_redis}\n"
    );
    ServiceProcess::start("feedback", &config).await
}

pub(crate) async fn ledger(url: &str) -> Ledger {
    let settings = paceline_ledger::LedgerSettings {
        url: url.to_owned(),
        connections_max: 2,
        timeout: Duration::from_secs(20),
    };
    Ledger::connect(&settings).await.expect("the ledger opens")
}

/// A page of the admin listener, head and all.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}
