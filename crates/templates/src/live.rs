//! The templates of a service, which change while it runs: those of a directory (by plain edits, by a ConfigMap's mount, by git-sync), and
//! those that were published.
//!
//! The directory is looked at, not listened to: links that are swapped (`..data` of a ConfigMap, the worktree of git-sync) show
//! as other files behind the same paths, which watchers of files miss. A look costs one `stat` for each file. What has changed is
//! taken once two looks saw the same, so that half-written files and half-swapped trees are not; and of a bundle that is broken the
//! last good one stays. Where a folder has the name and version of what was published, the folder's stays.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::catalog::{Catalog, CatalogError, Merged};
use crate::finding::Finding;
use crate::template::Template;

/// Folders within each other that are looked at: the directory's, a bundle's, the one of its examples.
const DEPTH_MAX: usize = 3;
/// Files and folders of a directory.
const ENTRIES_MAX: usize = 200_000;

/// The templates of a service, as they stand.
pub struct LiveCatalog {
    /// `None`: there are only those that were published.
    directory: Option<PathBuf>,
    /// True if mail that has a category gets its link; else no template with one is taken.
    makes_links: bool,
    state: Mutex<State>,
    announced: Mutex<Followed>,
}

/// What was announced when it was looked at last, whether it is used yet or not.
#[derive(Clone, Default)]
enum Followed {
    /// Only the directory counts.
    #[default]
    Not,
    /// Nobody has said yet what is published, not even that nothing is.
    Unseen,
    Seen(Arc<Published>),
}

#[derive(Clone, Default)]
struct State {
    catalog: Arc<Catalog>,
    /// What of the directory is broken.
    broken: Vec<Broken>,
    published: Arc<Published>,
    /// What is wrong with those, by themselves or beside the directory.
    unfit: Vec<Broken>,
    /// Whose fallbacks do not go with them.
    lacking: Vec<Broken>,
    /// What was loaded.
    loaded: Option<Fingerprint>,
    /// What the last look saw.
    seen: Option<Fingerprint>,
}

/// Which files there are, and how they stand.
type Fingerprint = [u8; 32];

/// A folder, or the name and version of what was published; and what is wrong with it.
pub type Broken = (String, String);

/// Templates that were published, as a service has got them.
#[derive(Default)]
pub struct Published {
    pub templates: Vec<Arc<Template>>,
    /// What was published and can't be used.
    pub broken: Vec<Broken>,
    /// Name and version of all that stands announced, whether it can be used or not.
    pub announced: BTreeSet<(String, u32)>,
}

