//! The short form of the suite, with everything real: each ground that can show something of its own, each kind of fault once.

use anyhow::ensure;
use paceline_chaos::catalogue;
use paceline_chaos::progress::Progress;
use paceline_chaos::report::Figures;
use paceline_chaos::site::Ground;
use paceline_chaos::story::{self, Manner};
use paceline_chaos::world::Rest;

async fn nothing_is_wrong_on(ground: Ground) -> anyhow::Result<()> {
    let steps = catalogue::short(ground);
    let manner = Manner {
        rest: Rest::Doubt,
        points_are_met: true,
    };
    let outcomes = story::run(ground, &steps, manner, &Progress::of(steps.len())).await?;
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_right()).collect();
    let mut figures = Figures::default();
    figures.add(&outcomes);
    println!("{}", figures.table());
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_single_redis_nothing_is_lost_or_sent_twice() -> anyhow::Result<()> {
    nothing_is_wrong_on(Ground::Fsync).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_failover_nothing_is_lost_or_sent_twice() -> anyhow::Result<()> {
    nothing_is_wrong_on(Ground::ReplicatedPair).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_failover_of_a_cluster_nothing_is_lost_or_sent_twice() -> anyhow::Result<()> {
    nothing_is_wrong_on(Ground::ReplicatedCluster).await
}
