//! Comparisons, logic, and looking things up.

use std::cmp::Ordering;

use serde_json::Value;

use super::super::error::RenderFault;
use super::super::value::Val;
use super::{Args, Given, Helper, MANY};

const fn helper(
    name: &'static str,
    params: std::ops::RangeInclusive<usize>,
    run: for<'a> fn(&mut Args<'a, '_, '_>) -> Given<'a>,
) -> Helper {
    Helper {
        name,
        params,
        options: &[],
        steps: 1,
        run,
    }
}

/// `(eq a b)`: equal numbers, texts, truths or nulls. A number is no text.
pub(super) static EQ: Helper = helper("eq", 2..=2, |args| {
    compared(args, |order| order == Some(Ordering::Equal))
});
pub(super) static NE: Helper = helper("ne", 2..=2, |args| {
    compared(args, |order| order != Some(Ordering::Equal))
});
/// `(gt a b)`: numbers by size, texts by code points.
pub(super) static GT: Helper = helper("gt", 2..=2, |args| {
    ordered(args, |order| order == Ordering::Greater)
});
pub(super) static GTE: Helper = helper("gte", 2..=2, |args| {
    ordered(args, |order| order != Ordering::Less)
});
pub(super) static LT: Helper = helper("lt", 2..=2, |args| ordered(args, |order| order == Ordering::Less));
pub(super) static LTE: Helper = helper("lte", 2..=2, |args| {
    ordered(args, |order| order != Ordering::Greater)
});

/// `(not a)`.
pub(super) static NOT: Helper = helper("not", 1..=1, |args| {
    Ok(Val::Made((!args.values[0].is_true(false)).into()))
});
/// `(and a b ...)`: the first that is false, or the last.
pub(super) static AND: Helper = helper("and", MANY, |args| Ok(first(args, false)));
/// `(or a b ...)`: the first that is true, or the last.
pub(super) static OR: Helper = helper("or", MANY, |args| Ok(first(args, true)));

/// `{{default name "friend"}}`: the first value, or the second where the first is missing, null or an empty text.
pub(super) static DEFAULT: Helper = helper("default", 2..=2, |args| {
    let is_blank = match args.values[0].get() {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    };
    if is_blank {
        args.present(1)?;
    }
    Ok(args.values[usize::from(is_blank)].clone())
});

/// `(len value)`: the items of a list, the fields of an object, the characters of a text.
pub(super) static LEN: Helper = helper("len", 1..=1, |args| {
    let length = match args.present(0)? {
        Value::Array(list) => list.len(),
        Value::Object(object) => object.len(),
        Value::String(text) => {
            let (bytes, chars) = (text.len(), text.chars().count());
            args.meter.read(bytes)?;
            chars
        }
        _ => return Err(args.problem("is of neither a list, an object nor a text")),
    };
    Ok(Val::Made(length.into()))
});

/// `(lookup collection key)`: a field or an item whose name is itself a value.
pub(super) static LOOKUP: Helper = helper("lookup", 2..=2, |args| {
    args.present(0)?;
    let key = args.present(1)?;
    let index = || usize::try_from(key.as_u64()?).ok();
    let found = match &args.values[0] {
        Val::Given(Value::Array(list)) => index().and_then(|index| list.get(index)),
        Val::Given(Value::Object(object)) => key.as_str().and_then(|key| object.get(key)),
        _ => None,
    };
    // The key may be a person's: only the collection is named.
    found.map(Val::Given).ok_or_else(|| RenderFault::MissingVariable {
        variable: format!("{}.[...]", args.call.params[0].written()),
    })
});

fn first<'a>(args: &Args<'a, '_, '_>, wanted: bool) -> Val<'a> {
    let found = args.values.iter().find(|value| value.is_true(false) == wanted);
    found
        .or_else(|| args.values.last())
        .cloned()
        .unwrap_or(Val::Missing)
}

fn compared<'a>(args: &mut Args<'a, '_, '_>, holds: fn(Option<Ordering>) -> bool) -> Given<'a> {
    Ok(Val::Made(holds(order(args)?).into()))
}

fn ordered<'a>(args: &mut Args<'a, '_, '_>, holds: fn(Ordering) -> bool) -> Given<'a> {
    let is_truth = |value: &Value| matches!(value, Value::Bool(_) | Value::Null);
    match order(args)? {
        Some(order) if !is_truth(args.present(0)?) => Ok(Val::Made(holds(order).into())),
        _ => Err(args.problem("compares two numbers or two texts")),
    }
}

/// `None` if one is of another kind than the other.
fn order(args: &mut Args<'_, '_, '_>) -> Result<Option<Ordering>, RenderFault> {
    let (order, bytes) = match (args.present(0)?, args.present(1)?) {
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            return Err(args.problem("does not compare lists and objects"));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64(), b.as_f64());
            (a.zip(b).and_then(|(a, b)| a.partial_cmp(&b)), 0)
        }
        (Value::String(a), Value::String(b)) => (Some(a.cmp(b)), a.len().min(b.len())),
        (Value::Bool(a), Value::Bool(b)) => (Some(a.cmp(b)), 0),
        (Value::Null, Value::Null) => (Some(Ordering::Equal), 0),
        _ => (None, 0),
    };
    args.meter.read(bytes)?;
    Ok(order)
}
