//! Schemas: the shorthand, paths without values, and schemas that mean harm.

use serde_json::{Value, json};

use super::Schema;

fn schema(value: &Value) -> Schema {
    Schema::parse(value.to_string().as_bytes()).unwrap_or_else(|problem| panic!("{value}: {problem}"))
}

fn check(schema: &Schema, data: &Value, expected: &[(&str, &str)]) {
    let found = schema.validate(data).err().unwrap_or_default();
    let mut found: Vec<_> = found
        .iter()
        .map(|violation| (violation.path.as_str(), violation.description.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{data}");
}

#[test]
fn violations_name_the_path_and_the_rule() {
    let schema = schema(&json!({
        "type": "object",
        "required": ["name", "order"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 5 },
            "order": {
                "type": "object",
                "required": ["total"],
                "properties": {
                    "total": { "type": "number", "minimum": 0 },
                    "items": { "type": "array", "items": { "$ref": "#/$defs/item" } }
                }
            }
        },
        "$defs": { "item": { "type": "object", "required": ["price"], "properties": { "price": { "type": ["number", "null"] } } } }
    }));
    check(
        &schema,
        &json!({"name": "Ada", "order": {"total": 1.5, "items": [{"price": 2}, {"price": null}]}}),
        &[],
    );
    check(
        &schema,
        &json!({"name": "Ada", "order": {}}),
        &[("data.order.total", "is missing")],
    );
    check(
        &schema,
        &json!({"name": "", "order": {"total": -1, "items": [{"price": 1}, {}, {"price": "free"}]}}),
        &[
            ("data.name", "must have at least 1 characters"),
            ("data.order.items[1].price", "is missing"),
            ("data.order.items[2].price", "must be of type null or number"),
            ("data.order.total", "must be at least 0"),
        ],
    );
    check(
        &schema,
        &json!({"name": 7, "order": {"total": 1}, "extra": 1}),
        &[
            ("data.extra", "is not a field of this template"),
            ("data.name", "must be of type string"),
        ],
    );
}

#[test]
fn no_value_is_ever_told() {
    let schema = schema(&json!({
        "properties": {
            "a": { "type": "number" }, "b": { "enum": ["x"] }, "c": { "pattern": "^x$" }, "d": { "const": 1 },
            "e": { "anyOf": [{ "type": "number" }, { "maxLength": 2 }] }, "f": { "not": { "type": "string" } },
            "g": { "contains": { "type": "number" } }, "h": { "propertyNames": { "maxLength": 3 } }, "i": false,
            "j": { "oneOf": [{}, {}] }, "k": { "uniqueItems": true }, "l": { "multipleOf": 7 }
        }
    }));
    let secret = "ada@example.com";
    let violations = schema
        .validate(&json!({
            "a": secret, "b": secret, "c": secret, "d": secret, "e": secret, "f": secret, "g": [secret],
            "h": { secret: 1 }, "i": secret, "j": secret, "k": [secret, secret], "l": 123_457
        }))
        .expect_err("none of it fits");
    assert_eq!(violations.len(), 12);
    for violation in violations {
        let text = format!("{violation:?}");
        assert!(!text.contains("ada@") && !text.contains("123"), "{text}");
    }
}

#[test]
fn the_shorthand_is_a_schema() {
    let schema = schema(&json!({"name": "string", "total": "number", "note": "string?", "type": "integer"}));
    check(
        &schema,
        &json!({"name": "Ada", "total": 1.5, "type": 1, "utm_source": "x"}),
        &[],
    );
    check(
        &schema,
        &json!({"name": null, "note": 1, "type": 1.5}),
        &[
            ("data.name", "must be of type string"),
            ("data.note", "must be of type string"),
            ("data.total", "is missing"),
            ("data.type", "must be of type integer"),
        ],
    );
    check(
        &self::schema(&json!({"type": "object"})),
        &json!({"anything": 1}),
        &[],
    );
}

#[test]
fn violations_are_bounded() {
    let schema = schema(&json!({
        "items": { "type": "string" }, "properties": { "known": {} }, "additionalProperties": false
    }));
    let many = schema.validate(&json!(vec![1; 10_000])).expect_err("all of them");
    assert_eq!(many.len(), 32);
    let object: serde_json::Map<_, _> = (0..1_000)
        .map(|n| (format!("{n}{}", "x".repeat(500)), json!(1)))
        .collect();
    let many = schema.validate(&Value::Object(object)).expect_err("all of them");
    assert_eq!(many.len(), 32);
    assert!(
        many.iter().all(|violation| violation.path.len() < 100),
        "{many:?}"
    );
}

#[test]
fn schemas_that_mean_harm_are_refused() {
    let doubling: serde_json::Map<_, _> = (0..40)
        .map(|n| {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            (format!("d{n}"), json!({ "allOf": [next.clone(), next] }))
        })
        .chain([("d40".to_owned(), json!({}))])
        .collect();
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({ "not": deep });
    }
    for (schema, expected) in [
        (json!({ "$ref": "#" }), "$ref"),
        (json!({ "allOf": [{ "$ref": "#" }] }), "$ref"),
        (
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/a" }] } } }),
            "itself",
        ),
        (
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
            "itself",
        ),
        (json!({ "$ref": "https://example.com/schema.json" }), "$ref"),
        (json!({ "$ref": "file:///etc/passwd" }), "$ref"),
        (json!({ "$dynamicRef": "#x", "$dynamicAnchor": "x" }), "$dynamic"),
        (
            json!({ "$ref": "#/$defs/d0", "$defs": doubling }),
            "within each other",
        ),
        (deep, "within each other"),
        (
            json!({ "properties": { "a": { "type": "strin" } } }),
            "JSON Schema",
        ),
        (json!([]), "object"),
    ] {
        let problem = Schema::parse(schema.to_string().as_bytes()).err();
        let problem = problem.unwrap_or_else(|| panic!("{schema} was taken"));
        assert!(problem.contains(expected), "{schema}: {problem}");
    }
    let fan: serde_json::Map<_, _> = (0..12)
        .map(|n| {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            (format!("d{n}"), json!({ "allOf": [next.clone(), next] }))
        })
        .chain([("d12".to_owned(), json!({}))])
        .collect();
    let schema = json!({ "$ref": "#/$defs/d0", "$defs": fan });
    assert!(
        Schema::parse(schema.to_string().as_bytes())
            .err()
            .expect("4,096 paths")
            .contains("parts")
    );
}

