//! A text derived from the html once: a template of its own, with handlebars' tags where the html has them.
//!
//! It is made where it says what a text derived from each rendering would say. Where that depends on the data (html from the data, numbered
//! lists with blocks in them, elements that a block begins and another ends), none is made, and each email's is derived when it is
//! rendered.

use std::collections::{BTreeMap, BTreeSet};

use super::Sources;
use super::flatten::{Words, flatten};
use super::markup::Piece;
use super::mustache::{Kind, Mustache};
use super::view::{Source, View};
use crate::engine;
use crate::plain;
use crate::reader::{PARTIALS, TEXT};

/// How a derived text begins, so that it is known in a stored bundle, too. It prints nothing.
pub(crate) const DERIVED: &str = "{{!-- derived from the html --}}\n";
/// What the names of partials end with that are texts.
const SUFFIX: &str = "-as-text";
/// What ends a word that stands for a tag.
const END: char = 'n';
/// Elements within which there is but text.
const INLINE: [&str; 14] = [
    "a", "b", "br", "code", "em", "font", "i", "img", "s", "small", "span", "strong", "sub", "u",
];

/// The text and the texts of partials, by file; `None` if there can be none.
pub(super) fn derive(from: &Sources) -> Option<BTreeMap<String, Vec<u8>>> {
    let view = View::new(&from.sources, &from.names).ok()?;
    if view.prints_html || (view.varies && view.misnested.is_some()) {
        return None;
    }
    let mut texts = BTreeMap::new();
    let mut wanted = vec![0];
    let mut seen = BTreeSet::from([0]);
    while let Some(file) = wanted.pop() {
        let source = &from.sources[file];
        let text = text_of(source, from)?;
        for tag in &source.mustaches {
            if matches!(tag.kind, Kind::Partial | Kind::Layout)
                && let Some(&partial) = from.names.get(&tag.name)
                && seen.insert(partial)
            {
                wanted.push(partial);
            }
        }
        let (path, text) = match file {
            0 => (TEXT.to_owned(), format!("{DERIVED}{text}")),
            _ => {
                let name = source.path.strip_prefix(PARTIALS)?.strip_suffix(".hbs")?;
                if from.names.contains_key(&format!("{name}{SUFFIX}")) {
                    return None;
                }
                (format!("{PARTIALS}{name}{SUFFIX}.hbs"), text)
            }
        };
        texts.insert(path, text.into_bytes());
    }
    let partials = texts.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix(PARTIALS)?.strip_suffix(".hbs")?;
        Some((name, text.as_slice()))
    });
    let partials: BTreeMap<_, _> = partials.collect();
    // Also where a part of a block is in what is not shown.
    engine::compile(TEXT, texts.get(TEXT)?, &partials).ok()?;
    Some(texts)
}

fn text_of(source: &Source, from: &Sources) -> Option<String> {
    let begin = (0..=source.text.len())
        .map(|number| format!("pt{number}n"))
        .find(|begin| !source.text.contains(begin.as_str()))?;
    // The same tag is the same word, so that a link that reads what it leads to is seen.
    let first = |index: usize| {
        let of = |index: usize| &source.text[source.mustaches[index].range.clone()];
        (0..index).find(|other| of(*other) == of(index)).unwrap_or(index)
    };
    let word = |index: usize| match source.mustaches[index].kind {
        Kind::Raw => None,
        Kind::Nothing => Some(String::new()),
        Kind::Value => Some(format!("{begin}{}{END}", first(index))),
        _ => Some(format!("{begin}{index}{END}")),
    };
    let is_block = |name: &str| {
        from.names
            .get(name)
            .is_none_or(|file| has_blocks(&from.sources[*file]))
    };
    let words = Words {
        mustaches: &source.mustaches,
        word: &word,
        is_block: &is_block,
    };
    let flat = flatten(&source.text, &source.pieces, &words).ok()?;
    let laid_out = plain::lay_out(&flat)?;
    if laid_out.contains("{{") {
        return None;
    }
    restore(&laid_out, source, from, &begin)
}

fn has_blocks(source: &Source) -> bool {
    source.pieces.iter().any(|piece| match piece {
        Piece::Start(tag) => !INLINE.contains(&tag.name.as_str()),
        Piece::Mustache(index) => matches!(source.mustaches[*index].kind, Kind::Partial | Kind::Layout),
        _ => false,
    })
}

/// Puts handlebars' tags back.
fn restore(laid_out: &str, source: &Source, from: &Sources, begin: &str) -> Option<String> {
    let mut text = String::with_capacity(laid_out.len() + source.text.len() / 4);
    let mut rest = laid_out;
    while let Some((before, after)) = rest.split_once(begin) {
        text.push_str(before);
        let (index, behind) = after.split_once(END)?;
        let index: usize = index.parse().ok()?;
        // These would make another tag of it.
        if text.ends_with(['\\', '{']) {
            return None;
        }
        text.push_str(&written(source, from, index)?);
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

/// A tag as it stands in a text: partials are those for texts.
fn written(source: &Source, from: &Sources, index: usize) -> Option<String> {
    let tag = source.mustaches.get(index)?;
    let written = &source.text[tag.range.clone()];
    let opens = |tag: &&Mustache| tag.kind == Kind::Layout && tag.close == Some(index);
    let name = match tag.kind {
        Kind::Partial | Kind::Layout => &tag.name,
        Kind::Close => match source.mustaches.iter().find(opens) {
            Some(layout) => &layout.name,
            None => return Some(written.to_owned()),
        },
        _ => return Some(written.to_owned()),
    };
    Some(match from.names.contains_key(name) {
        true => written.replacen(name, &format!("{name}{SUFFIX}"), 1),
        false => written.to_owned(),
    })
}
