//! The machine's browser, and Chromium without a window.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::page::HEIGHT;

/// Pictures are no higher than this, in CSS pixels.
const HEIGHT_MAX: u32 = 16_000;
/// How long one run of Chromium may take: it fetches the email's images.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Opens a page in the browser that the machine's user has chosen.
pub(super) async fn open(page: &Path) -> anyhow::Result<()> {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = Command::new(program)
        .arg(page)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .with_context(|| format!("{program} can't be started; --no-open does without"))?;
    ensure!(
        opened.success(),
        "{program} found no browser; --no-open does without"
    );
    Ok(())
}

/// Makes a picture of a page that says its height ([`super::page::framed`]).
pub(super) async fn photograph(
    chromium: &Path,
    page: &Path,
    width: u32,
    picture: &Path,
) -> anyhow::Result<()> {
    let dumped = run(chromium, page, &["--dump-dom".to_owned(), window(width, 800)]).await?;
    let height = height_of(&dumped).context("chromium does not say how high the email is")?;
    let target = format!("--screenshot={}", std::path::absolute(picture)?.display());
    let high = window(width, height.clamp(1, HEIGHT_MAX));
    run(chromium, page, &[target, high]).await?;
    ensure!(picture.exists(), "chromium made no picture");
    Ok(())
}

fn window(width: u32, height: u32) -> String {
    format!("--window-size={width},{height}")
}

fn height_of(dumped: &str) -> Option<u32> {
    let (_, rest) = dumped.split_once(HEIGHT)?;
    rest.split('"').next()?.parse().ok()
}

/// What a run of Chromium prints.
async fn run(chromium: &Path, page: &Path, arguments: &[String]) -> anyhow::Result<String> {
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(chromium);
    command
        .args([
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if rustix::process::geteuid().is_root() {
        // As root Chromium does not start with it.
        command.arg("--no-sandbox");
    }
    let ended = tokio::time::timeout(RUN_MAX, command.output())
        .await
        .with_context(|| format!("chromium takes longer than {} s", RUN_MAX.as_secs()))?
        .with_context(|| {
            format!(
                "{} can't be started; --chromium names another",
                chromium.display()
            )
        })?;
    ensure!(ended.status.success(), "chromium failed: {}", ended.status);
    String::from_utf8(ended.stdout).context("chromium's output is no text")
}
