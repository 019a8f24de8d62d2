//! A throwaway PostgreSQL for one test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::eventually;

const PATIENCE: Duration = Duration::from_secs(60);
/// PostgreSQL refuses to run as root; whoever is "nobody" may.
const NOBODY: u32 = 65_534;

/// A PostgreSQL in a directory of its own, on a Unix socket; both go with the value.
#[derive(Debug)]
pub struct TestPostgres {
    // Before the directory, so that the server is gone when its files go. `None` while it is stopped.
    server: Option<Child>,
    syncs: bool,
    dir: TempDir,
}

impl TestPostgres {
    /// A server with one database, without syncing to disk.
    ///
    /// # Panics
    /// Without Debian's `postgresql`: a missing server fails the test.
    pub async fn start() -> Self {
        Self::make(false).await
    }

    /// The same with each commit synced to disk, as a database that counts is set up.
    ///
    /// # Panics
    /// As [`TestPostgres::start`].
    pub async fn syncing() -> Self {
        Self::make(true).await
    }

    async fn make(syncs: bool) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pl-pg-")
            .tempdir()
            .expect("a temporary directory");
        if is_root() {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY))
                .expect("root may give a directory away");
        }
        let mut init = program("initdb", &dir);
        init.args([
            "--auth=trust",
            "--username=paceline",
            "--encoding=UTF8",
            "--no-sync",
            "-D",
        ])
        .arg(dir.path().join("data"));
        let made = init.output().await.expect("initdb can be run");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut postgres = Self {
            server: None,
            syncs,
            dir,
        };
        postgres.resume().await;
        postgres
    }

    /// The server's process; its children serve the connections. `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref()?.id()
    }

    /// Where the ledger finds it.
    #[must_use]
    pub fn url(&self) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://paceline@{socket}/postgres")
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// Where the ledger finds it behind a link to its socket that listens at `port`.
    #[must_use]
    pub fn url_by(port: u16) -> String {
        format!("postgres://paceline@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// All that stands in it, as a script for [`TestPostgres::restore`], without comments.
    ///
    /// # Panics
    /// If `pg_dump` fails.
    pub async fn dump(&self) -> String {
        let mut dump = program("pg_dump", &self.dir);
        dump.args([
            "-U",
            "paceline",
            "-d",
            "postgres",
            "--inserts",
            "--no-owner",
            "-h",
        ])
        .arg(self.dir.path());
        let made = dump.output().await.expect("pg_dump can be run");
        assert!(
            made.status.success(),
            "pg_dump: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // Orders to psql that begin with a backslash name a new key each time.
        let script = String::from_utf8(made.stdout).expect("the server speaks UTF-8");
        let is_said = |line: &&str| !line.is_empty() && !line.starts_with("--") && !line.starts_with('\\');
        script
            .lines()
            .filter(is_said)
            .fold(String::new(), |mut script, line| {
                script.push_str(line);
                script.push('\n');
                script
            })
    }

    /// Runs a script of `dump` on the empty database.
    ///
    /// # Panics
    /// If it fails.
    pub async fn restore(&self, script: &str) {
        let file = self.dir.path().join("restored.sql");
        std::fs::write(&file, script).expect("a writable directory");
        let mut restore = program("psql", &self.dir);
        restore
            .args([
                "-U",
                "paceline",
                "-d",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-q",
                "-f",
            ])
            .arg(&file)
            .arg("-h")
            .arg(self.dir.path());
        let made = restore.output().await.expect("psql can be run");
        assert!(
            made.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// Kills the server; its connections break.
    ///
    /// # Panics
    /// If it is stopped already.
    pub async fn kill(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        server.kill().await.expect("the server can be killed");
        // Its children notice at once, and nobody starts beside them.
        let _ = std::fs::remove_file(self.dir.path().join("data/postmaster.pid"));
    }

    /// Starts it again after [`TestPostgres::kill`].
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn resume(&mut self) {
        let mut server = program("postgres", &self.dir);
        server
            .args(["-c", if self.syncs { "fsync=on" } else { "fsync=off" }])
            .args(["-c", "listen_addresses=", "-k"])
            .arg(self.dir.path())
            .arg("-D")
            .arg(self.dir.path().join("data"));
        self.server = Some(server.spawn().expect("postgres can be run"));
        eventually("postgres takes connections", PATIENCE, || async {
            let mut ask = program("psql", &self.dir);
            ask.args(["-U", "paceline", "-d", "postgres", "-tAc", "SELECT 1", "-h"])
                .arg(self.dir.path());
            let answer = ask.output().await.map_err(|error| error.to_string())?;
            if answer.status.success() {
                return Ok(());
            }
            Err(String::from_utf8_lossy(&answer.stderr).into_owned())
        })
        .await;
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One of PostgreSQL's programs, as somebody who is not root, and dying with its parent.
fn program(name: &str, dir: &TempDir) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command
        .arg(installed().join(name))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if name == "postgres" {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    command
}

/// Where Debian keeps the programs of its newest PostgreSQL.
fn installed() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's postgresql is installed");
    let has_server = |path: &PathBuf| Path::new(path).join("bin/initdb").exists();
    let newest = versions
        .flatten()
        .map(|entry| entry.path())
        .filter(has_server)
        .max();
    newest.expect("a PostgreSQL server is installed").join("bin")
}
