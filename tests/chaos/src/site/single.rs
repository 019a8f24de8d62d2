//! One Redis, behind a proxy for each process.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use paceline_local::private_redis::Address;
use paceline_testkit::TestRedis;

/// A standalone server.
#[derive(Debug)]
pub struct SingleSite {
    pub redis: TestRedis,
    port: u16,
}

/// How much of the newest append-only file had been written at some time.
#[derive(Debug)]
pub struct Written {
    file: PathBuf,
    bytes: u64,
}

impl SingleSite {
    pub(crate) async fn start(append_fsync: &str) -> Self {
        let redis = TestRedis::on_loopback(&[("appendfsync", append_fsync)]).await;
        Self {
            port: redis.port(),
            redis,
        }
    }

    /// Where it listens, also after a crash.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Loopback(self.port)
    }

    /// # Errors
    /// If there is no append-only file.
    pub async fn written(&self) -> anyhow::Result<Written> {
        let dir = self.redis.command(&["CONFIG", "GET", "dir"]).await.array()[1].bytes();
        let dir = PathBuf::from(String::from_utf8_lossy(&dir).into_owned()).join("appendonlydir");
        let files = std::fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()?;
        let newest = files
            .into_iter()
            .map(|file| file.path())
            .filter(|path| {
                path.extension().is_some_and(|it| it == "aof")
                    && path.display().to_string().contains(".incr.")
            })
            .max()
            .context("an append-only file")?;
        Ok(Written {
            bytes: newest.metadata()?.len(),
            file: newest,
        })
    }
}

impl Written {
    /// Cuts off what came after.
    ///
    /// # Errors
    /// If the file can't be cut, or nothing came after.
    pub fn cut(self) -> anyhow::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(&self.file)?;
        ensure!(
            file.metadata()?.len() > self.bytes,
            "nothing was written: nothing is shown"
        );
        file.set_len(self.bytes)?;
        Ok(())
    }
}
