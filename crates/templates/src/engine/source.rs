//! What Handlebars.js reads and the parser of the handlebars crate does not, said in words that both know.
//!
//! | written | parsed |
//! |---|---|
//! | `{{.}}`, `{{> card ..}}` | `{{this}}`, `{{> card ../this}}` |
//! | `{{"a b"}}` | `{{[a b]}}` |
//! | `{{^name}}` | `{{#name}}{{else}}` |
//! | white space, `{{~! a comment ~}}`, white space | a comment |
//!
//! Every line stays the line that it was. What is within raw blocks, comments, strings and brackets is left alone, and what is no tag at all is
//! left to the parser, with its errors.

/// A source as the parser takes it.
pub(super) fn bridge(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + source.len() / 16);
    let mut rest = source;
    while let Some(at) = rest.find("{{") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        rest = if before.ends_with('\\') && !before.ends_with("\\\\") {
            copy(tag, 2, &mut out)
        } else if tag.starts_with("{{{{") {
            copy(tag, raw_block_len(tag), &mut out)
        } else if let Some(comment) = Comment::of(tag) {
            comment.write(tag, &mut out)
        } else {
            match tag_len(tag) {
                Some(length) => {
                    let after = &tag[length..];
                    write_tag(&tag[2..length - 2], after, &mut out)
                }
                None => copy(tag, tag.len(), &mut out),
            }
        };
    }
    out.push_str(rest);
    out
}

fn copy<'a>(text: &'a str, length: usize, out: &mut String) -> &'a str {
    let (copied, rest) = text.split_at(length);
    out.push_str(copied);
    rest
}

fn raw_block_len(tag: &str) -> usize {
    let close = tag
        .find("{{{{/")
        .and_then(|close| Some(close + tag[close..].find("}}}}")? + 4));
    close.unwrap_or(tag.len())
}

/// A comment whose braces say that white space around it goes.
struct Comment {
    length: usize,
    trims_before: bool,
    trims_after: bool,
}

impl Comment {
    fn of(tag: &str) -> Option<Self> {
        let inside = &tag[2..];
        let trims_before = inside.starts_with('~');
        let text = inside.trim_start_matches('~').strip_prefix('!')?;
        let ends: &[&str] = if text.starts_with("--") {
            &["--}}", "--~}}"]
        } else {
            &["}}"]
        };
        let (at, end) = ends
            .iter()
            .filter_map(|end| Some((text.find(end)?, *end)))
            .min_by_key(|(at, _)| *at)?;
        let length = tag.len() - text.len() + at + end.len();
        let trims_after = tag[..length].ends_with("~}}");
        Some(Self {
            length,
            trims_before,
            trims_after,
        })
    }

    /// Of one that trims the lines are kept, and nothing else.
    fn write<'a>(&self, tag: &'a str, out: &mut String) -> &'a str {
        if !self.trims_before && !self.trims_after {
            return copy(tag, self.length, out);
        }
        let kept = if self.trims_before {
            out.trim_end().len()
        } else {
            out.len()
        };
        let mut trimmed = out.split_off(kept);
        let (comment, mut rest) = tag.split_at(self.length);
        trimmed.push_str(comment);
        if self.trims_after {
            let after = rest.trim_start();
            trimmed.push_str(&rest[..rest.len() - after.len()]);
            rest = after;
        }
        out.push_str("{{!");
        out.extend(trimmed.chars().filter(|char| *char == '\n'));
        out.push_str("}}");
        rest
    }
}

/// The length of a tag, its braces included. What is within quotes and brackets does not end it.
pub(crate) fn tag_len(tag: &str) -> Option<usize> {
    let mut closing = None;
    for (at, char) in tag.char_indices().skip(2) {
        match closing {
            Some(expected) if char == expected => closing = None,
            Some(_) => {}
            None if tag[at..].starts_with("}}") => {
                let triple = tag[at..].starts_with("}}}") && tag.starts_with("{{{");
                return Some(at + 2 + usize::from(triple));
            }
            None => closing = closing_of(char),
        }
    }
    None
}

const fn closing_of(char: char) -> Option<char> {
    match char {
        '"' | '\'' => Some(char),
        '[' => Some(']'),
        _ => None,
    }
}

/// Writes the tag around `inside`, and tells what is left of what comes `after` it.
fn write_tag<'a>(inside: &str, after: &'a str, out: &mut String) -> &'a str {
    let bare = inside.trim_matches('~');
    if let Some(name) = bare
        .strip_prefix('^')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        return write_inverted(name, inside, after, out);
    }
    let literal = bare.trim();
    out.push_str("{{");
    match literal.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
        Some(quote) if literal.len() > 2 && literal[1..].find(quote) == Some(literal.len() - 2) => {
            out.push_str(&inside.replacen(literal, &format!("[{}]", &literal[1..literal.len() - 1]), 1));
        }
        _ => write_params(inside, out),
    }
    out.push_str("}}");
    after
}

/// `{{^name}}`. Where it is alone on its line, that line is not written, but counted: within the tag.
fn write_inverted<'a>(name: &str, inside: &str, after: &'a str, out: &mut String) -> &'a str {
    let indented = out.trim_end_matches([' ', '\t']).len();
    let line_begins = indented == 0 || out[..indented].ends_with('\n');
    let next_line = after.find('\n').filter(|end| after[..*end].trim().is_empty());
    let (mut rest, mut line) = (after, "");
    if let Some(end) = next_line.filter(|_| line_begins && !inside.contains('~')) {
        out.truncate(indented);
        (rest, line) = (&after[end + 1..], "\n");
    }
    let before = if inside.starts_with('~') { "~" } else { "" };
    let behind = if inside.ends_with('~') { "~" } else { "" };
    out.push_str(&format!("{{{{{before}#{name}{line}}}}}{{{{else{behind}}}}}"));
    rest
}

/// Copies what is inside of a tag, with a word for each path that has only dots.
fn write_params(inside: &str, out: &mut String) {
    let mut closing = None;
    let mut rest = inside;
    let mut begins = true;
    while let Some(char) = rest.chars().next() {
        let dots = rest.find(|char| !matches!(char, '.' | '/')).unwrap_or(rest.len());
        let ends = rest[dots..]
            .chars()
            .next()
            .is_none_or(|char| char.is_whitespace() || matches!(char, ')' | '~' | '}'));
        if closing.is_none() && begins && rest[..dots].ends_with('.') && ends {
            out.push_str(if dots == 1 { "" } else { &rest[..dots] });
            out.push_str(if dots == 1 { "this" } else { "/this" });
            rest = &rest[dots..];
            begins = false;
            continue;
        }
        closing = match closing {
            Some(expected) => Some(expected).filter(|_| char != expected),
            None => closing_of(char),
        };
        begins = char.is_whitespace() || matches!(char, '(' | '=' | '~' | '#' | '>' | '&' | '{');
        rest = copy(rest, char.len_utf8(), out);
    }
}
