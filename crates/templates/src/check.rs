//! Checks a bundle before it is published: compiles it, renders its examples, and holds sources and renderings to the rules.
//!
//! A directory that is loaded is held to less: that its bundles compile and their examples render. A rule that a release adds
//! forbids to publish what breaks it, and never keeps a service from starting with what is there.

mod directory;
mod examples;
mod html;
mod variables;

use crate::bundle::{self, Files};
use crate::finding::{Finding, Rule};
use crate::reader::{self, SCHEMA};
use crate::schema;

pub use directory::{CheckedBundle, check_directory};
pub(crate) use examples::check_examples;

/// Everything that is wrong with a bundle, by file and line. It may be published if nothing of it forbids that.
#[must_use]
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = all(files).unwrap_or_else(|findings| findings);
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    findings
}

/// What the rules find; an error for what keeps them from being asked.
fn all(files: &Files) -> Result<Vec<Finding>, Vec<Finding>> {
    let (hash, packed) =
        bundle::pack(files).map_err(|error| vec![Finding::new(Rule::Size, "", error.to_string())])?;
    let template = reader::compile(files, hash, packed)?;
    let schema = files.get(SCHEMA).map_or(&b""[..], Vec::as_slice);
    let shape = schema::shape(schema).map_err(|problem| vec![Finding::new(Rule::Schema, SCHEMA, problem)])?;
    let (renderings, mut findings) = examples::render(&template);
    findings.extend(variables::check(&template, &shape, schema));
    findings.extend(html::check(&template, &renderings));
    Ok(findings)
}
