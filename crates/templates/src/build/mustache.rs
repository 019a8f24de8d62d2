//! The tags of a source, by their text alone: enough to step over them and to know which block each belongs to.
//!
//! The engine's parser keeps no places in the text, so what it takes for one is here again. A source that this does not understand
//! is left as it is: compiling it says what is wrong.

use std::ops::Range;

use crate::engine::{TAGS_MAX, tag_len};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Prints, escaped.
    Value,
    /// Prints html as it is.
    Raw,
    /// Prints nothing: a comment, or a decorator.
    Nothing,
    /// What is escaped by a backslash, or stands in a raw block: text.
    Literal,
    Open,
    Else,
    Close,
    Partial,
    /// `{{#> layout}}`
    Layout,
    /// `{{#*inline "name"}}`
    Inline,
}

/// A tag.
#[derive(Clone, Debug)]
pub(super) struct Mustache {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    /// Of a partial, layout or inline partial.
    pub(super) name: String,
    /// True if a partial is given a value, or several.
    pub(super) is_given: bool,
    /// The index of the tag that closes what this one opens.
    pub(super) close: Option<usize>,
}

/// All tags in order; `None` if they are not understood, or more than the engine takes.
pub(super) fn scan(source: &str) -> Option<Vec<Mustache>> {
    let mut tags = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(found) = source[at..].find("{{") {
        let mut begin = at + found;
        let before = &source[at..begin];
        let rest = &source[begin..];
        let (kind, length) = if before.ends_with('\\') && !before.ends_with("\\\\") {
            begin -= 1;
            // What follows up to the next tag is text; the braces need not close.
            (Kind::Literal, 3)
        } else if rest.starts_with("{{{{") {
            (Kind::Literal, raw_block_len(rest)?)
        } else {
            let length = comment_len(rest).or_else(|| tag_len(rest))?;
            (kind_of(&rest[2..length - 2]), length)
        };
        if tags.len() == TAGS_MAX {
            return None;
        }
        let range = begin..begin + length;
        let (name, is_given) = name_of(kind, &source[range.clone()]);
        tags.push(Mustache {
            range: range.clone(),
            kind,
            name,
            is_given,
            close: None,
        });
        match kind {
            Kind::Open | Kind::Layout | Kind::Inline => open.push(tags.len() - 1),
            Kind::Close => {
                let opened = open.pop()?;
                tags[opened].close = Some(tags.len() - 1);
            }
            Kind::Else if open.is_empty() => return None,
            _ => {}
        }
        at = range.end;
    }
    open.is_empty().then_some(tags)
}

fn kind_of(inside: &str) -> Kind {
    let bare = inside.trim_matches('~').trim_start();
    let mut chars = bare.chars();
    match (chars.next(), chars.next()) {
        (Some('!' | '*'), _) => Kind::Nothing,
        (Some('{' | '&'), _) => Kind::Raw,
        (Some('#'), Some('>')) => Kind::Layout,
        (Some('#'), Some('*')) => Kind::Inline,
        (Some('#'), _) => Kind::Open,
        (Some('/'), _) => Kind::Close,
        (Some('>'), _) => Kind::Partial,
        (Some('^'), _) if bare[1..].trim().is_empty() => Kind::Else,
        (Some('^'), _) => Kind::Open,
        _ if bare.trim() == "else" || bare.starts_with("else ") => Kind::Else,
        _ => Kind::Value,
    }
}

/// The name of a partial, and whether there is more than that.
fn name_of(kind: Kind, tag: &str) -> (String, bool) {
    let marks: &[char] = match kind {
        Kind::Partial => &['{', '~', '>', ' ', '\n', '\t', '\r'],
        Kind::Layout => &['{', '~', '#', '>', ' ', '\n', '\t', '\r'],
        Kind::Inline => &['{', '~', '#', '*', ' ', '\n', '\t', '\r'],
        _ => return (String::new(), false),
    };
    let bare = tag
        .trim_start_matches(marks)
        .trim_end_matches(['}', '~', ' ', '\n', '\t', '\r']);
    let bare = match kind {
        Kind::Inline => bare.strip_prefix("inline").unwrap_or_default().trim_start(),
        _ => bare,
    };
    let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
    let name = bare[..end].trim_matches(['"', '\'', '[', ']']);
    (name.to_owned(), end < bare.len())
}

fn raw_block_len(tag: &str) -> Option<usize> {
    let close = tag.find("{{{{/")?;
    Some(close + tag[close..].find("}}}}")? + 4)
}

fn comment_len(tag: &str) -> Option<usize> {
    let inside = tag[2..].trim_start_matches('~');
    let text = inside.strip_prefix('!')?;
    let ends: &[&str] = if text.starts_with("--") {
        &["--}}", "--~}}"]
    } else {
        &["}}"]
    };
    let found = ends.iter().filter_map(|end| Some((text.find(end)?, end.len())));
    let (at, length) = found.min()?;
    Some(tag.len() - text.len() + at + length)
}

/// The line, from 1, of a place in a text.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::{Kind, TAGS_MAX, scan};

    #[test]
    fn tags_end_where_the_engine_ends_them() {
        let source = "a{{b}}{{{c}}}{{!-- }} --}}{{~#if (eq x \"}}\")~}}\\{{d}}{{else if y}}{{^}}{{/if}}{{&e}}{{> f}}\
                      {{#> g x=1}}{{/g}}{{#*inline \"h\"}}{{/inline}}{{^i}}{{/i}}{{{{raw}}}}{{z}}{{{{/raw}}}}{{> [j] k}}";
        let tags = scan(source).expect("understood");
        let found: Vec<_> = tags
            .iter()
            .map(|tag| (&source[tag.range.clone()], tag.kind, tag.name.as_str()))
            .collect();
        let expected = [
            ("{{b}}", Kind::Value, ""),
            ("{{{c}}}", Kind::Raw, ""),
            ("{{!-- }} --}}", Kind::Nothing, ""),
            ("{{~#if (eq x \"}}\")~}}", Kind::Open, ""),
            ("\\{{", Kind::Literal, ""),
            ("{{else if y}}", Kind::Else, ""),
            ("{{^}}", Kind::Else, ""),
            ("{{/if}}", Kind::Close, ""),
            ("{{&e}}", Kind::Raw, ""),
            ("{{> f}}", Kind::Partial, "f"),
            ("{{#> g x=1}}", Kind::Layout, "g"),
            ("{{/g}}", Kind::Close, ""),
            ("{{#*inline \"h\"}}", Kind::Inline, "h"),
            ("{{/inline}}", Kind::Close, ""),
            ("{{^i}}", Kind::Open, ""),
            ("{{/i}}", Kind::Close, ""),
            ("{{{{raw}}}}{{z}}{{{{/raw}}}}", Kind::Literal, ""),
            ("{{> [j] k}}", Kind::Partial, "j"),
        ];
        assert_eq!(found, expected);
        assert_eq!(tags[3].close, Some(7));
        assert!(tags[10].is_given && !tags[9].is_given && tags[17].is_given);
        for broken in ["{{a", "{{#if a}}", "{{/if}}", "{{else}}", "{{\"}}"] {
            assert!(scan(broken).is_none(), "{broken}");
        }
        assert!(scan(&"{{a}}".repeat(TAGS_MAX)).is_some() && scan(&"{{a}}".repeat(TAGS_MAX + 1)).is_none());
    }
}
