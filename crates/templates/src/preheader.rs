//! The preheader: a line of handlebars in the manifest.

use std::collections::BTreeMap;

use crate::engine::{self, Compiled};

/// The name that its errors have.
const NAME: &str = "preheader";

/// Compiles a preheader by itself, as its place in the html is not where its author wrote it.
pub(crate) fn compile(preheader: &str) -> Result<Compiled, Vec<String>> {
    let compiled = engine::compile(NAME, preheader.as_bytes(), &BTreeMap::new());
    compiled.map_err(|errors| errors.into_iter().map(|error| error.problem).collect())
}
