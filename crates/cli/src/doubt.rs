//! `paceline doubt`: whose outcome is unknown, and settling it by hand.

use paceline_kit::client::Connection;
use paceline_wire::v1::doubt_service_client::DoubtServiceClient;
use paceline_wire::v1::{Doubt, DoubtVerdict, ListDoubtsRequest, MessageFilter, SettleDoubtsRequest};

use crate::args::{DoubtCommand, DoubtOptions, Target};
use crate::{act, client};

/// Doubts of one call.
const PAGE: u32 = 1_000;

pub(crate) async fn run(target: &Target, options: DoubtOptions) -> anyhow::Result<()> {
    let mut client = DoubtServiceClient::new(client::connect(target)?);
    let Some(DoubtCommand::Settle { act, sent, .. }) = options.command else {
        return list(client, act::filter(target, options.filter)).await;
    };
    let (verdict, done) = if sent {
        (DoubtVerdict::Sent, "settled as sent")
    } else {
        (DoubtVerdict::NotSent, "settled as not sent")
    };
    act::perform(target, act, ("doubts", done), async |act| {
        let request = SettleDoubtsRequest {
            act: Some(act),
            verdict: verdict.into(),
        };
        let answer = client.settle_doubts(client::within(request)).await;
        let answer = answer.map_err(|status| client::explain(&status))?;
        Ok(answer.into_inner().done.unwrap_or_default())
    })
    .await
}

async fn list(mut client: DoubtServiceClient<Connection>, filter: MessageFilter) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = ListDoubtsRequest {
            filter: Some(filter.clone()),
            page_size: PAGE,
            page_token,
        };
        let answer = client.list_doubts(client::within(request)).await;
        let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
        answer.doubts.iter().for_each(print);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn print(doubt: &Doubt) {
    let message = doubt.message.clone().unwrap_or_default();
    let then = if doubt.then == "resend" {
        "is sent once more"
    } else {
        "goes to the dead letters"
    };
    println!(
        "{}  since {}  {}  {}  {}  attempt {}; awaits an event of {} until {}, then {then}",
        message.message_id,
        client::show_time(message.changed_at),
        message.reason,
        message.tenant,
        message.template,
        message.attempt,
        message.provider,
        client::show_time(doubt.awaited_until),
    );
}
