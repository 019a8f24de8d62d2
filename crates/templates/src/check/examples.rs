//! The examples of a bundle: they fit its schema, and render.

use crate::engine::RenderFault;
use crate::finding::{Finding, Rule};
use crate::reader::{EXAMPLES, HTML, TEXT};
use crate::template::{Example, Rendered, Template};

/// An example, rendered.
pub(super) struct Rendering {
    /// The example's file.
    pub(super) file: String,
    pub(super) rendered: Rendered,
}

/// Every example must fit the schema and render.
pub(crate) fn check_examples(template: &Template) -> Vec<Finding> {
    render(template).1
}

/// Renders every example; what does not fit or render is a finding.
pub(super) fn render(template: &Template) -> (Vec<Rendering>, Vec<Finding>) {
    let mut renderings = Vec::new();
    let mut findings = Vec::new();
    if template.examples.is_empty() {
        let finding = Finding::new(Rule::NoExample, EXAMPLES, "there must be at least one example");
        findings.push(finding);
    }
    for example in &template.examples {
        let file = format!("{EXAMPLES}{}.json", example.name);
        match render_one(template, example, &file) {
            Ok(rendered) => renderings.push(Rendering { file, rendered }),
            Err(wrong) => findings.extend(wrong),
        }
    }
    (renderings, findings)
}

fn render_one(template: &Template, example: &Example, file: &str) -> Result<Rendered, Vec<Finding>> {
    template.validate(&example.data).map_err(|violations| {
        let finding = |violation: crate::Violation| {
            let text = format!("{} {}", violation.path, violation.description);
            Finding::new(Rule::ExampleInvalid, file, text)
        };
        violations.into_iter().map(finding).collect::<Vec<_>>()
    })?;
    let rendered = template.render_example(example);
    let rendered = rendered.map_err(|error| {
        let rule = match error.fault {
            RenderFault::TextNotDerivable { .. } => Rule::NoPlainText,
            _ => Rule::ExampleFails,
        };
        vec![Finding::new(rule, file, error.to_string())]
    })?;
    if rendered.text.trim().is_empty() {
        let text = format!("its plain text is empty; leave {TEXT} out to have it derived from {HTML}");
        return Err(vec![Finding::new(Rule::NoPlainText, file, text)]);
    }
    Ok(rendered)
}
