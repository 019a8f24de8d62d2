//! CSS into the elements that it is for.
//!
//! What is written stays as it is, byte for byte: css-inline says on the template's [`View`] which declarations an element gets, and those go
//! before the element's own in its `style`. So no parser of html decides what becomes of the source, and the cascade is that of
//! the sheet: an element's own declarations come last and win, but over an important one.
//!
//! Nothing is put where it could be wrong. An element whose class only the data knows, and what is inside of it, keep to the sheet, which then
//! stays whole beside the rest. Where blocks and elements don't nest within each other, nothing is inlined at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sources;
use super::css::{self, Declaration, Rule};
use super::markup::{self, Attribute, Piece, Tag};
use super::mjml;
use super::view::{Element, NUMBER, NoView, Source, Style, View};
use crate::finding::{self, Finding};
use kept::Kept;
use writing::Writing;

/// Selectors of all sheets together.
const SELECTORS_MAX: usize = 2_000;
/// Declarations of all sheets together, one rule's once for each of its selectors.
const DECLARATIONS_MAX: usize = 10_000;
/// The comparisons of declarations that css-inline does, and how many of them one of a selector with an element is worth.
const WORK_MAX: usize = 200_000_000;
const MATCHING: usize = 100;
/// The declaration that tells by which selector an element was matched.
const MATCHED: &str = "--paceline-s";

mod kept;
mod writing;

/// The sources with the CSS inlined, by file, and what could not be.
#[derive(Default)]
pub(super) struct Inlined {
    pub(super) changed: BTreeMap<String, String>,
    pub(super) warnings: Vec<Finding>,
}

impl Inlined {
    fn warn(&mut self, file: &str, line: Option<usize>, text: impl Into<String>) {
        self.warnings
            .push(Finding::new(finding::Rule::NotInlined, file, text).at(line));
    }
}

/// Inlines the CSS of the html and its partials; those that are used where no html is, too, stay.
pub(super) fn inline(from: &Sources) -> Inlined {
    let (sources, names) = (&from.sources, &from.names);
    let mut inlined = Inlined::default();
    let styles = |source: &Source| {
        source
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Start(tag) if tag.name == "style"))
    };
    if !sources.iter().any(styles) {
        return inlined;
    }
    let view = match View::new(sources, names) {
        Ok(view) => view,
        Err(no_view) => {
            inlined.warn(&sources[0].path, None, match no_view {
                NoView::NotUnderstood => "its CSS is not inlined: its blocks and partials can't be followed",
                NoView::TooLarge => "its CSS is not inlined: with all partials in place it has too many elements, or too many within each other",
            });
            return inlined;
        }
    };
    let sheets = sheets(&view, &mut inlined);
    let unknown = unknown(&view, &sheets);
    let varies = view.varies || unknown.contains(&true);
    let Some(selectors) = bounded(&view, &sheets, varies, &mut inlined) else {
        return inlined;
    };
    if let Some(misnested) = view.misnested.as_ref().filter(|_| view.varies) {
        let text = "the template's CSS is not inlined: elements and blocks must end within what they begin in, and here one does not";
        inlined.warn(&sources[misnested.file].path, Some(misnested.line), text);
        return inlined;
    }
    let Some(matches) = matches(&view, &sheets, &selectors) else {
        inlined.warn(
            &sources[0].path,
            None,
            "its CSS is not inlined: its elements do not nest as they are written",
        );
        return inlined;
    };
    let kept = Kept::new(&view, &sheets, &selectors);
    let mut writing = Writing::new(&view, &sheets, &selectors, &kept, inlined);
    writing.elements(&matches.elements, &unknown, &from.elsewhere);
    writing
        .matched
        .retain(|selector| !matches.implied.contains(selector));
    if !writing.keeps_sheets {
        writing.sheets();
    }
    writing.warn_of_left();
    writing.finish()
}

/// A style element. The rules of one that is not for all readers and all data are kept.
struct Sheet<'a> {
    style: Style,
    text: &'a str,
    /// Where its text begins in its source.
    begin: usize,
    rules: Vec<Rule>,
}

impl Sheet<'_> {
    /// Those within at-rules, too.
    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().flat_map(|rule| rule.inner.iter().chain([rule]))
    }
}

/// A selector that css-inline is given.
struct Matcher {
    sheet: usize,
    rule: usize,
    selector: usize,
}

