//! Data that would break the subject's line.
//!
//! A line break in a field is right in a body and wrong in a subject, and only rendering tells which fields the subject prints.
//! Nearly all data has no line break anywhere, so that looking for one is all that it costs; else the template is rendered,
//! once for each field that has one, and the field that breaks the subject is named while somebody is there to be told.

use paceline_domain::canonical::Data;
use paceline_domain::id::MessageId;
use paceline_templates::{RenderFault, RenderInput, Template};
use paceline_wire::status::InvalidFields;
use serde_json::{Map, Value};

use super::text::breaks_a_line;

/// Fields that are tried each for itself; of more, the message as a whole.
const FIELDS_MAX: usize = 4;
/// The characters of a field's name that are shown.
const NAME_CHARS_MAX: usize = 64;

/// Adds the fields by which the subject would be no single line.
pub(super) fn check(template: &Template, data: &Data, wrong: &mut InvalidFields) {
    let breaking: Vec<&String> = data
        .iter()
        .filter(|(_, value)| has_break(value))
        .map(|(name, _)| name)
        .collect();
    if breaking.is_empty() || !breaks_subject(template, Map::clone(data)) {
        return;
    }
    let problem = "has a line break or another control character, and the subject prints it";
    if breaking.len() > FIELDS_MAX {
        return wrong.add("data", problem);
    }
    for name in breaking {
        let mut alone = Map::clone(data);
        for (other, value) in &mut alone {
            if other != name {
                clean(value);
            }
        }
        if breaks_subject(template, alone) {
            wrong.add(format!("data.{}", shown(name)), problem);
        }
    }
    if wrong.is_empty() {
        wrong.add("data", problem);
    }
}

fn breaks_subject(template: &Template, data: Map<String, Value>) -> bool {
    let rendered = template.render(RenderInput {
        data,
        // Neither the id, the lane nor a link can break a line.
        message_id: MessageId([0; 16]),
        lane: template.manifest().lane,
        unsubscribe_url: template.sample_unsubscribe_url(template.manifest().lane),
    });
    rendered.is_err_and(|error| matches!(error.fault, RenderFault::SubjectNotOneLine))
}

fn has_break(value: &Value) -> bool {
    match value {
        Value::String(text) => breaks_a_line(text),
        Value::Array(items) => items.iter().any(has_break),
        Value::Object(fields) => fields.values().any(has_break),
        _ => false,
    }
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| !breaks_a_line(c.encode_utf8(&mut [0; 4]))),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        _ => {}
    }
}

fn shown(name: &str) -> String {
    let visible = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    name.chars().take(NAME_CHARS_MAX).map(visible).collect()
}
