//! Fifty processes on one Redis: how many connections they make at once, while Redis is away, and when it is back.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use paceline_testkit::resp::Reply;
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::binaries::http_get;
use crate::stack::{PATIENCE, start_renderer};

const PROCESSES: usize = 50;
/// Commands, reads and hints: at the level `local` nothing is waited for.
const OPEN_PER_PROCESS: usize = 3;
/// What each says of itself: those, waits, and the check of a replica.
const BOUND_PER_PROCESS: usize = 5;
/// How long Redis's place is taken by a server that ends every connection.
const AWAY: Duration = Duration::from_secs(5);
/// Attempts of one client in that time: pauses of 50, 100, 200, 400, 800 and 1600 ms and then 2 s, without what chance adds.
const ATTEMPTS_MAX: usize = 8;

/// The clients that Redis has, without the one that asks.
async fn clients(redis: &TestRedis) -> usize {
    let Reply::Bytes(list) = redis.command(&["CLIENT", "LIST"]).await else {
        panic!("a list expected");
    };
    String::from_utf8_lossy(&list).lines().count() - 1
}

/// The sum of a gauge's series.
fn sum(metrics: &str, name: &str) -> anyhow::Result<usize> {
    let mut series = 0;
    let mut sum = 0;
    for line in metrics.lines() {
        let Some((key, value)) = line.rsplit_once(' ') else {
            continue;
        };
        if key.split('{').next() == Some(name) {
            series += 1;
            sum += value.parse::<usize>()?;
        }
    }
    ensure!(series > 0, "no {name} in:\n{metrics}");
    Ok(sum)
}

/// What all processes say that they have; fails the test if one says more than its bound.
async fn said(processes: &[ServiceProcess]) -> anyhow::Result<usize> {
    let mut all = 0;
    for process in processes {
        let metrics = http_get(process.admin(), "/metrics").await?;
        let (open, max) = (
            sum(&metrics, "paceline_redis_connections")?,
            sum(&metrics, "paceline_redis_connections_max")?,
        );
        assert_eq!(max, BOUND_PER_PROCESS, "the bound");
        assert!(open <= max, "{open} of {max}");
        all += open;
    }
    Ok(all)
}

/// Waits until all are connected as they should be. At no look a process says more than its bound; Redis itself may list a new
/// connection before it has read the end of the old one.
async fn settled(redis: &TestRedis, processes: &[ServiceProcess]) {
    let expected = PROCESSES * OPEN_PER_PROCESS;
    eventually("three connections for each process", PATIENCE, || async {
        let said = said(processes).await.map_err(|error| error.to_string())?;
        let seen = clients(redis).await;
        if (said, seen) == (expected, expected) {
            Ok(())
        } else {
            Err(format!("they say {said}, redis has {seen}"))
        }
    })
    .await;
}

/// Ends every connection that is made to Redis's port, and counts them.
async fn attempts_in_redis_place(port: u16) -> anyhow::Result<usize> {
    // The system may have lent it for a connection meanwhile.
    let listener = eventually("redis's port is free", PATIENCE, || {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
    })
    .await;
    let until = Instant::now() + AWAY;
    let mut attempts = 0;
    while let Ok(accepted) = tokio::time::timeout_at(until, listener.accept()).await {
        drop(accepted?);
        attempts += 1;
    }
    Ok(attempts)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_processes_are_no_storm_of_connections() -> anyhow::Result<()> {
    let mut redis = TestRedis::on_loopback(&[]).await;
    let url = redis.url().to_owned();
    let processes = try_join_all((0..PROCESSES).map(|_| start_renderer(&url, "durability = \"local\"\n")))
        .await
        .context("all start at once")?;
    settled(&redis, &processes).await;

    let port = redis.port();
    redis.crash().await;
    let attempts = attempts_in_redis_place(port).await?;
    let all = PROCESSES * OPEN_PER_PROCESS;
    ensure!(attempts >= all, "only {attempts}: who does not try again?");
    ensure!(attempts <= all * ATTEMPTS_MAX, "{attempts} attempts in {AWAY:?}");

    redis.start_again().await;
    settled(&redis, &processes).await;
    Ok(())
}
