//! Databases that a release left are opened, brought to the newest migration, read and written on.

use crate::written::{fixtures, ledger};
use anyhow::{Context as _, ensure};
use paceline_testkit::TestPostgres;

#[tokio::test(flavor = "multi_thread")]
async fn files_of_sqlite_go_on() -> anyhow::Result<()> {
    let all = fixtures::all(ledger::SQLITE)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ledger.sqlite");
        std::fs::write(&file, &frozen.bytes)?;
        let checked = ledger::check(&ledger::sqlite(&file)).await;
        checked.with_context(|| frozen.path.display().to_string())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_postgresql_go_on() -> anyhow::Result<()> {
    let all = fixtures::all(ledger::POSTGRES)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let server = TestPostgres::start().await;
        server.restore(std::str::from_utf8(&frozen.bytes)?).await;
        let checked = ledger::check(&server.url()).await;
        checked.with_context(|| frozen.path.display().to_string())?;
    }
    Ok(())
}

#[test]
fn no_migration_that_was_released_is_changed() -> anyhow::Result<()> {
    let now = String::from_utf8(ledger::migrations()?.bytes)?;
    for frozen in fixtures::all(ledger::MIGRATIONS)? {
        for line in std::str::from_utf8(&frozen.bytes)?.lines() {
            ensure!(now.lines().any(|it| it == line), "{line} is gone or another");
        }
    }
    Ok(())
}
