//! All bundles below a directory, for people and CI.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::{self, Files};
use crate::fallbacks::{self, Versions};
use crate::finding::{Finding, Rule};
use crate::reader::{HTML, MANIFEST, MJML, SUBJECT};

/// Folders within each other.
const DEPTH_MAX: usize = 8;
/// The bundles of one check.
const BUNDLES_MAX: usize = 2_000;

/// A bundle that was found, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBundle {
    /// Inside the directory; empty for the directory itself.
    pub folder: PathBuf,
    pub findings: Vec<Finding>,
}

/// Checks every bundle below a directory, or the one that it is, by their folders. Folders whose names begin with a point or an
/// underscore are passed over; any other that stands beside a bundle must be one, as for a service that loads them.
///
/// # Errors
/// If a folder can't be read, or there are more than 2,000 bundles or 8 folders within each other.
pub fn check_directory(directory: &Path) -> io::Result<Vec<CheckedBundle>> {
    let mut folders = Vec::new();
    find(directory, Path::new(""), 0, &mut folders)?;
    folders.sort();
    let mut sets: BTreeMap<PathBuf, Set> = BTreeMap::new();
    let mut checked = Vec::with_capacity(folders.len());
    for folder in folders {
        let path = named(&directory.join(&folder))?;
        let set = path.parent().map(Path::to_owned).unwrap_or_default();
        let findings = match bundle::read_folder(&path) {
            Ok(files) => sets.entry(set).or_default().add(&path, &files, checked.len()),
            Err(error) => vec![Finding::new(Rule::Size, "", error.to_string())],
        };
        checked.push(CheckedBundle { folder, findings });
    }
    for set in sets.values() {
        for (template, finding) in fallbacks::check(&set.versions) {
            checked[set.places[&template]].findings.push(finding);
        }
    }
    checked
        .iter_mut()
        .for_each(|bundle| super::sort(&mut bundle.findings));
    Ok(checked)
}

/// The bundles that stand side by side.
#[derive(Default)]
struct Set {
    versions: Versions,
    /// Where they are among all that are checked.
    places: BTreeMap<(String, u32), usize>,
}

impl Set {
    /// Checks a bundle; one that is good and where it belongs is part of the set.
    fn add(&mut self, path: &Path, files: &Files, place: usize) -> Vec<Finding> {
        let (template, mut findings) = super::compile_and_check(files);
        let Some(template) = template else {
            return findings;
        };
        let (name, version) = (template.manifest.name.clone(), template.manifest.version);
        let folder = path.file_name().unwrap_or_default().to_string_lossy();
        let wrong = if folder.split('@').next() != Some(&name) {
            format!("holds the template `{name}`: name the folder so, or `{name}@{version}`")
        } else if let Entry::Vacant(free) = self.places.entry((name.clone(), version)) {
            free.insert(place);
            self.versions
                .entry(name)
                .or_default()
                .insert(version, Arc::new(template));
            return findings;
        } else {
            format!("version {version} of `{name}` is there twice")
        };
        findings.push(Finding::new(Rule::Folder, MANIFEST, wrong));
        findings
    }
}

/// A bundle's path, by the name that its folder or the link to it has, in a directory that has one name.
fn named(path: &Path) -> io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.canonicalize();
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    Ok(parent.canonicalize()?.join(name))
}

fn find(directory: &Path, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = directory.join(folder);
    if is_bundle(&path) {
        found.push(folder.to_owned());
        return bound(found.len(), BUNDLES_MAX, "bundles");
    }
    bound(depth, DEPTH_MAX, "folders within each other")?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&path)? {
        let name = entry?.file_name();
        let hidden = name.to_string_lossy().starts_with(['.', '_']);
        if !hidden && path.join(&name).is_dir() {
            folders.push(folder.join(name));
        }
    }
    let has_manifest = |folder: &PathBuf| directory.join(folder).join(MANIFEST).exists();
    if folders.iter().any(has_manifest) {
        found.extend(folders);
        return bound(found.len(), BUNDLES_MAX, "bundles");
    }
    for folder in folders {
        find(directory, &folder, depth + 1, found)?;
    }
    Ok(())
}

fn is_bundle(path: &Path) -> bool {
    let files = [MANIFEST, SUBJECT, HTML, MJML];
    files.iter().any(|file| path.join(file).exists())
}

fn bound(count: usize, most: usize, what: &str) -> io::Result<()> {
    if count > most {
        return Err(io::Error::other(format!("there are more than {most} {what}")));
    }
    Ok(())
}
