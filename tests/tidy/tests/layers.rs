//! The layers of the workspace: arrows point down the list in ARCHITECTURE.md, and each vendor's crate has one user.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// From the lowest to the highest. A crate may depend on those of lower rank; services, which share a rank, never on each
/// other.
const RANKS: &[&[&str]] = &[
    &["domain"],
    &["wire"],
    &["store"],
    &["templates"],
    &["providers"],
    &["ledger"],
    &["kit"],
    &[
        "ingest",
        "throttle-coordinator",
        "renderer",
        "sender",
        "feedback",
        "local",
    ],
    &["cli"],
    &["testkit"],
    &["chaos", "e2e", "formats", "fuzz", "pacing", "tidy"],
];

/// Crates of others that only one of ours may name.
const SOLE_USERS: &[(&str, &str)] = &[
    ("fred", "store"),
    ("aws-sdk-sesv2", "providers"),
    ("aws-sdk-sqs", "providers"),
    ("aws-config", "providers"),
    ("handlebars", "templates"),
    ("jsonschema", "templates"),
    ("config", "kit"),
    ("opentelemetry-otlp", "kit"),
    ("sqlx", "ledger"),
];

struct Crate {
    manifest: String,
    /// Without those for tests alone.
    dependencies: Vec<String>,
}

fn workspace() -> BTreeMap<String, Crate> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let text = |value: &Value| value.as_str().expect("a string").to_owned();
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let dependencies = dependencies
                .iter()
                .filter(|d| d["kind"].is_null())
                .map(|d| text(&d["name"]))
                .collect();
            let name = text(&package["name"]);
            let name = name
                .strip_prefix("paceline-")
                .expect("every crate is paceline-something")
                .to_owned();
            (
                name,
                Crate {
                    manifest: text(&package["manifest_path"]),
                    dependencies,
                },
            )
        });
    packages.collect()
}

fn rank(name: &str) -> usize {
    RANKS
        .iter()
        .position(|names| names.contains(&name))
        .unwrap_or_else(|| panic!("{name} has no rank in this test"))
}

#[test]
fn arrows_point_down() {
    for (name, package) in workspace() {
        for dependency in package
            .dependencies
            .iter()
            .filter_map(|d| d.strip_prefix("paceline-"))
        {
            assert!(
                rank(dependency) < rank(&name),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn each_vendor_has_one_user() {
    for (name, package) in workspace() {
        for (vendor, user) in SOLE_USERS {
            assert!(
                name == *user || !package.dependencies.iter().any(|dependency| dependency == vendor),
                "{name} must not use {vendor}: only {user} may"
            );
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    for (name, package) in workspace() {
        let manifest = std::fs::read_to_string(&package.manifest).expect("a manifest");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not take the workspace's lints"
        );
    }
}
