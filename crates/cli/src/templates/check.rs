//! `paceline templates check`.

use paceline_templates::check_directory;

use super::report;
use crate::args::CheckBundlesOptions;
use crate::ended::Ended;

/// Something forbids publishing.
const FORBIDDEN: u8 = 1;
/// Nothing could be checked.
const UNCHECKED: u8 = 2;

pub(crate) fn run(options: &CheckBundlesOptions) -> anyhow::Result<()> {
    let directory = &options.directory;
    let unchecked = |problem: String| {
        eprintln!("paceline: {}: {problem}", directory.display());
        Err(Ended(UNCHECKED).into())
    };
    let bundles = match check_directory(directory) {
        Ok(bundles) if bundles.is_empty() => return unchecked("has no bundle".to_owned()),
        Ok(bundles) => bundles,
        Err(error) => return unchecked(error.to_string()),
    };
    report::print(options.format, directory, &bundles)?;
    let mut findings = bundles.iter().flat_map(|bundle| &bundle.findings);
    if findings.any(|finding| finding.forbids()) {
        return Err(Ended(FORBIDDEN).into());
    }
    Ok(())
}
