//! A validator's error as paths and rules. The validator's own texts quote the value, which may be a person's.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;

use super::Violation;

/// A field's name is the caller's text: it is cut where it could flood an answer.
const NAME_CHARS_MAX: usize = 64;
/// One error can speak of any number of unexpected fields.
const FIELDS_MAX: usize = 32;

/// The violations that one error stands for.
pub(super) fn violations(error: &ValidationError<'_>) -> Vec<Violation> {
    let path = path_of(error);
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

fn path_of(error: &ValidationError<'_>) -> String {
    let mut path = "data".to_owned();
    for segment in error.instance_path() {
        match segment {
            LocationSegment::Property(name) => {
                path.push('.');
                path.push_str(&shown(&name));
            }
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

fn shown(name: &str) -> String {
    name.chars()
        .take(NAME_CHARS_MAX)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
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
