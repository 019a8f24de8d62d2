//! Values in tags: paths, literals, and helpers that give a value.

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path as ParsedPath, PathSeg};
use paceline_domain::canonical::RESERVED_NAME;
use serde_json::Value;

use super::super::helpers;
use super::super::program::{Base, Call, Expr, LoopValue, Path, Segment};
use super::{Frame, Lower, Origin};

impl Lower {
    /// A helper that gives a value, with what it is given.
    pub(super) fn call(&mut self, helper: &HelperTemplate, depth: usize) -> Option<Expr> {
        let Some(name) = name_of(&helper.name) else {
            self.refuse("a helper's name must be written, not computed");
            return None;
        };
        let Some(known) = helpers::find(name) else {
            let names: Vec<_> = helpers::ALL.iter().map(|helper| helper.name).collect();
            self.refuse(format!(
                "`{name}` is not one of the helpers that stand here: {}",
                names.join(", ")
            ));
            return None;
        };
        if !known.params.contains(&helper.params.len()) {
            self.refuse(format!(
                "the helper `{name}` needs {}, not {}",
                known.params_told(),
                helper.params.len()
            ));
        }
        let params = helper.params.iter();
        let params = params
            .filter_map(|param| self.expr(param, depth).map(|(value, _)| value))
            .collect();
        let mut named = Vec::with_capacity(helper.hash.len());
        for (option, param) in &helper.hash {
            match known.options.iter().find(|known| *known == option) {
                Some(option) => named.extend(self.expr(param, depth).map(|(value, _)| (*option, value))),
                None => self.refuse(format!("the helper `{name}` has no option `{option}`")),
            }
        }
        Some(Expr::Call(Box::new(Call {
            helper: known,
            params,
            named,
        })))
    }

    /// What a parameter is, and what it is a part of.
    pub(super) fn expr(&mut self, parameter: &Parameter, depth: usize) -> Option<(Expr, Origin)> {
        let (path, origin) = match parameter {
            Parameter::Path(ParsedPath::Relative((segments, raw))) => self.resolve(segments, raw)?,
            Parameter::Name(name) => match ParsedPath::parse(name) {
                Ok(ParsedPath::Relative((segments, raw))) => self.resolve(&segments, &raw)?,
                _ => {
                    self.refuse(format!("`{name}` is no variable"));
                    return None;
                }
            },
            Parameter::Path(ParsedPath::Local((level, name, raw))) => self.loop_value(*level, name, raw)?,
            Parameter::Literal(value) => {
                self.too_deep(depth + depth_of(value));
                return Some((Expr::Literal(value.clone()), Origin::Made));
            }
            Parameter::Subexpression(sub) => {
                if self.too_deep(depth + 1) {
                    return None;
                }
                let TemplateElement::Expression(helper) = sub.as_element() else {
                    self.refuse("a subexpression that is not supported");
                    return None;
                };
                return Some((self.call(helper, depth + 1)?, Origin::Made));
            }
            _ => {
                self.refuse("a parameter that is not supported");
                return None;
            }
        };
        if let Origin::Field(name) = &origin
            && name != RESERVED_NAME
        {
            self.usage.fields.insert(name.clone());
        }
        Some((Expr::Path(path), origin))
    }

    /// As Handlebars.js finds its way: `@root`, then as many scopes up as there are `../`, then the names of block parameters.
    fn resolve(&mut self, segments: &[PathSeg], raw: &str) -> Option<(Path, Origin)> {
        let named = segments.iter().filter_map(|segment| match segment {
            PathSeg::Named(name) => Some(name.as_str()),
            _ => None,
        });
        let mut names: Vec<&str> = named.collect();
        let up = segments.len() - names.len();
        let is_scoped = raw.starts_with("this.") || raw.starts_with("this/") || raw.starts_with("./");
        let (base, mut origin) = if raw.starts_with("@root") {
            (Base::Root, Origin::Root)
        } else if let Some(found) = names
            .first()
            .filter(|_| up == 0 && !is_scoped)
            .and_then(|name| self.block_param(name))
        {
            names.remove(0);
            found
        } else if self.frames.len() > up {
            let name = names.first().copied();
            let found = self.in_scope(up, name, raw)?;
            if matches!(found.0, Base::Given(..)) {
                names.remove(0);
            }
            found
        } else {
            self.refuse(format!(
                "`{raw}` leads above the data: there are {} blocks around",
                self.frames.len() - 1
            ));
            return None;
        };
        if let (Origin::Root, Some(name)) = (&origin, names.first()) {
            origin = Origin::Field((*name).to_owned());
        }
        Some((path(base, &names, raw), origin))
    }

    /// A scope, or what a partial is given there by name.
    fn in_scope(&mut self, up: usize, name: Option<&str>, raw: &str) -> Option<(Base, Origin)> {
        let is_given = |frame: &&Frame| frame.given.iter().any(|given| Some(given.as_str()) == name);
        let mut outwards = self.frames.iter().rev().skip(up);
        let frame = outwards.next()?;
        if let Some(given) = frame.given.iter().position(|given| Some(given.as_str()) == name) {
            return Some((Base::Given(up, given), Origin::Made));
        }
        let found = (Base::Scope(up), frame.origin.clone());
        let around = outwards.find(|frame| !frame.is_section);
        if frame.is_section && around.filter(is_given).is_some() {
            self.refuse(format!(
                "`{raw}` is given to the partial by name; within a section only the data knows whose it is: write {{{{#if}}}} or {{{{#with}}}}"
            ));
        }
        Some(found)
    }

    /// What `as |item key|` names in the same source.
    fn block_param(&self, name: &str) -> Option<(Base, Origin)> {
        let frames = self.frames.iter().rev().enumerate();
        let mut of_source = frames.filter(|(_, frame)| frame.source == self.source);
        of_source.find_map(|(up, frame)| {
            if frame.item.as_deref() == Some(name) {
                Some((Base::Item(up), frame.origin.clone()))
            } else {
                let is_key = frame.key.as_deref() == Some(name);
                is_key.then_some((Base::Key(up), Origin::Made))
            }
        })
    }

    fn loop_value(&mut self, level: usize, name: &str, raw: &str) -> Option<(Path, Origin)> {
        let value = match name {
            "root" if level == 0 => return Some((path(Base::Root, &[], raw), Origin::Root)),
            "index" => LoopValue::Index,
            "key" => LoopValue::Key,
            "first" => LoopValue::First,
            "last" => LoopValue::Last,
            _ => {
                self.refuse(format!(
                    "`@{name}` is not one of @root, @index, @key, @first, @last"
                ));
                return None;
            }
        };
        Some((path(Base::Loop(value, level), &[], raw), Origin::Made))
    }
}

fn path(base: Base, names: &[&str], written: &str) -> Path {
    let segment = |name: &&str| Segment {
        name: (*name).into(),
        index: name.parse().ok(),
    };
    Path {
        base,
        segments: names.iter().map(segment).collect(),
        written: written.into(),
    }
}

pub(super) fn name_of(parameter: &Parameter) -> Option<&str> {
    match parameter {
        Parameter::Literal(Value::String(name)) => Some(name),
        _ => parameter.as_name(),
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}
