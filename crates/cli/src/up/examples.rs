//! Three emails for a first look: one of each template that ships.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use paceline_kit::grpc;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{EnqueueRequest, Mailbox};

use crate::client;

const TENANT: &str = "demo";

/// Template, and to whom.
const EXAMPLES: [(&str, &str, &str); 3] = [
    ("welcome", "ada@example.com", "Ada Lovelace"),
    ("password-reset", "grace@example.com", "Grace Hopper"),
    ("order-receipt", "jose@example.com", "José Álvarez"),
];

/// Enqueues them. The ids are new at each start, so that each start shows three emails.
pub(super) async fn send(ingest: SocketAddr, templates: &Path) -> anyhow::Result<()> {
    let mut ingest = IngestServiceClient::new(grpc::channel(&format!("http://{ingest}"))?);
    let run = rand::random::<u32>();
    for (number, (template, address, display_name)) in EXAMPLES.into_iter().enumerate() {
        let request = EnqueueRequest {
            tenant: TENANT.to_owned(),
            template: template.to_owned(),
            recipient: Some(Mailbox {
                address: address.to_owned(),
                display_name: display_name.to_owned(),
            }),
            user_id: format!("example-{run:08x}-{number}"),
            data: first_example(&templates.join(template).join("examples"))?.into(),
            ..EnqueueRequest::default()
        };
        let answer = ingest
            .enqueue(client::within(request))
            .await
            .map_err(|status| client::explain(&status))?;
        println!(
            "  sent      {template} to {address}: {}",
            answer.into_inner().message_id
        );
    }
    Ok(())
}

/// The example that comes first by name.
fn first_example(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("no examples at {}", folder.display()))?;
    let first = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let first = first
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .min();
    let path = first.with_context(|| format!("{} is empty", folder.display()))?;
    std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))
}