#[test]
fn a_pattern_that_would_backtrack_is_matched_at_once() {
    let schema = schema(&json!({ "properties": { "a": { "pattern": "^(a+)+$" } } }));
    check(
        &schema,
        &json!({ "a": format!("{}!", "a".repeat(50_000)) }),
        &[("data.a", "does not match the schema's pattern")],
    );
    let backreference = json!({ "properties": { "a": { "pattern": "(a)\\1" } } });
    assert!(Schema::parse(backreference.to_string().as_bytes()).is_err());
}

#[test]
fn a_name_that_may_be_a_persons_is_not_told() {
    let numbers =
        schema(&json!({"type": "object", "additionalProperties": {"type": "integer"}, "properties": {}}));
    check(
        &numbers,
        &json!({"ada@example.com": "x", "+4930123": "x", "total-2": "x"}),
        &[
            ("data.(a name of 15 characters)", "must be of type integer"),
            ("data.(a name of 7 characters)", "must be of type integer"),
            ("data.total-2", "must be of type integer"),
        ],
    );
    let closed = schema(&json!({"type": "object", "additionalProperties": false, "properties": {}}));
    check(
        &closed,
        &json!({"Ada Lovelace": 1}),
        &[(
            "data.(a name of 12 characters)",
            "is not a field of this template",
        )],
    );
}

#[test]
fn patterns_are_bounded_in_number_and_size() {
    let patterns = |count: usize, pattern: &str| {
        let fields = (0..count).map(|n| (format!("f{n}"), json!({ "type": "string", "pattern": pattern })));
        let fields: serde_json::Map<_, _> = fields.collect();
        Schema::parse(
            json!({ "type": "object", "properties": fields })
                .to_string()
                .as_bytes(),
        )
        .err()
    };
    assert_eq!(patterns(50, "^[a-z]{1,20}$"), None);
    let many = patterns(63, "^[a-z]$").unwrap_or_default();
    assert!(many.contains("at most 5000 are allowed"), "{many}");
    let large = patterns(1, "(\\p{L}{60}|xN)+").unwrap_or_default();
    assert!(large.contains("is no JSON Schema"), "{large}");
    let keys: serde_json::Map<_, _> = (0..63).map(|n| (format!("^{n}"), json!({}))).collect();
    let keys = Schema::parse(json!({ "patternProperties": keys }).to_string().as_bytes()).err();
    assert!(keys.unwrap_or_default().contains("at most 5000"));
}
