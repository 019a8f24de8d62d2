//! Each service's settings: the defaults of a release are a file that the next one must load.

use std::path::Path;

use anyhow::Context as _;
use paceline_kit::Settings;
use paceline_kit::settings::load;
use toml::Table;

use super::fixtures::Sample;

/// Every service, and its defaults.
pub(crate) const SERVICES: [(&str, &str); 5] = [
    ("feedback", paceline_feedback::DEFAULTS),
    ("ingest", paceline_ingest::DEFAULTS),
    ("renderer", paceline_renderer::DEFAULTS),
    ("sender", paceline_sender::DEFAULTS),
    ("throttle-coordinator", paceline_throttle_coordinator::DEFAULTS),
];

/// What most deployments set beside the defaults: those that have an empty place for it, and lists, which have no default.
const SET: [(&str, &str); 5] = [
    ("feedback", include_str!("configs/feedback.toml")),
    ("ingest", include_str!("configs/ingest.toml")),
    ("renderer", include_str!("configs/renderer.toml")),
    ("sender", include_str!("configs/sender.toml")),
    (
        "throttle-coordinator",
        include_str!("configs/throttle-coordinator.toml"),
    ),
];

/// The name of a service's fixture.
pub(crate) fn name(service: &str) -> String {
    format!("config/{service}.toml")
}

/// Keys and values of each service, without comments.
///
/// # Errors
/// If some default can't be read.
pub(crate) fn samples() -> anyhow::Result<Vec<Sample>> {
    SERVICES
        .iter()
        .map(|(service, defaults)| {
            let mut table: Table = defaults.parse()?;
            let (_, set) = SET
                .iter()
                .find(|(name, _)| name == service)
                .context("every service has some settings")?;
            merge(&mut table, set.parse()?);
            Ok(Sample::new(&name(service), toml::to_string(&table)?))
        })
        .collect()
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Reads a file as the service does.
///
/// # Errors
/// What the service would end with.
pub(crate) fn read(service: &str, file: &Path) -> anyhow::Result<()> {
    fn one<S: Settings>(service: &str, defaults: &str, file: &Path) -> anyhow::Result<()> {
        load::<S>(service, defaults, Some(file))?;
        Ok(())
    }
    let (_, defaults) = SERVICES
        .iter()
        .find(|(name, _)| *name == service)
        .with_context(|| format!("no service {service}"))?;
    match service {
        "feedback" => one::<paceline_feedback::Config>(service, defaults, file),
        "ingest" => one::<paceline_ingest::Config>(service, defaults, file),
        "renderer" => one::<paceline_renderer::Config>(service, defaults, file),
        "sender" => one::<paceline_sender::Config>(service, defaults, file),
        _ => one::<paceline_throttle_coordinator::Config>(service, defaults, file),
    }
}
