//! Which places a schema speaks of, for the check of a template's variables.
//!
//! A field counts as known if any part of the schema that may apply names it. An object that names fields has no others, even
//! where `additionalProperties` is left out: a template that prints one is most likely a misspelling. Where a schema says
//! nothing of what is inside (`{"type": "object"}`, or the shorthand's `object` and `array`), everything may be there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::engine::Step;

/// Keywords whose schemas apply, or may apply, to the same value.
const SAME_VALUE: &[&str] = &["allOf", "anyOf", "oneOf", "if", "then", "else"];
/// Keywords that say what is inside of a value.
const INSIDE: &[&str] = &[
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
];

/// A schema that is known to be within its bounds, so that every reference ends.
pub(crate) struct Shape {
    root: Value,
}

impl Shape {
    pub(super) const fn new(root: Value) -> Self {
        Self { root }
    }

    /// True if the schema knows the place, or says nothing of what is there.
    pub(crate) fn knows(&self, place: &[Step]) -> bool {
        let mut here = self.applying(&self.root);
        for (depth, step) in place.iter().enumerate() {
            // Of the data itself at least the names of its fields must be told.
            if depth > 0 && here.iter().all(|schema| says_nothing(schema)) {
                return true;
            }
            let mut inside = Vec::new();
            for schema in &here {
                match into(schema, step) {
                    Inside::Anything => return true,
                    Inside::Schemas(schemas) => {
                        inside.extend(schemas.into_iter().flat_map(|schema| self.applying(schema)));
                    }
                }
            }
            if inside.is_empty() {
                return false;
            }
            here = inside;
        }
        true
    }

    /// The places that every valid payload has, lists' items included: what is required under any circumstances.
    pub(crate) fn required(&self) -> Vec<Vec<Step>> {
        let mut found = Vec::new();
        self.required_in(&self.root, &mut Vec::new(), &mut found);
        found.sort_by_key(|place| path(place));
        found.dedup();
        found
    }

    fn required_in(&self, schema: &Value, at: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
        let Some(object) = schema.as_object() else {
            return;
        };
        if let Some(target) = self.target(object) {
            self.required_in(target, at, found);
        }
        for part in array(object, "allOf") {
            self.required_in(part, at, found);
        }
        let names: BTreeSet<&str> = array(object, "required")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for name in names {
            at.push(Step::Field(name.to_owned()));
            found.push(at.clone());
            if let Some(inner) = object.get("properties").and_then(|fields| fields.get(name)) {
                self.required_in(inner, at, found);
            }
            at.pop();
        }
        if let Some(items) = object.get("items") {
            at.push(Step::Item);
            self.required_in(items, at, found);
            at.pop();
        }
    }

    /// The schema, and all others that apply to the same value.
    fn applying<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![schema];
        if let Some(object) = schema.as_object() {
            let target = self.target(object);
            let parts = SAME_VALUE.iter().filter_map(|key| object.get(*key));
            let parts = parts.flat_map(|part| match part {
                Value::Array(parts) => parts.iter().collect(),
                part => vec![part],
            });
            for part in target.into_iter().chain(parts) {
                found.extend(self.applying(part));
            }
        }
        found
    }

    /// What `$ref` refers to.
    fn target(&self, schema: &Map<String, Value>) -> Option<&Value> {
        let name = schema
            .get("$ref")?
            .as_str()?
            .strip_prefix(super::bounds::DEFINITION)?;
        self.root.get("$defs")?.get(name)
    }
}

enum Inside<'a> {
    Schemas(Vec<&'a Value>),
    /// The schema allows whatever there is.
    Anything,
}

/// What the schema alone says of that step.
fn into<'a>(schema: &'a Value, step: &Step) -> Inside<'a> {
    let Some(object) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Inside::Anything,
            _ => Inside::Schemas(Vec::new()),
        };
    };
    let properties = object.get("properties").and_then(Value::as_object);
    let mut schemas = Vec::new();
    match step {
        Step::Field(name) => {
            schemas.extend(properties.and_then(|fields| fields.get(name)));
            if let Ok(number) = name.parse::<usize>() {
                schemas.extend(
                    array(object, "prefixItems")
                        .get(number)
                        .or_else(|| object.get("items")),
                );
            }
        }
        Step::Item => {
            schemas.extend(array(object, "prefixItems"));
            schemas.extend(object.get("items"));
            schemas.extend(properties.into_iter().flat_map(Map::values));
        }
    }
    if schemas.is_empty() || step == &Step::Item {
        // The names that a pattern fits are known when there is data.
        if object.contains_key("patternProperties") {
            return Inside::Anything;
        }
        match object.get("additionalProperties") {
            Some(Value::Bool(true)) => return Inside::Anything,
            other => schemas.extend(other.filter(|schema| schema.is_object())),
        }
    }
    Inside::Schemas(schemas)
}

