//! Handlebars, held to bounds.
//!
//! The handlebars crate parses; what it parsed is rendered here. Its own renderer trusts its templates: two partials that include each
//! other, or two thousand nested blocks, abort the process by a stack overflow, and loops run for minutes without writing a byte,
//! so that no limit on output ends them. It also looks up every name in a registry and copies every value. Hence:
//!
//! - **Before**: [`compile`] counts what the parser's work depends on in the bare text, parses on a thread with a stack of its own, puts
//!   the partials in place ([`partials`]), and makes a [`program`] of the tree ([`lower`]): every path knows its scope, every helper its function. What has no bound or no
//!   meaning (unknown helpers, nesting past a bound, data in an attribute without quotes) is refused there.
//! - **While rendering**: [`render`] pays for every step into a meter ([`meter`]). A URL that data has a part in is looked at
//!   ([`url`]) where [`html`] found one.
//!
//! Strict throughout: a variable that is missing or null where it would be printed, or missing where it would be compared, is an
//! error that names file, line and variable. As in Handlebars.js, `if`, `unless`, `each`, `with`, `and`, `or`, `not` take a
//! missing one for false.

mod compile;
mod error;
mod escape;
mod helpers;
mod html;
mod lower;
mod meter;
mod partials;
mod program;
mod render;
mod skeleton;
mod source;
mod url;
mod uses;
mod value;

pub(crate) use compile::{Compiled, TAGS_MAX, compile};
pub use error::{RenderError, RenderFault};
pub use meter::Limits;
pub(crate) use meter::{Meter, cpu_time};
pub(crate) use partials::INLINE_MAX;
pub(crate) use render::render;
pub(crate) use skeleton::HOLE;
pub(crate) use source::tag_len;
pub(crate) use uses::{Step, Use};

#[cfg(test)]
mod tests;
