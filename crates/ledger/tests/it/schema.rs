//! Two releases on one database.

use paceline_domain::record::State;
use paceline_ledger::Ledger;
use paceline_testkit::TestPostgres;

use crate::databases::{message, moved, settings};

/// A release that finds what the next one has added to the schema.
async fn runs_on_the_next_schema(url: String, empty: &str) {
    let ledger = Ledger::connect(&settings(url.clone())).await.expect("connects");
    ledger.close().await;
    let pool = sqlx::AnyPool::connect(&url).await.expect("connects");
    let later = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9000, 'later', true, {empty}, 0)"
    );
    for sql in [later.as_str(), "ALTER TABLE messages ADD COLUMN later BIGINT"] {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&pool)
            .await
            .expect("done");
    }
    pool.close().await;
    let ledger = Ledger::connect(&settings(url)).await.expect("connects again");
    let appended = ledger
        .append(&[message(1)], &[moved(1, 1, State::Queued)], &[])
        .await
        .expect("written");
    assert_eq!(appended.moves, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_runs_on_the_schema_of_the_next_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = format!("sqlite:{}", dir.path().join("ledger.db").display());
    runs_on_the_next_schema(file, "x''").await;
    let postgres = TestPostgres::start().await;
    runs_on_the_next_schema(postgres.url(), "'\\x'").await;
}
