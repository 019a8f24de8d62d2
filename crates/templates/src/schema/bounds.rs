//! What a schema may cost, found out before it is compiled.

use std::collections::BTreeMap;

use serde_json::Value;

/// Objects and arrays within each other, references followed.
const DEPTH_MAX: usize = 64;
/// Values of the schema, each reference counted as what it refers to.
const VALUES_MAX: u64 = 5_000;
/// A pattern's share of them: some 60 patterns take all.
const PATTERN_VALUES: u64 = 80;

pub(super) const DEFINITION: &str = "#/$defs/";
/// Keywords that lead elsewhere in ways that are not followed here.
const REFUSED: &[&str] = &["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$anchor", "$id"];

/// Refuses a schema that leads out of its document, back to itself, or to too much work.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let mut sizes = Sizes {
        definitions: definitions
            .into_iter()
            .flatten()
            .map(|(name, definition)| (name.as_str(), definition))
            .collect(),
        known: BTreeMap::new(),
    };
    let values = sizes.of(schema, 0)?.values;
    if values > VALUES_MAX {
        return Err(format!(
            "has {values} parts, references counted as often as they are followed; at most {VALUES_MAX} are allowed"
        ));
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Size {
    values: u64,
    height: usize,
}

struct Sizes<'a> {
    definitions: BTreeMap<&'a str, &'a Value>,
    /// `None` while a definition is being measured: met again, it refers to itself.
    known: BTreeMap<&'a str, Option<Size>>,
}

impl<'a> Sizes<'a> {
    fn of(&mut self, value: &'a Value, depth: usize) -> Result<Size, String> {
        bound_depth(depth)?;
        let mut size = Size { values: 1, height: 0 };
        let mut add = |part: Size| {
            size.values = size.values.saturating_add(part.values);
            size.height = size.height.max(part.height + 1);
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    add(self.of(item, depth + 1)?);
                }
            }
            Value::Object(object) => {
                for (key, part) in object {
                    if REFUSED.contains(&key.as_str()) && part.is_string() {
                        return Err(format!("uses {key}; refer to {DEFINITION}NAME by $ref"));
                    }
                    add(match part {
                        Value::String(target) if key == "$ref" => self.of_reference(target, depth + 1)?,
                        _ => self.of(part, depth + 1)?,
                    });
                    add(Size {
                        values: PATTERN_VALUES.saturating_mul(patterns(key, part)),
                        height: 0,
                    });
                }
            }
            _ => {}
        }
        Ok(size)
    }

    fn of_reference(&mut self, target: &str, depth: usize) -> Result<Size, String> {
        let definition = target
            .strip_prefix(DEFINITION)
            .and_then(|name| self.definitions.get_key_value(name));
        let Some((&name, &definition)) = definition else {
            return Err(format!(
                "a $ref must be {DEFINITION}NAME with a NAME that is there"
            ));
        };
        match self.known.get(name) {
            Some(Some(size)) => {
                bound_depth(depth + size.height)?;
                Ok(*size)
            }
            Some(None) => Err(format!("the definition {name} refers to itself")),
            None => {
                self.known.insert(name, None);
                let size = self.of(definition, depth + 1)?;
                self.known.insert(name, Some(size));
                Ok(size)
            }
        }
    }
}

/// The patterns that a keyword and its value are.
fn patterns(key: &str, value: &Value) -> u64 {
    match (key, value) {
        ("pattern", Value::String(_)) => 1,
        ("patternProperties", Value::Object(patterns)) => patterns.len() as u64,
        _ => 0,
    }
}

fn bound_depth(depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!(
            "has more than {DEPTH_MAX} objects and arrays within each other"
        ));
    }
    Ok(())
}
