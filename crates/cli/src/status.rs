//! `paceline status ID`.

use paceline_wire::v1::{GetRequest, Message};

use crate::args::{MessageOptions, Target};
use crate::client;

pub(crate) async fn run(target: &Target, options: &MessageOptions) -> anyhow::Result<()> {
    let request = GetRequest {
        tenant: target.tenant.clone(),
        message_id: options.id.clone(),
    };
    let answer = client::messages(target)?.get(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    print(&answer.message.unwrap_or_default());
    Ok(())
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
    message
        .state()
        .as_str_name()
        .trim_start_matches("MESSAGE_STATE_")
        .to_lowercase()
}

/// The lane in lower case.
pub(crate) fn lane(lane: i32) -> String {
    let lane = paceline_wire::v1::Lane::try_from(lane).unwrap_or_default();
    lane.as_str_name().trim_start_matches("LANE_").to_lowercase()
}