fn sheets<'a>(view: &View<'a>, inlined: &mut Inlined) -> Vec<Sheet<'a>> {
    let mut sheets = Vec::new();
    for &style in &view.styles {
        let source = &view.sources[style.file];
        let (Piece::Start(tag), Some(Piece::RawText { range, is_filled })) =
            (&source.pieces[style.piece], source.pieces.get(style.piece + 1))
        else {
            continue;
        };
        let text = &source.text[range.clone()];
        // One for a kind of screen, or for some readers, is not for all.
        let is_for_all = style.is_certain && is_plain(tag, &source.text);
        let is_css = has(tag, &source.text, "type", &["", "text/css"]);
        if !is_for_all && (!is_css || *is_filled || mjml::is_base(tag, text)) {
            continue;
        }
        let line = Some(source.line(tag.range.start));
        match css::rules(text) {
            Some(rules) if !is_for_all => sheets.push(Sheet {
                style,
                text,
                begin: range.start,
                rules: rules
                    .into_iter()
                    .map(|rule| Rule {
                        is_kept: true,
                        ..rule
                    })
                    .collect(),
            }),
            None if !is_for_all => {}
            _ if *is_filled => inlined.warn(
                &source.path,
                line,
                "this style is not inlined: what handlebars writes in it is not known before",
            ),
            Some(rules) => sheets.push(Sheet {
                style,
                text,
                begin: range.start,
                rules,
            }),
            None => inlined.warn(
                &source.path,
                line,
                "this style is not inlined: it is no CSS, or has layers, scopes or namespaces",
            ),
        }
    }
    sheets
}

fn is_plain(tag: &Tag, text: &str) -> bool {
    let is_kept = tag.is_computed || tag.attribute("data-css-inline").is_some();
    !is_kept && has(tag, text, "media", &["", "all"]) && has(tag, text, "type", &["", "text/css"])
}

fn has(tag: &Tag, text: &str, name: &str, allowed: &[&str]) -> bool {
    tag.attribute(name).is_none_or(|attribute| {
        let value = attribute.value.clone().map_or("", |value| &text[value]);
        !attribute.is_filled && allowed.contains(&value.trim().to_ascii_lowercase().as_str())
    })
}

/// Of each element, whether only the data knows what selectors match it.
fn unknown(view: &View<'_>, sheets: &[Sheet<'_>]) -> Vec<bool> {
    let rules = sheets.iter().flat_map(|sheet| &sheet.rules);
    let mut asked: BTreeSet<&str> = rules
        .flat_map(|rule| &rule.selectors)
        .flat_map(|selector| selector.attributes.iter().map(String::as_str))
        .collect();
    asked.extend(["class", "id"]);
    let mut unknown: Vec<bool> = Vec::with_capacity(view.elements.len());
    for element in &view.elements {
        let is_inside = element.parent.is_some_and(|parent| unknown[parent]);
        let of_itself = view.tag(element).is_some_and(|tag| {
            let is_filled =
                |attribute: &Attribute| attribute.is_filled && asked.contains(attribute.name.as_str());
            tag.is_computed || tag.attributes.iter().any(is_filled)
        });
        unknown.push(is_inside || of_itself);
    }
    unknown
}

/// The selectors that can be matched, if that stays within bounds and there are any. Of what `varies` none that asks for siblings.
fn bounded(
    view: &View<'_>,
    sheets: &[Sheet<'_>],
    varies: bool,
    inlined: &mut Inlined,
) -> Option<Vec<Matcher>> {
    let mut selectors = Vec::new();
    let (mut count, mut all) = (0, 0);
    for rule in sheets.iter().flat_map(Sheet::all_rules) {
        count += rule.selectors.len();
        all += rule.selectors.len() * (rule.declarations.len() + 1);
    }
    for (sheet, one) in sheets.iter().enumerate() {
        for (rule, declared) in one.rules.iter().enumerate().filter(|(_, rule)| !rule.is_kept) {
            for (selector, asked) in declared.selectors.iter().enumerate() {
                if asked.can_match && !(asked.asks_siblings && varies) {
                    selectors.push(Matcher {
                        sheet,
                        rule,
                        selector,
                    });
                }
            }
        }
    }
    if selectors.is_empty() {
        return None;
    }
    let is_more = count > SELECTORS_MAX || all > DECLARATIONS_MAX;
    if is_more || work(view, sheets, &selectors) > WORK_MAX {
        let text = format!(
            "its CSS is not inlined: {count} selectors with {all} declarations for {} elements are too many",
            view.elements.len()
        );
        inlined.warn(&view.sources[0].path, None, text);
        return None;
    }
    Some(selectors)
}

/// What css-inline takes at the most: it holds each selector against each element, and each declaration of an element against all before it.
fn work(view: &View<'_>, sheets: &[Sheet<'_>], selectors: &[Matcher]) -> usize {
    let of_element = |element: &Element| {
        let source = view.sources[element.file].text.as_str();
        let Some(tag) = view.tag(element) else {
            return 0;
        };
        let (class, id) = (tag.value("class", source), tag.value("id", source));
        let declared = selectors.iter().map(|one| {
            let rule = &sheets[one.sheet].rules[one.rule];
            let subject = &rule.selectors[one.selector].subject;
            let is_for_it = subject.may_be(&tag.name, class, id);
            usize::from(is_for_it) * (rule.declarations.len() + 1)
        });
        let declared: usize = declared.sum();
        declared * declared + selectors.len() * MATCHING
    };
    view.elements.iter().map(of_element).sum()
}

