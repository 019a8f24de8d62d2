//! Helpers that give a value: `lookup`, `len`, comparisons, logic.

use std::cmp::Ordering;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonTruthy, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use super::super::error::RenderFault;
use super::super::meter;
use super::missing;

type Given<'rc> = Result<ScopedJson<'rc>, RenderError>;

/// The parameter at `index`, which must be in the data.
fn present<'a, 'rc>(h: &'a Helper<'rc>, name: &'static str, index: usize) -> Result<&'a Value, RenderError> {
    let param = any(h, name, index)?;
    if param.is_value_missing() {
        return Err(missing(param));
    }
    Ok(param.value())
}

fn any<'a, 'rc>(
    h: &'a Helper<'rc>,
    name: &'static str,
    index: usize,
) -> Result<&'a PathAndJson<'rc>, RenderError> {
    h.param(index)
        .ok_or_else(|| RenderErrorReason::ParamNotFoundForIndex(name, index).into())
}

/// `(lookup collection key)`: a field or an item whose name is itself a value.
pub(super) struct Lookup;

impl HelperDef for Lookup {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Given<'rc> {
        meter::step()?;
        let collection = present(h, "lookup", 0)?;
        let key = present(h, "lookup", 1)?;
        let found = match collection {
            Value::Array(list) => key
                .as_u64()
                .and_then(|index| list.get(usize::try_from(index).ok()?)),
            Value::Object(object) => key.as_str().and_then(|key| object.get(key)),
            _ => None,
        };
        match found {
            Some(value) => Ok(value.clone().into()),
            // The key may be a person's: only the collection is named.
            None => Err(RenderFault::MissingVariable {
                variable: format!(
                    "{}.[...]",
                    any(h, "lookup", 0)?.relative_path().map_or("?", String::as_str)
                ),
            }
            .into()),
        }
    }
}

/// `(len value)`: the items of a list, the fields of an object, the characters of a text.
pub(super) struct Len;

impl HelperDef for Len {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Given<'rc> {
        meter::step()?;
        let length = match present(h, "len", 0)? {
            Value::Array(list) => list.len(),
            Value::Object(object) => object.len(),
            Value::String(text) => text.chars().count(),
            _ => {
                return Err(RenderFault::Helper {
                    helper: "len",
                    problem: "is of neither a list, an object nor a text",
                }
                .into());
            }
        };
        Ok(Value::from(length).into())
    }
}

/// `(not value)`.
pub(super) struct Not;

impl HelperDef for Not {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Given<'rc> {
        meter::step()?;
        Ok(Value::from(!any(h, "not", 0)?.value().is_truthy(false)).into())
    }
}

/// `(and a b ...)`, and `or` with the opposite `wanted`.
pub(super) struct Every {
    pub(super) wanted: bool,
}

impl HelperDef for Every {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Given<'rc> {
        meter::step()?;
        let mut truths = h.params().iter().map(|param| param.value().is_truthy(false));
        // All as wanted, or one as wanted: `or` is false only if all are false.
        let all = truths.all(|truth| truth == self.wanted);
        Ok(Value::from(all == self.wanted).into())
    }
}

/// `(eq a b)` and its like.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    pub(super) name: &'static str,
    holds: fn(Option<Ordering>) -> bool,
}

pub(super) const COMPARISONS: [Comparison; 6] = [
    Comparison {
        name: "eq",
        holds: |order| order == Some(Ordering::Equal),
    },
    Comparison {
        name: "ne",
        holds: |order| order != Some(Ordering::Equal),
    },
    Comparison {
        name: "gt",
        holds: |order| order == Some(Ordering::Greater),
    },
    Comparison {
        name: "gte",
        holds: |order| matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    },
    Comparison {
        name: "lt",
        holds: |order| order == Some(Ordering::Less),
    },
    Comparison {
        name: "lte",
        holds: |order| matches!(order, Some(Ordering::Less | Ordering::Equal)),
    },
];

impl HelperDef for Comparison {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Given<'rc> {
        meter::step()?;
        let order = compare(present(h, self.name, 0)?, present(h, self.name, 1)?);
        Ok(Value::from((self.holds)(order)).into())
    }
}

/// Numbers by size, texts by code points; other values are equal or can't be compared.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(Ordering::Equal),
    }
}
