//! The report as JSON, in one line.

use std::path::Path;

use paceline_templates::CheckedBundle;
use serde_json::{Value, json};

use super::{counts, path_of};

pub(super) fn report(directory: &Path, bundles: &[CheckedBundle]) -> Value {
    let findings = bundles.iter().flat_map(|bundle| {
        bundle.findings.iter().map(move |finding| {
            json!({
                "file": path_of(directory, bundle, finding).to_string_lossy(),
                "line": finding.line,
                "severity": finding.rule.severity().as_str(),
                "rule": finding.rule.as_str(),
                "description": finding.description,
            })
        })
    });
    let (errors, warnings) = counts(bundles);
    json!({
        "bundles": bundles.len(),
        "errors": errors,
        "warnings": warnings,
        "findings": findings.collect::<Vec<_>>(),
    })
}
