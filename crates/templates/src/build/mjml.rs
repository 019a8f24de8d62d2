//! MJML into html, by mrml.
//!
//! What handlebars writes is nothing to mrml: a block's tags are comments to it, which it keeps where they are, and all else is a token that is
//! text like any other. Both become what they were when mrml is done, and what it has lost is told. Nothing is read or fetched:
//! `mj-include` is refused.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mrml::prelude::parser::Error;
use mrml::prelude::render::RenderOptions;

use super::markup::{self, Attribute, Piece, Tag};
use super::mustache::{self, Kind, Mustache, line_at};
use crate::bundle::BUILT_BYTES_MAX;
use crate::engine::TAGS_MAX;

mod columns;

/// Elements within each other, and all of them: mrml recurses into each.
const NESTING_MAX: usize = 64;
const ELEMENTS_MAX: usize = 2_000;
/// The attributes of one element.
const ATTRIBUTES_MAX: usize = 64;
/// What is told of one file.
const PROBLEMS_MAX: usize = 20;

/// The elements that MJML has, as mrml knows them.
const ELEMENTS: [&str; 34] = [
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
    "mj-include",
    "mjml",
];
/// Elements whose content is text: a comment has no place in them.
const TEXTS: [&str; 3] = ["mj-preview", "mj-style", "mj-title"];

/// The style of every html that mrml makes. It is for all elements of some kinds, and would be put into each of them: it stays.
const BASE: &str = "<style type=\"text/css\">\n#outlook";
const BASE_APART: &str = "<style type=\"text/css\" data-css-inline=\"ignore\">\n#outlook";

/// True of the content of that style.
pub(super) fn is_base(tag: &Tag, text: &str) -> bool {
    tag.attribute("data-css-inline").is_some() && text.starts_with("\n#outlook")
}

/// What ends a token that stands for a tag of handlebars.
const END: char = 'n';

/// A line, and what is wrong there.
pub(super) type Problem = (Option<usize>, String);

/// What MJML comes to.
#[derive(Debug)]
pub(super) struct Html {
    pub(super) text: String,
    /// The source's line of each line, where that is known.
    pub(super) lines: Vec<Option<usize>>,
    /// Rows of columns whose widths may be wrong.
    pub(super) warnings: Vec<Problem>,
}

/// The html of a source.
pub(super) fn to_html(source: &str) -> Result<Html, Vec<Problem>> {
    let whole = |text: &str| vec![(None, text.to_owned())];
    let mustaches = mustache::scan(source).ok_or_else(|| {
        whole(&format!(
            "its tags of handlebars are not understood, or more than {TAGS_MAX}"
        ))
    })?;
    let pieces = markup::scan(source, &mustaches);
    let mut problems = problems(source, &pieces);
    problems.extend(columns::misplaced(source, &pieces, &mustaches));
    if !problems.is_empty() {
        return Err(problems);
    }
    // Letters and digits, since mrml writes the values of attributes as Rust does, with escapes for all that is rare.
    let free = (0..=source.len()).map(|number| format!("pt{number}n"));
    let Some(begin) = free.into_iter().find(|begin| !source.contains(begin.as_str())) else {
        return Err(whole("leaves no word to stand for handlebars' tags"));
    };
    let masked = mask(source, &mustaches, &pieces, |index| {
        format!("{begin}{index}{END}")
    });
    let parse = || mrml::parse(&masked.text).map_err(|error| vec![explain(&error, &masked, source)]);
    // Its tokenizer panics over some texts, such as three bytes of one character before a `>`.
    let parsed = catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Err(whole("mrml fails over it; if a `>` stands in a text, write &gt;")))?;
    let options = RenderOptions {
        // What is fetched from somewhere is what the source says with mj-font.
        fonts: HashMap::new(),
        ..RenderOptions::default()
    };
    let html = parsed.element.render(&options);
    let html = html.map_err(|error| whole(&format!("can't be rendered: {error}")))?;
    if html.len() > BUILT_BYTES_MAX {
        return Err(whole(&format!(
            "the html made of it has {} bytes; at most {BUILT_BYTES_MAX} are allowed",
            html.len()
        )));
    }
    let html = html.replacen(BASE, BASE_APART, 1);
    let Restored { html, lines } = restore(&html, source, &mustaches, &begin)?;
    Ok(Html {
        text: html,
        lines,
        warnings: columns::warnings(source, &pieces, &mustaches),
    })
}

