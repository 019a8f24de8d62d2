//! Templates that go live by a command, and what becomes of mail where the ledger is away.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use paceline_testkit::{ServiceProcess, TestPostgres, eventually};
use tempfile::TempDir;
use tokio::process::Command;

use crate::binaries::{binary, http_get};
use crate::ground::{Ground, bundle, client, enqueue};
use crate::stack::PATIENCE;

const PUBLISHED_ALONE: &str = "directory = \"\"\npublished = true";

/// A deployment without folders of templates.
struct World {
    ground: Ground,
    postgres: TestPostgres,
    feedback: ServiceProcess,
    ingest: ServiceProcess,
    _renderer: ServiceProcess,
    folder: TempDir,
    next: AtomicUsize,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let postgres = TestPostgres::start().await;
        let ground = Ground::for_feedback().await?;
        Ok(Self {
            feedback: ground.feedback(&postgres.url()).await?,
            ingest: ground.ingest(PUBLISHED_ALONE).await?,
            _renderer: ground.renderer(PUBLISHED_ALONE).await?,
            ground,
            postgres,
            folder: tempfile::tempdir()?,
            next: AtomicUsize::new(0),
        })
    }

    async fn templates(&self, line: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(binary("paceline"))
            .arg("templates")
            .args(line)
            .env("PACELINE_FEEDBACK", format!("http://{}", self.feedback.grpc()))
            .kill_on_drop(true)
            .output();
        Ok(output.await?)
    }

    /// Publishes what is in the folder; the exit code, and what was said.
    async fn publish(&self, folder: &Path) -> anyhow::Result<(Option<i32>, String)> {
        let folder = folder.display().to_string();
        let output = self.templates(&["publish", &folder, "--why", "a test"]).await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    }

    /// Waits until a new message arrives that is of this version.
    async fn mail_is_of(&self, name: &str, version: u32) {
        eventually("mail is of that version", PATIENCE, async || {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let found = self.mail(name, number).await;
            let found = found.map_err(|error| format!("{error:#}"))?;
            if found == version {
                Ok(())
            } else {
                Err(format!("of {found}"))
            }
        })
        .await;
    }

    /// The version by which a message arrived.
    async fn mail(&self, name: &str, number: usize) -> anyhow::Result<u32> {
        let answer = enqueue(client(&self.ingest)?, name, number).await?;
        eventually("it arrives", PATIENCE, async || {
            let arrived = self
                .ground
                .arrived(1)
                .await
                .map_err(|error| format!("{error:#}"))?;
            match arrived.get(&answer.message_id).map(Vec::as_slice) {
                Some([mail]) if mail.of_subject == mail.of_html => Ok(mail.of_subject),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let arrived = self.ground.arrived(1).await?;
        Ok(arrived[&answer.message_id][0].of_subject)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_live_by_a_command_and_mail_needs_no_ledger() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let set = world.folder.path().join("set");
    bundle(&set.join("welcome"), "welcome", 1)?;
    bundle(&set.join("receipt"), "receipt", 1)?;
    let (code, said) = world.publish(&set).await?;
    ensure!(
        code == Some(0) && said.matches("published  ").count() == 2,
        "{said}"
    );
    world.mail_is_of("welcome", 1).await;
    let (code, said) = world.publish(&set).await?;
    ensure!(
        code == Some(0) && said.matches("already    ").count() == 2,
        "{said}"
    );

    bundle(&set.join("welcome"), "welcome", 2)?;
    std::fs::write(set.join("receipt/subject.hbs"), "another subject of {{number}}")?;
    let (code, said) = world.publish(&set).await?;
    ensure!(
        code == Some(1) && said.contains("refused    receipt 1: receipt 1: this version was published"),
        "{said}"
    );
    ensure!(
        said.contains("nothing is published") && !said.contains("welcome"),
        "{said}"
    );
    let listed = String::from_utf8(world.templates(&["published"]).await?.stdout)?;
    ensure!(listed.lines().count() == 2, "{listed}");
    bundle(&set.join("receipt"), "receipt", 1)?;
    let (code, said) = world.publish(&set).await?;
    ensure!(code == Some(0) && said.contains("published  welcome 2"), "{said}");
    world.mail_is_of("welcome", 2).await;
    world.mail_is_of("receipt", 1).await;
    let earlier = world.folder.path().join("earlier");
    bundle(&earlier.join("welcome"), "welcome", 1)?;
    let (code, said) = world.publish(&earlier).await?;
    ensure!(
        code == Some(1) && said.contains("already    welcome 1, but welcome 2 is what mail gets"),
        "{said}"
    );

    let listed = String::from_utf8(world.templates(&["published", "welcome"]).await?.stdout)?;
    let lines: Vec<_> = listed.lines().collect();
    ensure!(
        lines.len() == 2 && lines[0].starts_with("welcome 2  2"),
        "{listed}"
    );
    ensure!(lines[1].ends_with("  a test"), "{listed}");

    world.postgres.kill().await;
    bundle(&set.join("welcome"), "welcome", 3)?;
    let (code, said) = world.publish(&set.join("welcome")).await?;
    ensure!(
        code == Some(2) && said.contains("ledger does not answer"),
        "{said}"
    );
    world.mail_is_of("welcome", 2).await;
    // What is announced is all that a service needs at its start, too.
    world.ingest = world.ground.ingest(PUBLISHED_ALONE).await?;
    world.mail_is_of("receipt", 1).await;
    world.postgres.resume().await;
    eventually("it is published", PATIENCE, async || {
        let (code, said) = world
            .publish(&set.join("welcome"))
            .await
            .map_err(|error| error.to_string())?;
        if code == Some(0) { Ok(()) } else { Err(said) }
    })
    .await;
    world.mail_is_of("welcome", 3).await;
    let ready = http_get(world.ingest.admin(), "/readyz").await?;
    ensure!(!ready.contains("note"), "{ready}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_with_a_bundle_that_is_forbidden_is_not_published() -> anyhow::Result<()> {
    let world = World::start().await?;
    let set = world.folder.path().join("set");
    bundle(&set.join("welcome"), "welcome", 1)?;
    bundle(&set.join("receipt"), "receipt", 1)?;
    std::fs::write(set.join("receipt/subject.hbs"), "{{unknown}}")?;
    let (code, said) = world.publish(&set).await?;
    ensure!(code == Some(1), "{said}");
    ensure!(
        said.contains("receipt/subject.hbs") && said.contains("[unknown-variable]"),
        "{said}"
    );
    let listed = world.templates(&["published"]).await?;
    ensure!(listed.status.success() && listed.stdout.is_empty(), "{listed:?}");
    let (code, _) = world.publish(&world.folder.path().join("nothing")).await?;
    ensure!(code == Some(2), "{code:?}");

    // Two that name each other as fallbacks in a line go in its order, whatever their names are.
    let line = world.folder.path().join("line");
    bundle(&line.join("a"), "a", 1)?;
    bundle(&line.join("b"), "b", 1)?;
    let manifest = line.join("a/template.toml");
    let text = std::fs::read_to_string(&manifest)?;
    std::fs::write(&manifest, format!("fallback = \"b\"\n{text}"))?;
    let (code, said) = world.publish(&line.join("a")).await?;
    ensure!(code == Some(1) && said.contains("`b` is not there"), "{said}");
    let (code, said) = world.publish(&line).await?;
    ensure!(code == Some(0), "{said}");
    Ok(())
}
