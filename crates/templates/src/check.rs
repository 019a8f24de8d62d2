//! Checks a bundle before it is published: compiles it, renders its examples, and holds sources and renderings to the rules.
//!
//! A directory that is loaded is held to less: that its bundles compile and their examples render. A rule that a release adds
//! forbids to publish what breaks it, and never keeps a service from starting with what is there.

mod candidate;
mod directory;
mod examples;
mod html;
mod preheader;
mod variables;

use crate::build;
use crate::bundle::{self, Files, InvalidBundle};
use crate::finding::{Finding, Rule};
use crate::reader::SCHEMA;
use crate::schema::{self, Shape};
use crate::template::{BundleError, Template};

pub use candidate::Candidate;
pub use directory::{CheckedBundle, check_directory};
pub(crate) use examples::check_examples;

/// Everything that is wrong with a bundle by itself, by file and line. It may be published if nothing of it forbids that.
#[must_use]
pub fn check(files: &Files) -> Vec<Finding> {
    compile_and_check(files).1
}

/// The template, if the files are one, and everything that is wrong with it.
fn compile_and_check(files: &Files) -> (Option<Template>, Vec<Finding>) {
    let (template, mut findings) = compile(files);
    let template = template.map(|(template, shape)| {
        let mut found = ask_rules(&template, &shape, files);
        preheader::check(&template, &shape, files, &mut found);
        let of_source = |finding: Finding| match &template.origin {
            Some(origin) => origin.of(finding),
            None => finding,
        };
        findings.extend(found.into_iter().map(of_source));
        template
    });
    sort(&mut findings);
    (template, findings)
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
}

/// Builds and compiles what is written; also everything that is to be said of that.
fn compile(files: &Files) -> (Option<(Template, Shape)>, Vec<Finding>) {
    let size = |error: InvalidBundle| vec![Finding::new(Rule::Size, "", error.to_string())];
    if let Err(error) = bundle::check_bounds(files) {
        return (None, size(error));
    }
    let (template, mut findings) = Template::from_built(build::run(files), bundle::hash(files));
    let template = match template {
        Ok(template) => template,
        Err(error) => {
            findings.extend(match error {
                BundleError::Invalid(error) => size(error),
                BundleError::Findings(wrong) => wrong,
            });
            return (None, findings);
        }
    };
    match schema::shape(schema_of(files)) {
        Ok(shape) => (Some((template, shape)), findings),
        Err(problem) => {
            findings.push(Finding::new(Rule::Schema, SCHEMA, problem));
            (None, findings)
        }
    }
}

fn ask_rules(template: &Template, shape: &Shape, files: &Files) -> Vec<Finding> {
    let (renderings, mut findings) = examples::render(template);
    findings.extend(variables::check(template, shape, schema_of(files)));
    findings.extend(html::check(template, &renderings));
    findings
}

fn schema_of(files: &Files) -> &[u8] {
    files.get(SCHEMA).map_or(&[], Vec::as_slice)
}
