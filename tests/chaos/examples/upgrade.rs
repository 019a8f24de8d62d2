//! Binaries of another build beside those of this one, on one Redis and one PostgreSQL: `upgrade FOLDER [EXCEPT]`, without the steps whose
//! names contain that text. `scripts/upgrade-test` builds the other ones.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use paceline_chaos::catalogue;
use paceline_chaos::progress::Progress;
use paceline_chaos::report::Figures;
use paceline_chaos::site::Ground;
use paceline_chaos::story::{self, Manner};
use paceline_chaos::world::{Release, Rest, World};

#[tokio::main]
async fn main() -> ExitCode {
    match upgrade().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn upgrade() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let old = PathBuf::from(arguments.next().context("upgrade FOLDER [EXCEPT]")?);
    let except = arguments.next().filter(|it| !it.is_empty());
    let mut steps = catalogue::upgrade(&old);
    steps.retain(|step| !except.as_ref().is_some_and(|except| step.name().contains(except)));
    let manner = Manner {
        rest: Rest::Final,
        points_are_met: true,
    };
    let world = World::start_with(Ground::Fsync, Release::Old(old)).await?;
    let outcomes = story::tell(world, &steps, manner, &Progress::of(steps.len())).await?;
    let mut figures = Figures::default();
    figures.add(&outcomes);
    println!("\n{}", figures.table());
    let (mut lost, mut twice) = (0, 0);
    for outcome in &outcomes {
        lost += outcome.lost();
        twice += outcome.twice();
    }
    println!("lost {lost}, twice {twice}");
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_right()).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
