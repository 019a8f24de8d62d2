//! The html that a template can make, as one text: its elements alone, partials in place, all branches of all blocks one after the other.
//!
//! Selectors are matched on it. Its elements are numbered, so that each leads back to its place in a source, and an element of a partial that
//! is used twice has two numbers. Texts, comments and what handlebars prints have no part in it: a parser of html moves what stands where
//! only elements may, such as `{{#each}}` in a table, and nothing of that kind is left.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::markup::{self, Piece, Tag};
use super::mustache::{self, Kind, Mustache, line_at};
use crate::engine::INLINE_MAX;

/// Partials within each other, as in the engine.
const DEPTH_MAX: usize = 16;
/// The elements of a template with its partials in place.
pub(super) const ELEMENTS_MAX: usize = 4_000;
/// Elements within each other: parsers take time for all that are open, at each that comes.
const NESTING_MAX: usize = 128;
/// The steps of a walk: partials that include others twice double them.
const STEPS_MAX: usize = 100_000;
/// What a layout calls the block that it is put around.
pub(super) const BLOCK: &str = "@partial-block";
/// The attribute that has an element's number.
pub(super) const NUMBER: &str = "data-paceline-n";

/// A source file, taken apart.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) mustaches: Vec<Mustache>,
    pub(super) pieces: Vec<Piece>,
    /// The piece that each mustache is, if it stands in content.
    places: Vec<Option<usize>>,
}

impl Source {
    /// `None` if its tags are not understood.
    pub(super) fn new(path: &str, text: &str) -> Option<Self> {
        let mustaches = mustache::scan(text)?;
        let pieces = markup::scan(text, &mustaches);
        let mut places = vec![None; mustaches.len()];
        for (index, piece) in pieces.iter().enumerate() {
            if let Piece::Mustache(mustache) = piece {
                places[*mustache] = Some(index);
            }
        }
        Some(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            mustaches,
            pieces,
            places,
        })
    }

    pub(super) fn line(&self, at: usize) -> usize {
        line_at(&self.text, at)
    }
}

/// An element of the view.
pub(super) struct Element {
    pub(super) file: usize,
    pub(super) piece: usize,
    /// The number of the element around, by the sources.
    pub(super) parent: Option<usize>,
}

/// A style element of the view, once for each source that has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) file: usize,
    pub(super) piece: usize,
    /// True if it is there for every reader and all data.
    pub(super) is_certain: bool,
}

/// Where elements do not nest in the sources as they must.
pub(super) struct Misnested {
    pub(super) file: usize,
    pub(super) line: usize,
}

pub(super) struct View<'a> {
    pub(super) sources: &'a [Source],
    names: &'a BTreeMap<String, usize>,
    pub(super) html: String,
    pub(super) elements: Vec<Element>,
    pub(super) styles: Vec<Style>,
    /// True if tags of elements stand in blocks, so that what is there depends on the data.
    pub(super) varies: bool,
    /// True if html is printed that is not known.
    pub(super) prints_html: bool,
    pub(super) misnested: Option<Misnested>,
    /// Name and number of each element that is open.
    open: Vec<(String, usize)>,
    /// How many were open where each block that is open began.
    blocks: Vec<usize>,
    is_conditional: bool,
    steps: usize,
}

/// What is around a place.
#[derive(Clone, Default)]
struct Around {
    block: Option<Rc<(Part, Around)>>,
    inline: Rc<Vec<(String, Part)>>,
    depth: usize,
}

impl Around {
    /// Adds definitions, of which the engine takes so many.
    fn define(&mut self, defined: impl IntoIterator<Item = (String, Part)>) -> Result<(), NoView> {
        let inline = Rc::make_mut(&mut self.inline);
        inline.extend(defined);
        if inline.len() > INLINE_MAX {
            return Err(NoView::NotUnderstood);
        }
        Ok(())
    }
}

/// Pieces of a source.
#[derive(Clone)]
struct Part {
    file: usize,
    pieces: Range<usize>,
}

/// Why there is no view.
pub(super) enum NoView {
    /// What the compiler has to say.
    NotUnderstood,
    TooLarge,
}

