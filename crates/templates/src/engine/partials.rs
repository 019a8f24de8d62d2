//! Partials and layouts: `{{> header}}`, `{{#> layout}}..{{/layout}}` around which the layout puts itself, and what
//! `{{#*inline "part"}}..{{/inline}}` gives it.
//!
//! They are put in place in the tree before anything else looks at it, each as a block of its own. So there is nothing to be looked up while a
//! message renders, nothing can call itself, and all bounds hold for the whole. What grows without end is refused while it grows.

use std::collections::BTreeMap;
use std::rc::Rc;

use handlebars::Template as Parsed;
use handlebars::template::{
    DecoratorTemplate, HelperTemplate, HelperTemplateBuilder, Parameter, TemplateElement,
};
use serde_json::Value;

use super::compile::{SourceError, parse};

/// Sources that others may include, by name.
pub(crate) type Partials<'a> = BTreeMap<&'a str, &'a [u8]>;

/// What a source may have with all its partials in place, each counted as often as it is there.
const BYTES_MAX: usize = 200 * 1024;
const ELEMENTS_MAX: usize = 16_000;
/// Partials within each other.
const DEPTH_MAX: usize = 16;

/// Definitions by `{{#*inline}}` that one place sees: each block within another has a list of them.
pub(crate) const INLINE_MAX: usize = 64;

/// Begins the names of the blocks that stand for partials; no author can write it.
const MARK: &str = "> ";
/// What a layout calls the block that it is put around.
pub(super) const BLOCK: &str = "@partial-block";

/// The partial that a block stands for.
pub(super) fn name_of(block: &HelperTemplate) -> Option<&str> {
    block.name.as_name()?.strip_prefix(MARK)
}

/// Puts the partials of a source in place.
pub(super) fn include(template: &mut Parsed, sources: &Partials<'_>) -> Result<(), Vec<SourceError>> {
    let mut include = Include {
        sources,
        parsed: BTreeMap::new(),
        bytes: 0,
        elements: 0,
        line: None,
    };
    include.template(template, &Around::default())
}

struct Include<'a> {
    sources: &'a Partials<'a>,
    parsed: BTreeMap<String, Parsed>,
    bytes: usize,
    elements: usize,
    /// Of the tag in the source itself.
    line: Option<usize>,
}

/// What is around a place.
#[derive(Clone, Default)]
struct Around<'a> {
    partials: Vec<&'a str>,
    block: Option<&'a Parsed>,
    /// What `{{#*inline "name"}}` defines there, the innermost last.
    inline: Vec<Defined>,
}

/// A name and what is defined by it.
type Defined = (String, Rc<Parsed>);

type Done = Result<(), Vec<SourceError>>;

