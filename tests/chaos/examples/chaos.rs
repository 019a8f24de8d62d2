//! The long form: `chaos run MINUTES`, `chaos seed SEED`, `chaos ground NAME [FAULT]`, and `chaos report MINUTES [PART; PART...]`, which
//! writes the page.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use paceline_chaos::bullmq::{self, Comparison, Trial};
use paceline_chaos::choice::Choice;
use paceline_chaos::document;
use paceline_chaos::progress::Progress;
use paceline_chaos::report::{Figures, Kept, Part, Peer, Report, Tally};
use paceline_chaos::site::Ground;
use paceline_chaos::story::{self, Broken, Manner, Outcome, Step};
use paceline_chaos::world::{Rest, now};
use paceline_chaos::{catalogue, seeds};

/// Steps of the catalogue in one world.
const STEPS_MAX: usize = 40;
/// Steps of one world that may break off before the rest of it is given up.
const BROKEN_MAX: usize = 4;

/// Of each of BullMQ's.
const TRIALS: usize = 2;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability/figures.json");

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
        ["run", minutes] => {
            let parts: Vec<_> = Choice::all()
                .into_iter()
                .filter(|part| *part != Choice::BullMq)
                .collect();
            all = Run::of(parts, minutes, None)?.all().await?;
        }
        ["report", minutes, rest @ ..] => {
            let parts = Choice::of(rest.first().copied().unwrap_or_default())?;
            let kept = Kept::open(Path::new(PAGE), Path::new(FIGURES))?;
            all = Run::of(parts, minutes, Some(kept))?.all().await?;
        }
        ["seed", seed] => all.seed(seed.parse()?).await,
        ["ground", name, rest @ ..] => {
            let ground = Ground::ALL.into_iter().find(|ground| ground.name() == *name);
            let named = rest.first().copied().unwrap_or_default();
            all.book(ground.context("no such ground")?, named, None).await;
        }
        _ => bail!(
            "chaos run MINUTES | chaos report MINUTES [PART; PART...] | chaos seed SEED | chaos ground NAME [FAULT]"
        ),
    }
    println!("\n{}", all.figures.table());
    for failure in &all.failures {
        println!("{failure}");
    }
    Ok(all.failures.is_empty())
}

/// Several parts of the suite.
struct Run {
    grounds: Mutex<VecDeque<Ground>>,
    progress: Arc<Progress>,
    /// For how long stories of chance are told.
    chance: Option<Duration>,
    bullmq: bool,
    /// What each part is added to as soon as it is over.
    kept: Option<Mutex<Kept>>,
}

impl Run {
    fn of(parts: Vec<Choice>, minutes: &str, kept: Option<Kept>) -> anyhow::Result<Self> {
        let grounds: VecDeque<_> = parts
            .iter()
            .filter_map(|part| match part {
                Choice::Ground(ground) => Some(*ground),
                Choice::Chance | Choice::BullMq => None,
            })
            .collect();
        let steps = grounds.iter().map(|&ground| catalogue::all(ground).len()).sum();
        let minutes: u64 = minutes.parse().context("MINUTES")?;
        Ok(Self {
            grounds: Mutex::new(grounds),
            progress: Arc::new(Progress::of(steps)),
            chance: parts
                .contains(&Choice::Chance)
                .then(|| Duration::from_secs(60 * minutes)),
            bullmq: parts.contains(&Choice::BullMq),
            kept: kept.map(Mutex::new),
        })
    }

    /// The catalogue in two worlds at a time, since they wait more than they work, and BullMQ beside them; then chance.
    async fn all(self) -> anyhow::Result<All> {
        let mut all = All::default();
        let (one, other, peer) = tokio::join!(self.books(), self.books(), self.peer());
        for told in [one?, other?, peer?, self.by_chance().await?] {
            all.figures.0.extend(told.figures.0);
            all.failures.extend(told.failures);
        }
        Ok(all)
    }

    /// The catalogue on one ground after another, as long as there is one.
    async fn books(&self) -> anyhow::Result<All> {
        let mut all = All::default();
        while let Some(ground) = self.next() {
            let began = now();
            let mut told = All::default();
            told.book(ground, "", Some(&self.progress)).await;
            let rows = told.figures.of(ground);
            let part = told.part(rows, began);
            self.keep(|report| drop(report.grounds.insert(ground, part)))?;
            println!("{ground}: over, {} failed", told.failures.len());
            all.figures.0.extend(told.figures.0);
            all.failures.extend(told.failures);
        }
        Ok(all)
    }

    fn next(&self) -> Option<Ground> {
        let mut grounds = self.grounds.lock().unwrap_or_else(PoisonError::into_inner);
        grounds.pop_front()
    }

    async fn by_chance(&self) -> anyhow::Result<All> {
        let mut all = All::default();
        let Some(length) = self.chance else { return Ok(all) };
        let began = now();
        let first = u64::try_from(began.as_millis())?;
        for seed in first.. {
            let left = (began + length).saturating_sub(now());
            if left.is_zero() {
                break;
            }
            println!("by chance: {} min left", left.as_secs().div_ceil(60));
            all.seed(seed).await;
        }
        let part = all.part(all.figures.by_ground(), began);
        self.keep(|report| report.chance = Some(part))?;
        Ok(all)
    }