impl<'a> View<'a> {
    /// The view of the first source; `names` are the partials among the others.
    pub(super) fn new(sources: &'a [Source], names: &'a BTreeMap<String, usize>) -> Result<Self, NoView> {
        let mut view = Self {
            sources,
            names,
            html: String::new(),
            elements: Vec::new(),
            styles: Vec::new(),
            varies: false,
            prints_html: false,
            misnested: None,
            open: Vec::new(),
            blocks: Vec::new(),
            is_conditional: false,
            steps: 0,
        };
        let pieces = 0..sources[0].pieces.len();
        view.walk(&Part { file: 0, pieces }, &Around::default())?;
        if view.blocks.is_empty() {
            Ok(view)
        } else {
            Err(NoView::NotUnderstood)
        }
    }

    pub(super) fn tag(&self, element: &Element) -> Option<&'a Tag> {
        match &self.sources[element.file].pieces[element.piece] {
            Piece::Start(tag) => Some(tag),
            _ => None,
        }
    }

    /// True of what parsers put in their own places.
    pub(super) fn is_root(&self, number: usize) -> bool {
        let tag = self.tag(&self.elements[number]);
        tag.is_some_and(|tag| matches!(tag.name.as_str(), "html" | "head" | "body"))
    }

    /// True if an element within the one is within the other.
    pub(super) fn is_same_place(&self, one: Option<usize>, other: Option<usize>) -> bool {
        let place = |place: Option<usize>| place.filter(|number| !self.is_root(*number));
        place(one) == place(other)
    }

    fn walk(&mut self, part: &Part, around: &Around) -> Result<(), NoView> {
        let source = &self.sources[part.file];
        let mut around = around.clone();
        let mut at = part.pieces.start;
        while at < part.pieces.end {
            self.steps += 1;
            if self.elements.len() > ELEMENTS_MAX || self.open.len() > NESTING_MAX || self.steps > STEPS_MAX {
                return Err(NoView::TooLarge);
            }
            match &source.pieces[at] {
                Piece::Start(tag) if tag.name == "style" => self.style(part.file, at),
                Piece::Start(tag) if tag.name.contains('{') => return Err(NoView::NotUnderstood),
                Piece::Start(tag) => self.start(part.file, at, tag),
                Piece::End { name, .. } if name == "style" => {}
                Piece::End { name, range } => self.end(part.file, name, range.start),
                Piece::Comment(range) => self.comment(&source.text[range.clone()]),
                Piece::Mustache(index) => at = self.mustache(part.file, at, *index, &mut around)?,
                Piece::Text(_) | Piece::RawText { .. } => {}
            }
            at += 1;
        }
        Ok(())
    }

    /// Goes through what a mustache puts in place; tells the last piece that it is done with.
    fn mustache(
        &mut self,
        file: usize,
        at: usize,
        index: usize,
        around: &mut Around,
    ) -> Result<usize, NoView> {
        let source = &self.sources[file];
        let tag = &source.mustaches[index];
        // A tag whose other end stands within an html tag is no block of elements.
        let close = || {
            tag.close
                .and_then(|close| source.places[close])
                .ok_or(NoView::NotUnderstood)
        };
        match tag.kind {
            Kind::Open => {
                close()?;
                self.blocks.push(self.open.len());
            }
            Kind::Else | Kind::Close => {
                let begun = *self.blocks.last().ok_or(NoView::NotUnderstood)?;
                if begun != self.open.len() {
                    self.misnest(file, tag.range.start);
                    self.open.truncate(begun);
                }
                if tag.kind == Kind::Close {
                    self.blocks.pop();
                }
            }
            Kind::Raw => self.prints_html = true,
            Kind::Inline => {
                let pieces = at + 1..close()?;
                let end = pieces.end;
                around.define([(tag.name.clone(), Part { file, pieces })])?;
                return Ok(end);
            }
            Kind::Layout => {
                let pieces = at + 1..close()?;
                let end = pieces.end;
                self.include(&tag.name, Some(Part { file, pieces }), around)?;
                return Ok(end);
            }
            Kind::Partial => self.include(&tag.name, None, around)?,
            Kind::Value | Kind::Nothing | Kind::Literal => {}
        }
        Ok(at)
    }

    fn include(&mut self, name: &str, block: Option<Part>, around: &Around) -> Result<(), NoView> {
        if around.depth == DEPTH_MAX {
            return Err(NoView::NotUnderstood);
        }
        if name == BLOCK {
            let (part, outer) = around.block.as_deref().ok_or(NoView::NotUnderstood)?;
            let mut outer = outer.clone();
            outer.depth = around.depth + 1;
            return self.walk(part, &outer);
        }
        let mut inside = around.clone();
        inside.depth += 1;
        if let Some(block) = &block {
            inside.define(self.defined_in(block)?)?;
        }
        let defined = inside.inline.iter().rev().find(|(defined, _)| defined == name);
        let part = match (defined, self.names.get(name)) {
            (Some((_, part)), _) => part.clone(),
            (None, Some(&file)) => {
                let pieces = 0..self.sources[file].pieces.len();
                Part { file, pieces }
            }
            (None, None) => block.clone().ok_or(NoView::NotUnderstood)?,
        };
        inside.block = block.map(|block| Rc::new((block, around.clone())));
        self.walk(&part, &inside)
    }

    /// What is defined at the top of a layout's block.
    fn defined_in(&mut self, block: &Part) -> Result<Vec<(String, Part)>, NoView> {
        let source = &self.sources[block.file];
        let mut defined = Vec::new();
        let mut at = block.pieces.start;
        while at < block.pieces.end {
            self.steps += 1;
            if let Piece::Mustache(index) = source.pieces[at] {
                let tag = &source.mustaches[index];
                if let Some(close) = tag.close {
                    let end = source.places[close].ok_or(NoView::NotUnderstood)?;
                    if tag.kind == Kind::Inline {
                        let pieces = at + 1..end;
                        defined.push((
                            tag.name.clone(),
                            Part {
                                file: block.file,
                                pieces,
                            },
                        ));
                    }
                    at = end;
                }
            }
            at += 1;
        }
        Ok(defined)
    }

    fn style(&mut self, file: usize, piece: usize) {
        let style = Style {
            file,
            piece,
            is_certain: self.blocks.is_empty() && !self.is_conditional,
        };
        if !self
            .styles
            .iter()
            .any(|known| (known.file, known.piece) == (file, piece))
        {
            self.styles.push(style);
        }
    }

    fn start(&mut self, file: usize, piece: usize, tag: &Tag) {
        let source = &self.sources[file];
        let number = self.elements.len();
        self.varies |= !self.blocks.is_empty();
        self.html.push_str(&format!(
            "<{} {NUMBER}={number}",
            source.text[tag.range.start + 1..tag.name_end].to_ascii_lowercase()
        ));
        for attribute in &tag.attributes {
            if matches!(attribute.name.as_str(), "style" | NUMBER) {
                continue;
            }
            let value = attribute.value.clone().filter(|_| !attribute.is_filled);
            let value = value.map_or("", |value| &source.text[value]);
            let quote = char::from(attribute.quote.unwrap_or(b'"'));
            // Only a value without quotes can have one of them.
            let value = value.replace(quote, "&quot;");
            self.html
                .push_str(&format!(" {}={quote}{value}{quote}", attribute.name));
        }
        self.html.push('>');
        self.elements.push(Element {
            file,
            piece,
            parent: self.open.last().map(|(_, number)| *number),
        });
        if !markup::is_void(&tag.name) {
            self.open.push((tag.name.clone(), number));
        }
    }

    fn end(&mut self, file: usize, name: &str, at: usize) {
        self.html.push_str(&format!("</{name}>"));
        self.varies |= !self.blocks.is_empty();
        let begun = self.blocks.last().copied().unwrap_or_default();
        match self.open[begun..].iter().rposition(|(open, _)| open == name) {
            Some(depth) => {
                if begun + depth + 1 < self.open.len() {
                    self.misnest(file, at);
                }
                self.open.truncate(begun + depth);
            }
            None => self.misnest(file, at),
        }
    }

    /// `<!--[if !mso]><!-->` begins what only some readers get, `<![endif]-->` ends it.
    fn comment(&mut self, text: &str) {
        let is_doctype = text
            .get(..9)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("<!doctype"));
        // Without one classes have no case, and paragraphs may have tables.
        if is_doctype && self.html.is_empty() {
            self.html.push_str(text);
        }
        let is_open = text.ends_with("<!-->") || text.ends_with("<!--->") || !text.starts_with("<!--");
        if text.contains("[if") && is_open {
            self.is_conditional = true;
        } else if text.contains("[endif]") {
            self.is_conditional = false;
        }
    }

    fn misnest(&mut self, file: usize, at: usize) {
        if self.misnested.is_none() {
            let line = self.sources[file].line(at);
            self.misnested = Some(Misnested { file, line });
        }
    }
}
