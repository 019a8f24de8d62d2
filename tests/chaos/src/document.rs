//! docs/reliability.md: what was seen, and of how much.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::bullmq::Trial;
use crate::catalogue;
use crate::report::{Part, Report, TALLIED, TALLIED_LINE, tallied};
use crate::site::Ground;

const HEAD: &str = "# Reliability

Made by `make chaos-report`: do not edit. The suite (`tests/chaos`) runs the services as processes, two of each kind but ingest, on a real Redis
beside the look-alike of SES, with a ledger in PostgreSQL (at `local`: in SQLite). Producers enqueue for two tenants, transactional and bulk, some of it scheduled, some
cancelled, some calls repeated, while a fault is struck; the fault is healed, ten messages more are enqueued, and everything has to come to rest. Then a
checker compares the provider's inbox, the records, what names them in Redis, the ledger, and what producers were told: each message has its whole history,
no revision has two contents, the newest state is the record's, and nothing was sent without a claim that the ledger knows of.

- **acknowledged**: messages whose `Enqueue` was answered OK.
- **lost**: acknowledged, and there is no record; or the record says that it was sent, and the provider does not have it.
- **twice**: more emails at the provider than the template's policy allows (`hold`: one, `resend`: two), two of one attempt, or one sent after its
  caller was told that it is cancelled.
- **in doubt**: the provider's outcome stayed unknown, with a reason, at the end of a world that did not wait for the window to end. With the window over,
  they are dead letters for a person to decide, or were sent once more where the template says so.
- **unanswered**: calls that producers repeated for 150 s and had no answer to. What they asked for may be there: sent at most as often as the policy allows.
- **starts made anew**: a process that ends by itself before it is ready, such as one whose Redis is away, is started again, up to five times, as an
  orchestrator would.
- **longest recovery**: from the fault's end until everything is at rest, in doubt, or claimed by a sender that is gone.

At `fsync` and `replicated` any row with a loss, a double, a message without a state of rest, a place that names a wrong one or a ledger that differs
fails the run. At `local` Redis may
forget what it has answered when it is killed, loses its power or fails over; what can come of it stands in ARCHITECTURE.md (Known limits), and the rows
below measure it.

What the ledger costs stands in [reliability/ledger.md](reliability/ledger.md), how fast a list of suppressions comes in in
[reliability/suppression-import.md](reliability/suppression-import.md).
";

const BULLMQ: &str = "
## BullMQ under five of the faults

BullMQ 6.7.0 with two workers as its guide has them: a job calls the provider once and waits a second for the answer, three attempts, the job's id as the means
against a second copy. The same look-alike, the same Redis (`appendfsync always`; `everysec` for the power failure). The harness is
`tests/chaos/bullmq`. It has no state for an unknown outcome: what failed is tried again.
";

/// The page as Markdown.
///
/// # Errors
/// Never: a text takes everything.
pub fn page(report: &Report) -> Result<String, std::fmt::Error> {
    let mut text = HEAD.to_owned();
    parts(&mut text, report)?;
    faults(&mut text, report)?;
    by_chance(&mut text, report.chance.as_ref())?;
    bullmq(&mut text, report)?;
    Ok(text)
}

/// What was run, and how much of it.
fn parts(text: &mut String, report: &Report) -> std::fmt::Result {
    *text += "\n## Runs\n\n| part | rounds | acknowledged | lost | twice | failed | minutes | on |\n|---|---|---|---|---|---|---|---|\n";
    let mut row = |name: &str, part: Option<&Part>| match part {
        Some(part) => writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            part.rows.values().map(|tally| tally.rounds).sum::<usize>(),
            part.rows.values().map(|tally| tally.acknowledged).sum::<usize>(),
            part.rows.values().map(|tally| tally.lost).sum::<usize>(),
            part.rows.values().map(|tally| tally.twice).sum::<usize>(),
            part.failures.len(),
            minutes(part.took),
            part.machine
        ),
        None => writeln!(text, "| {name} | not run | | | | | | |"),
    };
    for ground in Ground::ALL {
        row(ground.name(), report.grounds.get(&ground))?;
    }
    row("by chance", report.chance.as_ref())?;
    let peer = report.bullmq.iter().flat_map(|peer| &peer.failures);
    let failures = report.grounds.values().chain(&report.chance);
    for failure in failures.flat_map(|part| &part.failures).chain(peer) {
        writeln!(text, "\n- {}", failure.replace('\n', " "))?;
    }
    Ok(())
}

