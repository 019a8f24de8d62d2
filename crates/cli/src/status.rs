//! `paceline status ID`: where a message is by what ingest says, and how it came there by what the ledger says.
//!
//! Either may be away: then the other one tells what it knows, and it is said that something is missing.

mod json;
mod span;
mod story;

use std::time::{Duration, SystemTime};

use anyhow::bail;
use paceline_wire::v1::{GetRequest, LedgerMessage, Message, TimelineRequest, TimelineResponse};
use tonic::Code;

use crate::args::{StatusOptions, Target};
use crate::{client, ledger};

/// An answer, or why there is none.
type Asked<T> = Result<T, String>;

pub(crate) async fn run(target: &Target, options: &StatusOptions) -> anyhow::Result<()> {
    let (message, timeline) = tokio::join!(present(target, options), history(target, options));
    if let (Err(of_ingest), Err(of_ledger)) = (&message, &timeline) {
        bail!("{of_ingest}\n{of_ledger}");
    }
    if options.json {
        println!("{}", json::of(&message, &timeline));
        return Ok(());
    }
    match (&message, &timeline) {
        (Ok(message), _) => print(message),
        (Err(problem), Ok(timeline)) => {
            println!("{problem}; the ledger says:");
            print_row(timeline.message.as_ref());
        }
        (Err(_), Err(_)) => {}
    }
    match &timeline {
        Ok(timeline) => print!("{}", draw(timeline)),
        Err(problem) => println!("\nno history: {problem}"),
    }
    Ok(())
}

/// Where it stands.
async fn present(target: &Target, options: &StatusOptions) -> Asked<Message> {
    let request = GetRequest {
        tenant: target.tenant.clone(),
        message_id: options.id.clone(),
    };
    let mut messages = client::messages(target).map_err(|error| format!("{error:#}"))?;
    match messages.get(client::within(request)).await {
        Ok(answer) => Ok(answer.into_inner().message.unwrap_or_default()),
        Err(status) if status.code() == Code::NotFound => {
            Err("ingest has no such message of this tenant within its dedupe window".to_owned())
        }
        Err(status) => Err(format!("ingest: {:#}", client::explain(&status))),
    }
}

/// How it came there.
async fn history(target: &Target, options: &StatusOptions) -> Asked<TimelineResponse> {
    let request = TimelineRequest {
        tenant: target.tenant.clone(),
        message_id: options.id.clone(),
    };
    let mut ledger = ledger::connect(target, &options.asked).map_err(|error| format!("{error:#}"))?;
    match ledger.timeline(client::within(request)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::NotFound => {
            Err("the ledger has no such message of this tenant, or not yet".to_owned())
        }
        Err(status) => Err(format!("feedback: {:#}", client::explain(&status))),
    }
}

/// The sentence, then a line for each step.
fn draw(timeline: &TimelineResponse) -> String {
    let mut text = format!("\n{}\n\n", story::sentence(timeline));
    if !timeline.delivery.is_empty() {
        text = format!("{:<14} {}\n{text}", "delivery", timeline.delivery);
    }
    for step in story::steps(timeline) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(step.at);
        let at = humantime::format_rfc3339_millis(at);
        let line = format!("{at}  {:<34}  {}", step.what, step.took);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn print_row(row: Option<&LedgerMessage>) {
    let Some(row) = row else { return };
    for (name, value) in [
        ("id", row.message_id.clone()),
        ("state", ledger::state(row)),
        ("tenant", row.tenant.clone()),
        ("template", row.template.clone()),
        ("lane", lane(row.lane)),
        ("accepted at", client::show_time(row.accepted_at)),
        ("changed at", client::show_time(row.changed_at)),
    ] {
        println!("{name:<14} {value}");
    }
}

/// One field a line, those without a value left out.
pub(crate) fn print(message: &Message) {
    let reason = if message.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", message.reason)
    };
    let lines = [
        ("id", message.message_id.clone()),
        ("state", format!("{}{reason}", state(message))),
        ("tenant", message.tenant.clone()),
        ("template", message.template.clone()),
        ("lane", lane(message.lane)),
        ("identity", message.identity.clone()),
        ("accepted at", client::show_time(message.accepted_at)),
        ("changed at", client::show_time(message.changed_at)),
        ("send at", client::show_time(message.send_at)),
        ("expires at", client::show_time(message.expires_at)),
        ("due at", client::show_time(message.due_at)),
        (
            "attempts",
            format!("{} ({} failed)", message.attempt, message.tries),
        ),
        (
            "maybe sent",
            if message.maybe_sent { "yes" } else { "no" }.to_owned(),
        ),
        ("provider", message.provider.clone()),
        ("provider's id", message.provider_message_id.clone()),
    ];
    for (name, value) in lines
        .iter()
        .filter(|(_, value)| !value.is_empty() && value != "-")
    {
        println!("{name:<14} {value}");
    }
}

/// The state in lower case: `in_doubt`.
pub(crate) fn state(message: &Message) -> String {
    state_name(message.state)
}

/// The same of its number.
pub(crate) fn state_name(number: i32) -> String {
    let state = paceline_wire::v1::MessageState::try_from(number).unwrap_or_default();
    state
        .as_str_name()
        .trim_start_matches("MESSAGE_STATE_")
        .to_lowercase()
}

/// The lane in lower case.
pub(crate) fn lane(lane: i32) -> String {
    let lane = paceline_wire::v1::Lane::try_from(lane).unwrap_or_default();
    lane.as_str_name().trim_start_matches("LANE_").to_lowercase()
}
