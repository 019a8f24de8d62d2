//! Who may call what: API keys from a file, and a rule for each RPC.
//!
//! A key is sent as `authorization: Bearer KEY`. The file holds only its SHA-256, so that reading the file gives nobody a
//! key; keys are random and long, so the look-up by digest tells nothing about them by its time. A layer before all services
//! checks key and scope, and leaves the [`Caller`] in the request's extensions, where a service finds for whom it may act.
//! Without a keys file every caller may do everything: a listener off loopback is then refused, see
//! [`Entrance`](crate::entrance::Entrance).

mod keys;
mod layer;
mod rules;

pub use keys::{AccessSettings, Caller, Keys, Scope};
pub use layer::{Access, AccessLayer};
