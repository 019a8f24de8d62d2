//! `schema.json`: what a template's data must look like.
//!
//! JSON Schema 2020-12, or the shorthand: an object whose values are all names of types, `{"name": "string", "total": "number",
//! "note": "string?"}`; a question mark makes a field optional. Violations name the field's path (`data.order.total`) and
//! the rule, never a value.
//!
//! A schema is bounded like a template. References stay within the document and must not lead back to themselves (a
//! validator follows such a circle until its stack ends), they count as often as they are followed (ten definitions that
//! each refer twice to the next are a thousand), and patterns are matched without backtracking.

mod bounds;
mod describe;
mod shape;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

pub(crate) use shape::{Shape, path};

/// How many violations are told of one payload.
const VIOLATIONS_MAX: usize = 32;

/// What a compiled pattern takes of memory, in bytes, and what matching it may take on top.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// The types that the shorthand knows.
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// A field of the data that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as `data.order.items[3].price`.
    pub path: String,
    /// The rule that it broke, without the value.
    pub description: String,
}

/// A compiled schema.
pub(crate) struct Schema {
    validator: Validator,
    /// The top-level fields that it describes itself, not by reference.
    pub(crate) fields: Vec<String>,
}

impl Schema {
    /// Reads a `schema.json`; on failure, what is wrong with it.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        let schema = read(content)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(PATTERN_BYTES_MAX)
                    .dfa_size_limit(PATTERN_BYTES_MAX),
            )
            .build(&schema)
            .map_err(|error| {
                format!(
                    "is no JSON Schema (2020-12): {}: {}",
                    error.instance_path(),
                    error.masked()
                )
            })?;
        let fields = schema.get("properties").and_then(Value::as_object);
        let fields = fields.map(|fields| fields.keys().cloned().collect());
        Ok(Self {
            validator,
            fields: fields.unwrap_or_default(),
        })
    }

    /// Everything that does not fit, up to a bound.
    pub(crate) fn validate(&self, data: &Value) -> Result<(), Vec<Violation>> {
        if self.validator.is_valid(data) {
            return Ok(());
        }
        let mut violations: Vec<_> = self
            .validator
            .iter_errors(data)
            .flat_map(|error| describe::violations(&error, data))
            .take(VIOLATIONS_MAX)
            .collect();
        if violations.is_empty() {
            violations.push(Violation {
                path: "data".to_owned(),
                description: "does not fit the schema".to_owned(),
            });
        }
        Err(violations)
    }
}

/// What a `schema.json` says of the places of its data.
///
/// # Errors
/// As [`Schema::parse`], but for what makes it no JSON Schema.
pub(crate) fn shape(content: &[u8]) -> Result<Shape, String> {
    read(content).map(Shape::new)
}

/// The JSON Schema that the file is, or stands for, within its bounds.
fn read(content: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(content).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err("must be a JSON object".to_owned());
    };
    let schema = if is_shorthand(&object) {
        from_shorthand(&object)
    } else {
        Value::Object(object)
    };
    bounds::check(&schema)?;
    Ok(schema)
}

/// True if all values are names of types. `{"type": "object"}` alone is taken for what it is in JSON Schema.
fn is_shorthand(object: &Map<String, Value>) -> bool {
    let alone = object.len() == 1 && object.contains_key("type");
    !alone && object.values().all(|value| type_of(value).is_some())
}

/// The type that a value of the shorthand names, and whether the field is required.
fn type_of(value: &Value) -> Option<(&str, bool)> {
    let text = value.as_str()?;
    let name = text.strip_suffix('?').unwrap_or(text);
    TYPES.contains(&name).then_some((name, name == text))
}

fn from_shorthand(object: &Map<String, Value>) -> Value {
    let fields = || {
        object
            .iter()
            .filter_map(|(name, value)| Some((name, type_of(value)?)))
    };
    let properties: Map<_, _> = fields()
        .map(|(name, (kind, _))| (name.clone(), json!({ "type": kind })))
        .collect();
    let required: Vec<_> = fields()
        .filter(|(_, (_, required))| *required)
        .map(|(name, _)| name)
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

#[cfg(test)]
mod tests;
