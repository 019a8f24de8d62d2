//! The connection: pool, schema, bounds of time.

use std::future::Future;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, Executor as _, Transaction};

use crate::LedgerError;

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// How to reach the database.
#[derive(Clone)]
pub struct LedgerSettings {
    /// `sqlite:PATH`, made if it is not there, or `postgres://user:password@host/database?sslmode=verify-full&...`.
    pub url: String,
    /// At most so many connections; SQLite gets one writer at a time in any case.
    pub connections_max: u32,
    /// How long one call may take, with the wait for a connection.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

/// The database of what became of every message. Clones share the connections.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) pool: AnyPool,
    pub(crate) dialect: Dialect,
    timeout: Duration,
}

impl Ledger {
    /// Connects and brings the schema up to date. What a newer release has added to it is left: migrations only add. Several processes may
    /// do so at one time.
    ///
    /// # Errors
    /// If the url is not understood, the database does not answer, or its schema can't be brought up to date.
    pub async fn connect(settings: &LedgerSettings) -> Result<Self, LedgerError> {
        sqlx::any::install_default_drivers();
        let (dialect, url) = dialect(&settings.url)?;
        let timeout = settings.timeout;
        let prepare = preparation(dialect, timeout);
        let options = AnyPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(timeout)
            .after_connect(move |connection, _| {
                let prepare = prepare.clone();
                Box::pin(async move {
                    connection.execute(sqlx::AssertSqlSafe(prepare)).await?;
                    Ok(())
                })
            });
        let pool = options.connect(&url).await.map_err(LedgerError::Open)?;
        let migrator = match dialect {
            Dialect::Postgres => &POSTGRES,
            Dialect::Sqlite => &SQLITE,
        };
        migrate(migrator, &pool, dialect).await?;
        Ok(Self {
            pool,
            dialect,
            timeout,
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.within(async {
            sqlx::query("SELECT 1").execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A call's bound of time: whatever it wrote may be there nevertheless.
    pub(crate) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        tokio::time::timeout(self.timeout, call)
            .await
            .unwrap_or(Err(LedgerError::Timeout))
    }

    /// A transaction of a writer, and the number before the `events` that are taken for it.
    pub(crate) async fn begin(
        &self,
        events: usize,
    ) -> Result<(Transaction<'static, sqlx::Any>, i64), LedgerError> {
        let mut transaction = self.pool.begin().await?;
        let before = take(&mut transaction, events).await?;
        Ok((transaction, before))
    }
}

/// Takes numbers for `events`; answers with the one before them. The first call of a transaction makes other writers wait.
pub(crate) async fn take(
    transaction: &mut Transaction<'static, sqlx::Any>,
    events: usize,
) -> Result<i64, LedgerError> {
    let taken = i64::try_from(events).unwrap_or(i64::MAX);
    let sql = "UPDATE counters SET value = value + $1 WHERE name = 'event' RETURNING value";
    let newest: i64 = sqlx::query_scalar(sql)
        .bind(taken)
        .fetch_one(connection(transaction))
        .await?;
    Ok(newest - taken)
}

/// SQLite has no lock for it: with each failure another process may have been faster by one migration.
async fn migrate(migrator: &Migrator, pool: &AnyPool, dialect: Dialect) -> Result<(), LedgerError> {
    let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
    // In an upgrade, and after a rollback, a release runs on the schema of the next one.
    migrator.set_ignore_missing(true);
    let mut tries = match dialect {
        Dialect::Sqlite => migrator.iter().count(),
        Dialect::Postgres => 0,
    };
    loop {
        match migrator.run(pool).await {
            Err(_) if tries > 0 => tries -= 1,
            migrated => return migrated.map_err(LedgerError::Migrate),
        }
    }
}

pub(crate) fn connection<'a>(transaction: &'a mut Transaction<'static, sqlx::Any>) -> &'a mut AnyConnection {
    transaction
}

fn dialect(url: &str) -> Result<(Dialect, String), LedgerError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Dialect::Postgres, url.to_owned()));
    }
    if !url.starts_with("sqlite:") {
        return Err(LedgerError::Url);
    }
    let made = if url.contains('?') {
        url.to_owned()
    } else {
        format!("{url}?mode=rwc")
    };
    Ok((Dialect::Sqlite, made))
}

/// What each new connection is told: a statement ends at about the time at which its caller gives up.
fn preparation(dialect: Dialect, timeout: Duration) -> String {
    let millis = timeout.as_millis();
    match dialect {
        Dialect::Postgres => {
            format!("SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}")
        }
        Dialect::Sqlite => {
            format!("PRAGMA busy_timeout = {millis}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        }
    }
}
