//! Handlebars, held to bounds.
//!
//! The handlebars crate trusts its templates: two partials that include each other, or two thousand nested blocks, abort the
//! process by a stack overflow; loops run for minutes without writing a byte, so that no limit on output ends them. Hence:
//!
//! - **Before**: [`compile`] counts what the parser's work depends on in the bare text, parses on a thread with a stack of its own, and
//!   refuses partials, decorators, helpers that are not ours, and nesting past a bound ([`scan`]).
//! - **While rendering**: every helper that loops or copies is ours ([`helpers`]) and pays into a meter ([`meter`]), as does
//!   every byte of output.
//!
//! Strict throughout: a variable that is missing where it would be printed or compared is an error that names file, line
//! and variable. As in Handlebars.js, `if`, `unless`, `each`, `with`, `and`, `or`, `not` take a missing one for false.

mod compile;
mod error;
mod helpers;
mod meter;
mod render;
mod scan;
mod skeleton;
mod uses;

pub(crate) use compile::{Compiled, compile};
pub use error::{RenderError, RenderFault};
pub use meter::Limits;
pub(crate) use meter::metered;
pub(crate) use render::{Escape, Failure, render};
pub(crate) use skeleton::HOLE;
pub(crate) use uses::{Step, Use};
