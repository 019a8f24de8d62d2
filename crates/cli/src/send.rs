//! `paceline send`: one message from the command line, or one for each row of a file.

mod attached;
mod batch;
mod csv;
mod file;
mod jsonl;
mod members;
mod progress;
mod reader;
mod row;

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use paceline_domain::lane::Lane;
use paceline_wire::v1::{self, EnqueueRequest, EnqueueResponse, Mailbox, WatchRequest};

use crate::args::{FileOptions, Format, SendOptions, Target};
use crate::{client, status};
use row::Defaults;

/// The longest row of a file, in bytes: a message's data is at most 256 KiB.
const ROW_BYTES_MAX: usize = 1 << 20;

pub(crate) async fn run(target: &Target, mut options: SendOptions) -> anyhow::Result<()> {
    if let Some(file) = options.file.take() {
        ensure!(
            file.path.as_os_str() != "-" || options.data != "@-",
            "--file and --data can't both be standard input"
        );
        let mut request = request(&target.tenant, options)?;
        let data = std::mem::take(&mut request.data);
        let data = serde_json::from_slice(&data).context("--data is no JSON object")?;
        return file::run(target, &file, Defaults { request, data }).await;
    }
    let wait = options.wait;
    let request = request(&target.tenant, options)?;
    let answer = client::ingest(target)?.enqueue(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    println!("{}", summary(&answer));
    if wait {
        watch(target, answer.message_id).await
    } else {
        Ok(())
    }
}

impl Format {
    /// What the file's name ends with.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            _ => bail!("--file does not end with .jsonl or .csv; say --format"),
        }
    }
}

fn lane(lane: Option<Lane>) -> v1::Lane {
    match lane {
        None => v1::Lane::Unspecified,
        Some(Lane::Transactional) => v1::Lane::Transactional,
        Some(Lane::Bulk) => v1::Lane::Bulk,
    }
}

/// The request that the flags make; without its recipient and user where rows give them.
fn request(tenant: &str, options: SendOptions) -> anyhow::Result<EnqueueRequest> {
    let from = (!options.from.is_empty()).then(|| Mailbox {
        address: options.from,
        ..Mailbox::default()
    });
    Ok(EnqueueRequest {
        tenant: tenant.to_owned(),
        template: options.template.unwrap_or_default(),
        template_version: options.template_version,
        recipient: Some(Mailbox {
            address: options.to.unwrap_or_default(),
            display_name: options.to_name,
        }),
        user_id: options.user.unwrap_or_default(),
        data: data(&options.data)?.into(),
        idempotency_key: options.key,
        resubmit: options.resubmit,
        lane: lane(options.lane).into(),
        send_at: options.send_at.map(client::to_timestamp),
        expires_at: options.expires_at.map(client::to_timestamp),
        from,
        attachments: attached::read(&options.attachments)?,
        ..EnqueueRequest::default()
    })
}

fn data(text: &str) -> anyhow::Result<Vec<u8>> {
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .context("can't read standard input")?;
            Ok(bytes)
        }
        Some(path) => std::fs::read(path).with_context(|| format!("can't read {path}")),
    }
}

fn summary(answer: &EnqueueResponse) -> String {
    let state = answer
        .state()
        .as_str_name()
        .trim_start_matches("MESSAGE_STATE_")
        .to_lowercase();
    let how = match (answer.duplicate, answer.resubmitted) {
        (_, true) => "taken up again",
        (true, false) => "a duplicate",
        (false, false) => "accepted",
    };
    let reason = if answer.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", answer.reason)
    };
    let since = if answer.duplicate {
        format!(", first accepted {}", client::show_time(answer.accepted_at))
    } else {
        String::new()
    };
    format!("{} {how}: {state}{reason}{since}", answer.message_id)
}

/// Shows each transition until the message is at rest.
async fn watch(target: &Target, message_id: String) -> anyhow::Result<()> {
    let request = WatchRequest {
        tenant: target.tenant.clone(),
        message_id,
    };
    let stream = client::messages(target)?.watch(request).await;
    let mut stream = stream.map_err(|status| client::explain(&status))?.into_inner();
    while let Some(answer) = stream
        .message()
        .await
        .map_err(|status| client::explain(&status))?
    {
        let message = answer.message.unwrap_or_default();
        let reason = if message.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", message.reason)
        };
        println!(
            "  {}  {}{reason}",
            client::show_time(message.changed_at),
            status::state(&message)
        );
    }
    Ok(())
}
