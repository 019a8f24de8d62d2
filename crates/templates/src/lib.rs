//! Templates: bundles of files, compiled, checked, and rendered within bounds.
//!
//! A template is untrusted input twice over: whoever writes it may make a mistake or mean harm, and whoever fills it sends
//! data of any shape. So a template costs its own message at most. What can be known before (size, nesting, unknown
//! helpers, partials) is refused when it is compiled; what can't (loops, output, time) is bounded while it renders. A
//! missing variable is an error, never a blank. No error names a value.

mod build;
mod bundle;
mod cache;
mod catalog;
mod check;
mod engine;
mod fallbacks;
mod fields;
mod finding;
mod live;
mod manifest;
mod plain;
mod preheader;
mod reader;
mod schema;
mod shared;
mod template;

pub use build::build;
pub use bundle::{
    BUILT_BYTES_MAX, BUNDLE_BYTES_MAX, BundleHash, FILE_BYTES_MAX, FILES_MAX, Files, InvalidBundle,
    read_folder,
};
pub use cache::{BundleCache, CacheUsage};
pub use catalog::{Catalog, CatalogError};
pub use check::{Candidate, CheckedBundle, check, check_directory};
pub use engine::{Limits, RenderError, RenderFault};
pub use fallbacks::FALLBACKS_MAX;
pub use fields::Field;
pub use finding::{Finding, Rule, Severity};
pub use live::{Broken, Change, LiveCatalog, Published};
pub use manifest::{Authoring, Manifest};
pub use schema::Violation;
pub use template::{BundleError, Example, RenderInput, Rendered, Template, UNSUBSCRIBE_HEADERS};
