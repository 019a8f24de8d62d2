//! The tags of html with their places in the source, which no parser of html tells.
//!
//! It follows the tokenizer of WHATWG HTML (13.2.5), as far as that tells tags, attributes, comments and raw text apart, and steps over
//! handlebars' tags wherever they stand. It knows nothing of trees.

use std::ops::Range;

use super::mustache::{Kind, Mustache};

/// Elements whose content is no markup.
const RAW_TEXT: [&str; 9] = [
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
    "script",
    "style",
    "textarea",
    "title",
    "xmp",
];
/// The attributes of a tag that are told: each is held against all before it.
pub(super) const ATTRIBUTES_MAX: usize = 128;
/// Elements that have no end.
const VOID: [&str; 15] = [
    "area", "base", "basefont", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta",
    "source", "track", "wbr",
];

pub(super) fn is_void(name: &str) -> bool {
    VOID.contains(&name)
}

/// A part of a source, in its order.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(Range<usize>),
    Start(Tag),
    End {
        name: String,
        range: Range<usize>,
    },
    /// Comments, doctypes and the like.
    Comment(Range<usize>),
    /// What is inside of an element that has no markup, and whether a mustache is.
    RawText {
        range: Range<usize>,
        is_filled: bool,
    },
    /// The mustache of that index, in the content of an element; also one of a comment whose block goes on behind that.
    Mustache(usize),
}

/// A start tag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    /// In lower case.
    pub(super) name: String,
    pub(super) range: Range<usize>,
    /// Where its name ends.
    pub(super) name_end: usize,
    pub(super) attributes: Vec<Attribute>,
    /// True if a mustache stands in it outside of the values of attributes.
    pub(super) is_computed: bool,
    pub(super) is_self_closing: bool,
}

/// An attribute.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    /// In lower case.
    pub(super) name: String,
    /// From its name to behind its value.
    pub(super) range: Range<usize>,
    /// The value without its quotes.
    pub(super) value: Option<Range<usize>>,
    pub(super) quote: Option<u8>,
    /// True if a mustache is in its value.
    pub(super) is_filled: bool,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// What an attribute says as it is written; nothing where there is none.
    pub(super) fn value<'s>(&self, name: &str, source: &'s str) -> &'s str {
        let value = self.attribute(name).and_then(|attribute| attribute.value.clone());
        value.map_or("", |value| &source[value])
    }
}

/// Takes a source apart.
pub(super) fn scan(source: &str, mustaches: &[Mustache]) -> Vec<Piece> {
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        mustaches,
        next: 0,
        at: 0,
        pieces: Vec::new(),
    };
    scanner.content();
    scanner.pieces
}

struct Scanner<'a> {
    source: &'a str,
    bytes: &'a [u8],
    mustaches: &'a [Mustache],
    /// The first mustache that is not behind.
    next: usize,
    at: usize,
    pieces: Vec<Piece>,
}

