//! The preheader against the schema, and its length.

use super::variables;
use crate::build::HIDDEN;
use crate::bundle::Files;
use crate::finding::{Finding, Rule};
use crate::manifest::Manifest;
use crate::preheader;
use crate::reader::{HTML, MANIFEST};
use crate::schema::Shape;
use crate::template::Template;

/// The characters that lists of mails show at the most.
const SHOWN_CHARS: usize = 140;

/// Adds what is wrong with the preheader; what was found of it where it stands in the html is told of the manifest instead.
pub(super) fn check(template: &Template, shape: &Shape, files: &Files, findings: &mut Vec<Finding>) {
    let manifest = files
        .get(MANIFEST)
        .and_then(|content| Manifest::parse(content).ok());
    let Some(preheader) = manifest.and_then(|manifest| manifest.authoring.preheader) else {
        return;
    };
    let Ok(compiled) = preheader::compile(&preheader) else {
        return;
    };
    let html = template.html.skeletons();
    let is_of_it = |finding: &Finding| {
        let [skeleton, _] = &html;
        let hidden = skeleton.text.lines().position(|line| line.contains(HIDDEN));
        let line = hidden.and_then(|line| skeleton.source_line(line + 1));
        finding.file == HTML && line.is_some() && finding.line == line
    };
    for unknown in variables::unknown(&compiled.uses(), MANIFEST, shape) {
        findings.retain(|finding| !(finding.description == unknown.description && is_of_it(finding)));
        let description = format!("preheader: {}", unknown.description);
        findings.push(Finding::new(Rule::UnknownVariable, MANIFEST, description));
    }
    for example in template.examples() {
        let chars = template
            .render_line(&compiled, example)
            .map_or(0, |line| line.chars().count());
        if chars > SHOWN_CHARS {
            let text = format!(
                "preheader: with the example {} it has {chars} characters; lists of mails show {SHOWN_CHARS} at the most",
                example.name
            );
            findings.push(Finding::new(Rule::Preheader, MANIFEST, text));
            return;
        }
    }
}
