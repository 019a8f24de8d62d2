//! Variables against the schema: what is used must be there, what must be there should be used.

use std::collections::{BTreeMap, BTreeSet};

use paceline_domain::canonical::RESERVED_NAME;
use paceline_domain::identity::FieldRule;

use crate::engine::{Step, Use};
use crate::finding::{Finding, Rule};
use crate::reader::{MANIFEST, SCHEMA};
use crate::schema::{Shape, path};
use crate::template::{OWN_VALUES, Template};

pub(super) fn check(template: &Template, shape: &Shape, schema: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut uses = Vec::new();
    for source in template.sources() {
        let used = source.uses();
        findings.extend(unknown(&used, source.file, shape));
        uses.extend(used);
    }
    findings.extend(unused(&uses, shape, &String::from_utf8_lossy(schema)));
    findings.extend(identity(template, shape));
    findings
}

/// What is used and not there, once for each place and line.
pub(super) fn unknown<'u>(uses: &'u [Use], file: &str, shape: &Shape) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    // To ask a schema of thousands of parts takes a while, and most places are used more than once.
    let mut asked: BTreeMap<&[Step], bool> = BTreeMap::new();
    for used in uses {
        let mut is_known = |place: &'u Vec<Step>| match place.first() {
            Some(Step::Field(name)) if name == RESERVED_NAME => is_own(place),
            _ => *asked.entry(place).or_insert_with(|| shape.knows(place)),
        };
        let known = used.places.iter().any(&mut is_known);
        let place = path(&used.places[0]);
        if known || !told.insert((used.line, place.clone())) {
            continue;
        }
        let text = if place == used.written {
            format!("`{place}` is not a field of the schema")
        } else {
            format!(
                "`{}` is `{place}`, which is not a field of the schema",
                used.written
            )
        };
        findings.push(Finding::new(Rule::UnknownVariable, file, text).at(used.line));
    }
    findings
}

/// True of what Paceline itself says to a template.
fn is_own(place: &[Step]) -> bool {
    match place {
        [_] => true,
        [_, Step::Field(name)] => OWN_VALUES.contains(&name.as_str()),
        _ => false,
    }
}

/// Required fields that nothing uses; of such a field's own fields none is told as well.
fn unused(uses: &[Use], shape: &Shape, schema: &str) -> Vec<Finding> {
    let mut told: Vec<Vec<Step>> = Vec::new();
    for place in shape.required() {
        let inside_told = told.iter().any(|outer| place.starts_with(outer));
        if !inside_told && !uses.iter().any(|used| covers(used, &place)) {
            told.push(place);
        }
    }
    let finding = |place: &Vec<Step>| {
        let text = format!(
            "`{}` is required, but neither subject nor body use it",
            path(place)
        );
        Finding::new(Rule::UnusedField, SCHEMA, text).at(line_of(place, schema))
    };
    told.iter().map(finding).collect()
}

/// True if what is used is the place, is inside of it, or may be it.
fn covers(used: &Use, place: &[Step]) -> bool {
    let fits = |(used, wanted): (&Step, &Step)| used == wanted || used == &Step::Item;
    let is_along = |at: &Vec<Step>| {
        let along = at.iter().zip(place).all(fits);
        along && (at.len() >= place.len() || used.whole)
    };
    used.places.iter().any(is_along)
}

/// The line of the schema where the field's name stands first.
fn line_of(place: &[Step], schema: &str) -> Option<usize> {
    let Some(Step::Field(name)) = place.last() else {
        return None;
    };
    let quoted = format!("\"{name}\"");
    schema
        .lines()
        .position(|line| line.contains(&quoted))
        .map(|index| index + 1)
}

/// Fields that make a message what it is must be there.
fn identity(template: &Template, shape: &Shape) -> Vec<Finding> {
    let fields = &template.manifest.identity_fields;
    let unknown = |name: &&str| {
        fields.rule(name) == FieldRule::Allowed && !shape.knows(&[Step::Field((*name).to_owned())])
    };
    let finding = |name: &str| {
        let text = format!("`identity` names `{name}`, which is not a field of the schema");
        Finding::new(Rule::IdentityUnknown, MANIFEST, text)
    };
    fields.listed().filter(unknown).map(finding).collect()
}
