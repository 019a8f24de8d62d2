//! A throwaway Redis for one test.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use paceline_local::private_redis::{Address, Endpoint, PrivateRedis, RedisOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::eventually;
use crate::moved_clock::{MovedClock, wall_seconds};
use crate::resp::{self, Reply};

/// How long the server may take for what a test asks of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Keys whose loading takes the time that [`TestRedis::restart_loading`] is to take.
const FILLERS: u32 = 20_000;

/// A Redis in a directory of its own; both go with the value.
#[derive(Debug)]
pub struct TestRedis {
    // Before the directory, so that the server is gone when its files go. `None` after a crash.
    server: Option<PrivateRedis>,
    url: String,
    // Small, since it lies in the future of every test.
    start: Box<Start>,
    dir: TempDir,
}

/// How the server was started, and is again.
#[derive(Debug)]
struct Start {
    options: RedisOptions,
    clock: Option<MovedClock>,
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
        Self::on(Endpoint::Socket, settings, RedisOptions::default()).await
    }

    /// The same on a loopback port.
    ///
    /// # Panics
    /// As [`TestRedis::start`].
    pub async fn on_loopback(settings: &[(&str, &str)]) -> Self {
        Self::on(Endpoint::Loopback(0), settings, RedisOptions::default()).await
    }

    /// The same with a wall clock that [`TestRedis::jump`] moves; the server's monotonic clock is the machine's.
    ///
    /// # Panics
    /// Without libfaketime, and as [`TestRedis::start`].
    pub async fn with_moved_clock() -> Self {
        let dir = directory();
        let mut clock = MovedClock::new(dir.path());
        let options = RedisOptions {
            environment: clock.environment(),
            ..RedisOptions::default()
        };
        let mut redis = Self::within(dir, Endpoint::Loopback(0), &[], options).await;
        clock.is_of(redis.server().pid());
        redis.start.clock = Some(clock);
        redis
    }

    /// A Valkey on a loopback port: a server that knows `WAITAOF`.
    ///
    /// # Panics
    /// If `scripts/valkey` can't install it, and as [`TestRedis::start`].
    pub async fn valkey(settings: &[(&str, &str)]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/valkey");
        let found = tokio::process::Command::new(script).output().await;
        let found = found.expect("the script can be run");
        assert!(
            found.status.success(),
            "{}",
            String::from_utf8_lossy(&found.stderr)
        );
        let options = RedisOptions {
            program: String::from_utf8_lossy(&found.stdout).trim().to_owned(),
            ..RedisOptions::default()
        };
        Self::on(Endpoint::Loopback(0), settings, options).await
    }

    /// Follows `primary`, and has all that it has once this returns.
    ///
    /// # Panics
    /// If it does not come to that, or one of them is on no loopback port.
    pub async fn replicate(&self, primary: &Self) {
        let (Address::Loopback(port), Address::Loopback(own_port)) =
            (primary.server().address(), self.server().address())
        else {
            panic!("both servers need a loopback port");
        };
        // By default it waits for more replicas to come.
        primary.configure("repl-diskless-sync-delay", "0").await;
        let reply = self.command(&["REPLICAOF", "127.0.0.1", &port.to_string()]).await;
        assert_eq!(reply, Reply::Bytes("OK".into()));
        let online = format!("port={own_port},state=online");
        eventually("the replica is online", Duration::from_secs(20), || async {
            let info = primary.command(&["INFO", "replication"]).await.bytes();
            let info = String::from_utf8_lossy(&info).into_owned();
            if info.contains(&online) {
                return Ok(());
            }
            Err(info)
        })
        .await;
    }

    /// Freezes the server: its connections stay, and nothing comes back. Thaw it before it is dropped.
    ///
    /// # Panics
    /// If it is gone.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    /// If it is gone.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.server().pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it runs");
    }

    /// Makes a replica a primary, with what it has.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn promote(&self) {
        let reply = self.command(&["REPLICAOF", "NO", "ONE"]).await;
        assert_eq!(reply, Reply::Bytes("OK".into()));
    }

    /// Kills the server as a crash would; its files go with it.
    pub async fn kill(mut self) {
        self.crash().await;
    }

    /// Kills the server as a crash would; its files stay.
    pub async fn crash(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Ends the server in order; its files stay.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Starts a server at the same place on what the crashed one has left; returns when it is loaded.
    ///
    /// # Panics
    /// If it does not start, or the one before has not crashed.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let server = PrivateRedis::start(self.dir.path(), &self.start.options).await;
        self.server = Some(server.expect("a redis-server"));
    }

    /// Crashes the server and starts it again so that loading its data takes at least this long; returns at once. Meanwhile
    /// nobody listens, and then it answers `LOADING`.
    ///
    /// # Panics
    /// As [`TestRedis::start_again`].
    pub async fn restart_loading(&mut self, at_least: Duration) {
        let fill = format!("for key = 1, {FILLERS} do redis.call('SET', 'filler:' .. key, '') end");
        self.on_every_node(&["EVAL", &fill, "0"]).await;
        self.crash().await;
        let mut options = self.start.options.clone();
        // In microseconds for each key.
        let delay = ((at_least / FILLERS).as_micros() + 1).to_string();
        options.settings.push(("key-load-delay".to_owned(), delay));
        let server = PrivateRedis::launch(self.dir.path(), &options).await;
        self.server = Some(server.expect("a redis-server"));
    }

    /// Waits until the server answers.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn is_ready(&self) {
        eventually("redis answers", PATIENCE, || async {
            match resp::command(self.server().address(), &[b"PING"]).await {
                Ok(Reply::Error(error)) => Err(error),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Makes every snapshot fail, and with it every write (`MISCONF`), as on a full disk.
    ///
    /// # Panics
    /// If the server does not come to that.
    pub async fn fail_snapshots(&self) {
        // A file can't take the place of a directory, whoever the server runs as.
        fs::create_dir(self.snapshot()).expect("no snapshot is there");
        self.configure("save", "3600 1").await;
        self.snapshot_ends_with("err").await;
    }

    /// Undoes [`TestRedis::fail_snapshots`].
    ///
    /// # Panics
    /// If the server does not come to that.
    pub async fn heal_snapshots(&self) {
        fs::remove_dir(self.snapshot()).expect("it was made");
        self.snapshot_ends_with("ok").await;
    }

    fn snapshot(&self) -> PathBuf {
        self.dir.path().join("dump.rdb")
    }

    async fn snapshot_ends_with(&self, status: &str) {
        self.command(&["BGSAVE"]).await;
        let expected = format!("rdb_last_bgsave_status:{status}");
        eventually("the snapshot's end", PATIENCE, || async {
            let info = self.command(&["INFO", "persistence"]).await.bytes();
            let info = String::from_utf8_lossy(&info).into_owned();
            if info.contains(&expected) && info.contains("rdb_bgsave_in_progress:0") {
                return Ok(());
            }
            Err(info)
        })
        .await;
    }

    /// Sets the wall clock of a server [with a moved one](TestRedis::with_moved_clock) so far from this machine's, in
    /// seconds.
    ///
    /// # Panics
    /// If it is another server, or its clock does not move.
    pub async fn jump(&self, seconds: i64) {
        let clock = self.start.clock.as_ref().expect("a server with a moved clock");
        clock.set(seconds);
        eventually("the clock is moved", PATIENCE, || async {
            let time = self.command(&["TIME"]).await.array()[0].bytes();
            let time: i64 = String::from_utf8_lossy(&time).parse().expect("seconds");
            let difference = time - wall_seconds();
            if difference.abs_diff(seconds) < 60 {
                Ok(())
            } else {
                Err(difference)
            }
        })
        .await;
    }

    async fn on(endpoint: Endpoint, settings: &[(&str, &str)], options: RedisOptions) -> Self {
        Box::pin(Self::within(directory(), endpoint, settings, options)).await
    }

    async fn within(
        dir: TempDir,
        endpoint: Endpoint,
        settings: &[(&str, &str)],
        options: RedisOptions,
    ) -> Self {
        let mut options = RedisOptions {
            endpoint,
            append_fsync: "no".to_owned(),
            settings: settings
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..options
        };
        let server = PrivateRedis::start(dir.path(), &options)
            .await
            .expect("a redis-server");
        if let Address::Loopback(port) = server.address() {
            options.endpoint = Endpoint::Loopback(*port);
        }
        Self {
            url: server.url().to_owned(),
            server: Some(server),
            start: Box::new(Start { options, clock: None }),
            dir,
        }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// # Panics
    /// After a crash.
    #[must_use]
    pub const fn server(&self) -> &PrivateRedis {
        self.server.as_ref().expect("it runs")
    }

    /// The loopback port.
    ///
    /// # Panics
    /// After a crash, and for a server on a socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self.server().address() {
            Address::Loopback(port) => *port,
            Address::Socket(path) => panic!("{} is no port", path.display()),
        }
    }

    /// The one node, as [`RedisCluster::nodes`](crate::RedisCluster::nodes).
    ///
    /// # Panics
    /// After a crash.
    #[must_use]
    pub const fn nodes(&self) -> &[PrivateRedis] {
        std::slice::from_ref(self.server())
    }

    /// Sends one command beside the code under test; an error that Redis answers is a [`Reply::Error`].
    ///
    /// # Panics
    /// If the server can't be reached.
    pub async fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        let arguments: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
        resp::command(self.server().address(), &arguments)
            .await
            .expect("the server is there")
    }

    /// The same, so that a test reads as on a [`RedisCluster`](crate::RedisCluster): the one node is every node.
    ///
    /// # Panics
    /// If the server can't be reached or answers an error.
    pub async fn on_every_node<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Vec<Reply> {
        let reply = self.command(arguments).await;
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        vec![reply]
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

fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("paceline-redis-")
        .tempdir()
        .expect("a temporary directory")
}
