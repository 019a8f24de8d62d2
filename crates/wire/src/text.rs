//! Rules for single texts of requests.

/// True if the text could end a header's line: control characters, and the two separators that some readers take for one.
#[must_use]
pub fn breaks_a_line(text: &str) -> bool {
    text.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
}

/// What is wrong with the length of something that must have `min..=max` of `unit`, if anything is: how long it is, and how long
/// it may be.
#[must_use]
pub fn length_problem(length: usize, min: usize, max: usize, unit: &str) -> Option<String> {
    let is = match length {
        0 => "is empty".to_owned(),
        length => format!("is {length} {unit} long"),
    };
    (!(min..=max).contains(&length)).then(|| format!("{is}, at least {min} and at most {max}"))
}

/// What is wrong with a text that must be one line of `min..=max` characters, if anything is.
#[must_use]
pub fn line_problem(text: &str, min: usize, max: usize) -> Option<String> {
    length_problem(text.chars().count(), min, max, "characters")
        .or_else(|| breaks_a_line(text).then(|| "has a control character or a line separator".to_owned()))
}
