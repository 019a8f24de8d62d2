//! Html with nothing left in it but what a plain text shows: paragraphs, lines, headings, numbered lists.
//!
//! Tables, most of them for layout, become lines, and their cells words of these; a link's address stands behind its text, a picture's
//! alternative text for it; what is not shown is left out. So handlebars' tags can stand anywhere as words, also between the rows of a
//! table, and what is left takes a parser no more time than its bytes: no attributes, no end without a start.

use super::css;
use super::markup::{Piece, Tag, is_void};
use super::mustache::{Kind, Mustache};

/// Elements that begin on a line of their own.
const BLOCKS: [&str; 26] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "main",
    "nav",
    "section",
    "summary",
    "table",
    "td",
    "th",
    "tr",
];
/// Those that stay what they are.
const KEPT: [&str; 9] = ["h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre"];
/// The schemes of addresses that a text leaves out.
const SCHEMES: [&str; 3] = ["mailto:", "sms:", "tel:"];
/// Elements that are open at a time: parsers take time for each at every tag that comes.
const OPEN_MAX: usize = 512;

/// Why html is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFlat {
    /// What it shows depends on what is not known here.
    Depends,
    TooLarge,
}

/// What handlebars writes in a source, as words.
pub(super) struct Words<'a> {
    pub(super) mustaches: &'a [Mustache],
    /// The word for a tag; `None` for one that can't stand in a text.
    pub(super) word: &'a dyn Fn(usize) -> Option<String>,
    /// True if what a partial has begins on a line of its own.
    pub(super) is_block: &'a dyn Fn(&str) -> bool,
}

/// The html that is left of a source.
pub(super) fn flatten(source: &str, pieces: &[Piece], words: &Words<'_>) -> Result<String, NotFlat> {
    let mut flat = Flat {
        source,
        pieces,
        words,
        out: String::with_capacity(source.len() / 2),
        open: Vec::new(),
        links: Vec::new(),
        hidden_unclosed: 0,
    };
    let mut at = 0;
    while at < pieces.len() {
        at = flat.piece(at)? + 1;
    }
    while let Some((_, end)) = flat.open.pop() {
        flat.out.push_str(end);
    }
    Ok(flat.out)
}

struct Flat<'a> {
    source: &'a str,
    pieces: &'a [Piece],
    words: &'a Words<'a>,
    out: String,
    /// The elements that are open, with what is written where they end.
    open: Vec<(String, &'static str)>,
    /// The addresses of the links that are open, and where their texts begin.
    links: Vec<(String, usize)>,
    hidden_unclosed: usize,
}

