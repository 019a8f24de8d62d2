//! `paceline throttle [KEY]`: how the rates stand, once or again each second.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use paceline_wire::v1::{DescribeRequest, DescribeResponse, ThrottleKey};
use tokio::time::MissedTickBehavior;

use super::{json, plot, table};
use crate::args::{Asked, ShowOptions, Target};
use crate::coordinator::Coordinator;

const EVERY: Duration = Duration::from_secs(1);
/// As many histories as one answer holds.
const PLOTS_MAX: usize = 16;
/// To the top left corner, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(target: &Target, asked: &Asked, options: &ShowOptions) -> anyhow::Result<()> {
    if options.watch {
        return watch(target, asked, options).await;
    }
    let mut coordinator = Coordinator::connect(target, asked)?;
    let text = look(&mut coordinator, options).await?;
    print(&text)
}

/// Looks again each second, until Ctrl-C. What fails is said, and tried again from where it began: leaders change.
async fn watch(target: &Target, asked: &Asked, options: &ShowOptions) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut coordinator = Coordinator::connect(target, asked)?;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let next = async {
            ticks.tick().await;
            look(&mut coordinator, options).await
        };
        let looked = tokio::select! {
            biased;
            stopped = &mut stop => return Ok(stopped?),
            looked = next => looked,
        };
        match looked {
            Ok(text) if is_terminal && !options.json => print(&format!("{CLEAR}{text}"))?,
            Ok(text) => print(&text)?,
            Err(error) => {
                eprintln!("paceline: {error:#}");
                coordinator = Coordinator::connect(target, asked)?;
            }
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn look(coordinator: &mut Coordinator<'_>, options: &ShowOptions) -> anyhow::Result<String> {
    let answer = ask(coordinator, options).await?;
    Ok(if options.json {
        format!("{}\n", json::of(&answer))
    } else if options.plot.is_some() {
        plot::draw(&answer)
    } else {
        table::draw(&answer)
    })
}

async fn ask(coordinator: &mut Coordinator<'_>, options: &ShowOptions) -> anyhow::Result<DescribeResponse> {
    let plotted = options.plot.as_ref();
    let key = plotted.and_then(Option::as_ref).or(options.key.as_ref());
    let mut request = DescribeRequest {
        senders: options.senders,
        history: false,
        keys: key.cloned().into_iter().collect(),
    };
    if plotted.is_some() && request.keys.is_empty() {
        let all = coordinator.describe(&request).await?;
        if all.keys.is_empty() {
            return Ok(all);
        }
        let keys: Vec<ThrottleKey> = all.keys.into_iter().filter_map(|key| key.key).collect();
        if keys.len() > PLOTS_MAX {
            bail!("{} keys are paced; --plot KEY draws one of them", keys.len());
        }
        request.keys = keys;
    }
    request.history = plotted.is_some();
    let mut answer = coordinator.describe(&request).await?;
    if key.is_some() {
        let keys = &answer.keys;
        answer
            .accounts
            .retain(|account| keys.iter().any(|key| key.account == account.name));
    }
    Ok(answer)
}
