//! One click in a mailbox ends the mail of its category to that address and no other: the header is taken from the mail as the
//! provider got it, and used by a program that knows nothing of Paceline.

use std::path::Path;

use anyhow::{Context as _, ensure};
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_testkit::{ServiceProcess, TestRedis, eventually};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::{EnqueueRequest, GetRequest, Mailbox, Message, MessageState};
use tokio::process::Command;
use tonic::transport::Channel;

use crate::binaries::binary;
use crate::stack::{IDENTITY, PATIENCE, TENANT};

const LISTEN: &str = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
const ADDRESS_KEY: &str = "address_key = \"0123456789abcdef0123456789abcdef\"\n";

/// What a mailbox provider does once its button was pressed (RFC 8058, 3.2): no cookies, no redirects.
const MAILBOX: &str = r#"
import re, sys, urllib.request
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
link, post = sys.argv[1:]
assert post == "List-Unsubscribe=One-Click", post
(url,) = re.findall(r"<(https?://[^>]+)>", link)
answer = urllib.request.build_opener(Stay).open(urllib.request.Request(url, data=post.encode(), method="POST"))
assert answer.status == 200 and "Set-Cookie" not in answer.headers, answer.headers
"#;

fn template(folder: &Path, name: &str, manifest: &str) -> anyhow::Result<()> {
    let folder = folder.join(name);
    std::fs::create_dir_all(folder.join("examples"))?;
    let manifest =
        format!("name = \"{name}\"\nversion = 1\n{manifest}\nfrom = {{ address = \"a@example.com\" }}\n");
    for (path, text) in [
        ("template.toml", manifest.as_str()),
        ("subject.hbs", "Number {{number}}"),
        ("body.html.hbs", "<p>Number {{number}}</p>"),
        ("schema.json", "{\"number\": \"integer\"}"),
        ("examples/first.json", "{\"number\": 1}"),
    ] {
        std::fs::write(folder.join(path), text)?;
    }
    Ok(())
}

/// Everything that runs; all of it ends with this value.
struct Services {
    lookalike: Lookalike,
    ingest: Channel,
    _processes: Vec<ServiceProcess>,
    _redis: TestRedis,
    _folder: tempfile::TempDir,
}

impl Services {
    async fn start() -> anyhow::Result<Self> {
        let redis = TestRedis::on_loopback(&[]).await;
        let folder = tempfile::tempdir()?;
        let templates = folder.path().join("templates");
        template(&templates, "news", "lane = \"bulk\"\ncategory = \"news\"")?;
        template(&templates, "offers", "lane = \"bulk\"")?;
        template(&templates, "receipt", "lane = \"transactional\"")?;
        let lookalike = Lookalike::start("127.0.0.1:0".parse()?, LookalikeOptions::default()).await?;
        // The defaults of every service fit each other's.
        let store = format!("[redis]\nurl = {:?}\nallow_unsafe = true\n", redis.url());
        let bundles = format!("[templates]\ndirectory = {templates:?}\n");
        let keys = "unsubscribe.keys = [{ id = \"a\", secret = \"fedcba9876543210fedcba9876543210\" }]\n";

        let coordinator =
            format!("{LISTEN}{store}[rates]\nmode = \"static\"\nstart = 1000.0\nceiling = 1000.0\n");
        let coordinator = ServiceProcess::start("throttle-coordinator", &coordinator).await?;
        let feedback = format!(
            "{LISTEN}{ADDRESS_KEY}{keys}web.listen = \"127.0.0.1:0\"\nledger.url = \"sqlite:{}\"\n{store}",
            folder.path().join("ledger.db").display()
        );
        let feedback = ServiceProcess::start("feedback", &feedback).await?;
        let web = feedback.web().context("feedback has no web listener")?;
        let base_url = format!("unsubscribe.base_url = \"http://{web}\"\n");
        let renderer = format!("{LISTEN}{ADDRESS_KEY}{base_url}{keys}{store}{bundles}");
        let renderer = ServiceProcess::start("renderer", &renderer).await?;
        let sender = format!(
            "{LISTEN}{ADDRESS_KEY}deliver = \"live\"\ncoordinators = [\"http://{}\"]\n{store}[ses]\nendpoint_url = \"{}\"\n\
             credentials = \"look_alike\"\n{IDENTITY}",
            coordinator.grpc(),
            lookalike.url()
        );
        let sender = ServiceProcess::start("sender", &sender).await?;
        let ingest = format!(
            "digest_key = \"{}\"\n{LISTEN}{base_url}{store}{bundles}{IDENTITY}",
            "k".repeat(64)
        );
        let ingest = ServiceProcess::start("ingest", &ingest).await?;
        let channel = paceline_kit::grpc::channel(&format!("http://{}", ingest.grpc()))?;
        Ok(Self {
            lookalike,
            ingest: channel,
            _processes: vec![coordinator, feedback, renderer, sender, ingest],
            _redis: redis,
            _folder: folder,
        })
    }

