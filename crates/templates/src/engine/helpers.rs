//! The helpers of templates: those of Handlebars.js, and comparisons. All are pure, pay into the meter, and are strict.
//!
//! `if`, `unless`, `each` and `with` replace handlebars' own, which can't be metered from outside: `each` pays for all its
//! rounds before the first. `log` is not there: it would write data into the log.

mod blocks;
mod values;

use handlebars::{Handlebars, PathAndJson, RenderError, RenderErrorReason};

use super::error::RenderFault;
use super::meter::Over;

/// Helpers that have a block.
pub(super) const BLOCKS: &[&str] = &["each", "if", "raw", "unless", "with"];
/// Helpers that give a value.
pub(super) const VALUES: &[&str] = &[
    "and", "eq", "gt", "gte", "len", "lookup", "lt", "lte", "ne", "not", "or",
];

/// Puts our helpers in place of handlebars' own.
pub(super) fn register(registry: &mut Handlebars<'_>) {
    registry.unregister_helper("log");
    registry.register_helper("each", Box::new(blocks::Each));
    registry.register_helper("with", Box::new(blocks::With));
    registry.register_helper("if", Box::new(blocks::If { wanted: true }));
    registry.register_helper("unless", Box::new(blocks::If { wanted: false }));
    registry.register_helper("lookup", Box::new(values::Lookup));
    registry.register_helper("len", Box::new(values::Len));
    registry.register_helper("not", Box::new(values::Not));
    registry.register_helper("and", Box::new(values::Every { wanted: true }));
    registry.register_helper("or", Box::new(values::Every { wanted: false }));
    for comparison in values::COMPARISONS {
        registry.register_helper(comparison.name, Box::new(comparison));
    }
}

impl From<Over> for RenderError {
    fn from(over: Over) -> Self {
        RenderErrorReason::NestedError(Box::new(over)).into()
    }
}

impl From<RenderFault> for RenderError {
    fn from(fault: RenderFault) -> Self {
        RenderErrorReason::NestedError(Box::new(fault)).into()
    }
}

/// The error of a parameter that is missing in the data.
fn missing(param: &PathAndJson<'_>) -> RenderError {
    let variable = param.relative_path().map_or("?", String::as_str).to_owned();
    RenderFault::MissingVariable { variable }.into()
}
