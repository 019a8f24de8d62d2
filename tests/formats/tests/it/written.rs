//! The stored formats, frozen: what a release wrote, every later one must read.
//!
//! A fixture is what the code of its time wrote. Of those that come out the same each time (`samples`) the newest one must be what is
//! written now: who changes a writer freezes anew and so adds a fixture, and the ones before stay and are still read. The README
//! says how. Nothing here knows how a format is laid out: it is written and read by the code that has it in production.

pub(crate) mod bundle;
pub(crate) mod configs;
pub(crate) mod descriptors;
pub(crate) mod dump;
pub(crate) mod fixtures;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod redis;

use fixtures::Sample;

/// Everything that comes out the same each time.
///
/// # Errors
/// If something can't be written.
pub(crate) async fn samples() -> anyhow::Result<Vec<Sample>> {
    let mut samples = configs::samples()?;
    samples.push(bundle::sample()?);
    samples.push(descriptors::sample()?);
    samples.push(journal::sample()?);
    samples.push(ledger::migrations()?);
    samples.push(redis::sample().await?);
    Ok(samples)
}
