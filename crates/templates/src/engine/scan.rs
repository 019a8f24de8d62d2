//! Reads a parsed template before it is ever rendered: refuses what has no bound, and finds out which fields it uses.

use std::collections::BTreeSet;

use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template as Parsed};
use paceline_domain::canonical::RESERVED_NAME;
use serde_json::Value;

use super::compile::SourceError;
use super::helpers::{BLOCKS, VALUES};

/// Blocks, `else if`s, subexpressions and literals within each other. Rendering takes stack for each.
const DEPTH_MAX: usize = 64;
/// What is told of one file.
const ERRORS_MAX: usize = 20;

/// What a template uses of its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The names of top-level fields, through loops, scopes and names of block parameters.
    pub(crate) fields: BTreeSet<String>,
}

/// Looks at everything in a parsed template.
pub(super) fn scan(template: &Parsed) -> Result<Usage, Vec<SourceError>> {
    let mut scan = Scan {
        usage: Usage::default(),
        errors: Vec::new(),
        line: None,
        scopes: vec![Scope::Root],
        names: Vec::new(),
    };
    scan.template(template, 1);
    if scan.errors.is_empty() {
        Ok(scan.usage)
    } else {
        Err(scan.errors)
    }
}

/// What a path in a template is relative to.
#[derive(Clone)]
enum Scope {
    /// The data as a whole.
    Root,
    /// Something inside this top-level field.
    Field(String),
    /// A value that a helper made.
    Made,
}

struct Scan {
    usage: Usage,
    errors: Vec<SourceError>,
    line: Option<usize>,
    scopes: Vec<Scope>,
    /// Block parameters, the innermost last.
    names: Vec<(String, Scope)>,
}

impl Scan {
    fn refuse(&mut self, problem: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(SourceError {
                line: self.line,
                problem: problem.into(),
            });
        }
    }

    /// True if there is nothing to be gained by looking deeper.
    fn too_deep(&mut self, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            self.refuse(format!(
                "more than {DEPTH_MAX} blocks and subexpressions within each other"
            ));
        }
        depth > DEPTH_MAX
    }

    fn template(&mut self, template: &Parsed, depth: usize) {
        if self.too_deep(depth) {
            return;
        }
        for (index, element) in template.elements.iter().enumerate() {
            if let Some(place) = template.mapping.get(index) {
                self.line = Some(place.0);
            }
            match element {
                TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => {
                    self.expression(helper, depth);
                }
                TemplateElement::HelperBlock(helper) => self.block(helper, depth),
                TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                    self.refuse("decorators such as {{#*inline}} are not supported");
                }
                TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
                    self.refuse("partials such as {{> header}} are not supported");
                }
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                // The enum is open: what a later release adds has no bound that we know of.
                _ => self.refuse("a kind of tag that is not supported"),
            }
        }
    }

    fn expression(&mut self, helper: &HelperTemplate, depth: usize) {
        let is_call = !helper.params.is_empty() || !helper.hash.is_empty();
        match name_of(&helper.name) {
            Some(name) if VALUES.contains(&name) || BLOCKS.contains(&name) || is_call => {
                self.call(name, helper, VALUES, depth);
            }
            Some(_) => {
                self.parameter(&helper.name, depth);
            }
            None => self.refuse("a helper's name must be written, not computed"),
        }
    }

    fn call(&mut self, name: &str, helper: &HelperTemplate, known: &[&str], depth: usize) -> Option<Scope> {
        if !known.contains(&name) {
            self.refuse(format!(
                "`{name}` is not one of the helpers that stand here: {}",
                known.join(", ")
            ));
        } else if helper.params.is_empty() && name != "raw" {
            self.refuse(format!("the helper `{name}` needs a parameter"));
        }
        let mut scopes = Vec::with_capacity(helper.params.len());
        for parameter in helper.params.iter().chain(helper.hash.values()) {
            scopes.push(self.parameter(parameter, depth));
        }
        scopes.into_iter().next()
    }

    fn block(&mut self, helper: &HelperTemplate, depth: usize) {
        let Some(name) = name_of(&helper.name) else {
            return self.refuse("a helper's name must be written, not computed");
        };
        let scope = self.call(name, helper, BLOCKS, depth).unwrap_or(Scope::Made);
        let named = self.names.len();
        let scoped = matches!(name, "each" | "with");
        if scoped {
            self.scopes.push(scope.clone());
            match &helper.block_param {
                Some(BlockParam::Single(item)) => self.name(item, scope),
                Some(BlockParam::Pair((item, key))) => {
                    self.name(item, scope);
                    self.name(key, Scope::Made);
                }
                _ => {}
            }
        }
        if let Some(inner) = &helper.template {
            self.template(inner, depth + 1);
        }
        if scoped {
            self.scopes.pop();
        }
        self.names.truncate(named);
        if let Some(inverse) = &helper.inverse {
            self.template(inverse, depth + 1);
        }
    }

    fn name(&mut self, parameter: &Parameter, scope: Scope) {
        if let Some(name) = name_of(parameter) {
            self.names.push((name.to_owned(), scope));
        }
    }

    /// Notes what a parameter uses, and tells what a scope made of it is.
    fn parameter(&mut self, parameter: &Parameter, depth: usize) -> Scope {
        let scope = match parameter {
            Parameter::Path(Path::Relative((segments, raw))) => self.resolve(segments, raw),
            Parameter::Name(name) => self.resolve(&[PathSeg::Named(name.clone())], name),
            Parameter::Path(Path::Local(_)) => Scope::Made,
            Parameter::Literal(value) => {
                self.too_deep(depth + depth_of(value));
                Scope::Made
            }
            Parameter::Subexpression(sub) => {
                if !self.too_deep(depth + 1) {
                    match sub.as_element() {
                        TemplateElement::Expression(helper) => self.expression(helper, depth + 1),
                        _ => self.refuse("a subexpression that is not supported"),
                    }
                }
                Scope::Made
            }
            _ => {
                self.refuse("a parameter that is not supported");
                Scope::Made
            }
        };
        if let Scope::Field(name) = &scope
            && name != RESERVED_NAME
        {
            self.usage.fields.insert(name.clone());
        }
        scope
    }

    /// As handlebars finds its way: block parameters first, then `@root`, then as many scopes up as there are `../`.
    fn resolve(&self, segments: &[PathSeg], raw: &str) -> Scope {
        let mut names = segments.iter().filter_map(|segment| match segment {
            PathSeg::Named(name) => Some(name),
            _ => None,
        });
        let first = names.next();
        let base = if raw.starts_with("@root") {
            &Scope::Root
        } else if let Some((_, scope)) = self.names.iter().rev().find(|(name, _)| Some(name) == first) {
            return scope.clone();
        } else {
            let up = segments.len() - names.count() - usize::from(first.is_some());
            let index = self.scopes.len().checked_sub(up + 1);
            index
                .and_then(|index| self.scopes.get(index))
                .or_else(|| self.scopes.last())
                .unwrap_or(&Scope::Root)
        };
        match (base, first) {
            (Scope::Root, Some(name)) => Scope::Field(name.clone()),
            (base, _) => base.clone(),
        }
    }
}

fn name_of(parameter: &Parameter) -> Option<&str> {
    match parameter {
        Parameter::Name(name) => Some(name),
        Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => Some(raw),
        Parameter::Literal(Value::String(name)) => Some(name),
        _ => None,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}
