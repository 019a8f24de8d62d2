//! How fast `paceline suppression import` takes a list in, with SQLite and PostgreSQL as the ledger, and once more when all of it is there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use paceline_testkit::{ServiceProcess, TestPostgres, TestRedis};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let lines: u64 = std::env::args()
        .nth(1)
        .context("the number of lines is missing")?
        .parse()?;
    let directory = tempfile::tempdir()?;
    let list = directory.path().join("bounces.csv");
    let mut text = "address,code,error,created_at\n".to_owned();
    for number in 0..lines {
        writeln!(
            text,
            "user{number}@example{}.com,550,no such user,\"Mon, 06 May 2024 18:11:58 UTC\"",
            number % 97
        )?;
    }
    std::fs::write(&list, text)?;
    println!(
        "# How fast a list of suppressions comes in\n\nMade by `make suppression-import`: do not edit. {lines} lines by `paceline suppression import`, then the same list once more.\n"
    );
    println!("| ledger | the list is | seconds | lines a minute |\n|---|---|---|---|");
    let postgres = TestPostgres::start().await;
    let sqlite = format!("sqlite:{}", directory.path().join("ledger.db").display());
    for (name, url) in [("SQLite", sqlite), ("PostgreSQL", postgres.url())] {
        let redis = TestRedis::on_loopback(&[("appendfsync", "always")]).await;
        let feedback = ServiceProcess::start("feedback", &settings(&url, &redis)).await?;
        for turn in ["new", "there already"] {
            let began = Instant::now();
            import(&feedback, &list)?;
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "| {name} | {turn} | {seconds:.1} | {:.0} |",
                lines as f64 * 60.0 / seconds
            );
        }
    }
    Ok(())
}

fn settings(ledger: &str, redis: &TestRedis) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nweb.listen = \"127.0.0.1:0\"\n\
         address_key = \"0123456789abcdef0123456789abcdef\"\nledger.url = {ledger:?}\n[redis]\nurl = {:?}\nallow_unsafe = true\n",
        redis.url()
    )
}

fn import(feedback: &ServiceProcess, list: &Path) -> anyhow::Result<()> {
    let output = Command::new(binary("paceline")?)
        .args(["suppression", "import"])
        .arg(list)
        .args(["--why", "measured", "--who", "measured", "--feedback"])
        .arg(format!("http://{}", feedback.grpc()))
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// A binary of the workspace, which lies a folder above this example's own.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("target/PROFILE/examples/NAME")?;
    Ok(folder.join(name))
}
