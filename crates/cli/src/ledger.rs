//! Calls to the feedback service, which answers from the ledger.

use paceline_kit::client::Connection;
use paceline_wire::v1::ledger_service_client::LedgerServiceClient;
use paceline_wire::v1::stats_service_client::StatsServiceClient;
use paceline_wire::v1::{LedgerMessage, RetainRequest, SumCount};

use crate::args::{AskedFeedback, LedgerCommand, Target};
use crate::client;

pub(crate) type Ledger = LedgerServiceClient<Connection>;

pub(crate) fn connect(target: &Target, asked: &AskedFeedback) -> anyhow::Result<Ledger> {
    Ok(LedgerServiceClient::new(connection(target, asked)?))
}

pub(crate) fn stats(
    target: &Target,
    asked: &AskedFeedback,
) -> anyhow::Result<StatsServiceClient<Connection>> {
    Ok(StatsServiceClient::new(connection(target, asked)?))
}

fn connection(target: &Target, asked: &AskedFeedback) -> anyhow::Result<Connection> {
    client::connect_to(target, &asked.feedback, "--feedback")
}

/// The state in lower case, and its reason: `dead (message_refused)`. Empty before anything was copied.
pub(crate) fn state(message: &LedgerMessage) -> String {
    let state = message.state();
    let name = state
        .as_str_name()
        .trim_start_matches("MESSAGE_STATE_")
        .to_lowercase();
    match (message.state, message.reason.as_str()) {
        (0, _) => "unknown".to_owned(),
        (_, "") => name,
        (_, reason) => format!("{name} ({reason})"),
    }
}

/// Distinct messages of a sum.
pub(crate) fn messages(count: Option<SumCount>) -> u64 {
    count.map_or(0, |count| count.messages)
}

/// `paceline ledger ...`.
pub(crate) async fn run(target: &Target, command: LedgerCommand) -> anyhow::Result<()> {
    let LedgerCommand::Retention { asked, keep, dry_run } = command;
    let request = RetainRequest {
        keep_days: keep,
        dry_run,
    };
    let answer = connect(target, &asked)?.retain(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    let (go, gone) = if dry_run {
        ("would go", "would go")
    } else {
        ("gone", "are gone")
    };
    for part in &answer.partitions {
        println!("{part}  {go}");
    }
    println!(
        "{} partitions and {} single rows {gone}",
        answer.partitions.len(),
        answer.rows
    );
    Ok(())
}
