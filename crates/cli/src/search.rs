//! `paceline search`: messages by whose they are, template, state and time.

use paceline_wire::v1::{LedgerMessage, MessageState, SearchRequest};
use serde_json::{Value, json};

use crate::args::{SearchOptions, Target};
use crate::{client, ledger, status};

/// Messages of one call.
const PAGE: u32 = 1_000;

pub(crate) async fn run(target: &Target, options: SearchOptions) -> anyhow::Result<()> {
    let mut client = ledger::connect(target, &options.asked)?;
    let state = options.state.map(MessageState::from).unwrap_or_default();
    let mut request = SearchRequest {
        tenant: target.tenant.clone(),
        recipient: options.recipient,
        user_id: options.user,
        template: options.template,
        state: state.into(),
        since: options.since.map(client::to_timestamp),
        until: options.until.map(client::to_timestamp),
        ..SearchRequest::default()
    };
    let mut left = options.limit;
    while left > 0 {
        request.page_size = left.min(PAGE);
        let answer = client.search(client::within(request.clone())).await;
        let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
        for message in &answer.messages {
            if options.json {
                println!("{}", to_json(message));
            } else {
                print(message);
            }
        }
        left -= u32::try_from(answer.messages.len()).unwrap_or(left).min(left);
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
    eprintln!("there may be more: --limit takes more than {}", options.limit);
    Ok(())
}

fn print(message: &LedgerMessage) {
    println!(
        "{}  {}  {}  {}  {}",
        message.message_id,
        client::show_time(message.accepted_at),
        message.template,
        status::lane(message.lane),
        ledger::state(message),
    );
}

/// What the ledger knows of an acceptance; what is absent is null.
pub(crate) fn to_json(message: &LedgerMessage) -> Value {
    let time = |at: Option<prost_types::Timestamp>| at.map(|at| client::show_time(Some(at)));
    json!({
        "message_id": message.message_id,
        "accepted_at": time(message.accepted_at),
        "tenant": message.tenant,
        "template": message.template,
        "lane": status::lane(message.lane),
        "identity": message.identity,
        "state": status::state_name(message.state),
        "reason": message.reason,
        "revision": message.revision,
        "changed_at": time(message.changed_at),
        "send_at": time(message.send_at),
        "expires_at": time(message.expires_at),
        "tags": message.tags.iter().map(|tag| (tag.name.clone(), tag.value.clone().into())).collect::<serde_json::Map<_, _>>(),
        "erased_at": time(message.erased_at),
    })
}