impl Scanner<'_> {
    fn content(&mut self) {
        let mut text = self.at;
        while self.at < self.bytes.len() {
            let begin = self.at;
            if let Some(index) = self.mustache() {
                self.text(text, begin);
                self.pieces.push(Piece::Mustache(index));
                text = self.at;
                continue;
            }
            if self.bytes[begin] != b'<' {
                self.at += 1;
                continue;
            }
            let is_letter = |at: usize| self.bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
            let (is_tag, is_end) = (
                is_letter(begin + 1),
                self.byte(begin + 1) == b'/' && is_letter(begin + 2),
            );
            let is_comment =
                matches!(self.byte(begin + 1), b'!' | b'?') || (self.byte(begin + 1) == b'/' && !is_end);
            if !(is_tag || is_end || is_comment) || begin + 1 == self.bytes.len() {
                self.at += 1;
                continue;
            }
            self.text(text, begin);
            if is_comment {
                self.comment();
            } else {
                self.tag(is_end);
            }
            text = self.at;
        }
        self.text(text, self.at);
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    fn text(&mut self, from: usize, to: usize) {
        if from < to {
            self.pieces.push(Piece::Text(from..to));
        }
    }

    /// Steps over the mustache that begins here.
    fn mustache(&mut self) -> Option<usize> {
        while self
            .mustaches
            .get(self.next)
            .is_some_and(|tag| tag.range.start < self.at)
        {
            self.next += 1;
        }
        let tag = self
            .mustaches
            .get(self.next)
            .filter(|tag| tag.range.start == self.at)?;
        self.at = tag.range.end;
        self.next += 1;
        Some(self.next - 1)
    }

    /// True of a block whose content is no more of a tag's name: `<tr{{#if x}} class="x"{{/if}}>`.
    fn begins_attribute(&self) -> bool {
        let ahead = self.mustaches[self.next.min(self.mustaches.len())..].iter();
        let here = ahead.take_while(|tag| tag.range.start <= self.at);
        let here = here.into_iter().find(|tag| tag.range.start == self.at);
        here.is_some_and(|tag| tag.kind == Kind::Open && self.byte(tag.range.end).is_ascii_whitespace())
    }

    /// A step in a place where mustaches are no pieces of their own; true if it was over one.
    fn step(&mut self) -> bool {
        let is_mustache = self.mustache().is_some();
        self.at += usize::from(!is_mustache);
        is_mustache
    }

    fn comment(&mut self) {
        let begin = self.at;
        let rest = &self.source[begin..];
        let ends: &[&str] = match rest {
            _ if rest.starts_with("<!-->") || rest.starts_with("<!--->") => &[">"],
            _ if rest.starts_with("<!--") => &["-->", "--!>"],
            _ => &[">"],
        };
        self.at += if rest.starts_with("<!--") && ends.len() == 2 {
            4
        } else {
            2
        };
        let mut inside = Vec::new();
        while self.at < self.bytes.len() {
            if let Some(end) = ends
                .iter()
                .find(|end| self.bytes[self.at..].starts_with(end.as_bytes()))
            {
                self.at += end.len();
                break;
            }
            match self.mustache() {
                Some(index) => inside.push(index),
                None => self.at += 1,
            }
        }
        self.pieces.push(Piece::Comment(begin..self.at));
        self.crossing(&inside);
    }

    /// Of the mustaches of a comment, those whose block goes on behind it are there for what is there: in a comment for Outlook stands one end
    /// of what another comment ends.
    fn crossing(&mut self, inside: &[usize]) {
        let mut open = Vec::new();
        for &index in inside {
            let tag = &self.mustaches[index];
            let crosses = match tag.kind {
                Kind::Else => open.is_empty(),
                Kind::Close => open.pop_if(|close| *close == index).is_none(),
                _ => match tag.close {
                    Some(close) if inside.contains(&close) => {
                        open.push(close);
                        false
                    }
                    close => close.is_some(),
                },
            };
            if crosses {
                self.pieces.push(Piece::Mustache(index));
            }
        }
    }

    fn tag(&mut self, is_end: bool) {
        let begin = self.at;
        self.at += 1 + usize::from(is_end);
        let name_begin = self.at;
        let mut is_computed = false;
        while self.at < self.bytes.len()
            && !matches!(
                self.bytes[self.at],
                b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'/' | b'>'
            )
        {
            if self.at > name_begin && self.begins_attribute() {
                break;
            }
            is_computed |= self.step();
        }
        let name_end = self.at;
        let name = self.source[name_begin..name_end].to_ascii_lowercase();
        let mut tag = Tag {
            name,
            range: begin..begin,
            name_end,
            attributes: Vec::new(),
            is_computed,
            is_self_closing: false,
        };
        self.attributes(&mut tag);
        tag.range.end = self.at;
        if is_end {
            let (name, range) = (tag.name, tag.range);
            self.pieces.push(Piece::End { name, range });
            return;
        }
        let raw = RAW_TEXT.contains(&tag.name.as_str()).then(|| tag.name.clone());
        self.pieces.push(Piece::Start(tag));
        if let Some(name) = raw {
            self.raw_text(&name);
        }
    }

    fn attributes(&mut self, tag: &mut Tag) {
        while self.at < self.bytes.len() {
            if self.mustache().is_some() {
                tag.is_computed = true;
                continue;
            }
            match self.bytes[self.at] {
                b'>' => {
                    tag.is_self_closing = self.bytes[self.at - 1] == b'/';
                    self.at += 1;
                    return;
                }
                b'/' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    let (attribute, is_computed) = self.attribute();
                    tag.is_computed |= is_computed;
                    let is_more = tag.attributes.len() == ATTRIBUTES_MAX;
                    if !is_computed && !is_more && tag.attribute(&attribute.name).is_none() {
                        tag.attributes.push(attribute);
                    }
                }
            }
        }
    }

    /// An attribute, and whether its name is computed.
    fn attribute(&mut self) -> (Attribute, bool) {
        let begin = self.at;
        let mut is_computed = false;
        self.at += 1;
        while self.at < self.bytes.len()
            && !matches!(self.bytes[self.at], b'=' | b'/' | b'>')
            && !self.bytes[self.at].is_ascii_whitespace()
        {
            is_computed |= self.step();
        }
        let name_end = self.at;
        let mut attribute = Attribute {
            name: self.source[begin..name_end].to_ascii_lowercase(),
            range: begin..name_end,
            value: None,
            quote: None,
            is_filled: false,
        };
        let mut after = name_end;
        while self.byte(after).is_ascii_whitespace() {
            after += 1;
        }
        if self.byte(after) != b'=' {
            return (attribute, is_computed);
        }
        self.at = after + 1;
        while self.byte(self.at).is_ascii_whitespace() {
            self.at += 1;
        }
        let quote = Some(self.byte(self.at)).filter(|byte| matches!(byte, b'"' | b'\''));
        self.at += usize::from(quote.is_some());
        let value = self.at;
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            let ends = match quote {
                Some(quote) => byte == quote,
                None => byte == b'>' || byte.is_ascii_whitespace(),
            };
            if ends {
                break;
            }
            attribute.is_filled |= self.step();
        }
        attribute.value = Some(value..self.at);
        attribute.quote = quote;
        self.at = (self.at + usize::from(quote.is_some())).min(self.bytes.len());
        attribute.range.end = self.at;
        (attribute, is_computed)
    }

    fn raw_text(&mut self, name: &str) {
        let begin = self.at;
        let mut is_filled = false;
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let is_end = rest.starts_with(b"</")
                && rest
                    .get(2..2 + name.len())
                    .is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
                && rest
                    .get(2 + name.len())
                    .is_none_or(|byte| matches!(byte, b'/' | b'>') || byte.is_ascii_whitespace());
            if is_end {
                break;
            }
            is_filled |= self.step();
        }
        let range = begin..self.at;
        self.pieces.push(Piece::RawText { range, is_filled });
    }
}