impl Include<'_> {
    fn refuse<T>(&self, problem: String) -> Result<T, Vec<SourceError>> {
        let line = self.line;
        Err(vec![SourceError { line, problem }])
    }

    fn template(&mut self, template: &mut Parsed, around: &Around<'_>) -> Done {
        let defined = take_inline(template);
        if around.inline.len() + defined.len() > INLINE_MAX {
            return self.refuse(format!("more than {INLINE_MAX} inline partials in one place"));
        }
        let around = &Around {
            inline: [around.inline.clone(), defined].concat(),
            ..around.clone()
        };
        let mut is_indented = false;
        for (index, element) in template.elements.iter_mut().enumerate() {
            if around.partials.is_empty()
                && let Some(mapping) = template.mapping.get(index)
            {
                self.line = Some(mapping.0);
            }
            match element {
                TemplateElement::HelperBlock(block) => {
                    for branch in [&mut block.template, &mut block.inverse].into_iter().flatten() {
                        self.template(branch, around)?;
                    }
                }
                TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                    // Its indentation was taken out of the text before, but only if it is alone on its line.
                    partial.indent.take_if(|_| is_indented);
                    let block = self.partial(partial, around)?;
                    *element = TemplateElement::HelperBlock(Box::new(block));
                }
                _ => {}
            }
            is_indented = matches!(element, TemplateElement::RawString(text) if text.ends_with([' ', '\t']));
        }
        Ok(())
    }

    /// A block that has the partial in it.
    fn partial(
        &mut self,
        partial: &mut DecoratorTemplate,
        around: &Around<'_>,
    ) -> Result<HelperTemplate, Vec<SourceError>> {
        let name = match partial.name.as_name() {
            Some(name) => name.trim_matches(['"', '\'', '[', ']']).to_owned(),
            None => return self.refuse("a partial's name must be written, not computed".to_owned()),
        };
        let mut inline = around.inline.clone();
        if let Some(block) = &mut partial.template {
            inline.extend(take_inline(block));
            self.template(
                block,
                &Around {
                    inline: inline.clone(),
                    ..around.clone()
                },
            )?;
        }
        let mut inside = self.source_of(&name, partial.template.as_ref(), &inline, around)?;
        if let Some(indent) = partial.indent.take() {
            inside.elements.insert(0, TemplateElement::RawString(indent));
            inside.mapping.extend(inside.mapping.first().cloned());
            inside.mapping.rotate_right(1);
        }
        if name != BLOCK {
            let mut partials = around.partials.clone();
            partials.push(&name);
            let block = partial.template.as_ref();
            self.template(
                &mut inside,
                &Around {
                    partials,
                    block,
                    inline,
                },
            )?;
        }
        let block = HelperTemplateBuilder::default()
            .name(Parameter::Name(format!("{MARK}{name}")))
            .params(std::mem::take(&mut partial.params))
            .hash(std::mem::take(&mut partial.hash))
            .template(inside)
            .block(true)
            .chain(false)
            .indent_before_write(false)
            .build();
        block.or_else(|_| self.refuse("a partial that can't be put in place".to_owned()))
    }

    /// The tree of what a partial's name stands for, to be put in place: what is defined in the place, else a source, else, within a
    /// partial, the block itself, so that layouts can have parts that need not be given.
    fn source_of(
        &mut self,
        name: &str,
        block: Option<&Parsed>,
        inline: &[Defined],
        around: &Around<'_>,
    ) -> Result<Parsed, Vec<SourceError>> {
        if around.partials.contains(&name) {
            return self.refuse(format!("the partial `{name}` includes itself"));
        }
        if around.partials.len() == DEPTH_MAX {
            return self.refuse(format!("more than {DEPTH_MAX} partials within each other"));
        }
        let tree = if name == BLOCK {
            match around.block {
                Some(block) => block.clone(),
                None => return self.refuse(format!("`{BLOCK}` stands outside of a layout")),
            }
        } else if let Some((_, defined)) = inline.iter().rev().find(|(defined, _)| defined == name) {
            Parsed::clone(defined)
        } else {
            match block.filter(|_| !around.partials.is_empty() && !self.sources.contains_key(name)) {
                Some(block) => block.clone(),
                None => self.parsed(name)?,
            }
        };
        self.pay(&tree);
        if self.bytes > BYTES_MAX || self.elements > ELEMENTS_MAX {
            return self.refuse(format!(
                "more than {} KB or {ELEMENTS_MAX} tags and texts with all partials in place",
                BYTES_MAX / 1024
            ));
        }
        Ok(tree)
    }

    fn parsed(&mut self, name: &str) -> Result<Parsed, Vec<SourceError>> {
        if let Some(parsed) = self.parsed.get(name) {
            return Ok(parsed.clone());
        }
        let Some(source) = self.sources.get(name) else {
            let names: Vec<_> = self.sources.keys().copied().collect();
            return self.refuse(format!(
                "`{name}` is not one of the partials: {}",
                names.join(", ")
            ));
        };
        let parsed = parse(source).map_err(|mut errors| {
            for error in &mut errors {
                let line = error.line.map(|line| format!(" line {line}")).unwrap_or_default();
                error.problem = format!("partial `{name}`{line}: {}", error.problem);
                error.line = self.line;
            }
            errors
        })?;
        self.parsed.insert(name.to_owned(), parsed.clone());
        Ok(parsed)
    }

    fn pay(&mut self, template: &Parsed) {
        for element in &template.elements {
            self.elements += 1;
            match element {
                TemplateElement::RawString(text) => self.bytes += text.len(),
                TemplateElement::HelperBlock(block) => {
                    for branch in [&block.template, &block.inverse].into_iter().flatten() {
                        self.pay(branch);
                    }
                }
                TemplateElement::PartialBlock(block) | TemplateElement::DecoratorBlock(block) => {
                    if let Some(inside) = &block.template {
                        self.pay(inside);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Takes what `{{#*inline "name"}}` defines out of a list of elements.
fn take_inline(template: &mut Parsed) -> Vec<Defined> {
    let mut defined = Vec::new();
    for element in &mut template.elements {
        let TemplateElement::DecoratorBlock(decorator) = element else {
            continue;
        };
        if let (Some("inline"), [Parameter::Literal(Value::String(name))]) =
            (decorator.name.as_name(), &decorator.params[..])
        {
            defined.push((
                name.clone(),
                Rc::new(decorator.template.take().unwrap_or_default()),
            ));
            *element = TemplateElement::Comment(String::new());
        }
    }
    defined
}
