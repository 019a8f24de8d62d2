//! Rules for single texts.

pub(super) use paceline_wire::text::{breaks_a_line, length_problem, line_problem};

/// What a provider's tag allows.
pub(super) fn is_tag_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What is wrong with a text that must be `1..=max` characters of `allowed`, if anything is.
pub(super) fn word_problem(
    text: &str,
    max: usize,
    allowed: &str,
    is_allowed: impl Fn(&str) -> bool,
) -> Option<String> {
    length_problem(text.chars().count(), 1, max, "characters")
        .or_else(|| (!is_allowed(text)).then(|| format!("has a character that is none of {allowed}")))
}
