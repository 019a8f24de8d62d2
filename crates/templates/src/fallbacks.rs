//! What is rendered instead of a template that fails: the one that its manifest names, then that one's, and so on.
//!
//! The newest version of each counts at the time when a message is accepted, which pins them all. They are of the same lane
//! and category: whoever unsubscribed from the one must not get the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::finding::{Finding, Rule};
use crate::reader::{EXAMPLES, MANIFEST};
use crate::template::Template;

/// Fallbacks of one template.
pub const FALLBACKS_MAX: usize = 3;

/// Templates by name and version.
pub(crate) type Versions = BTreeMap<String, BTreeMap<u32, Arc<Template>>>;

/// The newest version of that name.
pub(crate) fn newest<'a>(versions: &'a Versions, name: &str) -> Option<&'a Arc<Template>> {
    versions.get(name)?.values().next_back()
}

/// The fallbacks of a template, in their order; what is not there ends them.
pub(crate) fn chain<'a>(versions: &'a Versions, template: &Template) -> Vec<&'a Arc<Template>> {
    let mut found: Vec<&Arc<Template>> = Vec::new();
    while found.len() < FALLBACKS_MAX {
        let last = found.last().map_or(template, |last| last);
        let Some(next) = last
            .manifest
            .fallback
            .as_ref()
            .and_then(|name| newest(versions, name))
        else {
            break;
        };
        found.push(next);
    }
    found
}

/// The fallbacks that may be sent in its place. A set that was found broken has the template as it was good last, and its fallback as it is
/// now: that one may have become one that its people did not ask for.
pub(crate) fn fit<'a>(
    versions: &'a Versions,
    template: &Template,
) -> impl Iterator<Item = &'a Arc<Template>> {
    let chain = chain(versions, template).into_iter();
    chain.take_while(move |fallback| goes_with(template, fallback))
}

fn goes_with(template: &Template, fallback: &Template) -> bool {
    let (own, other) = (&template.manifest, &fallback.manifest);
    (own.lane, &own.category, own.despite_complaint) == (other.lane, &other.category, other.despite_complaint)
}

/// What is wrong with the fallbacks, by name and version of the template that has them.
pub(crate) fn check(versions: &Versions) -> Vec<((String, u32), Finding)> {
    wrong(versions, versions.values().flat_map(BTreeMap::values))
}

/// The same of the newest version of each name: older ones only render what was accepted with them.
pub(crate) fn check_newest(versions: &Versions) -> Vec<((String, u32), Finding)> {
    let newest = versions.values().filter_map(|all| all.values().next_back());
    wrong(versions, newest)
}

fn wrong<'a>(
    versions: &Versions,
    templates: impl Iterator<Item = &'a Arc<Template>>,
) -> Vec<((String, u32), Finding)> {
    let wrong = templates.flat_map(|template| {
        let findings = match problem(versions, template) {
            Some(text) => vec![Finding::new(Rule::Fallback, MANIFEST, text)],
            None => unfit_examples(template, &chain(versions, template)),
        };
        let of = (template.manifest.name.clone(), template.manifest.version);
        findings.into_iter().map(move |finding| (of.clone(), finding))
    });
    wrong.collect()
}

fn problem(versions: &Versions, template: &Template) -> Option<String> {
    let chain = chain(versions, template);
    let last = chain.last().map_or(template, |last| last);
    if let Some(name) = &last.manifest.fallback {
        return Some(match newest(versions, name) {
            None => format!("the fallback `{name}` is not there"),
            Some(_) => format!("fallbacks lead to `{name}`: in a circle, or over more than {FALLBACKS_MAX}"),
        });
    }
    let other = chain.iter().find(|fallback| !goes_with(template, fallback))?;
    let name = &other.manifest.name;
    Some(format!(
        "the fallback `{name}` has another lane, category or despite_complaint"
    ))
}

/// What the template's own data shows already: its fallback would refuse it.
fn unfit_examples(template: &Template, chain: &[&Arc<Template>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fallback in chain {
        for example in &template.examples {
            for violation in fallback.validate(&example.data).err().unwrap_or_default() {
                let file = format!("{EXAMPLES}{}.json", example.name);
                let name = &fallback.manifest.name;
                let text = format!(
                    "does not fit the fallback `{name}`: {} {}",
                    violation.path, violation.description
                );
                findings.push(Finding::new(Rule::Fallback, file, text));
            }
        }
    }
    findings
}
