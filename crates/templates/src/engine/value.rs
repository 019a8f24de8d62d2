//! Values while a template renders, and what they look like when they are printed.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::error::RenderFault;

/// A value: part of the data or the template, or made by a helper. What helpers make is small: a text, a number, a truth.
#[derive(Clone)]
pub(super) enum Val<'a> {
    Given(&'a Value),
    Made(Value),
    Missing,
}

impl Val<'_> {
    pub(super) fn get(&self) -> Option<&Value> {
        match self {
            Self::Given(value) => Some(value),
            Self::Made(value) => Some(value),
            Self::Missing => None,
        }
    }

    /// As in Handlebars.js: missing, null, false, "", 0 and an empty list are false; an empty object is true.
    pub(super) fn is_true(&self, include_zero: bool) -> bool {
        match self.get() {
            None | Some(Value::Null) => false,
            Some(Value::Bool(truth)) => *truth,
            Some(Value::Number(number)) => include_zero || number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(_)) => true,
        }
    }
}

/// The text of a value that is printed: as in JavaScript, but that null and objects are refused.
pub(super) fn print(value: &Value, out: &mut String) -> Result<(), RenderFault> {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Number(number) => print_number(number, out),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                print(item, out)?;
            }
        }
        Value::Null => return Err(RenderFault::Null),
        Value::Object(_) => return Err(RenderFault::Object),
    }
    Ok(())
}

fn print_number(number: &Number, out: &mut String) {
    match number.as_f64() {
        Some(double) if number.is_f64() => out.push_str(ryu_js::Buffer::new().format(double)),
        // Writing to a string can't fail.
        _ => drop(write!(out, "{number}")),
    }
}