impl Flat<'_> {
    /// Writes what a piece shows; tells the last piece that it is done with.
    fn piece(&mut self, at: usize) -> Result<usize, NotFlat> {
        match &self.pieces[at] {
            Piece::Text(range) => self.out.push_str(&text(&self.source[range.clone()])),
            Piece::Start(tag) => return self.start(at, tag),
            Piece::End { name, .. } => self.end(name),
            Piece::Mustache(index) => self.mustache(*index)?,
            Piece::Comment(_) | Piece::RawText { .. } => {}
        }
        Ok(at)
    }

    fn mustache(&mut self, index: usize) -> Result<(), NotFlat> {
        let tag = &self.words.mustaches[index];
        // The numbers of a list's items are written before anyone knows how many there are.
        let in_numbered = self.open.iter().any(|(name, _)| name == "ol");
        if in_numbered && !matches!(tag.kind, Kind::Value | Kind::Nothing | Kind::Literal) {
            return Err(NotFlat::Depends);
        }
        let word = (self.words.word)(index).ok_or(NotFlat::Depends)?;
        let is_line =
            match tag.kind {
                Kind::Partial => (self.words.is_block)(&tag.name),
                Kind::Layout | Kind::Inline => true,
                Kind::Close => self.words.mustaches.iter().any(|other| {
                    matches!(other.kind, Kind::Layout | Kind::Inline) && other.close == Some(index)
                }),
                _ => false,
            };
        if is_line {
            self.break_paragraph();
            self.out.push_str(&format!("<div>{word}</div>"));
        } else {
            self.out.push_str(&word);
        }
        Ok(())
    }

    fn start(&mut self, at: usize, tag: &Tag) -> Result<usize, NotFlat> {
        if let Some(end) = self.end_of_hidden(at, tag)? {
            return Ok(end);
        }
        let name = tag.name.as_str();
        self.close_implied(name);
        match name {
            "br" => self.out.push_str("<br>"),
            "hr" => {
                self.break_paragraph();
                self.out.push_str("<div>---</div>");
            }
            "img" => {
                let alt = self.value(tag, "alt")?;
                self.out.push_str(&alt);
            }
            "a" => {
                let address = self.value(tag, "href")?;
                self.links.push((address, self.out.len()));
            }
            // The first paragraph of an item stands behind what marks it.
            "p" if self.begins_item() => self.open(name, "", ""),
            "ul" => self.open(name, "<div>", "</div>"),
            "li" if self.in_numbered() => self.open(name, "<li>", "</li>"),
            "li" => self.open(name, "<div>* ", "</div>"),
            // A cell is a word of its row's line.
            "td" | "th" => self.open(name, "", " "),
            _ => self.open_block(name),
        }
        if self.open.len() > OPEN_MAX {
            return Err(NotFlat::TooLarge);
        }
        Ok(at)
    }

    fn open_block(&mut self, name: &str) {
        let kept = match name {
            "h1" => ("<h1>", "</h1>"),
            "h2" => ("<h2>", "</h2>"),
            "h3" => ("<h3>", "</h3>"),
            "h4" => ("<h4>", "</h4>"),
            "h5" => ("<h5>", "</h5>"),
            "h6" => ("<h6>", "</h6>"),
            "ol" => ("<ol>", "</ol>"),
            "p" => ("<p>", "</p>"),
            "pre" => ("<pre>", "</pre>"),
            _ => ("<div>", "</div>"),
        };
        if KEPT.contains(&name) || BLOCKS.contains(&name) {
            self.break_paragraph();
            self.open(name, kept.0, kept.1);
        }
    }

    fn open(&mut self, name: &str, begin: &str, end: &'static str) {
        self.out.push_str(begin);
        self.open.push((name.to_owned(), end));
    }

    /// A paragraph ends where a block begins.
    fn break_paragraph(&mut self) {
        if self.open.last().is_some_and(|(name, _)| name == "p") {
            self.close_to(self.open.len() - 1);
        }
    }

    /// What ends where its like begins, as authors leave its end out.
    fn close_implied(&mut self, name: &str) {
        let (ends, within): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol"]),
            "td" | "th" => (&["td", "th"], &["table", "tr"]),
            "tr" => (&["tr"], &["table"]),
            "dd" | "dt" => (&["dd", "dt"], &["dl"]),
            _ => return,
        };
        for depth in (0..self.open.len()).rev() {
            let open = self.open[depth].0.as_str();
            if ends.contains(&open) {
                return self.close_to(depth);
            }
            if within.contains(&open) {
                return;
            }
        }
    }

    fn begins_item(&self) -> bool {
        let is_item = self.open.last().is_some_and(|(name, _)| name == "li");
        let text = self.out.trim_end();
        is_item && (text.ends_with("<div>*") || text.ends_with("<li>"))
    }

    fn in_numbered(&self) -> bool {
        let lists = self.open.iter().rev();
        lists
            .map(|(name, _)| name.as_str())
            .find(|name| matches!(*name, "ul" | "ol"))
            == Some("ol")
    }

    fn end(&mut self, name: &str) {
        if name == "a" {
            return self.end_link();
        }
        for depth in (0..self.open.len()).rev() {
            let open = self.open[depth].0.as_str();
            if open == name {
                return self.close_to(depth);
            }
            // Nothing ends what a table stands in from within it.
            if open == "table" {
                return;
            }
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some((_, end)) = self.open.pop() {
                self.out.push_str(end);
            }
        }
    }

    /// The address of a link, unless it is what the link reads.
    fn end_link(&mut self) {
        let Some((address, begin)) = self.links.pop() else {
            return;
        };
        let scheme = SCHEMES.into_iter().find(|scheme| address.starts_with(scheme));
        let shown = &address[scheme.map_or(0, str::len)..];
        let is_shown = shown.is_empty()
            || shown.starts_with('#')
            || self.out.get(begin..).is_none_or(|text| text.trim() == shown);
        if !is_shown {
            let shown = shown.to_owned();
            self.out.push_str(&format!(" ({shown})"));
        }
    }

    /// The value of an attribute as text.
    fn value(&self, tag: &Tag, name: &str) -> Result<String, NotFlat> {
        if tag.is_computed {
            return Err(NotFlat::Depends);
        }
        let Some(range) = tag.attribute(name).and_then(|attribute| attribute.value.clone()) else {
            return Ok(String::new());
        };
        let mut value = String::new();
        let mut at = range.start;
        let first = self
            .words
            .mustaches
            .partition_point(|mustache| mustache.range.start < range.start);
        for (index, mustache) in self.words.mustaches.iter().enumerate().skip(first) {
            if mustache.range.end > range.end {
                break;
            }
            value.push_str(&plain_value(&self.source[at..mustache.range.start]));
            value.push_str(&(self.words.word)(index).ok_or(NotFlat::Depends)?);
            at = mustache.range.end;
        }
        value.push_str(&plain_value(&self.source[at..range.end]));
        Ok(value.trim().to_owned())
    }

    /// The end of an element that is not shown, such as a preheader.
    fn end_of_hidden(&mut self, at: usize, tag: &Tag) -> Result<Option<usize>, NotFlat> {
        if tag.is_computed && self.may_hide(tag) {
            return Err(NotFlat::Depends);
        }
        let Some(style) = tag.attribute("style") else {
            return Ok(None);
        };
        let Some(value) = style.value.clone().map(|value| &self.source[value]) else {
            return Ok(None);
        };
        if style.is_filled && value.contains("display") {
            return Err(NotFlat::Depends);
        }
        if !is_hidden(value) || is_void(&tag.name) || self.hidden_unclosed > OPEN_MAX {
            return Ok(None);
        }
        let mut depth = 0_usize;
        for (index, piece) in self.pieces.iter().enumerate().skip(at) {
            match piece {
                Piece::Start(other) if other.name == tag.name => depth += 1,
                Piece::End { name, .. } if *name == tag.name => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(Some(index));
            }
        }
        self.hidden_unclosed += 1;
        Ok(None)
    }

    /// True if what handlebars writes in a tag may be what hides the element.
    fn may_hide(&self, tag: &Tag) -> bool {
        let written = self.source[tag.range.clone()].to_ascii_lowercase();
        let is_filled = tag.attribute("style").is_some_and(|style| style.is_filled);
        if is_filled || written.contains("display") {
            return true;
        }
        let in_value = |at: usize| {
            let values = tag
                .attributes
                .iter()
                .filter_map(|attribute| attribute.value.clone());
            values.into_iter().any(|value| value.contains(&at))
        };
        self.words.mustaches.iter().any(|mustache| {
            let is_block = matches!(
                mustache.kind,
                Kind::Open | Kind::Else | Kind::Close | Kind::Nothing
            );
            tag.range.contains(&mustache.range.start) && !is_block && !in_value(mustache.range.start)
        })
    }
}

fn is_hidden(style: &str) -> bool {
    let display = |declaration: &css::Declaration| declaration.property == "display";
    let last = css::declarations(style).into_iter().rfind(display);
    last.is_some_and(|declaration| declaration.value.eq_ignore_ascii_case("none"))
}

/// Text of html, of which nothing may be read as a tag.
fn text(text: &str) -> String {
    text.replace('<', "&lt;")
}

/// A value of an attribute as text: there, other than in a text, an `&` begins a reference only if that is ended.
fn plain_value(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    for (index, part) in value.split('&').enumerate() {
        if index > 0 {
            let name = part
                .find(|char: char| !(char.is_ascii_alphanumeric() || char == '#'))
                .unwrap_or(part.len());
            let is_reference = name > 0 && part[name..].starts_with(';');
            plain.push_str(if is_reference { "&" } else { "&amp;" });
        }
        plain.push_str(part);
    }
    text(&plain)
}
