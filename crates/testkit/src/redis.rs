//! A throwaway Redis for one test.

use paceline_local::private_redis::{Endpoint, PrivateRedis, RedisOptions};
use tempfile::TempDir;

use crate::resp::{self, Reply};

/// A Redis in a directory of its own; both go with the value.
#[derive(Debug)]
pub struct TestRedis {
    // Before the directory, so that the server is gone when its files go.
    server: PrivateRedis,
    _dir: TempDir,
}

impl TestRedis {
    /// A server as the services ask for it (AOF, `noeviction`), on a Unix socket, without syncing to disk.
    ///
    /// # Panics
    /// Without a `redis-server`: a missing server fails the test.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with further settings, as `("maxmemory", "20mb")`.
    ///
    /// # Panics
    /// As [`TestRedis::start`].
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(Endpoint::Socket, settings).await
    }

    /// The same on a loopback port.
    ///
    /// # Panics
    /// As [`TestRedis::start`].
    pub async fn on_loopback(settings: &[(&str, &str)]) -> Self {
        Self::on(Endpoint::Loopback(0), settings).await
    }

    async fn on(endpoint: Endpoint, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("paceline-redis-")
            .tempdir()
            .expect("a temporary directory");
        let options = RedisOptions {
            endpoint,
            append_fsync: "no".to_owned(),
            settings: settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let server = PrivateRedis::start(dir.path(), &options)
            .await
            .expect("a redis-server");
        Self { server, _dir: dir }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    #[must_use]
    pub const fn server(&self) -> &PrivateRedis {
        &self.server
    }

    /// The one node, as [`RedisCluster::nodes`](crate::RedisCluster::nodes).
    #[must_use]
    pub const fn nodes(&self) -> &[PrivateRedis] {
        std::slice::from_ref(&self.server)
    }

    /// Sends one command beside the code under test; an error that Redis answers is a [`Reply::Error`].
    ///
    /// # Panics
    /// If the server can't be reached.
    pub async fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        let arguments: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
        resp::command(self.server.address(), &arguments)
            .await
            .expect("the server is there")
    }

    /// The same, so that a test reads as on a [`RedisCluster`](crate::RedisCluster): the one node is every node.
    ///
    /// # Panics
    /// If the server can't be reached or answers an error.
    pub async fn on_every_node<A: AsRef<[u8]>>(&self, arguments: &[A]) {
        let reply = self.command(arguments).await;
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }

    /// Changes a setting of the running server.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn configure(&self, name: &str, value: &str) {
        let reply = self.command(&["CONFIG", "SET", name, value]).await;
        assert_eq!(reply, Reply::Bytes("OK".into()), "CONFIG SET {name} {value}");
    }
}