    /// Enqueues a message and waits until it is at rest.
    async fn send(&self, template: &str, to: &str, number: u32) -> anyhow::Result<Message> {
        let request = EnqueueRequest {
            tenant: TENANT.to_owned(),
            template: template.to_owned(),
            recipient: Some(Mailbox {
                address: to.to_owned(),
                ..Mailbox::default()
            }),
            user_id: to.to_owned(),
            data: format!("{{\"number\": {number}}}").into(),
            ..EnqueueRequest::default()
        };
        let answer = IngestServiceClient::new(self.ingest.clone())
            .enqueue(request)
            .await?;
        let message_id = answer.into_inner().message_id;
        let message = eventually("the message is at rest", PATIENCE, async || {
            let request = GetRequest {
                tenant: TENANT.to_owned(),
                message_id: message_id.clone(),
            };
            let answer = MessagesServiceClient::new(self.ingest.clone()).get(request).await;
            let message = answer.map_err(|status| status.to_string())?.into_inner().message;
            let message = message.ok_or("no message")?;
            match message.state() {
                MessageState::Accepted | MessageState::Suppressed | MessageState::Dead => Ok(message),
                state => Err(format!("{state:?} {}", message.reason)),
            }
        });
        Ok(message.await)
    }

    async fn is_sent(&self, template: &str, to: &str, number: u32) -> anyhow::Result<String> {
        let message = self.send(template, to, number).await?;
        ensure!(
            message.state() == MessageState::Accepted,
            "{template} to {to}: {message:?}"
        );
        Ok(message.message_id)
    }

    /// A header of a mail as the provider got it.
    fn header(&self, message_id: &str, name: &str) -> anyhow::Result<String> {
        let mails = self.lookalike.inbox(0, 10_000).into_iter();
        let mut mail = mails.filter(|mail| mail.tags.get("paceline_id").is_some_and(|id| id == message_id));
        let mail = mail.next_back().context("no such mail")?;
        let header = mail
            .headers
            .get(name)
            .with_context(|| format!("no {name} in {:?}", mail.headers))?;
        Ok(header.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_ends_the_mail_of_its_category_and_nothing_else() -> anyhow::Result<()> {
    let services = Services::start().await?;
    let first = services.is_sent("news", "ada@example.com", 1).await?;
    services.is_sent("news", "eve@example.com", 1).await?;

    let link = services.header(&first, "List-Unsubscribe")?;
    let post = services.header(&first, "List-Unsubscribe-Post")?;
    let clicked = Command::new("python3")
        .args(["-c", MAILBOX, &link, &post])
        .output()
        .await?;
    ensure!(
        clicked.status.success(),
        "{}",
        String::from_utf8_lossy(&clicked.stderr)
    );

    let stopped = services.send("news", "Ada@example.com", 2).await?;
    ensure!(stopped.state() == MessageState::Suppressed, "{stopped:?}");
    ensure!(stopped.reason == "unsubscribed", "{stopped:?}");
    services.is_sent("offers", "ada@example.com", 3).await?;
    let receipt = services.is_sent("receipt", "ada@example.com", 4).await?;
    services.is_sent("news", "eve@example.com", 5).await?;
    ensure!(
        services.header(&receipt, "List-Unsubscribe").is_err(),
        "a receipt has a link"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_a_bulk_template_and_no_links_leaves_with_a_bad_configuration() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let templates = folder.path().join("templates");
    template(&templates, "news", "lane = \"bulk\"")?;
    template(&templates, "receipt", "lane = \"transactional\"")?;
    let ingest = format!("digest_key = \"{}\"\n{IDENTITY}", "k".repeat(64));
    for (service, own) in [("ingest", ingest.as_str()), ("renderer", "")] {
        let file = folder.path().join(format!("{service}.toml"));
        std::fs::write(
            &file,
            format!("{LISTEN}templates.directory = {templates:?}\n{own}"),
        )?;
        let ended = Command::new(binary(service))
            .arg("--config")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, ended).await.context("it runs")??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(64),
            "{service}: {}: {said}",
            output.status
        );
        ensure!(
            said.contains("unsubscribe.base_url")
                && said.contains("templates news")
                && !said.contains("receipt"),
            "{service}: {said}"
        );
    }
    Ok(())
}
