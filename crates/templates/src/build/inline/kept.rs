//! What stays in the sheets whatever is inlined: rules that only the reader's client can judge, and what those must not lose to.
//!
//! An inlined declaration wins over all of the sheets that is not important. So what a rule that stays may say otherwise of an element is not
//! inlined there, and both stay in the sheet, whose cascade it is then.

use std::collections::{BTreeMap, BTreeSet};

use super::super::css::{self, Declaration, Subject};
use super::super::markup::{self, Piece, Tag};
use super::super::view::View;
use super::{Match, Matcher, Sheet};

pub(super) struct Kept<'a> {
    selectors: Vec<Selector<'a>>,
    /// What selectors ask of a `style`, which is another one with what is inlined.
    styles: BTreeSet<Option<&'a str>>,
    /// Name, class and id of the elements that stand in comments for Outlook.
    commented: BTreeSet<(String, String, String)>,
}

/// A selector that is not inlined.
struct Selector<'a> {
    sheet: usize,
    subject: &'a Subject,
    /// The families of what it declares, and whether that is important.
    families: BTreeSet<(&'a str, bool)>,
}

impl<'a> Kept<'a> {
    pub(super) fn new(view: &View<'_>, sheets: &'a [Sheet<'a>], given: &[Matcher]) -> Self {
        let given: BTreeSet<_> = given
            .iter()
            .map(|one| (one.sheet, one.rule, one.selector))
            .collect();
        let (mut selectors, mut styles) = (Vec::new(), BTreeSet::new());
        for (sheet, one) in sheets.iter().enumerate() {
            for (number, outer) in one.rules.iter().enumerate() {
                for (rule, is_inner) in outer
                    .inner
                    .iter()
                    .map(|rule| (rule, true))
                    .chain([(outer, false)])
                {
                    for (index, selector) in rule.selectors.iter().enumerate() {
                        styles.extend(selector.styles.iter().map(Option::as_deref));
                        if !is_inner && given.contains(&(sheet, number, index)) {
                            continue;
                        }
                        let declared = rule.declarations.iter();
                        selectors.push(Selector {
                            sheet,
                            subject: &selector.subject,
                            families: declared.map(family_of).collect(),
                        });
                    }
                }
            }
        }
        Self {
            selectors,
            styles,
            commented: commented(view),
        }
    }

    /// The families of what stays in the sheets for an element, each with a sheet that says otherwise of it.
    pub(super) fn left(&self, tag: &Tag, source: &str, found: &Match) -> BTreeMap<&'a str, usize> {
        let inlined: BTreeSet<_> = found.declarations.iter().map(family_of).collect();
        let of = |name: &str| tag.value(name, source);
        let mut left = BTreeMap::new();
        for selector in &self.selectors {
            if inlined.is_empty() || !selector.subject.may_be(&tag.name, of("class"), of("id")) {
                continue;
            }
            for &(family, is_important) in &selector.families {
                let loses = !is_important && inlined.contains(&(family, false));
                if loses || inlined.contains(&(family, true)) {
                    left.insert(family, selector.sheet);
                }
            }
        }
        left
    }

    /// True if a selector may ask for what is written into a `style`.
    pub(super) fn is_asked_for(&self, style: &str) -> bool {
        let is_in = |asked: &Option<&str>| asked.is_none_or(|part| style.contains(part));
        self.styles.iter().any(is_in)
    }

    /// True if elements in comments, into which nothing is inlined, may need a selector's rule.
    pub(super) fn is_for_comments(&self, subject: &Subject) -> bool {
        let may_be = |(name, class, id): &(String, String, String)| subject.may_be(name, class, id);
        self.commented.iter().any(may_be)
    }
}

fn family_of(declaration: &Declaration) -> (&str, bool) {
    (css::family(&declaration.property), declaration.is_important)
}

fn commented(view: &View<'_>) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for source in view.sources {
        for piece in &source.pieces {
            let Piece::Comment(range) = piece else {
                continue;
            };
            let inside = source.text[range.clone()].strip_prefix("<!--");
            let Some(inside) = inside.filter(|inside| inside.contains("[if")) else {
                continue;
            };
            for piece in markup::scan(inside, &[]) {
                if let Piece::Start(tag) = piece {
                    let of = |name: &str| tag.value(name, inside).to_owned();
                    found.insert((tag.name.clone(), of("class"), of("id")));
                }
            }
        }
    }
    found
}