#[cfg(test)]
mod tests {
    use super::super::mustache;
    use super::{Piece, scan};

    fn shown(source: &str) -> String {
        let mustaches = mustache::scan(source).expect("understood");
        let shown = scan(source, &mustaches).into_iter().map(|piece| match piece {
            Piece::Text(range) => format!("T{:?}", &source[range]),
            Piece::Start(tag) => {
                let attributes = tag.attributes.iter().map(|attribute| {
                    let value = attribute.value.clone().map(|value| &source[value]);
                    format!(
                        " {}={}{}",
                        attribute.name,
                        value.unwrap_or("-"),
                        if attribute.is_filled { "*" } else { "" }
                    )
                });
                let attributes: String = attributes.collect();
                format!(
                    "<{}{}{attributes}>",
                    tag.name,
                    if tag.is_computed { "*" } else { "" }
                )
            }
            Piece::End { name, .. } => format!("</{name}>"),
            Piece::Comment(range) => format!("C{:?}", &source[range]),
            Piece::RawText { range, is_filled } => {
                format!("R{:?}{}", &source[range], if is_filled { "*" } else { "" })
            }
            Piece::Mustache(index) => format!("M{index}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_attributes_comments_and_raw_text_are_told_apart() {
        for (source, expected) in [
            ("a<B c='d' e=f g>h</B>", "T\"a\" <b c=d e=f g=-> T\"h\" </b>"),
            ("1 < 2 <3 <", "T\"1 < 2 <3 <\""),
            (
                "<a href=\"{{x}}>\" {{#if y}}b='{{z}}'{{/if}}>",
                "<a* href={{x}}>* b={{z}}*>",
            ),
            ("<p>{{#if x}}<b>{{/if}}", "<p> M0 <b> M1"),
            (
                "<!--{{#if x}}a{{/if}}{{#if y}}-->b<!--{{x}}{{else}}-->c<!--{{/if}}{{#z}}{{/z}}-->",
                "C\"<!--{{#if x}}a{{/if}}{{#if y}}-->\" M2 T\"b\" C\"<!--{{x}}{{else}}-->\" M4 T\"c\" C\"<!--{{/if}}{{#z}}{{/z}}-->\" M5",
            ),
            (
                "<!--[if mso]><p>{{x}}<![endif]--><i>",
                "C\"<!--[if mso]><p>{{x}}<![endif]-->\" <i>",
            ),
            (
                "<!--><b><!---><i></ x><u>",
                "C\"<!-->\" <b> C\"<!--->\" <i> C\"</ x>\" <u>",
            ),
            (
                "<style>a{{b}}</styles></STYLE ><!doctype x>",
                "<style> R\"a{{b}}</styles>\"* </style> C\"<!doctype x>\"",
            ),
            ("<img src=a/><br/>", "<img src=a/> <br>"),
            ("<td {{a}}=\"b\" c>", "<td* =\"b\"=- c=->"),
            ("<TR{{#if a}} b=c{{/if}}>x", "<tr* b=c{{/if}}*> T\"x\""),
            ("<h{{#if a}}1{{/if}}>", "<h{{#if a}}1{{/if}}*>"),
        ] {
            assert_eq!(shown(source), expected, "{source}");
        }
    }
}