/// True of a schema that does not say what is inside, of a value that may have something inside.
fn says_nothing(schema: &Value) -> bool {
    let Some(object) = schema.as_object() else {
        return schema == &Value::Bool(true);
    };
    let holds = |kind: &Value| kind == "object" || kind == "array";
    let may_hold = match object.get("type") {
        None => !object.contains_key("enum") && !object.contains_key("const"),
        Some(Value::Array(kinds)) => kinds.iter().any(holds),
        Some(kind) => holds(kind),
    };
    may_hold && !INSIDE.iter().any(|key| object.contains_key(*key))
}

fn array<'a>(object: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// For people: `order.items[].price`.
pub(crate) fn path(place: &[Step]) -> String {
    let mut text = String::new();
    for step in place {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item => text.push_str("[]"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Shape, path};
    use crate::engine::Step;

    fn shape() -> Shape {
        Shape::new(json!({
            "type": "object",
            "required": ["name", "order"],
            "properties": {
                "name": { "type": "string" },
                "free": { "type": "object" },
                "any": true,
                "order": { "$ref": "#/$defs/order" },
                "by_name": { "type": "object", "additionalProperties": { "$ref": "#/$defs/item" } },
                "open": { "type": "object", "properties": { "a": {} }, "additionalProperties": true },
                "odd": { "patternProperties": { "^x": { "type": "string" } } },
                "pair": { "prefixItems": [{ "properties": { "first": {} } }, { "properties": { "second": {} } }], "items": false }
            },
            "if": { "properties": { "name": { "const": "x" } } },
            "then": { "properties": { "only_then": { "type": "string" } } },
            "$defs": {
                "order": {
                    "allOf": [{ "required": ["total"], "properties": { "total": { "type": "number" } } }],
                    "required": ["items"],
                    "properties": { "items": { "type": "array", "items": { "$ref": "#/$defs/item" } } }
                },
                "item": {
                    "required": ["price"],
                    "properties": { "price": { "type": "number" }, "note": { "type": ["string", "null"] } },
                    "anyOf": [{ "properties": { "sku": {} } }, { "properties": { "ean": {} } }]
                }
            }
        }))
    }

    /// `order.items[].price`, with `[]` for any item.
    fn place(text: &str) -> Vec<Step> {
        let parts = text.split('.').flat_map(|part| {
            let name = part.trim_end_matches("[]");
            let items = (part.len() - name.len()) / 2;
            std::iter::once(Step::Field(name.to_owned())).chain(std::iter::repeat_n(Step::Item, items))
        });
        parts.collect()
    }

    #[test]
    fn what_any_part_names_is_known() {
        for known in [
            "name",
            "order.total",
            "order.items[].price",
            "order.items.0.price",
            "order.items[].sku",
            "order.items[].ean",
            "only_then",
            "free.whatever.there",
            "free[].x",
            "any.x.y",
            "by_name.key.price",
            "by_name[].price",
            "open.b.c",
            "odd.x1",
            "pair.0.first",
            "pair.1.second",
            "pair[].second",
        ] {
            assert!(shape().knows(&place(known)), "{known}");
        }
        assert!(shape().knows(&[]), "the data itself");
    }

    #[test]
    fn what_no_part_names_is_not() {
        for unknown in [
            "nam",
            "name.first",
            "name[].x",
            "order.totals",
            "order.total.net",
            "order.items.price",
            "order.items[].prices",
            "order.items[].note.x",
            "by_name.key.prices",
            "pair.0.second",
            "pair.2.first",
        ] {
            assert!(!shape().knows(&place(unknown)), "{unknown}");
        }
        assert!(
            !Shape::new(json!({})).knows(&place("name")),
            "the data's own fields must be told"
        );
        assert!(!Shape::new(json!({"type": "object"})).knows(&place("name")));
        assert!(Shape::new(Value::Bool(true)).knows(&place("name")));
    }

    #[test]
    fn required_places_are_those_of_every_payload() {
        let found: Vec<_> = shape().required().iter().map(|place| path(place)).collect();
        assert_eq!(
            found,
            [
                "name",
                "order",
                "order.items",
                "order.items[].price",
                "order.total"
            ]
        );
    }
}
