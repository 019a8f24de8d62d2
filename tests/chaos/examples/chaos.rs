//! The long form: `chaos run MINUTES`, `chaos seed SEED`, `chaos ground NAME [FAULT]`, and `chaos report MINUTES`, which writes the page.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use paceline_chaos::bullmq::{self, Comparison, Trial};
use paceline_chaos::document::{self, Page};
use paceline_chaos::report::Figures;
use paceline_chaos::site::Ground;
use paceline_chaos::story::{self, Manner, Outcome, Step};
use paceline_chaos::world::{Rest, now};
use paceline_chaos::{catalogue, seeds};

/// Steps of the catalogue in one world.
const STEPS_MAX: usize = 60;

/// Of each of BullMQ's.
const TRIALS: usize = 2;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");

const BY_THE_BOOK: Manner = Manner {
    rest: Rest::Final,
    points_are_met: true,
};
const BY_CHANCE: Manner = Manner {
    rest: Rest::Doubt,
    points_are_met: false,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match command(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was right.
async fn command(arguments: &[&str]) -> anyhow::Result<bool> {
    let mut all = All::default();
    match arguments {
        ["run", minutes] => all.everything(minutes).await?,
        ["report", minutes] => report(&mut all, minutes).await?,
        ["seed", seed] => all.seed(seed.parse()?).await,
        ["ground", name, rest @ ..] => {
            let ground = Ground::ALL.into_iter().find(|ground| ground.name() == *name);
            let named = rest.first().copied().unwrap_or_default();
            all.book(ground.context("no such ground")?, named).await;
        }
        _ => bail!("chaos run MINUTES | chaos report MINUTES | chaos seed SEED | chaos ground NAME [FAULT]"),
    }
    println!("\n{}", all.figures.table());
    for failure in &all.failures {
        println!("{failure}");
    }
    Ok(all.failures.is_empty())
}

/// All of it, and the same faults for BullMQ.
async fn report(all: &mut All, minutes: &str) -> anyhow::Result<()> {
    let began = now();
    let (told, trials) = tokio::join!(all.everything(minutes), compared());
    told?;
    let trials = trials?;
    let page = document::page(&Page {
        figures: &all.figures,
        seeds: &all.seeds,
        took: now().saturating_sub(began),
        failures: &all.failures,
        bullmq: &trials,
    })?;
    std::fs::write(PAGE, page)?;
    Ok(())
}

/// BullMQ's figures.
async fn compared() -> anyhow::Result<Vec<(Trial, usize, Comparison)>> {
    let mut trials = Vec::new();
    for trial in Trial::ALL {
        let mut sum = Comparison::default();
        for _ in 0..TRIALS {
            sum += bullmq::run(trial).await.context(trial.name())?;
        }
        println!("BullMQ: {}: {sum:?}", trial.name());
        trials.push((trial, TRIALS, sum));
    }
    Ok(trials)
}

/// What all stories came to.
#[derive(Default)]
struct All {
    figures: Figures,
    seeds: Vec<u64>,
    failures: Vec<String>,
}

impl All {
    /// The catalogue's steps on a ground whose names contain a text.
    async fn book(&mut self, ground: Ground, named: &str) {
        let steps = catalogue::all(ground);
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|step| step.name().contains(named))
            .collect();
        for steps in steps.chunks(STEPS_MAX) {
            let replay = format!("make chaos-ground GROUND=\"{ground}\" FAULT=");
            self.tell(ground, steps, BY_THE_BOOK, &replay).await;
        }
    }

    /// The catalogue on these grounds.
    async fn books(grounds: &[Ground]) -> Self {
        let mut all = Self::default();
        for &ground in grounds {
            all.book(ground, "").await;
        }
        all
    }

    /// The catalogue on every ground, in two worlds at a time, since they wait more than they work; then chance for so many minutes.
    async fn everything(&mut self, minutes: &str) -> anyhow::Result<()> {
        let (lasting, others): (Vec<_>, Vec<_>) =
            Ground::ALL.into_iter().partition(|ground| ground.keeps_all());
        for told in <[Self; 2]>::from(tokio::join!(Self::books(&lasting), Self::books(&others))) {
            self.figures.0.extend(told.figures.0);
            self.failures.extend(told.failures);
        }
        let first = u64::try_from(now().as_millis())?;
        let deadline = now() + Duration::from_secs(60 * minutes.parse::<u64>()?);
        for seed in first.. {
            if now() > deadline {
                break;
            }
            self.seed(seed).await;
        }
        Ok(())
    }

    async fn seed(&mut self, seed: u64) {
        self.seeds.push(seed);
        let (ground, steps) = seeds::story(seed);
        println!("seed {seed}: {ground}");
        let replay = format!("make chaos-seed SEED={seed}");
        self.tell(ground, &steps, BY_CHANCE, &replay).await;
    }

    async fn tell(&mut self, ground: Ground, steps: &[Step], manner: Manner, replay: &str) {
        let steps = steps.to_vec();
        // What panics in a wait is a failure of that story alone.
        let told = tokio::spawn(async move { story::run(ground, &steps, manner).await });
        let outcomes = match told.await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(error)) => return self.fails(format!("{error:?}"), replay),
            Err(error) => return self.fails(error.to_string(), replay),
        };
        self.figures.add(&outcomes);
        for outcome in outcomes.iter().filter(|outcome| !outcome.is_right()) {
            self.fails(wrong(outcome), replay);
        }
    }

    fn fails(&mut self, why: String, replay: &str) {
        println!("FAILED: {why}\n  replay: {replay}");
        let line = why.lines().next().unwrap_or_default();
        self.failures.push(format!("FAILED: {line}\n  replay: {replay}"));
    }
}

fn wrong(outcome: &Outcome) -> String {
    format!("{}: {}: {:?}", outcome.ground, outcome.name, outcome.wrong)
}
