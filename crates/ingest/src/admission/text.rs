//! Rules for single texts.

/// True if the text could end a header's line: control characters, and the two separators that some readers take for one.
pub(super) fn breaks_a_line(text: &str) -> bool {
    text.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
}

/// What a provider's tag allows.
pub(super) fn is_tag_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// True for `min..=max` characters without control characters.
pub(super) fn is_line(text: &str, min: usize, max: usize) -> bool {
    // No need to count the characters of what is too long even if each took four bytes.
    text.len() <= max * 4 && (min..=max).contains(&text.chars().count()) && !breaks_a_line(text)
}
