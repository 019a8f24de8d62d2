//! The renderer on a real Redis: what comes out of the queued streams, and what becomes of what can't be rendered.

mod attachments;
mod bounds;
mod fairness;
mod fallbacks;
mod fates;
mod fetching;
mod files;
mod links;
mod promote;
mod scrub;
mod stops;
mod support;
