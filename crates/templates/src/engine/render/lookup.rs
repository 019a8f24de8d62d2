//! Where a path leads.

use serde_json::Value;

use super::super::error::RenderFault;
use super::super::program::{Base, Expr, LoopValue, Path, Segment};
use super::super::value::Val;
use super::{Render, Round, Scope};

impl<'a> Render<'a, '_, '_> {
    /// The part of the data or of the template to which a path leads, if it is there and no helper made it.
    pub(super) fn lent(&self, path: &'a Path) -> Option<&'a Value> {
        let mut value = match path.base {
            Base::Root => self.data,
            Base::Scope(_) | Base::Item(_) => match self.this(path.base)? {
                Val::Given(value) => value,
                Val::Made(_) | Val::Missing => return None,
            },
            Base::Loop(..) | Base::Given(..) | Base::Key(_) => return None,
        };
        for segment in &path.segments {
            value = inside(value, segment)?;
        }
        Some(value)
    }

    pub(super) fn path(&mut self, path: &'a Path) -> Result<Val<'a>, RenderFault> {
        self.meter.steps(1 + path.segments.len())?;
        let base = match path.base {
            Base::Root => Val::Given(self.data),
            Base::Scope(_) | Base::Item(_) => self.this(path.base).map_or(Val::Missing, Clone::clone),
            Base::Given(up, index) => {
                let given = self.scope(up).and_then(|scope| scope.given.get(index));
                given.map_or(Val::Missing, Clone::clone)
            }
            Base::Key(up) => {
                let round = self.scope(up).and_then(|scope| scope.round);
                round.map_or(Val::Missing, Round::key)
            }
            Base::Loop(value, up) => {
                let mut rounds = self.scopes.iter().rev().filter_map(|scope| scope.round);
                rounds.nth(up).map_or(Val::Missing, |round| round.value(value))
            }
        };
        match base {
            Val::Given(value) => Ok(descend(value, path)),
            made if path.segments.is_empty() => Ok(made),
            _ => Ok(Val::Missing),
        }
    }

    fn this(&self, base: Base) -> Option<&Val<'a>> {
        match base {
            Base::Scope(up) => Some(&self.outward(up)?.this),
            Base::Item(up) => Some(&self.scope(up)?.this),
            _ => None,
        }
    }

    fn outward(&self, up: usize) -> Option<&Scope<'a>> {
        let mut at = self.scopes.len().checked_sub(1)?;
        for _ in 0..up {
            while self.scopes.get(at)?.is_same {
                at = at.checked_sub(1)?;
            }
            at = at.checked_sub(1)?;
        }
        self.scopes.get(at)
    }

    /// The scope of the block that is so many around.
    fn scope(&self, up: usize) -> Option<&Scope<'a>> {
        self.scopes.get(self.scopes.len().checked_sub(up + 1)?)
    }

    /// Why a value that is missing is an error: where its way ends.
    pub(super) fn missing(&self, expr: &'a Expr) -> RenderFault {
        if let Expr::Path(path) = expr
            && let Some(Val::Given(from)) = self.this(path.base)
            && let Some(name) = name_into_list(from, path)
        {
            return RenderFault::ListHasNoNames { name };
        }
        RenderFault::MissingVariable {
            variable: expr.written().to_owned(),
        }
    }
}

impl<'a> Round<'a> {
    fn value(self, value: LoopValue) -> Val<'a> {
        Val::Made(match value {
            LoopValue::Index => self.index.into(),
            LoopValue::First => (self.index == 0).into(),
            LoopValue::Last => self.is_last.into(),
            LoopValue::Key => return self.key(),
        })
    }

    /// A list's keys are its indices, as in Handlebars.js.
    fn key(self) -> Val<'a> {
        Val::Made(match self.key {
            Some(key) => key.into(),
            None => self.index.into(),
        })
    }
}

fn inside<'a>(value: &'a Value, segment: &Segment) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(&*segment.name),
        Value::Array(list) => list.get(segment.index?),
        _ => None,
    }
}

/// As JavaScript does, a list and a text have a `length`.
fn descend<'a>(value: &'a Value, path: &'a Path) -> Val<'a> {
    let mut value = value;
    for (at, segment) in path.segments.iter().enumerate() {
        match inside(value, segment) {
            Some(found) => value = found,
            None if &*segment.name == "length" && at + 1 == path.segments.len() => return length(value),
            None => return Val::Missing,
        }
    }
    Val::Given(value)
}

fn length(value: &Value) -> Val<'static> {
    match value {
        Value::Array(list) => Val::Made(list.len().into()),
        Value::String(text) => Val::Made(text.encode_utf16().count().into()),
        _ => Val::Missing,
    }
}

/// The name by which a path asks a list for a field.
fn name_into_list(value: &Value, path: &Path) -> Option<String> {
    let mut value = value;
    for segment in &path.segments {
        value = match value {
            Value::Array(_) if segment.index.is_none() => return Some(segment.name.to_string()),
            value => inside(value, segment)?,
        };
    }
    None
}
