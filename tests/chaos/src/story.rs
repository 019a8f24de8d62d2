//! One world from its start to its rest: faults one after another while mail flows, and at the end what the checker found in each round.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt as _;
use paceline_wire::v1::MessageState;

use crate::checker::{Evidence, Wrong, check};
use crate::faults::Fault;
use crate::producers::produce;
use crate::progress::Progress;
use crate::site::Ground;
use crate::world::{Rest, World, now};

/// Messages that are enqueued in a round while faults are under way, and those after.
const MESSAGES: u64 = 90;
const MESSAGES_AFTER: u64 = 10;

/// Faults of one round, under way together.
#[derive(Clone, Debug)]
pub struct Step(pub Vec<Fault>);

impl Step {
    #[must_use]
    pub fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// The row of the report that it belongs to.
    #[must_use]
    pub fn group(&self) -> String {
        self.joined(Fault::group)
    }

    #[must_use]
    pub fn name(&self) -> String {
        self.joined(Fault::name)
    }

    fn joined(&self, name: fn(&Fault) -> String) -> String {
        let names: Vec<_> = self.0.iter().map(name).collect();
        names.join(" + ")
    }

    #[must_use]
    pub fn fits(&self, ground: Ground) -> bool {
        self.0.iter().all(|fault| fault.fits(ground))
    }

    /// What may be wrong at a level that may lose writes, if Redis lost some.
    fn may_lose(&self, ground: Ground) -> bool {
        let loses = |fault: &Fault| matches!(fault, Fault::Redis(fault) if fault.loses_writes());
        !ground.keeps_all() && self.0.iter().any(loses)
    }
}

/// How strictly a story is told.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub rest: Rest,
    /// A point that is never met is an error: the row would show nothing.
    pub points_are_met: bool,
}

/// What came of one round.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub group: String,
    pub name: String,
    pub ground: Ground,
    pub acknowledged: usize,
    pub in_doubt: usize,
    pub dead: usize,
    /// Calls of the producers that were never answered while the fault was under way.
    pub unanswered: usize,
    /// Processes that ended by themselves when they were started, and were started once more.
    pub starts_again: usize,
    pub wrong: BTreeMap<String, BTreeSet<Wrong>>,
    /// Whether the level allows that something is wrong.
    pub may_lose: bool,
    pub recovery: Duration,
}

impl Outcome {
    #[must_use]
    pub fn lost(&self) -> usize {
        self.count(Wrong::is_loss)
    }

    #[must_use]
    pub fn twice(&self) -> usize {
        self.count(Wrong::is_double)
    }

    fn count(&self, is: fn(Wrong) -> bool) -> usize {
        self.wrong
            .values()
            .filter(|wrong| wrong.iter().any(|&it| is(it)))
            .count()
    }

    #[must_use]
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty() || self.may_lose
    }
}

/// A story that did not come to its end.
#[derive(Debug)]
pub struct Broken {
    /// The step in which it broke off; `None` if it was before the first or after the last.
    pub at: Option<usize>,
    pub error: anyhow::Error,
    /// The ends of all logs, if the world ran.
    pub logs: String,
}

impl Broken {
    /// Outside of a step.
    #[must_use]
    pub const fn apart(error: anyhow::Error) -> Self {
        Self {
            at: None,
            error,
            logs: String::new(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}\n{}", self.error, self.logs)
    }
}

impl std::error::Error for Broken {}

/// What was seen of a round while it was under way.
#[derive(Clone, Copy, Debug)]
struct Round {
    number: usize,
    recovery: Duration,
    unanswered: usize,
    starts_again: usize,
}

/// Runs a world and tells what came of each step.
///
/// # Errors
/// If something did not start, did not recover, or did not come to rest; with the logs of all.
pub async fn run(
    ground: Ground,
    steps: &[Step],
    manner: Manner,
    progress: &Progress,
) -> Result<Vec<Outcome>, Broken> {
    let world = World::start(ground).await;
    let world = world.map_err(Broken::apart)?;
    tell(world, steps, manner, progress).await
}

/// The same in a world that runs already.
///
/// # Errors
/// As for [`run`].
pub async fn tell(
    mut world: World,
    steps: &[Step],
    manner: Manner,
    progress: &Progress,
) -> Result<Vec<Outcome>, Broken> {
    let ground = world.ground;
    let mut rounds = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let began = now();
        println!("{ground}: {}", step.name());
        // What panics in a wait is a failure as any other, and is told with the logs.
        let struck = AssertUnwindSafe(strike(&mut world, step, manner)).catch_unwind();
        let struck = struck
            .await
            .unwrap_or_else(|panic| Err(anyhow!("{}", words(&*panic))));
        let round = struck.map_err(|error| Broken {
            at: Some(at),
            error: error.context(format!("{ground}: {}", step.name())),
            logs: world.logs(),
        })?;
        println!(
            "{ground}: {}: recovered in {:.1} s, {:.1} s in all, {} starts made anew, {} calls unanswered ({})",
            step.name(),
            round.recovery.as_secs_f64(),
            now().saturating_sub(began).as_secs_f64(),
            round.starts_again,
            round.unanswered,
            progress.step()
        );
        rounds.push(round);
    }
    ended(&world, steps, &rounds, manner)
        .await
        .map_err(|error| Broken {
            at: None,
            error: error.context(format!("{ground}: at the end")),
            logs: world.logs(),
        })
}

