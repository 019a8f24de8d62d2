//! One `paceline up` per data folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::Context as _;

/// Holds the folder until it is dropped, or the process ends.
///
/// # Errors
/// If another process holds it.
pub(super) fn take(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("can't make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another `paceline up` runs on {}", data.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", path.display()))
        }
    }
}
