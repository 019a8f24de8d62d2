//! Where blocks stand in MJML: those that MJML has no place for, and those that it reckons wrong with.
//!
//! The widths of columns without a `width` are shares of their row. MJML makes them of all columns that are written, once, whichever a block
//! leaves out and however often it repeats one.

use super::super::markup::{Piece, Tag, is_void};
use super::super::mustache::{Kind, Mustache, line_at};
use super::{PROBLEMS_MAX, Problem, TEXTS};

/// The elements that lay out columns.
const ROWS: [&str; 2] = ["mj-group", "mj-section"];

/// An element that is open.
struct Open<'a> {
    name: &'a str,
    /// Its own columns, and whether one of them has no width.
    columns: usize,
    is_shared: bool,
    /// The line of the first block among them.
    block: Option<usize>,
    repeats: bool,
}

impl<'a> Open<'a> {
    const fn new(name: &'a str) -> Self {
        Self {
            name,
            columns: 0,
            is_shared: false,
            block: None,
            repeats: false,
        }
    }

    fn add(&mut self, tag: &Tag) {
        if ROWS.contains(&self.name) && matches!(tag.name.as_str(), "mj-column" | "mj-group") {
            self.columns += 1;
            let is_said = |name: &str| tag.attribute(name).is_some();
            self.is_shared |= !is_said("width") && !is_said("mj-class");
        }
    }

    fn warning(&self) -> Option<Problem> {
        let is_wrong = self.is_shared && (self.columns > 1 || self.repeats);
        let line = self.block.filter(|_| is_wrong)?;
        let text = format!(
            "a block among the columns of <{}>, of which one has no width: MJML gives it a share as if each column \
             that is written were there once; give the columns their widths",
            self.name
        );
        Some((Some(line), text))
    }
}

/// Rows of columns whose widths depend on the data.
pub(super) fn warnings(source: &str, pieces: &[Piece], mustaches: &[Mustache]) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut have_width = false;
    for piece in pieces {
        match piece {
            Piece::Start(tag) => {
                if let Some(row) = open.last_mut() {
                    row.add(tag);
                    let is_default = row.name == "mj-attributes" && tag.name == "mj-column";
                    have_width |= is_default && tag.attribute("width").is_some();
                }
                if !tag.is_self_closing && !is_void(&tag.name) {
                    open.push(Open::new(&tag.name));
                }
            }
            Piece::End { name, .. } => {
                if let Some(at) = open.iter().rposition(|open| open.name == name) {
                    warnings.extend(open.drain(at..).filter_map(|open| open.warning()));
                }
            }
            Piece::Mustache(index) if mustaches[*index].kind == Kind::Open => {
                if let Some(row) = open.last_mut().filter(|row| ROWS.contains(&row.name)) {
                    let range = mustaches[*index].range.clone();
                    let bare = source[range.clone()].trim_start_matches(['{', '~', '#']);
                    let is_choice = ["if", "unless"].iter().any(|name| bare.starts_with(name));
                    row.block = row.block.or_else(|| Some(line_at(source, range.start)));
                    row.repeats |= !is_choice;
                }
            }
            _ => {}
        }
    }
    warnings.truncate(if have_width { 0 } else { PROBLEMS_MAX });
    warnings
}

/// Handlebars in a head, of which MJML keeps but texts, raw html and the values of attributes.
pub(super) fn misplaced(source: &str, pieces: &[Piece], mustaches: &[Mustache]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut in_head, mut within) = (false, None);
    for piece in pieces {
        match piece {
            Piece::Start(tag) if tag.name == "mj-head" => in_head = !tag.is_self_closing,
            Piece::End { name, .. } if name == "mj-head" => in_head = false,
            Piece::Start(tag) if within.is_none() && !tag.is_self_closing => {
                let takes_text = tag.name == "mj-raw" || TEXTS.contains(&tag.name.as_str());
                within = takes_text.then_some(tag.name.as_str());
            }
            Piece::End { name, .. } if within == Some(name) => within = None,
            Piece::Mustache(index) if in_head && within.is_none() => {
                let tag = &mustaches[*index];
                if tag.kind != Kind::Nothing && problems.len() < PROBLEMS_MAX {
                    let line = line_at(source, tag.range.start);
                    let text = "in mj-head handlebars stands in mj-title, mj-preview, mj-style and mj-raw, and in the values of attributes";
                    problems.push((Some(line), text.to_owned()));
                }
            }
            _ => {}
        }
    }
    problems
}
