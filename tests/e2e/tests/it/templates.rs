//! A template that fails, from the command line: what stood in for it, who failed, and what a candidate would do.

use std::path::Path;

use anyhow::ensure;
use paceline_testkit::eventually;
use paceline_wire::v1::templates_service_client::TemplatesServiceClient;
use paceline_wire::v1::{CheckFinding, CheckRequest, PreviewRequest};
use tempfile::TempDir;
use tokio::process::Command;

use crate::binaries::binary;
use crate::stack::{PATIENCE, says_accepted};
use crate::up::Up;

/// A template whose examples are good, and that fails for whoever is `vip` and has no `gift`.
fn write(directory: &Path, name: &str, own: &str, html: &str) -> anyhow::Result<()> {
    let folder = directory.join(name);
    std::fs::create_dir_all(folder.join("examples"))?;
    let manifest = format!(
        "name = \"{name}\"\nversion = 1\nlane = \"transactional\"\n{own}\n[from]\naddress = \"{name}@example.com\"\n"
    );
    for (file, text) in [
        ("template.toml", manifest.as_str()),
        ("subject.hbs", "Order of {{name}}"),
        ("body.html.hbs", html),
        (
            "schema.json",
            r#"{"name": "string", "vip": "boolean", "gift": "string?"}"#,
        ),
        ("examples/first.json", r#"{"name": "Ann", "vip": false}"#),
    ] {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(())
}

/// Runs `templates replay` with a candidate: its exit code, and what it says.
async fn replay(up: &Up, bundle: &Path, template: &str) -> anyhow::Result<(Option<i32>, String)> {
    let output = Command::new(binary("paceline"))
        .args([
            "templates",
            "replay",
            "--feedback",
            &up.ledger,
            "--template",
            template,
        ])
        .arg(bundle)
        .output()
        .await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(said)?))
}

async fn is_checked_and_previewed_by_rpc(up: &Up) -> anyhow::Result<()> {
    let mut client = TemplatesServiceClient::connect(up.templates.clone()).await?;
    let files = [
        (
            "template.toml",
            "name = \"a\"\nversion = 1\nlane = \"transactional\"\n",
        ),
        ("subject.hbs", "Hello"),
        ("body.html.hbs", "<p>Hello</p>\n<p>{{nam}}</p>"),
        ("schema.json", "{\"name\": \"string\"}"),
        ("examples/first.json", "{\"name\": \"Ann\", \"nam\": \"Ann\"}"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().into()));
    let answer = client
        .check(CheckRequest { files: files.into() })
        .await?
        .into_inner();
    let found = |rule: &str, severity: &str| {
        let is_it = |finding: &&CheckFinding| finding.rule == rule && finding.severity == severity;
        answer
            .findings
            .iter()
            .find(is_it)
            .map(|finding| (finding.file.as_str(), finding.line))
    };
    ensure!(
        found("unknown-variable", "error") == Some(("body.html.hbs", 2)),
        "{answer:?}"
    );
    ensure!(
        found("unused-field", "warning") == Some(("schema.json", 1)),
        "{answer:?}"
    );

    let request = PreviewRequest {
        template: "order-plain".to_owned(),
        ..PreviewRequest::default()
    };
    let preview = client.preview(request).await?.into_inner();
    ensure!(
        (preview.subject.as_str(), preview.html.as_str()) == ("Order of Ann", "<p>Plain Ann</p>"),
        "{preview:?}"
    );
    Ok(())
}

async fn tries_candidates(up: &Up) -> anyhow::Result<()> {
    let gift = "{{#if vip}}{{gift}}{{/if}}";
    let candidates = TempDir::new()?;
    write(candidates.path(), "order", "", "<p>Plain {{name}}</p>")?;
    let order = candidates.path().join("order");
    eventually("what was rendered is kept", PATIENCE, async || {
        let (code, said) = replay(up, &order, "order")
            .await
            .map_err(|error| error.to_string())?;
        let same = code == Some(0) && said.contains("1 messages: 1 the same");
        if same { Ok(()) } else { Err(said) }
    })
    .await;
    write(candidates.path(), "order", "", "<p>Dear {{name}}</p>")?;
    let (code, said) = replay(up, &order, "order").await?;
    ensure!(code == Some(0) && said.contains("differs  "), "{said}");
    write(candidates.path(), "order", "", gift)?;
    let (code, said) = replay(up, &order, "order").await?;
    ensure!(code == Some(1) && said.contains("fails  "), "{said}");
    ensure!(!said.contains("Ada") && !said.contains("ada@"), "{said}");
    let (code, said) = replay(up, &order, "order-plain").await?;
    ensure!(code == Some(2) && said.contains("nothing was tried"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_is_told_and_a_candidate_is_tried_with_real_payloads() -> anyhow::Result<()> {
    let templates = TempDir::new()?;
    let gift = "{{#if vip}}{{gift}}{{/if}}";
    let own = "keep = \"1day\"\nfallback = \"order-plain\"";
    write(templates.path(), "order", own, &format!("<p>Gift: {gift}</p>"))?;
    write(templates.path(), "order-plain", "", "<p>Plain {{name}}</p>")?;
    let up = Up::with_templates(templates.path()).await?;

    let data = r#"{"name": "Ada", "vip": true}"#;
    let sent = up
        .paceline(&[
            "send",
            "order",
            "--wait",
            "--to",
            "ada@example.com",
            "--user",
            "7",
            "--data",
            data,
        ])
        .await?;
    ensure!(sent.lines().last().is_some_and(says_accepted), "{sent}");
    let id = sent.split_whitespace().next().unwrap_or_default();
    let why =
        "rendered by order-plain 1: template order 1, body.html.hbs line 1: the variable `gift` is missing";
    eventually("the ledger tells of the fallback", PATIENCE, async || {
        let status = up.paceline(&["status", id, "--feedback", &up.ledger]).await;
        let story = status.map_err(|error| error.to_string())?;
        let told = story.contains("fallback by ") && story.contains(why);
        if told { Ok(()) } else { Err(story) }
    })
    .await;

    let stats = up
        .paceline(&["templates", "stats", "--renderer", &up.templates])
        .await?;
    let counts = |name: &str| -> Vec<&str> {
        let line = stats
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(3)
            .collect()
    };
    ensure!(counts("order") == ["0", "0", "1"], "{stats}");
    ensure!(counts("order-plain") == ["1", "1", "0"], "{stats}");

    is_checked_and_previewed_by_rpc(&up).await?;
    tries_candidates(&up).await?;
    up.stop().await
}
