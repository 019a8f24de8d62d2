//! Writes into the sources what css-inline said: declarations into start tags, and of the sheets what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::css::{self, Declaration};
use super::super::markup::{Piece, Tag};
use super::super::view::{Source, View};
use super::{Inlined, Match, Matcher, Sheet, unescaped};
use crate::bundle::BUNDLE_BYTES_MAX;

/// The warnings of a kind.
const WARNINGS_MAX: usize = 10;
/// The properties that a warning names.
const NAMED_MAX: usize = 5;

pub(super) struct Writing<'a> {
    view: &'a View<'a>,
    sheets: &'a [Sheet<'a>],
    selectors: &'a [Matcher],
    /// What takes which place, by source.
    edits: BTreeMap<usize, Vec<(Range<usize>, String)>>,
    /// True if something keeps to the sheets, so that they stay as they are.
    pub(super) keeps_sheets: bool,
    /// Which selectors leave their sheets.
    pub(super) matched: BTreeSet<usize>,
    /// The properties that elements have by them.
    properties: BTreeSet<String>,
    warned: usize,
    /// Of what is written into elements.
    bytes: usize,
    inlined: Inlined,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        view: &'a View<'a>,
        sheets: &'a [Sheet<'a>],
        selectors: &'a [Matcher],
        inlined: Inlined,
    ) -> Self {
        Self {
            view,
            sheets,
            selectors,
            edits: BTreeMap::new(),
            // Html that comes with the data may be matched as well.
            keeps_sheets: view.prints_html,
            matched: BTreeSet::new(),
            properties: BTreeSet::new(),
            warned: 0,
            bytes: 0,
            inlined,
        }
    }

    /// Writes what each element gets, where that is known and the same wherever its source is used.
    pub(super) fn elements(&mut self, matches: &[Match], unknown: &[bool], elsewhere: &BTreeSet<usize>) {
        let mut places: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (number, element) in self.view.elements.iter().enumerate() {
            places
                .entry((element.file, element.piece))
                .or_default()
                .push(number);
        }
        let yielding = self.yielding(matches);
        for ((file, piece), numbers) in places {
            let (source, Piece::Start(tag)) =
                (&self.view.sources[file], &self.view.sources[file].pieces[piece])
            else {
                continue;
            };
            let first = &matches[numbers[0]];
            let is_unknown = numbers.iter().any(|number| unknown[*number]);
            let is_other = first.is_split || numbers.iter().any(|number| matches[*number] != *first);
            let is_styled = is_other || !first.selectors.is_empty();
            if is_unknown || is_other || (is_styled && elsewhere.contains(&file)) {
                self.leave(source, tag, is_unknown, is_other);
                continue;
            }
            self.matched.extend(&first.selectors);
            let text = self.declarations(source, tag, first, &yielding);
            if text.contains("{{") {
                self.leave(source, tag, false, false);
            } else if !text.is_empty() {
                self.edits.entry(file).or_default().push(edit(source, tag, &text));
                self.bytes += text.len();
            }
            // No bundle has so much: none of it is taken.
            if self.bytes > BUNDLE_BYTES_MAX {
                return;
            }
        }
    }

    /// An element keeps to the sheets.
    fn leave(&mut self, source: &Source, tag: &Tag, is_unknown: bool, is_other: bool) {
        self.keeps_sheets = true;
        self.warned += 1;
        if self.warned > WARNINGS_MAX {
            return;
        }
        let why = match (is_unknown, is_other) {
            (true, _) => "only the data knows what CSS it, or what it is in, gets",
            (false, true) => "it gets other CSS where the partial is used again",
            (false, false) => "its source is used where no html is, too",
        };
        let text = format!(
            "<{}> is left as it is, and the style stays whole: {why}",
            tag.name
        );
        let line = source.line(tag.range.start);
        self.inlined.warn(&source.path, Some(line), text);
    }

    /// The inlined properties of which something important stays in the sheets: that must win over what is inlined, as it did before.
    fn yielding(&self, matches: &[Match]) -> BTreeSet<String> {
        let kept: BTreeSet<&str> = self
            .kept()
            .filter(|(_, declaration)| declaration.is_important)
            .map(|(_, declaration)| declaration.property.as_str())
            .collect();
        let declared = matches.iter().flat_map(|found| &found.declarations);
        let important: BTreeSet<&str> = declared
            .filter(|declaration| declaration.is_important)
            .map(|declaration| declaration.property.as_str())
            .collect();
        let yields = |property: &&str| kept.iter().any(|kept| css::are_related(kept, property));
        important.into_iter().filter(yields).map(str::to_owned).collect()
    }

    /// The declarations, with their sheets, of what is judged by the reader's client.
    fn kept(&self) -> impl Iterator<Item = (usize, &Declaration)> {
        let rules = self.sheets.iter().enumerate().flat_map(|(sheet, one)| {
            one.rules
                .iter()
                .enumerate()
                .map(move |(rule, declared)| (sheet, rule, declared))
        });
        rules
            .filter(|(sheet, rule, declared)| {
                let given = self
                    .selectors
                    .iter()
                    .filter(|one| (one.sheet, one.rule) == (*sheet, *rule))
                    .count();
                declared.is_kept || given < declared.selectors.len()
            })
            .flat_map(|(sheet, _, declared)| {
                declared
                    .declarations
                    .iter()
                    .map(move |declaration| (sheet, declaration))
            })
    }

    /// What goes before an element's own declarations.
    fn declarations(
        &mut self,
        source: &Source,
        tag: &Tag,
        found: &Match,
        yielding: &BTreeSet<String>,
    ) -> String {
        let style = tag.attribute("style").filter(|style| !style.is_filled);
        let own = style
            .and_then(|style| style.value.clone())
            .map(|value| unescaped(&source.text[value]));
        let own = css::declarations(&own.unwrap_or_default());
        let mut text = Vec::new();
        for declaration in &found.declarations {
            let Declaration {
                property,
                value,
                is_important,
            } = declaration;
            let is_overridden = own
                .iter()
                .any(|own| own.property == *property && (own.is_important || !is_important));
            if is_overridden {
                continue;
            }
            self.properties.insert(property.clone());
            let mark = if *is_important && !yielding.contains(property) {
                " !important"
            } else {
                ""
            };
            text.push(format!("{property}:{value}{mark}"));
        }
        text.join(";")
    }

    /// Takes out of the sheets what is inlined. Every line stays the line that it was.
    pub(super) fn sheets(&mut self) {
        for (number, sheet) in self.sheets.iter().enumerate() {
            let mut kept = String::with_capacity(sheet.text.len());
            let mut at = 0;
            for (rule, declared) in sheet.rules.iter().enumerate() {
                kept.push_str(&sheet.text[at..declared.range.start]);
                at = declared.range.end;
                let written = &sheet.text[declared.range.clone()];
                let is_gone = |selector: &usize| {
                    self.matched.iter().any(|matched| {
                        let Matcher {
                            sheet,
                            rule: of,
                            selector: one,
                        } = self.selectors[*matched];
                        (sheet, of, one) == (number, rule, *selector)
                    })
                };
                let (gone, left): (Vec<_>, Vec<_>) = (0..declared.selectors.len()).partition(is_gone);
                if gone.is_empty() {
                    kept.push_str(written);
                    continue;
                }
                let lines = written.matches('\n').count();
                let mut rest = String::new();
                if !left.is_empty() {
                    let left: Vec<_> = left
                        .iter()
                        .map(|selector| declared.selectors[*selector].text.as_str())
                        .collect();
                    rest = format!("{}{{{}}}", left.join(","), &sheet.text[declared.body.clone()]);
                }
                let missing = lines.saturating_sub(rest.matches('\n').count());
                kept.push_str(&rest);
                kept.push_str(&"\n".repeat(missing));
            }
            kept.push_str(&sheet.text[at..]);
            let (range, text) = self.remaining(sheet, kept);
            self.edits
                .entry(sheet.style.file)
                .or_default()
                .push((range, text));
        }
    }

    /// The place of a sheet's text, or of its element if nothing is left in it, and what comes there.
    fn remaining(&self, sheet: &Sheet<'_>, kept: String) -> (Range<usize>, String) {
        let inside = sheet.begin..sheet.begin + sheet.text.len();
        if !kept.trim().is_empty() {
            return (inside, kept);
        }
        let source = &self.view.sources[sheet.style.file];
        match (
            &source.pieces[sheet.style.piece],
            source.pieces.get(sheet.style.piece + 2),
        ) {
            (Piece::Start(tag), Some(Piece::End { range, .. })) => {
                let whole = tag.range.start..range.end;
                let lines = source.text[whole.clone()].matches('\n').count();
                (whole, "\n".repeat(lines))
            }
            _ => (inside, kept),
        }
    }

    /// What stays in a sheet loses to what is inlined, unless it is important.
    pub(super) fn warn_of_conflicts(&mut self) {
        let mut conflicts: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        let mut found = Vec::new();
        for (sheet, declaration) in self.kept().filter(|(_, declaration)| !declaration.is_important) {
            let related = |inlined: &String| css::are_related(inlined, &declaration.property);
            if self.properties.iter().any(related) {
                found.push((sheet, declaration.property.clone()));
            }
        }
        for (sheet, property) in &found {
            conflicts.entry(*sheet).or_default().insert(property);
        }
        for (sheet, properties) in conflicts {
            let style = self.sheets[sheet].style;
            let source = &self.view.sources[style.file];
            let named: Vec<_> = properties.into_iter().take(NAMED_MAX).collect();
            let text = format!(
                "what stays in this style has {} without !important, to which what is inlined does not yield",
                named.join(", ")
            );
            let line = source.line(self.sheets[sheet].begin);
            self.inlined.warn(&source.path, Some(line), text);
        }
    }

    pub(super) fn finish(mut self) -> Inlined {
        for (file, mut edits) in self.edits {
            edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
            let source = &self.view.sources[file];
            let mut text = source.text.clone();
            for (range, new) in edits {
                text.replace_range(range, &new);
            }
            self.inlined.changed.insert(source.path.clone(), text);
        }
        self.inlined
    }
}

/// The change of a source that puts declarations before those that a tag has.
fn edit(source: &Source, tag: &Tag, declarations: &str) -> (Range<usize>, String) {
    let text = declarations.replace('&', "&amp;");
    let quoted = text.replace('"', "&quot;");
    let Some(style) = tag.attribute("style") else {
        return (tag.name_end..tag.name_end, format!(" style=\"{quoted}\""));
    };
    match (style.value.clone(), style.quote) {
        (Some(value), Some(b'\'')) => (
            value.start..value.start,
            format!("{};", text.replace('\'', "&#39;")),
        ),
        (Some(value), Some(_)) => (value.start..value.start, format!("{quoted};")),
        (value, None) | (value @ None, Some(_)) => {
            let own = value
                .map_or("", |value| &source.text[value])
                .replace('"', "&quot;");
            (style.range.clone(), format!("style=\"{quoted};{own}\""))
        }
    }
}