/// What has changed.
pub struct Change {
    /// What is good, and the last good version of what is not; the catalog of before where the directory can't be read.
    pub catalog: Arc<Catalog>,
    /// All that is not: empty if all is good.
    pub broken: Vec<Broken>,
    /// Whose fallbacks do not go with them, now that there are both: these are used all the same.
    pub lacking: Vec<Broken>,
    after: State,
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
            directory: Some(directory.to_owned()),
            makes_links,
            state: Mutex::new(State {
                catalog,
                loaded,
                seen: loaded,
                ..State::default()
            }),
            announced: Mutex::default(),
        })
    }

    /// Without a directory: nothing is there but what is published.
    #[must_use]
    pub fn without_directory(makes_links: bool) -> Self {
        Self {
            directory: None,
            makes_links,
            state: Mutex::default(),
            announced: Mutex::default(),
        }
    }

    /// Says that what is published is followed: until it was said what that is, any name may be one of it.
    pub fn follow_published(&self) {
        *lock(&self.announced) = Followed::Unseen;
    }

    /// True if there is no such template now, but it may come: it is announced and can't be used yet, or nobody has said what is published.
    #[must_use]
    pub fn awaits(&self, name: &str, version: Option<&str>) -> bool {
        // First what there is: what is used between the two was announced before.
        if self.current().get(name, version).is_some() {
            return false;
        }
        let is_it = |(its_name, its_version): &(String, u32)| {
            its_name == name && version.is_none_or(|version| version.parse() == Ok(*its_version))
        };
        match &*lock(&self.announced) {
            Followed::Not => false,
            Followed::Unseen => true,
            Followed::Seen(published) => published.announced.iter().any(is_it),
        }
    }

    /// True if there is no template at all yet, and all that are to come are published ones.
    #[must_use]
    pub fn is_empty_yet(&self) -> bool {
        let follows = !matches!(*lock(&self.announced), Followed::Not);
        self.directory.is_none() && follows && self.current().iter().next().is_none()
    }

    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.state().catalog)
    }

    /// Looks at the directory; `None` if it stands as it was loaded, or has not come to rest yet. Reads files and compiles: not for a
    /// runtime's own threads.
    #[must_use]
    pub fn look(&self) -> Option<Change> {
        let directory = self.directory.as_deref()?;
        let now = match fingerprint(directory) {
            Ok(now) => now,
            Err(error) => return Some(self.unreadable(&error)),
        };
        let (before, published, rests) = {
            let mut state = self.state();
            if state.loaded == Some(now) {
                return None;
            }
            let rests = state.seen.replace(now) == Some(now);
            (Arc::clone(&state.catalog), Arc::clone(&state.published), rests)
        };
        if !rests {
            return None;
        }
        let (folders, broken) = Catalog::load_after(directory, &before, self.makes_links);
        let is_same = fingerprint(directory).is_ok_and(|after| after == now);
        is_same.then(|| {
            self.merged(
                &folders,
                Some(&before),
                State {
                    broken: told(broken),
                    published,
                    loaded: Some(now),
                    seen: Some(now),
                    ..State::default()
                },
            )
        })
    }

    /// The same with what is published now; `in_use` says whether mail was accepted with the templates that there are. Compiles nothing, but
    /// checks fallbacks by examples: not for a runtime's own threads.
    #[must_use]
    pub fn publish(&self, published: Published, in_use: bool) -> Change {
        let published = Arc::new(published);
        let mut announced = lock(&self.announced);
        // What was announced once does not go by being lost.
        if !published.announced.is_empty() || matches!(*announced, Followed::Unseen) {
            *announced = Followed::Seen(Arc::clone(&published));
        }
        drop(announced);
        let mut after = self.state().clone();
        after.published = published;
        let folders = Arc::clone(&after.catalog);
        self.merged(&folders, Some(&*folders).filter(|_| in_use), after)
    }

    /// `after` with the catalog of both.
    fn merged(&self, folders: &Catalog, used: Option<&Catalog>, after: State) -> Change {
        let published = Arc::clone(&after.published);
        let Merged {
            catalog,
            unfit,
            lacking,
        } = folders.with_published(&published, used, self.makes_links);
        Change::to(State {
            catalog: Arc::new(catalog),
            unfit: published.broken.iter().cloned().chain(told(unfit)).collect(),
            lacking: told(lacking),
            ..after
        })
    }

    fn unreadable(&self, error: &io::Error) -> Change {
        Change::to(State {
            broken: vec![(String::new(), format!("the directory can't be read: {error}"))],
            loaded: None,
            seen: None,
            ..self.state().clone()
        })
    }

    /// Goes on with what a look has found, or with what is published; nothing else may have been adopted since.
    pub fn adopt(&self, change: &Change) {
        *self.state() = change.after.clone();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Change {
    fn to(after: State) -> Self {
        Self {
            catalog: Arc::clone(&after.catalog),
            broken: after.broken.iter().chain(&after.unfit).cloned().collect(),
            lacking: after.lacking.clone(),
            after,
        }
    }
}

fn told(findings: Vec<(String, Finding)>) -> Vec<Broken> {
    let told = findings.into_iter();
    told.map(|(folder, finding)| (folder, finding.to_string()))
        .collect()
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
