//! A source's markup without its tags of handlebars, for rules that look at html.
//!
//! Every tag is a hole. All branches of all blocks follow each other, each once, so that all is seen, whatever the data. But
//! inside of an html tag (`<a {{#if x}}href="a"{{else}}href="b"{{/if}}>`) only one branch stands at a time, since html knows
//! an attribute once: one skeleton has the first branches there, the other one those after `else`.

use handlebars::Template as Parsed;
use handlebars::template::{HelperTemplate, TemplateElement};

use super::compile::Compiled;

/// Stands for what a tag prints: a character of Unicode's private use, that neither markup nor a URL has.
pub(crate) const HOLE: char = '\u{f8ff}';

/// The markup, and where it comes from.
pub(crate) struct Skeleton {
    pub(crate) text: String,
    /// The source's line of each line of the text.
    lines: Vec<usize>,
    in_tag: bool,
    /// Which branch stands inside of html tags.
    otherwise: bool,
}

impl Compiled {
    pub(crate) fn skeletons(&self) -> [Skeleton; 2] {
        [false, true].map(|otherwise| {
            let mut skeleton = Skeleton {
                text: String::new(),
                lines: vec![1],
                in_tag: false,
                otherwise,
            };
            skeleton.add(&self.template);
            skeleton
        })
    }
}

impl Skeleton {
    /// The source's line of a line of the text, both from 1.
    pub(crate) fn source_line(&self, line: usize) -> Option<usize> {
        self.lines.get(line.checked_sub(1)?).copied()
    }

    fn add(&mut self, template: &Parsed) {
        for (index, element) in template.elements.iter().enumerate() {
            match element {
                TemplateElement::RawString(text) => {
                    let line = template.mapping.get(index).map_or(1, |place| place.0);
                    self.add_text(text, line);
                }
                TemplateElement::Expression(_) | TemplateElement::HtmlExpression(_) => self.text.push(HOLE),
                TemplateElement::HelperBlock(helper) => self.add_block(helper),
                _ => {}
            }
        }
    }

    fn add_block(&mut self, helper: &HelperTemplate) {
        let branches = match (&helper.template, &helper.inverse) {
            (Some(_), Some(inverse)) if self.in_tag && self.otherwise => [None, Some(inverse)],
            (Some(inner), Some(_)) if self.in_tag => [Some(inner), None],
            (inner, inverse) => [inner.as_ref(), inverse.as_ref()],
        };
        for branch in branches.into_iter().flatten() {
            self.add(branch);
        }
    }

    /// Adds text that begins in the source's line `line`.
    fn add_text(&mut self, text: &str, mut line: usize) {
        if self.text.is_empty() || self.text.ends_with('\n') {
            // What has just begun comes from there.
            if let Some(last) = self.lines.last_mut() {
                *last = line;
            }
        }
        for char in text.chars() {
            self.text.push(char);
            match char {
                '<' => self.in_tag = true,
                '>' => self.in_tag = false,
                '\n' => {
                    line += 1;
                    self.lines.push(line);
                }
                _ => {}
            }
        }
    }
}
