//! The forms of a check's report.

mod json;
mod junit;
mod sarif;

use std::path::{Path, PathBuf};

use paceline_templates::{CheckedBundle, Finding};

use crate::args::ReportFormat;

pub(super) fn print(format: ReportFormat, directory: &Path, bundles: &[CheckedBundle]) -> anyhow::Result<()> {
    let report = match format {
        ReportFormat::Text => text(directory, bundles),
        ReportFormat::Json => json::report(directory, bundles).to_string(),
        ReportFormat::Sarif => sarif::report(directory, bundles)?.to_string(),
        ReportFormat::Junit => junit::report(directory, bundles)?,
    };
    println!("{}", report.trim_end());
    Ok(())
}

/// A finding's file as the directory was named; the bundle's folder for the bundle as a whole.
fn path_of(directory: &Path, bundle: &CheckedBundle, finding: &Finding) -> PathBuf {
    // What is joined with nothing would end in a separator.
    let parts = [bundle.folder.as_path(), Path::new(&finding.file)];
    let parts = parts.into_iter().filter(|part| !part.as_os_str().is_empty());
    parts.fold(directory.to_owned(), |path, part| path.join(part))
}

/// `errors, warnings`.
fn counts(bundles: &[CheckedBundle]) -> (usize, usize) {
    let findings = bundles.iter().flat_map(|bundle| &bundle.findings);
    let (errors, warnings): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.forbids());
    (errors.len(), warnings.len())
}

/// As compilers write: file, line, severity, text; what it is about last.
fn text(directory: &Path, bundles: &[CheckedBundle]) -> String {
    let mut report = String::new();
    for bundle in bundles {
        for finding in &bundle.findings {
            let path = path_of(directory, bundle, finding);
            let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
            report.push_str(&format!(
                "{}{line}: {}: {} [{}]\n",
                path.display(),
                finding.rule.severity().as_str(),
                finding.description,
                finding.rule.as_str()
            ));
        }
    }
    let (errors, warnings) = counts(bundles);
    report.push_str(&format!(
        "bundles: {}, errors: {errors}, warnings: {warnings}",
        bundles.len()
    ));
    report
}
