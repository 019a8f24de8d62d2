//! All bundles below a directory, for people and CI.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::check;
use crate::bundle::{self, Files};
use crate::finding::{Finding, Rule};
use crate::manifest::Manifest;
use crate::reader::{HTML, MANIFEST, SCHEMA, SUBJECT};

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
/// underscore are passed over.
///
/// # Errors
/// If a folder can't be read, or there are more than 2,000 bundles or 8 folders within each other.
pub fn check_directory(directory: &Path) -> io::Result<Vec<CheckedBundle>> {
    let mut folders = Vec::new();
    find(directory, Path::new(""), 0, &mut folders)?;
    folders.sort();
    let mut versions = BTreeSet::new();
    let check = |folder: PathBuf| {
        let path = directory.join(&folder);
        let findings = match bundle::read_folder(&path) {
            Ok(files) => {
                let mut findings = check(&files);
                findings.extend(misplaced(&path, &files, &mut versions));
                findings
            }
            Err(error) => vec![Finding::new(Rule::Size, "", error.to_string())],
        };
        CheckedBundle { folder, findings }
    };
    Ok(folders.into_iter().map(check).collect())
}

fn find(directory: &Path, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = directory.join(folder);
    if [MANIFEST, SUBJECT, HTML, SCHEMA]
        .iter()
        .any(|file| path.join(file).exists())
    {
        found.push(folder.to_owned());
        return bound(found.len(), BUNDLES_MAX, "bundles");
    }
    bound(depth, DEPTH_MAX, "folders within each other")?;
    for entry in std::fs::read_dir(&path)? {
        let name = entry?.file_name();
        let hidden = name.to_string_lossy().starts_with(['.', '_']);
        if !hidden && path.join(&name).is_dir() {
            find(directory, &folder.join(name), depth + 1, found)?;
        }
    }
    Ok(())
}

fn bound(count: usize, most: usize, what: &str) -> io::Result<()> {
    if count > most {
        return Err(io::Error::other(format!("there are more than {most} {what}")));
    }
    Ok(())
}

/// A bundle stands in a folder of its name, and once in each version.
fn misplaced(
    path: &Path,
    files: &Files,
    versions: &mut BTreeSet<(Option<PathBuf>, String, u32)>,
) -> Option<Finding> {
    let manifest = Manifest::parse(files.get(MANIFEST)?).ok()?;
    let path = path.canonicalize().ok()?;
    let folder = path.file_name()?.to_string_lossy();
    let parent = path.parent().map(Path::to_owned);
    let (name, version) = (manifest.name, manifest.version);
    let text = if folder.split('@').next() != Some(&name) {
        format!("holds the template `{name}`: name the folder so, or `{name}@{version}`")
    } else if !versions.insert((parent, name.clone(), version)) {
        format!("version {version} of `{name}` is there twice")
    } else {
        return None;
    };
    Some(Finding::new(Rule::Folder, MANIFEST, text))
}