fn problems(source: &str, pieces: &[Piece]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut depth, mut elements) = (0_usize, 0);
    for piece in pieces {
        let tag = match piece {
            Piece::Start(tag) => tag,
            Piece::End { .. } => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => continue,
        };
        elements += 1;
        depth += usize::from(!tag.is_self_closing && !markup::is_void(&tag.name));
        let of_mjml = tag.name.starts_with("mj");
        let wrong = if tag.name == "mj-include" {
            Some("mj-include reads other files; a partial does the same: {{> name}}".to_owned())
        } else if of_mjml && !ELEMENTS.contains(&tag.name.as_str()) {
            Some("is no element of MJML, so that nothing would be made of it".to_owned())
        } else if tag.is_computed {
            Some(
                "handlebars stands in its tag; in MJML it can stand within the value of an attribute"
                    .to_owned(),
            )
        } else if let Some(attribute) = tag
            .attributes
            .iter()
            .find(|attribute| is_escaped(attribute, source))
        {
            Some(format!(
                "mrml can't write the value of {}: it has a quote, a backslash or an invisible character",
                attribute.name
            ))
        } else if tag.attributes.len() > ATTRIBUTES_MAX {
            Some(format!("has more than {ATTRIBUTES_MAX} attributes"))
        } else if depth > NESTING_MAX {
            Some(format!("more than {NESTING_MAX} elements within each other"))
        } else if elements > ELEMENTS_MAX {
            Some(format!("more than {ELEMENTS_MAX} elements"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            problems.push((
                Some(line_at(source, tag.range.start)),
                format!("<{}>: {wrong}", tag.name),
            ));
        }
        if problems.len() == PROBLEMS_MAX || depth > NESTING_MAX || elements > ELEMENTS_MAX {
            break;
        }
    }
    problems
}

/// True if mrml, which writes values as Rust does, would write other characters.
fn is_escaped(attribute: &Attribute, source: &str) -> bool {
    let value = attribute.value.clone().map_or("", |value| &source[value]);
    let bare = value.split("{{").flat_map(|part| part.rsplit("}}").next());
    bare.into_iter()
        .any(|text| format!("{text:?}").len() != text.len() + 2)
}

/// A source that mrml can read, and where its parts come from.
struct Masked {
    text: String,
    /// Offsets of the text, and of the source where the same goes on.
    offsets: Vec<(usize, usize)>,
}

fn mask(source: &str, mustaches: &[Mustache], pieces: &[Piece], token: impl Fn(usize) -> String) -> Masked {
    let (mut in_text, mut comment_end) = (false, 0);
    let mut is_content = vec![false; mustaches.len()];
    for piece in pieces {
        match piece {
            Piece::Start(tag) if TEXTS.contains(&tag.name.as_str()) => in_text = true,
            Piece::End { name, .. } if TEXTS.contains(&name.as_str()) => in_text = false,
            Piece::Comment(range) => comment_end = range.end,
            Piece::Mustache(index) => {
                is_content[*index] = !in_text && mustaches[*index].range.start >= comment_end;
            }
            _ => {}
        }
    }
    let mut masked = Masked {
        text: String::with_capacity(source.len()),
        offsets: vec![(0, 0)],
    };
    let mut at = 0;
    for (index, tag) in mustaches.iter().enumerate() {
        masked.text.push_str(&source[at..tag.range.start]);
        let is_text = matches!(tag.kind, Kind::Value | Kind::Literal);
        let token = token(index);
        if is_content[index] && !is_text {
            masked.text.push_str(&format!("<!--{token}-->"));
        } else {
            masked.text.push_str(&token);
        }
        at = tag.range.end;
        masked.offsets.push((masked.text.len(), at));
    }
    masked.text.push_str(&source[at..]);
    masked
}

/// What mrml says, with the line of the source.
fn explain(error: &Error, masked: &Masked, source: &str) -> Problem {
    let (position, problem) = match error {
        Error::UnexpectedElement { position, .. } => (Some(position), "this element has no place here"),
        Error::UnexpectedToken { position, .. } => (Some(position), "this has no place here"),
        Error::MissingAttribute { position, name, .. } => {
            let line = masked.line(position.start, source);
            return (Some(line), format!("the attribute {name} is missing"));
        }
        Error::InvalidAttribute { position, .. } => (Some(position), "this attribute is not as it must be"),
        Error::InvalidFormat { position, .. } => (Some(position), "this is not as it must be"),
        Error::EndOfStream { .. } => (None, "it ends within an element"),
        Error::ParserError { source: syntax, .. } => return (None, format!("is no MJML: {syntax}")),
        Error::NoRootNode => (None, "has no <mjml>"),
        Error::SizeLimit { .. } | Error::IncludeLoaderError { .. } => (None, "can't be read"),
    };
    (
        position.map(|position| masked.line(position.start, source)),
        problem.to_owned(),
    )
}

impl Masked {
    fn line(&self, at: usize, source: &str) -> usize {
        let after = self.offsets.partition_point(|(masked, _)| *masked <= at);
        let (masked, original) = self.offsets[after.saturating_sub(1)];
        line_at(source, original + (at - masked))
    }
}

/// Puts back what handlebars writes. All of it may stand on one line there: it is broken within tags, where white space is free, so that
/// tags of different lines are on different lines.
fn restore(html: &str, source: &str, mustaches: &[Mustache], begin: &str) -> Result<Restored, Vec<Problem>> {
    let mut restored = Restored {
        html: String::with_capacity(html.len() + source.len()),
        lines: vec![None],
    };
    let breaks = markup::scan(html, &[])
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Start(tag) => Some(tag.name_end),
            Piece::End { range, .. } if html[range.clone()].ends_with('>') => Some(range.end - 1),
            _ => None,
        });
    let breaks: Vec<_> = breaks.collect();
    let mut seen = vec![false; mustaches.len()];
    let mut at = 0;
    while let Some(found) = html[at..].find(begin) {
        let mut token = at + found;
        let (index, behind) = html[token + begin.len()..].split_once(END).unwrap_or_default();
        let Some(index) = index
            .parse::<usize>()
            .ok()
            .filter(|index| *index < mustaches.len())
        else {
            return Err(vec![(
                None,
                "what handlebars writes is taken apart by what MJML makes of it".to_owned(),
            )]);
        };
        let mut after = html.len() - behind.len();
        if html[at..token].ends_with("<!--") && behind.starts_with("-->") {
            token -= 4;
            after += 3;
        }
        let range = mustaches[index].range.clone();
        let line = line_at(source, range.start);
        let last = breaks[..breaks.partition_point(|end| *end <= token)].last();
        let is_line = html[at..token].contains('\n') || restored.is_of(line);
        if let Some(&end) = last.filter(|end| **end > at && !is_line) {
            restored.push(&html[at..end], None);
            restored.push("\n", None);
            at = end;
        }
        restored.push(&html[at..token], None);
        restored.push(&source[range], Some(line));
        seen[index] = true;
        at = after;
    }
    restored.push(&html[at..], None);
    let lost = mustaches
        .iter()
        .zip(&seen)
        .filter(|(tag, seen)| !**seen && tag.kind != Kind::Nothing);
    let lost: Vec<_> = lost
        .map(|(tag, _)| {
            let line = line_at(source, tag.range.start);
            let text = "what handlebars writes here is in no part of the html that MJML makes: the attribute takes no such value";
            (Some(line), text.to_owned())
        })
        .take(PROBLEMS_MAX)
        .collect();
    if lost.is_empty() { Ok(restored) } else { Err(lost) }
}

struct Restored {
    html: String,
    lines: Vec<Option<usize>>,
}

impl Restored {
    /// True if what comes from that line may follow as it is.
    fn is_of(&self, line: usize) -> bool {
        self.lines
            .last()
            .is_none_or(|last| last.is_none_or(|last| last == line))
    }

    /// Adds text, which comes from a line and those that follow it.
    fn push(&mut self, text: &str, from: Option<usize>) {
        self.html.push_str(text);
        if let Some(last) = self.lines.last_mut().filter(|last| last.is_none()) {
            *last = from;
        }
        for number in 1..=text.matches('\n').count() {
            self.lines.push(from.map(|from| from + number));
        }
    }
}
