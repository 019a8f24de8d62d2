//! `paceline suppression`: who is not written to any more.

mod columns;
mod import;
mod lines;

use std::io::Write as _;

use anyhow::Context as _;
use paceline_domain::suppression::SuppressionReason;
use paceline_kit::client::Connection;
use paceline_wire::v1;
use paceline_wire::v1::suppression_service_client::SuppressionServiceClient;
use tonic::Status;

use crate::args::{
    AddOptions, CheckOptions, ExportOptions, ListOptions, RemoveOptions, SuppressionCommand,
    SuppressionOptions, Target,
};
use crate::client;

type Client = SuppressionServiceClient<Connection>;

/// Suppressions of one call.
const PAGE: u32 = 1_000;

pub(crate) async fn run(target: &Target, options: SuppressionOptions) -> anyhow::Result<()> {
    let connection = client::connect_to(target, &options.asked.feedback, "--feedback")?;
    let client = SuppressionServiceClient::new(connection);
    let tenant = target.tenant.clone();
    match options.command {
        SuppressionCommand::List(options) => list(client, tenant, options).await,
        SuppressionCommand::Add(options) => add(client, tenant, options).await,
        SuppressionCommand::Remove(options) => remove(client, tenant, options).await,
        SuppressionCommand::Check(options) => check(client, tenant, options).await,
        SuppressionCommand::Import(options) => import::run(client, tenant, options).await,
        SuppressionCommand::Export(options) => export(client, tenant, options).await,
    }
}

async fn list(mut client: Client, tenant: String, options: ListOptions) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = v1::ListSuppressionsRequest {
            tenant: tenant.clone(),
            category: options.category.clone(),
            reason: optional(options.reason),
            with_removed: options.removed,
            addresses: options.addresses,
            page_size: PAGE,
            page_token,
        };
        let answer = client.list_suppressions(client::within(request)).await;
        let answer = answer.map_err(explain)?.into_inner();
        answer.suppressions.iter().for_each(print);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn add(mut client: Client, tenant: String, options: AddOptions) -> anyhow::Result<()> {
    let suppression = |address| v1::NewSuppression {
        address,
        reason: number(options.reason).into(),
        category: options.category.clone(),
        at: None,
    };
    let request = v1::AddSuppressionsRequest {
        tenant,
        suppressions: options.addresses.into_iter().map(suppression).collect(),
        who: options.said.who,
        why: options.said.why,
    };
    let answer = client.add_suppressions(client::within(request)).await;
    let counts = answer.map_err(explain)?.into_inner().counts.unwrap_or_default();
    println!("{} suppressed, {} were so already", counts.added, counts.already);
    Ok(())
}

async fn remove(mut client: Client, tenant: String, options: RemoveOptions) -> anyhow::Result<()> {
    let request = v1::RemoveSuppressionRequest {
        tenant,
        address: options.address,
        category: options.category,
        every_category: options.every_category,
        reason: optional(options.reason),
        who: options.said.who,
        why: options.said.why,
    };
    let answer = client.remove_suppression(client::within(request)).await;
    let removed = answer.map_err(explain)?.into_inner().removed;
    if removed.is_empty() {
        println!("nothing to remove; `check` shows what there is of every category");
    }
    for suppression in &removed {
        println!("removed: {}", describe(suppression));
    }
    Ok(())
}

async fn check(mut client: Client, tenant: String, options: CheckOptions) -> anyhow::Result<()> {
    let request = v1::CheckSuppressionRequest {
        tenant,
        address: options.address,
        category: options.category,
    };
    let answer = client.check_suppression(client::within(request)).await;
    let answer = answer.map_err(explain)?.into_inner();
    for (lane, reason) in [("transactional", &answer.transactional), ("bulk", &answer.bulk)] {
        match reason.as_str() {
            "" => println!("{lane} mail goes"),
            reason => println!("{lane} mail is stopped: {reason}"),
        }
    }
    if !answer.complete {
        println!("redis is being told of all suppressions; until then senders wait");
    }
    for suppression in &answer.suppressions {
        println!("  {}", describe(suppression));
    }
    Ok(())
}

async fn export(mut client: Client, tenant: String, options: ExportOptions) -> anyhow::Result<()> {
    let request = v1::ExportSuppressionsRequest {
        tenant,
        addresses: options.addresses,
    };
    // Without our deadline: it takes as long as the list is.
    let answers = client.export_suppressions(request).await;
    let mut answers = answers.map_err(explain)?.into_inner();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let failed = "can't write to standard output";
    writeln!(out, "address_hash,address,reason,category,at,source").context(failed)?;
    while let Some(answer) = answers.message().await.map_err(explain)? {
        for suppression in &answer.suppressions {
            writeln!(
                out,
                "{},{},{},{},{},{}",
                suppression.address_hash,
                suppression.address,
                reason(suppression),
                suppression.category,
                client::show_time(suppression.at),
                suppression.source
            )
            .context(failed)?;
        }
    }
    out.flush().context(failed)
}

fn print(suppression: &v1::Suppression) {
    let who = match suppression.address.as_str() {
        "" => &suppression.address_hash,
        address => address,
    };
    println!("{who}  {}", describe(suppression));
}

/// For what, since when, and by whom; and how it ended.
fn describe(suppression: &v1::Suppression) -> String {
    let category = match suppression.category.as_str() {
        "" => String::new(),
        category => format!(" from {category}"),
    };
    let mut text = format!(
        "{}{category}  since {}  by {} ({})",
        reason(suppression),
        client::show_time(suppression.at),
        suppression.source,
        suppression.who
    );
    if !suppression.why.is_empty() {
        text.push_str(&format!(": {}", suppression.why));
    }
    if suppression.removed_at.is_some() {
        text.push_str(&format!(
            "; removed {} by {}: {}",
            client::show_time(suppression.removed_at),
            suppression.removed_by,
            suppression.removed_why
        ));
    }
    text
}

const fn number(reason: SuppressionReason) -> v1::SuppressionReason {
    match reason {
        SuppressionReason::HardBounce => v1::SuppressionReason::HardBounce,
        SuppressionReason::Complaint => v1::SuppressionReason::Complaint,
        SuppressionReason::Unsubscribe => v1::SuppressionReason::Unsubscribe,
        SuppressionReason::Manual => v1::SuppressionReason::Manual,
    }
}

fn optional(reason: Option<SuppressionReason>) -> i32 {
    reason.map_or(v1::SuppressionReason::Unspecified, number).into()
}

/// The name of a reason, as files have it.
fn reason(suppression: &v1::Suppression) -> &'static str {
    let all = SuppressionReason::ALL.into_iter();
    all.map(|reason| (number(reason), reason.as_str()))
        .find(|(number, _)| *number == suppression.reason())
        .map_or("unknown", |(_, name)| name)
}

fn explain(status: Status) -> anyhow::Error {
    client::explain(&status)
}
