//! `paceline doubt` over mail of which nobody knows whether the provider took it: what it lists, and what it settles by filter and by id.

use anyhow::ensure;
use paceline_local::LookalikeOptions;
use paceline_local::ses::fault::{Action, Failure, Fault};
use paceline_testkit::eventually;
use paceline_wire::v1::MessageState;

use crate::stack::{PATIENCE, Stack, welcome};
use crate::stops::{arrive, arrived, enqueue, reset, run, says};

const WELCOMES: usize = 3;
const RESETS: usize = 2;
/// What the command says of every doubt.
const MAYBE: &str = "of them may have been sent before";

/// Mail in doubt: the provider has none of the template `welcome` and all of `password-reset`.
struct Doubts {
    stack: Stack,
    welcomes: Vec<String>,
    resets: Vec<String>,
}

impl Doubts {
    async fn start() -> anyhow::Result<Self> {
        let stack = Stack::start(1, LookalikeOptions::default()).await?;
        let not_taken = Action::Refuse(Failure::new(500, None, "out of order"));
        for (recipient, action) in [("user", not_taken), ("reset", Action::AcceptThenReset)] {
            stack.lookalike.add_fault(Fault {
                recipient: Some(recipient.to_owned()),
                ..Fault::always(action)
            });
        }
        let welcomes = enqueue(&stack, (0..WELCOMES).map(welcome).collect()).await?;
        let resets = enqueue(&stack, (0..RESETS).map(reset).collect()).await?;
        for id in welcomes.iter().chain(&resets) {
            is(&stack, id, MessageState::InDoubt).await;
        }
        stack.lookalike.clear_faults();
        Ok(Self {
            stack,
            welcomes,
            resets,
        })
    }

    /// The lines of `paceline doubt`, by the ids that they begin with.
    async fn listed(&self, filter: &[&str]) -> anyhow::Result<Vec<String>> {
        let said = says(&self.stack, &[&["doubt"], filter].concat()).await?;
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    async fn settle(&self, line: &[&str]) -> anyhow::Result<String> {
        says(
            &self.stack,
            &[&["doubt", "settle", "--who", "ann"], line].concat(),
        )
        .await
    }
}

async fn is(stack: &Stack, id: &str, expected: MessageState) {
    eventually("the message gets there", PATIENCE, async || {
        let message = stack.message(id).await.map_err(|error| format!("{error:#}"))?;
        if message.state() == expected {
            Ok(())
        } else {
            Err(format!("{:?} {}", message.state(), message.reason))
        }
    })
    .await;
}

/// Each line is of one of the ids, and each id has one.
fn check_ids(lines: &[String], ids: &[String]) -> anyhow::Result<()> {
    let mut ids = ids.to_vec();
    ids.sort();
    let found: Vec<_> = lines
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    ensure!(found == ids, "{lines:?} are not of {ids:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_listed_with_their_cause_and_what_is_awaited() -> anyhow::Result<()> {
    let doubts = Doubts::start().await?;
    let all = doubts.listed(&[]).await?;
    check_ids(&all, &[&doubts.welcomes[..], &doubts.resets].concat())?;
    for line in &all {
        let cause = if doubts.resets.iter().any(|id| line.starts_with(id)) {
            "connection_lost  demo  password-reset"
        } else {
            "answer_unclear  demo  welcome"
        };
        let awaited = format!("  {cause}  attempt 1; awaits an event of ses until ");
        ensure!(
            line.contains("  since ")
                && line.contains(&awaited)
                && line.ends_with(", then goes to the dead letters"),
            "{line}"
        );
    }
    for filter in [["--template", "password-reset"], ["--reason", "connection_lost"]] {
        check_ids(&doubts.listed(&filter).await?, &doubts.resets)?;
    }
    let both = ["--template", "welcome", "--reason", "connection_lost"];
    check_ids(&doubts.listed(&both).await?, &[])?;
    let of_other = says(&doubts.stack, &["--tenant", "other", "doubt"]).await?;
    ensure!(of_other.is_empty(), "{of_other}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_settled_by_filter_and_by_id_and_a_dry_run_changes_nothing() -> anyhow::Result<()> {
    let doubts = Doubts::start().await?;
    let before = doubts.listed(&[]).await?;
    let not_sent = ["--template", "welcome", "--not-sent"];
    let would = doubts.settle(&[&not_sent[..], &["--dry-run"]].concat()).await?;
    ensure!(
        would == format!("3 doubts would be settled as not sent, 3 {MAYBE}\n"),
        "{would}"
    );
    let unsaid = run(&doubts.stack, &[&["doubt", "settle"], &not_sent[..]].concat()).await?;
    ensure!(
        unsaid.status.code() == Some(2),
        "nothing is settled without --why: {unsaid:?}"
    );
    ensure!(doubts.listed(&[]).await? == before, "the doubts are others");

    let done = doubts
        .settle(&[&not_sent[..], &["--why", "the provider has none of it"]].concat())
        .await?;
    ensure!(
        done == format!("3 of 3 doubts settled as not sent, 3 {MAYBE}\n"),
        "{done}"
    );
    arrive(&doubts.stack, &doubts.welcomes).await;
    check_ids(&doubts.listed(&[]).await?, &doubts.resets)?;

    let sent = ["--sent", "--why", "the provider has it"];
    let [first, second] = &doubts.resets[..] else {
        anyhow::bail!("{:?}", doubts.resets)
    };
    let by_id = [&[first.as_str()], &sent[..]].concat();
    let done = doubts.settle(&by_id).await?;
    ensure!(
        done == format!("1 of 1 doubts settled as sent, 1 {MAYBE}\n"),
        "{done}"
    );
    let again = run(&doubts.stack, &[&["doubt", "settle"], &by_id[..]].concat()).await?;
    let said = String::from_utf8_lossy(&again.stderr);
    ensure!(
        again.status.code() == Some(1) && said.contains(&format!("{first} is none of the doubts")),
        "{again:?}"
    );
    check_ids(&doubts.listed(&[]).await?, std::slice::from_ref(second))?;
    let done = doubts.settle(&[&["--all"], &sent[..]].concat()).await?;
    ensure!(
        done == format!("1 of 1 doubts settled as sent, 1 {MAYBE}\n"),
        "{done}"
    );
    check_ids(&doubts.listed(&[]).await?, &[])?;

    for id in doubts.welcomes.iter().chain(&doubts.resets) {
        is(&doubts.stack, id, MessageState::Accepted).await;
    }
    // What was said is true of this provider, so that nobody has it twice.
    let arrived = arrived(&doubts.stack)?;
    ensure!(
        arrived.len() == WELCOMES + RESETS && arrived.values().all(|(count, _)| *count == 1),
        "{arrived:?}"
    );
    Ok(())
}
