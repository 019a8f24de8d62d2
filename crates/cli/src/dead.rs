//! `paceline dead`: what was refused for good, or given up.

use paceline_kit::client::Connection;
use paceline_wire::v1::dead_letters_service_client::DeadLettersServiceClient;
use paceline_wire::v1::{
    DiscardDeadLettersRequest, ListDeadLettersRequest, Mailbox, Message, MessageFilter,
    RedriveDeadLettersRequest, ShowDeadLetterRequest,
};

use crate::args::{DeadCommand, Target, TemplateVersion};
use crate::{act, client, status};

/// Letters of one call.
const PAGE: u32 = 1_000;

type Client = DeadLettersServiceClient<Connection>;

pub(crate) async fn run(target: &Target, command: DeadCommand) -> anyhow::Result<()> {
    let mut client = DeadLettersServiceClient::new(client::connect(target)?);
    match command {
        DeadCommand::List { filter } => list(client, act::filter(target, filter)).await,
        DeadCommand::Show { id } => show(client, target, id).await,
        DeadCommand::Redrive {
            act,
            template_version,
        } => {
            let latest_template = template_version == TemplateVersion::Latest;
            act::perform(target, act, ("dead letters", "redriven"), async |act| {
                let request = RedriveDeadLettersRequest {
                    act: Some(act),
                    latest_template,
                };
                let answer = client.redrive_dead_letters(client::within(request)).await;
                let answer = answer.map_err(|status| client::explain(&status))?;
                Ok(answer.into_inner().done.unwrap_or_default())
            })
            .await
        }
        DeadCommand::Discard { act } => {
            act::perform(target, act, ("dead letters", "discarded"), async |act| {
                let request = DiscardDeadLettersRequest { act: Some(act) };
                let answer = client.discard_dead_letters(client::within(request)).await;
                let answer = answer.map_err(|status| client::explain(&status))?;
                Ok(answer.into_inner().done.unwrap_or_default())
            })
            .await
        }
    }
}

async fn list(mut client: Client, filter: MessageFilter) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = ListDeadLettersRequest {
            filter: Some(filter.clone()),
            page_size: PAGE,
            page_token,
        };
        let answer = client.list_dead_letters(client::within(request)).await;
        let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
        answer.messages.iter().for_each(print);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn print(message: &Message) {
    let maybe_sent = if message.maybe_sent { "  maybe sent" } else { "" };
    println!(
        "{}  {}  {}  {}  {}{maybe_sent}",
        message.message_id,
        client::show_time(message.changed_at),
        message.reason,
        message.tenant,
        message.template,
    );
}

async fn show(mut client: Client, target: &Target, id: String) -> anyhow::Result<()> {
    let request = ShowDeadLetterRequest {
        tenant: target.tenant.clone(),
        message_id: id,
    };
    let answer = client.show_dead_letter(client::within(request)).await;
    let letter = answer.map_err(|status| client::explain(&status))?.into_inner();
    status::print(&letter.message.unwrap_or_default());
    let tags: Vec<String> = letter
        .tags
        .iter()
        .map(|tag| format!("{}={}", tag.name, tag.value))
        .collect();
    let headers: Vec<&str> = letter.headers.iter().map(|header| header.name.as_str()).collect();
    let lines = [
        ("recipient", mailbox(letter.recipient)),
        ("user", letter.user_id),
        ("from", mailbox(letter.from)),
        ("reply to", mailbox(letter.reply_to)),
        ("headers", headers.join(", ")),
        ("tags", tags.join(", ")),
        ("attachments", letter.attachments.join(", ")),
        ("bundle", letter.bundle_hash),
        ("data", String::from_utf8_lossy(&letter.data).into_owned()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        println!("{name:<14} {value}");
    }
    Ok(())
}

fn mailbox(mailbox: Option<Mailbox>) -> String {
    let mailbox = mailbox.unwrap_or_default();
    if mailbox.display_name.is_empty() {
        mailbox.address
    } else {
        format!("{} <{}>", mailbox.display_name, mailbox.address)
    }
}