/// What css-inline says of an element.
#[derive(Clone, Default, PartialEq, Eq)]
struct Match {
    declarations: Vec<Declaration>,
    selectors: BTreeSet<usize>,
    /// True if its parser made two elements of it, for which it says different things.
    is_split: bool,
}

struct Matches {
    elements: Vec<Match>,
    /// The selectors that match what only parsers write, such as the body of a table: those stay.
    implied: BTreeSet<usize>,
}

/// What css-inline says of each element; `None` if its parser nests them otherwise than the sources do, where that matters.
fn matches(view: &View<'_>, sheets: &[Sheet<'_>], selectors: &[Matcher]) -> Option<Matches> {
    let mut sheet = String::new();
    for (number, matcher) in selectors.iter().enumerate() {
        let (from, rule) = (&sheets[matcher.sheet], &sheets[matcher.sheet].rules[matcher.rule]);
        let selector = &rule.selectors[matcher.selector].text;
        sheet.push_str(&format!(
            "{selector}{{{};{MATCHED}{number}:1}}\n",
            &from.text[rule.body.clone()]
        ));
    }
    let options = css_inline::InlineOptions::default()
        .inline_style_tags(false)
        .load_remote_stylesheets(false)
        .resolver(Arc::new(NoSheets))
        .extra_css(Some(sheet.into()));
    let html = options.build().inline(&view.html).ok()?;
    let mut matches: Vec<Option<Match>> = vec![None; view.elements.len()];
    let mut implied = BTreeSet::new();
    let mut open: Vec<Option<usize>> = Vec::new();
    for piece in markup::scan(&html, &[]) {
        match piece {
            Piece::Start(tag) => {
                let number = number_of(&tag, &html).filter(|number| *number < matches.len());
                let around = open.iter().rev().find_map(|open| *open);
                if let Some(number) = number {
                    if view.varies && !view.is_same_place(view.elements[number].parent, around) {
                        return None;
                    }
                    let found = found(&tag, &html);
                    match &mut matches[number] {
                        Some(known) => known.is_split |= *known != found,
                        free => *free = Some(found),
                    }
                } else {
                    implied.extend(found(&tag, &html).selectors);
                }
                if !markup::is_void(&tag.name) {
                    open.push(number);
                }
            }
            Piece::End { .. } => {
                open.pop();
            }
            _ => {}
        }
    }
    let is_lost = |number: usize| matches[number].is_none() && !view.is_root(number);
    if view.varies && (0..matches.len()).any(is_lost) {
        return None;
    }
    let elements = matches.into_iter().map(Option::unwrap_or_default).collect();
    Some(Matches { elements, implied })
}

/// No style sheet is ever fetched.
struct NoSheets;

impl css_inline::StylesheetResolver for NoSheets {
    fn retrieve(&self, _: &str) -> css_inline::Result<String> {
        Err(css_inline::InlineError::IO(
            std::io::ErrorKind::Unsupported.into(),
        ))
    }
}

fn number_of(tag: &Tag, html: &str) -> Option<usize> {
    html[tag.attribute(NUMBER)?.value.clone()?].parse().ok()
}

fn found(tag: &Tag, html: &str) -> Match {
    let mut found = Match::default();
    let Some(value) = tag.attribute("style").and_then(|style| style.value.clone()) else {
        return found;
    };
    for declaration in css::declarations(&unescaped(&html[value])) {
        match declaration.property.strip_prefix(MATCHED) {
            Some(number) => found.selectors.extend(number.parse::<usize>().ok()),
            None => found.declarations.push(declaration),
        }
    }
    found
}

/// What serializers of html escape in an attribute.
fn unescaped(value: &str) -> String {
    value
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}
