//! A directory of templates that changes while services use it: by plain edits, by a ConfigMap's mount, by git-sync.
//!
//! The directory is looked at, not listened to: links that are swapped (`..data` of a ConfigMap, the worktree of git-sync) show
//! as other files behind the same paths, which watchers of files miss. A look costs one `stat` for each file. What has changed is
//! taken once two looks saw the same, so that half-written files and half-swapped trees are not; and of a bundle that is broken the
//! last good one stays.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::catalog::{Catalog, CatalogError};

/// Folders within each other that are looked at: the directory's, a bundle's, the one of its examples.
const DEPTH_MAX: usize = 3;
/// Files and folders of a directory.
const ENTRIES_MAX: usize = 200_000;

/// The templates of a directory, as they stand.
pub struct LiveCatalog {
    directory: PathBuf,
    /// True if mail that has a category gets its link; else no template with one is taken.
    makes_links: bool,
    state: Mutex<State>,
}

struct State {
    catalog: Arc<Catalog>,
    /// What was loaded.
    loaded: Option<Fingerprint>,
    /// What the last look saw.
    seen: Option<Fingerprint>,
}

/// Which files there are, and how they stand.
type Fingerprint = [u8; 32];

/// A directory that has changed.
pub struct Change {
    /// What is good of it, and the last good version of what is not.
    pub catalog: Arc<Catalog>,
    /// By folder, what is not: empty if all is good.
    pub broken: Vec<(String, String)>,
    fingerprint: Option<Fingerprint>,
}

impl LiveCatalog {
    /// Loads a directory whose templates are all good. `makes_links` says whether a later template may have a category.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn load(directory: &Path, makes_links: bool) -> Result<Self, CatalogError> {
        let loaded = fingerprint(directory).ok();
        let catalog = Arc::new(Catalog::load(directory)?);
        Ok(Self {
            directory: directory.to_owned(),
            makes_links,
            state: Mutex::new(State {
                catalog,
                loaded,
                seen: loaded,
            }),
        })
    }

    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).catalog)
    }

    /// Looks at the directory; `None` if it stands as it was loaded, or has not come to rest yet. Reads files and compiles: not for a
    /// runtime's own threads.
    #[must_use]
    pub fn look(&self) -> Option<Change> {
        let now = match fingerprint(&self.directory) {
            Ok(now) => now,
            Err(error) => return Some(self.unreadable(&error)),
        };
        let (before, rests) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.loaded == Some(now) {
                return None;
            }
            (Arc::clone(&state.catalog), state.seen.replace(now) == Some(now))
        };
        if !rests {
            return None;
        }
        let (catalog, broken) = Catalog::load_after(&self.directory, &before, self.makes_links);
        let is_same = fingerprint(&self.directory).is_ok_and(|after| after == now);
        is_same.then(|| Change {
            catalog: Arc::new(catalog),
            broken: broken
                .into_iter()
                .map(|(folder, finding)| (folder, finding.to_string()))
                .collect(),
            fingerprint: Some(now),
        })
    }

    fn unreadable(&self, error: &io::Error) -> Change {
        Change {
            catalog: self.current(),
            broken: vec![(String::new(), format!("the directory can't be read: {error}"))],
            fingerprint: None,
        }
    }

    /// Goes on with what a look has found.
    pub fn adopt(&self, change: &Change) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catalog = Arc::clone(&change.catalog);
        state.loaded = change.fingerprint;
    }
}

fn fingerprint(directory: &Path) -> io::Result<Fingerprint> {
    let mut entries = Vec::new();
    list(directory, 0, &mut entries)?;
    entries.sort();
    Ok(Sha256::digest(entries.join("\n")).into())
}

/// A line for each file and folder, links followed. Hidden ones are those of git, and what a ConfigMap's links lead to.
fn list(folder: &Path, depth: usize, entries: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = folder.join(name);
        let metadata = match std::fs::metadata(&path) {
            // It was taken away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let (device, inode, bytes) = (metadata.dev(), metadata.ino(), metadata.len());
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        entries.push(format!("{} {device} {inode} {bytes} {changed:?}", path.display()));
        if entries.len() > ENTRIES_MAX {
            return Err(io::Error::other(format!("it has more than {ENTRIES_MAX} files")));
        }
        if metadata.is_dir() && depth < DEPTH_MAX {
            list(&path, depth + 1, entries)?;
        }
    }
    Ok(())
}
