//! The report as SARIF 2.1.0 (OASIS), which code scanning reads.

use std::path::{Component, Path};

use paceline_templates::{CheckedBundle, Finding, Rule};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::path_of;

/// What a segment of a URI's path is written with as it is (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@');

/// # Errors
/// If the current folder is gone.
pub(super) fn report(directory: &Path, bundles: &[CheckedBundle]) -> std::io::Result<Value> {
    let here = std::env::current_dir()?;
    // Where files are shown beside the code they are named from the repository's root, where such checks run.
    let directory = directory.strip_prefix(&here).unwrap_or(directory);
    let results = bundles.iter().flat_map(|bundle| {
        let result = |finding| result(finding, &path_of(directory, bundle, finding));
        bundle.findings.iter().map(result)
    });
    let results: Vec<_> = results.collect();
    let rules: Vec<_> = Rule::ALL.iter().map(|rule| described(*rule)).collect();
    Ok(json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "paceline templates check",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    }))
}

fn described(rule: Rule) -> Value {
    json!({
        "id": rule.as_str(),
        "shortDescription": { "text": rule.asks() },
        "defaultConfiguration": { "level": rule.severity().as_str() },
    })
}

fn result(finding: &Finding, path: &Path) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(path) } });
    if let Some(line) = finding.line {
        place["region"] = json!({ "startLine": line });
    }
    json!({
        "ruleId": finding.rule.as_str(),
        "level": finding.rule.severity().as_str(),
        "message": { "text": finding.description },
        "locations": [{ "physicalLocation": place }],
    })
}

/// A path as a URI: relative, or of a file on this machine.
fn uri(path: &Path) -> String {
    let segments = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(utf8_percent_encode(&name.to_string_lossy(), SEGMENT).to_string()),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    let joined = segments.collect::<Vec<_>>().join("/");
    if path.is_absolute() {
        format!("file:///{joined}")
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::uri;

    #[test]
    fn a_path_is_a_uri() {
        for (path, expected) in [
            (
                "./templates/welcome@2/body.html.hbs",
                "templates/welcome@2/body.html.hbs",
            ),
            ("../a b/ä%.hbs", "../a%20b/%C3%A4%25.hbs"),
            ("/srv/t:x", "file:///srv/t%3Ax"),
        ] {
            assert_eq!(uri(Path::new(path)), expected, "{path}");
        }
    }
}