/// Every fault on every ground that has it.
fn faults(text: &mut String, report: &Report) -> std::fmt::Result {
    write!(
        text,
        "\n## Faults\n\n| fault | level | rounds |{TALLIED}\n|---|---|---|{TALLIED_LINE}\n"
    )?;
    let planned: BTreeMap<Ground, BTreeMap<String, usize>> =
        Ground::ALL.map(|ground| (ground, planned(ground))).into();
    let groups: BTreeSet<&String> = planned.values().flat_map(BTreeMap::keys).collect();
    for group in groups {
        for (ground, planned) in &planned {
            let Some(&of) = planned.get(group) else { continue };
            let tally = report.grounds.get(ground).and_then(|part| part.rows.get(group));
            match tally {
                Some(tally) if tally.rounds < of => writeln!(
                    text,
                    "| {group} | {ground} | {} of {of} |{}",
                    tally.rounds,
                    tallied(tally)
                )?,
                Some(tally) => writeln!(
                    text,
                    "| {group} | {ground} | {} |{}",
                    tally.rounds,
                    tallied(tally)
                )?,
                None => writeln!(text, "| {group} | {ground} | not run | | | | | | | |")?,
            }
        }
    }
    Ok(())
}

/// So many rounds of each kind.
fn planned(ground: Ground) -> BTreeMap<String, usize> {
    let mut planned = BTreeMap::new();
    for step in catalogue::all(ground) {
        *planned.entry(step.group()).or_default() += 1;
    }
    planned
}

fn by_chance(text: &mut String, chance: Option<&Part>) -> std::fmt::Result {
    *text += "\n## By chance\n\n";
    let Some(part) = chance else {
        return writeln!(text, "Not run.");
    };
    writeln!(
        text,
        "{} stories of three to six rounds with one or two faults each (seeds {}).\n\n| level | rounds |{TALLIED}\n|---|---|{TALLIED_LINE}",
        part.seeds.len(),
        span(&part.seeds)
    )?;
    for (ground, tally) in &part.rows {
        writeln!(text, "| {ground} | {} |{}", tally.rounds, tallied(tally))?;
    }
    Ok(())
}

fn bullmq(text: &mut String, report: &Report) -> std::fmt::Result {
    *text += BULLMQ;
    *text += "\n| fault | runs | acknowledged | lost | twice |\n|---|---|---|---|---|\n";
    for trial in Trial::ALL {
        let mut rows = report.bullmq.iter().flat_map(|peer| &peer.rows);
        match rows.find(|(of, ..)| *of == trial) {
            Some((_, runs, sum)) => writeln!(
                text,
                "| {} | {runs} | {} | {} | {} |",
                trial.name(),
                sum.acknowledged,
                sum.lost,
                sum.twice
            )?,
            None => writeln!(text, "| {} | not run | | | |", trial.name())?,
        }
    }
    Ok(())
}

fn minutes(took: Duration) -> u64 {
    took.as_secs().div_ceil(60)
}

fn span(seeds: &[u64]) -> String {
    match (seeds.first(), seeds.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    }
}

/// Processors and their kind, as Linux tells.
#[must_use]
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processors of an unknown kind", |(_, model)| model);
    format!("{cpus} cores ({model}), debug builds")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{page, planned};
    use crate::bullmq::{Comparison, Trial};
    use crate::report::{Part, Peer, Report, Tally};
    use crate::site::Ground;

    fn tally(rounds: usize) -> Tally {
        Tally {
            rounds,
            acknowledged: 100 * rounds,
            ..Tally::default()
        }
    }

    #[test]
    fn the_page_says_how_much_was_run_and_what_failed() {
        let fsync = Part {
            took: Duration::from_secs(541),
            machine: "2 cores".to_owned(),
            rows: [
                ("no fault".to_owned(), tally(1)),
                ("kill -9: sender".to_owned(), tally(2)),
            ]
            .into(),
            failures: vec!["FAILED: a\n  replay: b".to_owned()],
            ..Part::default()
        };
        let chance = Part {
            rows: [("local".to_owned(), tally(7))].into(),
            seeds: vec![7, 8],
            ..Part::default()
        };
        let sum = Comparison {
            acknowledged: 200,
            lost: 1,
            twice: 16,
        };
        let text = page(&Report {
            grounds: [(Ground::Fsync, fsync)].into(),
            chance: Some(chance),
            bullmq: Some(Peer {
                rows: vec![(Trial::NeverAnswers, 2, sum)],
                ..Peer::default()
            }),
        })
        .expect("a text");
        let kills = planned(Ground::Fsync)["kill -9: sender"];
        assert!(kills > 2, "{kills}");
        for told in [
            "| fsync | 3 | 300 | 0 | 0 | 1 | 10 | 2 cores |",
            "| local | not run |",
            "- FAILED: a   replay: b",
            "| no fault | fsync | 1 | 100 |",
            "| no fault | local | not run |",
            &format!("| kill -9: sender | fsync | 2 of {kills} | 200 |"),
            "2 stories of three to six rounds with one or two faults each (seeds 7 to 8)",
            "| local | 7 | 700 |",
            "| provider takes and never answers | 2 | 200 | 1 | 16 |",
            "| provider resets after the request | not run |",
        ] {
            assert!(text.contains(told), "{told}:\n{text}");
        }
    }
}
