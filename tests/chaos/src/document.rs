//! docs/reliability.md: what was seen, and of how much.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bullmq::{Comparison, Trial};
use crate::report::Figures;

/// All that the page tells.
#[derive(Debug)]
pub struct Page<'a> {
    pub figures: &'a Figures,
    pub seeds: &'a [u64],
    pub took: Duration,
    pub failures: &'a [String],
    pub bullmq: &'a [(Trial, usize, Comparison)],
}

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
- **longest recovery**: from the fault's end until everything is at rest, in doubt, or claimed by a sender that is gone.

At `fsync` and `replicated` any row with a loss, a double, a message without a state of rest, a place that names a wrong one or a ledger that differs
fails the run. At `local` Redis may
forget what it has answered when it is killed, loses its power or fails over; what can come of it stands in ARCHITECTURE.md (Known limits), and the rows
below measure it.
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
pub fn page(page: &Page<'_>) -> Result<String, std::fmt::Error> {
    let mut text = HEAD.to_owned();
    let rounds: usize = page.figures.0.values().map(|tally| tally.rounds).sum();
    let acknowledged: usize = page.figures.0.values().map(|tally| tally.acknowledged).sum();
    writeln!(
        text,
        "\n{rounds} rounds with {acknowledged} acknowledged messages, of them {} stories by chance (seeds {}), in {} minutes on {}. {} failed.",
        page.seeds.len(),
        span(page.seeds),
        page.took.as_secs() / 60,
        machine(),
        page.failures.len()
    )?;
    for failure in page.failures {
        writeln!(text, "\n- {}", failure.replace('\n', " "))?;
    }
    writeln!(text, "\n## Faults\n\n{}", page.figures.table().trim_end())?;
    text += BULLMQ;
    text += "\n| fault | runs | acknowledged | lost | twice |\n|---|---|---|---|---|\n";
    for (trial, runs, sum) in page.bullmq {
        writeln!(
            text,
            "| {} | {runs} | {} | {} | {} |",
            trial.name(),
            sum.acknowledged,
            sum.lost,
            sum.twice
        )?;
    }
    Ok(text)
}

fn span(seeds: &[u64]) -> String {
    match (seeds.first(), seeds.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    }
}

/// Processors and their kind, as Linux tells.
fn machine() -> String {
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

    use super::{Page, page};
    use crate::bullmq::{Comparison, Trial};
    use crate::report::Figures;

    #[test]
    fn the_page_says_how_much_was_run_and_what_failed() {
        let sum = Comparison {
            acknowledged: 200,
            lost: 1,
            twice: 16,
        };
        let text = page(&Page {
            figures: &Figures::default(),
            seeds: &[7, 8],
            took: Duration::from_secs(600),
            failures: &["FAILED: a\n  replay: b".to_owned()],
            bullmq: &[(Trial::NeverAnswers, 2, sum)],
        })
        .expect("a text");
        for told in [
            "2 stories by chance (seeds 7 to 8), in 10 minutes",
            "1 failed",
            "- FAILED: a   replay: b",
            "| provider takes and never answers | 2 | 200 | 1 | 16 |",
        ] {
            assert!(text.contains(told), "{told}:\n{text}");
        }
    }
}