/// What the checker says of each step, once all is at rest.
async fn ended(
    world: &World,
    steps: &[Step],
    rounds: &[Round],
    manner: Manner,
) -> anyhow::Result<Vec<Outcome>> {
    world.rests(manner.rest).await?;
    let evidence = world.evidence().await?;
    let wrong = check(&evidence);
    let outcomes = rounds.iter().zip(steps).map(|(&round, step)| {
        let ids: BTreeSet<_> = world.notebook.of_round(round.number).into_iter().collect();
        outcome(world.ground, step, round, &ids, (&evidence, &wrong))
    });
    let mut outcomes: Vec<_> = outcomes.collect();
    attribute_strangers(&mut outcomes, &evidence, wrong);
    Ok(outcomes)
}

async fn strike(world: &mut World, step: &Step, manner: Manner) -> anyhow::Result<Round> {
    let number = world.notebook.next_round();
    let (starts_again, unanswered) = (world.starts_again(), world.notebook.unanswered());
    for fault in &step.0 {
        fault.arm(world).await?;
    }
    let producing = tokio::spawn(produce(world.channel()?, world.notebook.clone(), MESSAGES));
    let mut all_met = true;
    for fault in &step.0 {
        all_met &= fault.strike(world).await?;
    }
    for fault in step.0.iter().rev() {
        fault.heal(world).await?;
    }
    let healed = now();
    producing.await??;
    let during = world.notebook.unanswered();
    produce(world.channel()?, world.notebook.clone(), MESSAGES_AFTER).await?;
    let enqueued = now().saturating_sub(healed);
    let still = world.notebook.unanswered() - during;
    anyhow::ensure!(
        still == 0,
        "the fault is over, and {still} calls were never answered"
    );
    let recovery = enqueued + world.recovers(&world.notebook.of_round(number)).await?;
    anyhow::ensure!(all_met || !manner.points_are_met, "the point is never met");
    Ok(Round {
        number,
        recovery,
        unanswered: during - unanswered,
        starts_again: world.starts_again() - starts_again,
    })
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}

fn outcome(
    ground: Ground,
    step: &Step,
    round: Round,
    ids: &BTreeSet<String>,
    (evidence, wrong): (&Evidence, &BTreeMap<String, BTreeSet<Wrong>>),
) -> Outcome {
    let in_state = |state| {
        let stands = |id: &&String| evidence.standing.get(*id).is_some_and(|it| it.state == state);
        ids.iter().filter(stands).count()
    };
    Outcome {
        group: step.group(),
        name: step.name(),
        ground,
        acknowledged: ids.len(),
        in_doubt: in_state(MessageState::InDoubt),
        dead: in_state(MessageState::Dead),
        unanswered: round.unanswered,
        starts_again: round.starts_again,
        wrong: wrong
            .iter()
            .filter(|(id, _)| ids.contains(*id))
            .map(|(id, wrong)| (id.clone(), wrong.clone()))
            .collect(),
        may_lose: step.may_lose(ground),
        recovery: round.recovery,
    }
}

/// Emails of no message that anybody was told of belong to the first round that may lose, or else to the last.
fn attribute_strangers(
    outcomes: &mut [Outcome],
    evidence: &Evidence,
    wrong: BTreeMap<String, BTreeSet<Wrong>>,
) {
    let index = outcomes.iter().position(|it| it.may_lose);
    let index = index.unwrap_or_else(|| outcomes.len().saturating_sub(1));
    if let Some(outcome) = outcomes.get_mut(index) {
        let strangers = wrong
            .into_iter()
            .filter(|(id, _)| !evidence.told.contains_key(id));
        outcome.wrong.extend(strangers);
    }
}
