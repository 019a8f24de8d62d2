//! Writes into the sources what css-inline said: declarations into start tags, and of the sheets what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::css::{self, Declaration, Rule};
use super::super::markup::{Piece, Tag};
use super::super::view::{Source, View};
use super::kept::Kept;
use super::{Inlined, Match, Matcher, Sheet};
use crate::bundle::BUNDLE_BYTES_MAX;

/// The warnings of a kind.
const WARNINGS_MAX: usize = 10;
/// The properties that a warning names.
const NAMED_MAX: usize = 5;

pub(super) struct Writing<'a> {
    view: &'a View<'a>,
    sheets: &'a [Sheet<'a>],
    selectors: &'a [Matcher],
    kept: &'a Kept<'a>,
    /// What takes which place, by source.
    edits: BTreeMap<usize, Vec<(Range<usize>, String)>>,
    /// True if something keeps to the sheets, so that they stay as they are.
    pub(super) keeps_sheets: bool,
    /// Which selectors leave their sheets.
    pub(super) matched: BTreeSet<usize>,
    /// The families that stay in them for some of their elements.
    left: BTreeMap<usize, BTreeSet<&'a str>>,
    /// Those, by the sheets on whose account they stay.
    conflicts: BTreeMap<usize, BTreeSet<&'a str>>,
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
        kept: &'a Kept<'a>,
        inlined: Inlined,
    ) -> Self {
        Self {
            view,
            sheets,
            selectors,
            kept,
            edits: BTreeMap::new(),
            // Html that comes with the data may be matched as well.
            keeps_sheets: view.prints_html,
            matched: BTreeSet::new(),
            left: BTreeMap::new(),
            conflicts: BTreeMap::new(),
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
            let left = self.kept.left(tag, &source.text, first);
            let text = self.declarations(first, &left);
            if text.contains("{{") || (!text.is_empty() && self.kept.is_asked_for(&text)) {
                self.leave(source, tag, false, false);
                continue;
            }
            self.matched.extend(&first.selectors);
            for (family, sheet) in left {
                self.conflicts.entry(sheet).or_default().insert(family);
                for selector in &first.selectors {
                    self.left.entry(*selector).or_default().insert(family);
                }
            }
            if !text.is_empty() {
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
            (false, false) => "its source is used where no html is, too, or a selector asks for such a style",
        };
        let text = format!(
            "<{}> is left as it is, and the style stays whole: {why}",
            tag.name
        );
        let line = source.line(tag.range.start);
        self.inlined.warn(&source.path, Some(line), text);
    }

    /// What goes before an element's own declarations: the sheets' in the order of the cascade, and fallbacks before what they are for.
    fn declarations(&self, found: &Match, left: &BTreeMap<&str, usize>) -> String {
        let inlined = found.declarations.iter();
        let inlined = inlined.filter(|declaration| !left.contains_key(css::family(&declaration.property)));
        let (important, others): (Vec<_>, Vec<_>) = inlined.partition(|declaration| declaration.is_important);
        let ordered = others.into_iter().chain(important);
        let texts = ordered.flat_map(|declaration| {
            self.fallbacks(found, declaration)
                .unwrap_or_else(|| vec![declaration])
        });
        texts.map(written).collect::<Vec<_>>().join(";")
    }

    /// All that the rule of a declaration says of its property, if it does so more than once: clients take the last that they know.
    fn fallbacks(&self, found: &Match, declaration: &Declaration) -> Option<Vec<&'a Declaration>> {
        let plain = |value: &str| value.replace('"', "'");
        found.selectors.iter().find_map(|selector| {
            let matcher = &self.selectors[*selector];
            let rule = &self.sheets[matcher.sheet].rules[matcher.rule];
            let same = |one: &&Declaration| one.property == declaration.property;
            let all: Vec<_> = rule.declarations.iter().filter(same).collect();
            let is_alike = |one: &&Declaration| one.is_important == declaration.is_important;
            let last = all
                .last()
                .is_some_and(|last| plain(&last.value) == plain(&declaration.value));
            (all.len() > 1 && last && all.iter().all(is_alike)).then_some(all)
        })
    }

    /// Takes out of the sheets what is inlined. Every line stays the line that it was.
    pub(super) fn sheets(&mut self) {
        let gone = self.gone();
        for (number, sheet) in self.sheets.iter().enumerate() {
            let mut kept = String::with_capacity(sheet.text.len());
            let mut at = 0;
            for (rule, declared) in sheet.rules.iter().enumerate() {
                kept.push_str(&sheet.text[at..declared.range.start]);
                at = declared.range.end;
                let written = &sheet.text[declared.range.clone()];
                let Some(gone) = gone.get(&(number, rule)) else {
                    kept.push_str(written);
                    continue;
                };
                let lines = written.matches('\n').count();
                let mut rest = String::new();
                let is_there = |(index, _): &(usize, &css::Selector)| !gone.contains_key(index);
                let there = declared.selectors.iter().enumerate().filter(is_there);
                let there: Vec<_> = there.map(|(_, selector)| selector.text.as_str()).collect();
                if !there.is_empty() {
                    rest = format!("{}{{{}}}", there.join(","), &sheet.text[declared.body.clone()]);
                }
                for (selector, left) in gone {
                    rest.push_str(&remainder(declared, *selector, left));
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

    /// Of each rule the selectors that leave it, and the families that do not.
    fn gone(&self) -> BTreeMap<(usize, usize), BTreeMap<usize, BTreeSet<&'a str>>> {
        let mut gone: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for number in &self.matched {
            let one = &self.selectors[*number];
            let selector = &self.sheets[one.sheet].rules[one.rule].selectors[one.selector];
            if !self.kept.is_for_comments(&selector.subject) {
                let left = self.left.get(number).cloned().unwrap_or_default();
                gone.entry((one.sheet, one.rule))
                    .or_default()
                    .insert(one.selector, left);
            }
        }
        gone
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

    /// What a sheet that stays keeps from being inlined.
    pub(super) fn warn_of_left(&mut self) {
        for (sheet, families) in &self.conflicts {
            let style = self.sheets[*sheet].style;
            let source = &self.view.sources[style.file];
            let named: Vec<_> = families.iter().copied().take(NAMED_MAX).collect();
            let text = format!(
                "{} of elements that a rule may be for which stays in this style is not inlined, since that rule would lose to it; \
                 with !important there, and only there, it does not",
                named.join(", ")
            );
            let line = source.line(self.sheets[*sheet].begin);
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

/// What of a rule stays for a selector that leaves it.
fn remainder(rule: &Rule, selector: usize, left: &BTreeSet<&str>) -> String {
    let stays = |declaration: &&Declaration| left.contains(css::family(&declaration.property));
    let declarations: Vec<_> = rule.declarations.iter().filter(stays).map(written).collect();
    if declarations.is_empty() {
        return String::new();
    }
    let selector = &rule.selectors[selector].text;
    format!("{selector}{{{}}}", declarations.join(";")).replace('\n', " ")
}

fn written(declaration: &Declaration) -> String {
    let mark = if declaration.is_important {
        " !important"
    } else {
        ""
    };
    format!("{}:{}{mark}", declaration.property, declaration.value)
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
