//! What is written now is what was frozen last; and what is read without any service: settings, bundles, journals.

use std::fs;

use crate::written::{bundle, configs, fixtures, journal, ledger, samples};
use anyhow::{Context as _, bail, ensure};
use paceline_domain::controller::journal::{Replay, Replayed};
use paceline_templates::Template;

/// Whether what is written now is to be frozen, as a person says.
fn is_to_be_frozen() -> bool {
    std::env::var_os("FREEZE_FORMATS").is_some()
}

#[tokio::test]
async fn what_is_written_now_is_frozen() -> anyhow::Result<()> {
    let mut changed = fixtures::changed(samples().await?)?;
    if changed.is_empty() {
        return Ok(());
    }
    if is_to_be_frozen() {
        if changed.iter().any(|sample| sample.name == ledger::MIGRATIONS) {
            changed.extend(ledger::capture().await?);
        }
        let number = fixtures::freeze(&changed)?;
        bail!("frozen under fixtures/{number}: commit it with the change");
    }
    for sample in &changed {
        let now = std::env::temp_dir().join(sample.name.replace('/', "-"));
        fs::write(&now, &sample.bytes)?;
        eprintln!(
            "{} is written otherwise than it was frozen: {}",
            sample.name,
            now.display()
        );
    }
    bail!(
        "can the release before read what is written now? Then freeze it: make freeze-formats, see tests/formats/README.md"
    )
}

#[test]
fn every_service_loads_the_settings_of_each_release() -> anyhow::Result<()> {
    for (service, _) in configs::SERVICES {
        let all = fixtures::all(&configs::name(service))?;
        ensure!(!all.is_empty(), "nothing is frozen of {service}");
        for frozen in all {
            let read = configs::read(service, &frozen.path);
            read.with_context(|| format!("{service} does not read {}", frozen.path.display()))?;
        }
    }
    Ok(())
}

/// What is one value for all services on a Redis: those that start with their defaults must not refuse each other's.
#[test]
fn every_service_has_the_same_defaults_of_what_they_share() -> anyhow::Result<()> {
    for key in ["log", "log_entries_max", "shards", "durability", "replicas"] {
        let mut defaults = configs::SERVICES.iter().map(|(service, defaults)| {
            let table: toml::Table = defaults.parse()?;
            let value = table.get("redis").and_then(|redis| redis.get(key)).cloned();
            anyhow::Ok((
                service,
                value.with_context(|| format!("{service} has no redis.{key}"))?,
            ))
        });
        let (_, first) = defaults.next().context("a service")??;
        for other in defaults {
            let (service, other) = other?;
            ensure!(
                other == first,
                "redis.{key} of {service} is {other}, of others {first}"
            );
        }
    }
    Ok(())
}

#[test]
fn bundles_of_each_release_are_templates() -> anyhow::Result<()> {
    let all = fixtures::all(bundle::NAME)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let template = Template::from_bundle_bytes(&frozen.bytes);
        template.with_context(|| format!("{} is no template", frozen.path.display()))?;
    }
    Ok(())
}

#[test]
fn journals_of_each_release_are_replayed_to_their_end() -> anyhow::Result<()> {
    let all = fixtures::all(journal::NAME)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let entries = journal::read(&frozen.bytes);
        let entries = entries.with_context(|| format!("{} can't be read", frozen.path.display()))?;
        let mut replay = Replay::default();
        for entry in &entries {
            let replayed = replay.take(entry)?;
            ensure!(
                !matches!(replayed, Replayed::Differs),
                "{}: {entry:?}",
                frozen.path.display()
            );
        }
        let state = replay.state()?;
        ensure!(state.in_force().rate >= 0.0, "{state:?}");
    }
    Ok(())
}
