//! What the manifest asks to have in the html: the preheader right behind `<body>`, the color scheme in the head.

use std::collections::BTreeMap;

use super::Sources;
use super::markup::{Piece, Tag};
use super::mustache::{self, Kind, Mustache};
use super::view::{BLOCK, Source};
use crate::manifest::{AUTHORING_FIELDS, Authoring};

/// Keeps the text of the mail from following the preheader in a list of mails: spaces that are not white space to a client.
const PADDING: &str = "&#8199;&#65279;&#847; ";
const PADDING_TIMES: usize = 70;
/// For the clients that know `display:none`, Outlook, and those that know neither.
pub(crate) const HIDDEN: &str = "display:none;max-height:0;max-width:0;overflow:hidden;mso-hide:all;font-size:1px;line-height:1px;opacity:0";

/// A manifest without the fields that building has taken in.
pub(super) fn built_manifest(text: &str) -> Option<String> {
    let mut table: toml::Table = text.parse().ok()?;
    for field in AUTHORING_FIELDS {
        table.remove(*field);
    }
    toml::to_string(&table).ok()
}

/// A place in a source.
#[derive(Clone, Copy)]
struct Place {
    file: usize,
    at: usize,
}

/// The sources that change, by file.
pub(super) fn put_in(from: &Sources, asked: &Authoring) -> Result<BTreeMap<String, String>, String> {
    let sources = &from.sources;
    let mut insertions: Vec<(Place, String)> = Vec::new();
    if let Some(preheader) = &asked.preheader {
        let place = behind(from, "body")?;
        let behind_head =
            || behind_end(&sources[0], "head").filter(|place| !in_block(from, &sources[0], place.at));
        let place = place.or_else(behind_head);
        let place = place.unwrap_or_else(|| before_content(&sources[0]));
        insertions.push((place, hidden(preheader)?));
    }
    if let Some(scheme) = &asked.color_scheme {
        let place = behind(from, "head")?.unwrap_or_else(|| before_content(&sources[0]));
        let metas = ["color-scheme", "supported-color-schemes"];
        let missing = metas.iter().filter(|name| !has_meta(sources, name));
        let metas: String = missing
            .map(|name| format!("<meta name=\"{name}\" content=\"{scheme}\">"))
            .collect();
        insertions.push((place, metas));
    }
    // The later place first, so that the earlier one stays where it is; of two at one place, the head's goes before.
    insertions.sort_by_key(|(place, _)| std::cmp::Reverse(place.at));
    let mut changed: BTreeMap<String, String> = BTreeMap::new();
    for (place, text) in insertions {
        let source = &sources[place.file];
        changed
            .entry(source.path.clone())
            .or_insert_with(|| source.text.clone())
            .insert_str(place.at, &text);
    }
    Ok(changed)
}

/// Behind the start tag of that name, in the html or in what it includes with the data as it is.
fn behind(from: &Sources, name: &str) -> Result<Option<Place>, String> {
    let (sources, names) = (&from.sources, &from.names);
    let mut wanted = vec![(0, false)];
    let mut seen = Vec::new();
    while let Some((file, is_given)) = wanted.pop() {
        if seen.contains(&file) {
            continue;
        }
        seen.push(file);
        let source = &sources[file];
        if let Some(tag) = starts(source).find(|tag| tag.name == name) {
            if name == "body" && (is_given || in_block(from, source, tag.range.start)) {
                return Err(format!(
                    "preheader: <body> is in {}, and there in a block, or included in one or with values of its own, so that the \
                     preheader's values would be others there; let <body> stand in no block, and include its file without values",
                    source.path
                ));
            }
            return Ok(Some(Place {
                file,
                at: tag.range.end,
            }));
        }
        let included = source
            .mustaches
            .iter()
            .filter(|tag| matches!(tag.kind, Kind::Partial | Kind::Layout));
        wanted.extend(included.filter_map(|tag| {
            let is_apart = is_given || tag.is_given || in_block(from, source, tag.range.start);
            Some((*names.get(&tag.name)?, is_apart))
        }));
    }
    Ok(None)
}

/// True of a place within a block, which may be there for some data, or know other values.
fn in_block(from: &Sources, source: &Source, at: usize) -> bool {
    around(source, at).any(|tag| {
        let layout = from.names.get(&tag.name).filter(|_| tag.kind == Kind::Layout);
        let is_plain = layout.is_some_and(|layout| puts_in_no_block(&from.sources[*layout]));
        tag.is_given || !is_plain
    })
}

/// True of a layout that puts what it is put around in no block.
fn puts_in_no_block(layout: &Source) -> bool {
    let mut tags = layout.mustaches.iter();
    tags.all(|tag| tag.name != BLOCK || around(layout, tag.range.start).next().is_none())
}

/// The tags of the blocks around a place.
fn around(source: &Source, at: usize) -> impl Iterator<Item = &Mustache> {
    source.mustaches.iter().filter(move |tag| {
        let close = tag.close.map(|close| source.mustaches[close].range.start);
        tag.range.start < at && close.is_some_and(|close| close > at)
    })
}

fn behind_end(source: &Source, name: &str) -> Option<Place> {
    source.pieces.iter().find_map(|piece| match piece {
        Piece::End { name: found, range } if found == name => Some(Place {
            file: 0,
            at: range.end,
        }),
        _ => None,
    })
}

/// Behind doctype, comments and `<html>`.
fn before_content(source: &Source) -> Place {
    let mut at = 0;
    for piece in &source.pieces {
        match piece {
            Piece::Comment(range) => at = range.end,
            Piece::Start(tag) if tag.name == "html" => at = tag.range.end,
            Piece::Text(range) if source.text[range.clone()].trim().is_empty() => {}
            _ => break,
        }
    }
    Place { file: 0, at }
}

fn starts(source: &Source) -> impl Iterator<Item = &Tag> {
    source.pieces.iter().filter_map(|piece| match piece {
        Piece::Start(tag) => Some(tag),
        _ => None,
    })
}

fn has_meta(sources: &[Source], name: &str) -> bool {
    sources.iter().any(|source| {
        let mut metas = starts(source).filter(|tag| tag.name == "meta");
        metas.any(|tag| {
            let value = tag
                .attribute("name")
                .and_then(|attribute| attribute.value.clone());
            value.is_some_and(|value| source.text[value].eq_ignore_ascii_case(name))
        })
    })
}

/// The element that has the preheader.
fn hidden(preheader: &str) -> Result<String, String> {
    let tags = mustache::scan(preheader).ok_or("preheader: its tags are not understood")?;
    let mut text = String::new();
    let mut at = 0;
    for tag in &tags {
        if matches!(
            tag.kind,
            Kind::Raw | Kind::Partial | Kind::Layout | Kind::Inline | Kind::Literal
        ) {
            return Err("preheader: it is one line of text and values, without html and partials".to_owned());
        }
        text.push_str(&escaped(&preheader[at..tag.range.start]));
        text.push_str(&preheader[tag.range.clone()]);
        at = tag.range.end;
    }
    text.push_str(&escaped(&preheader[at..]));
    let padding = PADDING.repeat(PADDING_TIMES);
    Ok(format!("<div style=\"{HIDDEN}\">{text}{padding}</div>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
