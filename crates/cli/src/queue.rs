//! `paceline queue`: how much waits, where.

use std::time::SystemTime;

use paceline_wire::v1::{QueueDepth, QueueRequest};

use crate::args::Target;
use crate::{client, status};

pub(crate) async fn run(target: &Target) -> anyhow::Result<()> {
    let answer = client::messages(target)?
        .queue(client::within(QueueRequest {}))
        .await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    println!(
        "{:<8} {:<14} {:<20} {:<20} {:>9} {:>9} {:>11} {:>12}",
        "stage", "lane", "identity", "tenant", "backlog", "pending", "undelivered", "oldest"
    );
    for depth in &answer.depths {
        println!(
            "{:<8} {:<14} {:<20} {:<20} {:>9} {:>9} {:>11} {:>12}",
            depth.stage,
            status::lane(depth.lane),
            depth.identity,
            depth.tenant,
            depth.backlog,
            depth.pending,
            depth.undelivered,
            age(depth)
        );
    }
    println!(
        "\nscheduled or deferred {}   sending {}   in doubt {}   dead {}",
        answer.scheduled_or_deferred, answer.sending, answer.in_doubt, answer.dead
    );
    Ok(())
}

/// How long the oldest entry has waited, to the second.
fn age(depth: &QueueDepth) -> String {
    let oldest = depth.oldest_at.and_then(|time| SystemTime::try_from(time).ok());
    let Some(Ok(age)) = oldest.map(|oldest| oldest.elapsed()) else {
        return "-".to_owned();
    };
    humantime::format_duration(std::time::Duration::from_secs(age.as_secs())).to_string()
}
