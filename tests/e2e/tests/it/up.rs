//! `paceline up`: three emails in the inbox, commands that answer, and no process left behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use paceline_kit::clock::{Clock, SystemClock};
use paceline_testkit::eventually;
use paceline_wire::v1;
use paceline_wire::v1::events_service_client::EventsServiceClient;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::binaries::{binary, http_get};
use crate::stack::{PATIENCE, example_templates, says_accepted};

/// A folder as people have them.
const FOLDER: &str = "my data, 100 % José";
const STOP_MAX: Duration = Duration::from_secs(90);

/// A running `paceline up`.
pub(crate) struct Up {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) ingest: String,
    pub(crate) ledger: String,
    pub(crate) templates: String,
    inbox: String,
    sent: Vec<String>,
    data: TempDir,
}

impl Up {
    async fn start(options: &[&str]) -> anyhow::Result<Self> {
        Self::on(tempfile::tempdir()?, options).await
    }

    /// With the data that another one may have left.
    async fn on(data: TempDir, options: &[&str]) -> anyhow::Result<Self> {
        let templates = example_templates();
        Self::launch(
            data,
            &[&["--examples", "--templates", &templates], options].concat(),
        )
        .await
    }

    /// With templates of one's own, and without examples.
    pub(crate) async fn with_templates(templates: &Path) -> anyhow::Result<Self> {
        let templates = templates.to_str().context("a path in UTF-8")?;
        Self::launch(tempfile::tempdir()?, &["--templates", templates]).await
    }

    async fn launch(data: TempDir, options: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(binary("paceline"))
            .args([
                "up",
                "--listen",
                "127.0.0.1:0",
                "--inbox",
                "127.0.0.1:0",
                "--coordinator",
                "127.0.0.1:0",
                "--renderer",
                "127.0.0.1:0",
                "--feedback",
                "127.0.0.1:0",
                "--web",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data.path().join(FOLDER))
            .args(options)
            .process_group(0)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let [mut ingest, mut ledger, mut templates, mut inbox] = [const { String::new() }; 4];
        let mut sent = Vec::new();
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
            let line = line.context("it ended before it was up")?;
            let mut words = line.split_whitespace();
            match words.next() {
                Some("ingest") => ingest = format!("http://{}", words.next().unwrap_or_default()),
                Some("templates") => {
                    templates = format!("http://{}", words.next().unwrap_or_default());
                }
                Some("ledger") => ledger = format!("http://{}", words.next().unwrap_or_default()),
                Some("inbox") => inbox = words.next().unwrap_or_default().to_owned(),
                Some("sent") => sent.push(words.next_back().unwrap_or_default().to_owned()),
                Some("Ctrl-C") => break,
                _ => {}
            }
        }
        Ok(Self {
            child,
            lines,
            ingest,
            ledger,
            templates,
            inbox,
            sent,
            data,
        })
    }

    /// Runs `paceline` against it and returns what it printed.
    pub(crate) async fn paceline(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(binary("paceline"))
            .args(["--ingest", &self.ingest])
            .args(arguments)
            .output()
            .await?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(output.status.success(), "paceline {arguments:?}: {text}");
        Ok(text)
    }

    async fn is_accepted(&self, id: &str) -> Result<(), String> {
        let status = self
            .paceline(&["status", id])
            .await
            .map_err(|error| error.to_string())?;
        let state = status
            .lines()
            .find(|line| line.starts_with("state"))
            .unwrap_or_default();
        if says_accepted(state) {
            Ok(())
        } else {
            Err(state.to_owned())
        }
    }

    /// Waits until the ledger has told that each of the examples was accepted, and delivered by the look-alike's events.
    async fn are_delivered(&self) -> anyhow::Result<()> {
        let mut client = EventsServiceClient::connect(self.ledger.clone()).await?;
        let kinds = ["accepted", "delivered"].map(str::to_owned);
        let mut waited: BTreeSet<(String, String)> = self
            .sent
            .iter()
            .flat_map(|id| kinds.iter().map(|kind| (id.clone(), kind.clone())))
            .collect();
        let request = v1::SubscribeRequest {
            tenant: "demo".to_owned(),
            cursor: Some(0),
            kinds: kinds.to_vec(),
        };
        let mut stream = client.subscribe(request).await?.into_inner();
        let reading = async {
            while !waited.is_empty() {
                let answer = stream.message().await?.context("the stream ended")?;
                for event in answer.events {
                    waited.remove(&(event.message_id, event.kind));
                }
            }
            anyhow::Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.with_context(|| format!("still waits for {waited:?}"))?
    }

    /// Ends it as Ctrl-C does, and checks that none of its processes is left.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.end().await.map(drop)
    }

    /// The same, and its data stays.
    async fn end(mut self) -> anyhow::Result<TempDir> {
        let pid = Pid::from_raw(i32::try_from(self.child.id().context("it has ended already")?)?)
            .context("a pid")?;
        let family = descendants(pid)?;
        ensure!(
            !family.is_empty(),
            "no redis-server below it: this test looks at nothing"
        );
        // As a terminal does it: to the whole group.
        kill_process_group(pid, Signal::INT)?;
        let status = tokio::time::timeout(STOP_MAX, self.child.wait())
            .await
            .context("it does not stop")??;
        ensure!(status.success(), "{status}");
        ensure!(
            self.lines.next_line().await?.as_deref() == Some("stopped"),
            "it did not say that it stopped"
        );
        for pid in family {
            ensure!(test_kill_process(pid).is_err(), "process {pid:?} outlives it");
        }
        Ok(self.data)
    }