    /// BullMQ's figures; what it fails is told, and is no failure of the suite.
    async fn peer(&self) -> anyhow::Result<All> {
        if !self.bullmq {
            return Ok(All::default());
        }
        let began = now();
        let mut peer = Peer::default();
        for (index, trial) in Trial::ALL.into_iter().enumerate() {
            match compared(trial).await {
                Ok(sum) => peer.rows.push((trial, TRIALS, sum)),
                Err(error) => peer.failures.push(format!("BullMQ: {}: {error:#}", trial.name())),
            }
            let left = Trial::ALL.len() - index - 1;
            println!("BullMQ: {}: {left} faults left", trial.name());
        }
        for failure in &peer.failures {
            println!("{failure}");
        }
        peer.took = now().saturating_sub(began);
        let failures = peer.failures.clone();
        self.keep(|report| report.bullmq = Some(peer))?;
        Ok(All {
            failures,
            ..All::default()
        })
    }

    fn keep(&self, change: impl FnOnce(&mut Report)) -> anyhow::Result<()> {
        match &self.kept {
            Some(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.put(change)
            }
            None => Ok(()),
        }
    }
}

async fn compared(trial: Trial) -> anyhow::Result<Comparison> {
    let mut sum = Comparison::default();
    for _ in 0..TRIALS {
        sum += bullmq::run(trial).await?;
    }
    println!("BullMQ: {}: {sum:?}", trial.name());
    Ok(sum)
}

/// What stories came to.
#[derive(Default)]
struct All {
    figures: Figures,
    seeds: Vec<u64>,
    failures: Vec<String>,
}

impl All {
    /// The catalogue's steps on a ground whose names contain a text.
    async fn book(&mut self, ground: Ground, named: &str, progress: Option<&Arc<Progress>>) {
        let steps = catalogue::all(ground);
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|step| step.name().contains(named))
            .collect();
        let own = Arc::new(Progress::of(steps.len()));
        let progress = progress.unwrap_or(&own);
        for steps in steps.chunks(STEPS_MAX) {
            self.chapter(ground, steps.to_vec(), progress).await;
        }
    }

    /// Steps of one world. What one of them broke with the world is told again without it.
    async fn chapter(&mut self, ground: Ground, mut steps: Vec<Step>, progress: &Arc<Progress>) {
        for broken in 0..BROKEN_MAX {
            let told = self.tell(ground, &steps, BY_THE_BOOK, progress).await;
            let Err(why) = told else { return };
            let named = why.at.map_or_else(String::new, |at| steps[at].name());
            let replay = format!("make chaos-ground GROUND=\"{ground}\" FAULT=\"{named}\"");
            self.breaks(&why, &replay);
            let Some(at) = why.at else { return };
            steps.remove(at);
            if steps.is_empty() {
                return;
            }
            println!(
                "{ground}: {} steps are told again, {} have broken off",
                steps.len(),
                broken + 1
            );
        }
        println!("{ground}: {} steps are given up", steps.len());
    }

    async fn seed(&mut self, seed: u64) {
        self.seeds.push(seed);
        let (ground, steps) = seeds::story(seed);
        println!("seed {seed}: {ground}");
        let progress = Arc::new(Progress::of(steps.len()));
        let told = self.tell(ground, &steps, BY_CHANCE, &progress).await;
        if let Err(why) = told {
            self.breaks(&why, &format!("make chaos-seed SEED={seed}"));
        }
    }

    async fn tell(
        &mut self,
        ground: Ground,
        steps: &[Step],
        manner: Manner,
        progress: &Arc<Progress>,
    ) -> Result<(), Broken> {
        let (steps, progress) = (steps.to_vec(), Arc::clone(progress));
        // What panics outside of a step is a failure of that story alone.
        let told = tokio::spawn(async move { story::run(ground, &steps, manner, &progress).await });
        let outcomes = told
            .await
            .unwrap_or_else(|error| Err(Broken::apart(error.into())))?;
        self.figures.add(&outcomes);
        for outcome in outcomes.iter().filter(|outcome| !outcome.is_right()) {
            let replay = match (manner.rest, self.seeds.last()) {
                (Rest::Doubt, Some(seed)) => format!("make chaos-seed SEED={seed}"),
                _ => format!("make chaos-ground GROUND=\"{ground}\" FAULT=\"{}\"", outcome.name),
            };
            self.fails(&wrong(outcome), &replay);
        }
        Ok(())
    }

    fn breaks(&mut self, why: &Broken, replay: &str) {
        println!("{}", why.logs);
        let error = format!("{:#}", why.error);
        self.fails(&error.lines().collect::<Vec<_>>().join(" "), replay);
    }

    fn fails(&mut self, why: &str, replay: &str) {
        let failure = format!("FAILED: {why}\n  replay: {replay}");
        println!("{failure}");
        self.failures.push(failure);
    }

    /// For the page.
    fn part(&self, rows: BTreeMap<String, Tally>, began: Duration) -> Part {
        Part {
            took: now().saturating_sub(began),
            machine: document::machine(),
            rows,
            seeds: self.seeds.clone(),
            failures: self.failures.clone(),
        }
    }
}

fn wrong(outcome: &Outcome) -> String {
    format!("{}: {}: {:?}", outcome.ground, outcome.name, outcome.wrong)
}
