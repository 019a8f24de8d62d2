//! A template's bundle, as it stands under `{pl1:tpl}:<sha256>`.

use std::path::Path;

use anyhow::Context as _;
use paceline_templates::Catalog;

use super::fixtures::Sample;

pub(crate) const NAME: &str = "bundle.bin";
/// Of the templates in the tree the one for examples, which does not change for other reasons.
const TEMPLATE: &str = "reservation";

/// The bundle of a template that tests keep.
///
/// # Errors
/// If it can't be loaded.
pub(crate) fn sample() -> anyhow::Result<Sample> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/templates");
    let catalog = Catalog::load(Path::new(folder))?;
    let template = catalog.get(TEMPLATE, None).context("no template of that name")?;
    Ok(Sample::new(NAME, template.bundle_bytes()))
}