    /// The link of the one mail that has one.
    async fn link(&self) -> Result<String, String> {
        let address = self.inbox.trim_start_matches("http://").trim_end_matches('/');
        let address = address
            .parse()
            .map_err(|_| format!("no address in {}", self.inbox))?;
        let inbox = http_get(address, "/inbox.json").await;
        let inbox = inbox.map_err(|error| format!("{error:#}"))?;
        let link = inbox.split("List-Unsubscribe\":\"<").nth(1);
        let link = link.and_then(|rest| rest.split('>').next());
        link.map(str::to_owned).ok_or(inbox)
    }

    /// Where its links begin, by the settings that it has written.
    fn base_url(&self) -> anyhow::Result<String> {
        let file = self.data.path().join(FOLDER).join("config/renderer.toml");
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("base_url = "));
        Ok(line.context("no base_url")?.trim_matches('"').to_owned())
    }
}

/// Every process below `root`, by the parents that the kernel names.
fn descendants(root: Pid) -> anyhow::Result<Vec<Pid>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // A process that has ended in the meantime has no file any more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        parents.push((pid, parent.unwrap_or_default()));
    }
    let mut family = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    Ok(family[1..].iter().filter_map(|pid| Pid::from_raw(*pid)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn up_in_one_process_shows_three_emails_and_leaves_nothing() -> anyhow::Result<()> {
    let up = Up::start(&[]).await?;
    ensure!(up.sent.len() == 3, "{:?}", up.sent);
    for id in &up.sent {
        eventually("the example is accepted", PATIENCE, async || {
            up.is_accepted(id).await
        })
        .await;
    }
    up.are_delivered().await?;
    up.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn up_with_separate_processes_does_the_same() -> anyhow::Result<()> {
    let up = Up::start(&["--separate", "--senders", "2"]).await?;
    for id in &up.sent {
        eventually("the example is accepted", PATIENCE, async || {
            up.is_accepted(id).await
        })
        .await;
    }
    up.are_delivered().await?;
    up.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_cancelled_and_counted_from_the_command_line() -> anyhow::Result<()> {
    let up = Up::start(&[]).await?;
    let data = format!("@{}/welcome/examples/first.json", example_templates());
    let to = ["--to", "ada@example.com", "--user", "7", "--data", &data];

    let sent = up
        .paceline(&[&["send", "welcome", "--wait"], &to[..]].concat())
        .await?;
    ensure!(sent.lines().last().is_some_and(says_accepted), "{sent}");
    let renders = up.paceline(&["templates", "--renderer", &up.templates]).await?;
    let welcome = renders.lines().find(|line| line.starts_with("welcome "));
    let counts: Vec<_> = welcome.unwrap_or_default().split_whitespace().skip(1).collect();
    // The example, and this one.
    ensure!(counts == ["2", "0", "0", "1"], "{renders}");
    let again = up.paceline(&[&["send", "welcome"], &to[..]].concat()).await?;
    ensure!(again.contains("a duplicate: accepted"), "{again}");

    let in_an_hour =
        std::time::UNIX_EPOCH + Duration::from_millis(SystemClock.wall().0) + Duration::from_secs(3600);
    let in_an_hour = humantime::format_rfc3339_seconds(in_an_hour).to_string();
    let later = ["send", "welcome", "--send-at", &in_an_hour, "--key", "later"];
    let scheduled = up.paceline(&[&later, &to[..]].concat()).await?;
    ensure!(scheduled.contains("accepted: scheduled"), "{scheduled}");
    ensure!(
        up.paceline(&["queue"])
            .await?
            .contains("scheduled or deferred 1 "),
        "the queue does not show it"
    );
    let id = scheduled.split_whitespace().next().unwrap_or_default();
    ensure!(
        up.paceline(&["cancel", id]).await?.starts_with("cancelled"),
        "it is not cancelled"
    );
    ensure!(
        up.paceline(&["cancel", id])
            .await?
            .starts_with("it was cancelled before"),
        "cancelling twice"
    );

    let nobody = [
        "send", "welcome", "--to", "nobody", "--user", "7", "--data", &data,
    ];
    let refused = Command::new(binary("paceline"))
        .args(["--ingest", &up.ingest])
        .args(nobody)
        .output()
        .await?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1), "{}", refused.status);
    ensure!(
        said.contains("recipient.address: ") && !said.contains("nobody"),
        "{said}"
    );
    up.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_to_unsubscribe_are_still_known_after_a_restart() -> anyhow::Result<()> {
    let up = Up::start(&[]).await?;
    let link = eventually("the bulk example has a link", PATIENCE, async || up.link().await).await;
    let base_url = up.base_url()?;
    let path = link
        .strip_prefix(&base_url)
        .with_context(|| format!("{link} does not begin with {base_url}"))?
        .to_owned();
    let data = up.end().await?;
    let again = Up::on(data, &[]).await?;
    let base_url = again.base_url()?;
    let address = base_url.trim_start_matches("http://").parse()?;
    let page = http_get(address, &path).await?;
    ensure!(
        page.starts_with("HTTP/1.1 200") && page.contains("value=\"unsubscribe\""),
        "{page}"
    );
    let forged = http_get(address, &format!("{path}x")).await?;
    ensure!(!forged.starts_with("HTTP/1.1 200"), "{forged}");
    again.stop().await
}
