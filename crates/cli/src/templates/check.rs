//! `paceline templates check`.

use std::path::Path;

use paceline_templates::{CheckedBundle, check_directory};

use super::report;
use crate::args::CheckBundlesOptions;
use crate::ended::Ended;

/// Something forbids publishing.
pub(super) const FORBIDDEN: u8 = 1;
/// Nothing could be checked.
pub(super) const UNCHECKED: u8 = 2;

pub(crate) fn run(options: &CheckBundlesOptions) -> anyhow::Result<()> {
    let directory = &options.directory;
    let bundles = bundles(directory)?;
    report::print(options.format, directory, &bundles)?;
    let mut findings = bundles.iter().flat_map(|bundle| &bundle.findings);
    if findings.any(|finding| finding.forbids()) {
        return Err(Ended(FORBIDDEN).into());
    }
    Ok(())
}

/// The bundles of a directory, checked; says itself why there are none.
pub(super) fn bundles(directory: &Path) -> anyhow::Result<Vec<CheckedBundle>> {
    let unchecked = |problem: String| {
        eprintln!("paceline: {}: {problem}", directory.display());
        Err(Ended(UNCHECKED).into())
    };
    match check_directory(directory) {
        Ok(bundles) if bundles.is_empty() => unchecked("has no bundle".to_owned()),
        Ok(bundles) => Ok(bundles),
        Err(error) => unchecked(error.to_string()),
    }
}
