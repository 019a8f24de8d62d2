//! The path to a place in a payload, for errors.
//!
//! A path is built from the inside out while an error travels up, so that a payload without errors pays nothing. Names
//! come from the caller and may be anything: control characters are replaced and lengths are bounded.

/// The characters of one name that are shown.
const NAME_CHARS_MAX: usize = 40;
/// The characters of a path that are shown.
const PATH_CHARS_MAX: usize = 240;
/// Stands for what was cut.
const CUT: char = '…';

/// One step down.
#[derive(Debug)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// Writes `steps`, the innermost first, as `order.items[3].price`.
pub(super) fn write(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps.iter().rev() {
        match step {
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&shown(name));
            }
        }
    }
    cut(path, PATH_CHARS_MAX)
}

/// A name as it is: quoted where it would not read as one step.
fn shown(name: &str) -> String {
    let clean = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let text = cut(name.chars().map(clean).collect(), NAME_CHARS_MAX);
    let plain = |c: char| !matches!(c, '.' | '[' | ']' | '"') && !c.is_whitespace();
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("\"{text}\"")
    }
}

fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some((end, _)) => text[..end].chars().chain([CUT]).collect(),
    }
}
