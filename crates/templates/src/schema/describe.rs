//! A validator's error as paths and rules. The validator's own texts quote the value, which may be a person's.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use serde_json::Value;

use super::Violation;

/// A field's name is the caller's text: it is cut where it could flood an answer.
const NAME_CHARS_MAX: usize = 64;
/// One error can speak of any number of unexpected fields.
const FIELDS_MAX: usize = 32;

/// The violations that one error stands for.
pub(super) fn violations(error: &ValidationError<'_>, data: &Value) -> Vec<Violation> {
    let path = path_of(error, data);
    let of_field = |name: &str, description: &str| Violation {
        path: format!("{path}.{}", shown(name)),
        description: description.to_owned(),
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![of_field(property.as_str().unwrap_or_default(), "is missing")]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .take(FIELDS_MAX)
            .map(|name| of_field(name, "is not a field of this template"))
            .collect(),
        kind => vec![Violation {
            path,
            description: describe(kind),
        }],
    }
}

fn path_of(error: &ValidationError<'_>, data: &Value) -> String {
    let mut path = "data".to_owned();
    let mut here = Some(data);
    for segment in error.instance_path() {
        let name = match segment {
            LocationSegment::Property(name) => name.into_owned(),
            LocationSegment::Index(index) => index.to_string(),
        };
        // An object's name of digits alone, such as a telephone number, is given as an index, too.
        here = match here {
            Some(Value::Array(items)) => {
                path.push_str(&format!("[{name}]"));
                name.parse().ok().and_then(|index: usize| items.get(index))
            }
            other => {
                path.push('.');
                path.push_str(&shown(&name));
                other.and_then(|object| object.get(&name))
            }
        };
    }
    path
}

/// A name as it is, if it is one that people give to fields. Any other may be a person's: an address or a number as a key.
fn shown(name: &str) -> String {
    let mut chars = name.chars();
    let begins = chars
        .next()
        .is_some_and(|char| char.is_ascii_alphabetic() || char == '_');
    if begins && chars.all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-')) {
        name.chars().take(NAME_CHARS_MAX).collect()
    } else {
        format!("(a name of {} characters)", name.chars().count())
    }
}

/// The rule, in the schema's own terms: its limits are the template author's.
fn describe(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Type { kind } => match kind {
            TypeKind::Single(expected) => format!("must be of type {expected}"),
            TypeKind::Multiple(expected) => {
                let names: Vec<_> = expected.iter().map(|name| name.to_string()).collect();
                format!("must be of type {}", names.join(" or "))
            }
        },
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::Format { format } => format!("must be of format {format}"),
        ValidationErrorKind::Pattern { .. } => "does not match the schema's pattern".to_owned(),
        ValidationErrorKind::Enum { .. } => "is none of the values that the schema lists".to_owned(),
        ValidationErrorKind::FalseSchema => "must not be there".to_owned(),
        ValidationErrorKind::UniqueItems => "has an item twice".to_owned(),
        kind => format!("breaks the schema's rule `{}`", kind.keyword()),
    }
}
