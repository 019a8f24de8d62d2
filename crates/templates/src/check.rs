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
use crate::schema::{self, Shape};
use crate::template::Template;

pub use directory::{CheckedBundle, check_directory};
pub(crate) use examples::check_examples;

/// Everything that is wrong with a bundle by itself, by file and line. It may be published if nothing of it forbids that.
#[must_use]
pub fn check(files: &Files) -> Vec<Finding> {
    compile_and_check(files).1
}

/// The template, if the files are one, and everything that is wrong with it.
fn compile_and_check(files: &Files) -> (Option<Template>, Vec<Finding>) {
    let (template, mut findings) = match compile(files) {
        Ok((template, shape)) => {
            let findings = ask_rules(&template, &shape, files);
            (Some(template), findings)
        }
        Err(findings) => (None, findings),
    };
    sort(&mut findings);
    (template, findings)
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
}

fn compile(files: &Files) -> Result<(Template, Shape), Vec<Finding>> {
    let (hash, packed) =
        bundle::pack(files).map_err(|error| vec![Finding::new(Rule::Size, "", error.to_string())])?;
    let template = reader::compile(files, hash, packed)?;
    let shape = schema::shape(schema_of(files))
        .map_err(|problem| vec![Finding::new(Rule::Schema, SCHEMA, problem)])?;
    Ok((template, shape))
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
