//! The templates of a directory: one folder each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::{self, Files, InvalidBundle};
use crate::check;
use crate::fallbacks::{self, Versions};
use crate::finding::{Finding, Rule};
use crate::live::Published;
use crate::manifest::Manifest;
use crate::template::{BundleError, Template};

const NO_LINKS: &str = "has a category, but no links to unsubscribe are made here";
/// The folders of one directory.
const TEMPLATES_MAX: usize = 2_000;

/// Templates by name and version: those of a directory, and those that were published. Immutable: a change is a new catalog.
#[derive(Default)]
pub struct Catalog {
    folders: BTreeMap<String, Arc<Template>>,
    templates: Versions,
    /// By name, where a newer version is announced and can't be used: the one that was in use before and stays so, if there was one.
    held: BTreeMap<String, Option<u32>>,
}

/// A catalog with what is published, and what is to be told of it by name and version.
pub(crate) struct Merged {
    pub(crate) catalog: Catalog,
    /// What can't be used, or stands against a folder.
    pub(crate) unfit: Vec<(String, Finding)>,
    /// Fallbacks of newest versions that don't go with these, now that there are both: the templates stay.
    pub(crate) lacking: Vec<(String, Finding)>,
}

/// A directory that can't be used: all that is wrong with it.
#[derive(Debug)]
pub struct CatalogError {
    directory: PathBuf,
    /// By folder.
    findings: Vec<(String, Finding)>,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the templates in {} can't be used", self.directory.display())?;
        for (folder, finding) in &self.findings {
            let separator = if folder.is_empty() { "" } else { ": " };
            write!(f, "\n  {folder}{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogError {}

impl Catalog {
    /// Loads and checks every template of a directory, examples included. A folder is named after its template; further
    /// versions stand in folders such as `welcome@2`.
    ///
    /// # Errors
    /// All that is wrong with any of them: a set with a broken template is not used.
    pub fn load(directory: &Path) -> Result<Self, CatalogError> {
        let (catalog, findings) = Self::load_after(directory, &Self::default(), true);
        if findings.is_empty() {
            Ok(catalog)
        } else {
            Err(CatalogError {
                directory: directory.to_owned(),
                findings,
            })
        }
    }

    /// Loads a directory after an earlier catalog, whose templates stay where those of the same folders are broken: what is wrong
    /// is told by folder. Unless `makes_links`, a template with a category is as good as broken.
    pub(crate) fn load_after(
        directory: &Path,
        before: &Self,
        makes_links: bool,
    ) -> (Self, Vec<(String, Finding)>) {
        let mut loading = Loading {
            before,
            makes_links,
            catalog: Self::default(),
            findings: Vec::new(),
        };
        match folders(directory) {
            Ok(folders) => {
                for folder in folders {
                    loading.add(directory, &folder);
                }
                loading.check_fallbacks();
            }
            Err(description) => {
                loading.refuse("", description);
                loading.catalog.folders = before.folders.clone();
            }
        }
        loading.catalog.templates = versions(&loading.catalog.folders);
        (loading.catalog, loading.findings)
    }

    /// The folders with templates that were published. `used` is the catalog whose templates mail was accepted with, if there was one.
    pub(crate) fn with_published(
        &self,
        published: &Published,
        used: Option<&Self>,
        makes_links: bool,
    ) -> Merged {
        let mut templates = versions(&self.folders);
        let mut unfit = Vec::new();
        let by_themselves: BTreeSet<_> = fallbacks::check(&templates)
            .into_iter()
            .map(|(template, _)| template)
            .collect();
        for template in &published.templates {
            let Manifest { name, version, .. } = &template.manifest;
            let problem = if !makes_links && template.manifest.category.is_some() {
                Some(NO_LINKS)
            } else {
                match templates.entry(name.clone()).or_default().entry(*version) {
                    Entry::Vacant(free) => {
                        free.insert(Arc::clone(template));
                        None
                    }
                    Entry::Occupied(folder) if folder.get().authored == template.authored => None,
                    Entry::Occupied(_) => {
                        Some("is another one in the directory, which stays: give one of them another version")
                    }
                }
            };
            let finding = problem.map(|text| Finding::new(Rule::Folder, "", text));
            unfit.extend(finding.map(|finding| (told_as(name, *version), finding)));
        }
        let lacking = fallbacks::check_newest(&templates)
            .into_iter()
            .filter(|(template, _)| !by_themselves.contains(template))
            .map(|((name, version), finding)| (told_as(&name, version), finding))
            .collect();
        let catalog = Self {
            folders: self.folders.clone(),
            held: held(&templates, &published.announced, used),
            templates,
        };
        Merged {
            catalog,
            unfit,
            lacking,
        }
    }

    /// The template of that name: its newest version, or the one asked for. Where the newest one that is announced can't be used, an older
    /// one is the newest only if it was so before.
    #[must_use]
    pub fn get(&self, name: &str, version: Option<&str>) -> Option<Arc<Template>> {
        let versions = self.templates.get(name)?;
        match version {
            None => match self.held.get(name) {
                Some(stays) => versions.get(stays.as_ref()?).cloned(),
                None => versions.values().next_back().cloned(),
            },
            Some(version) => versions.get(&version.parse().ok()?).cloned(),
        }
    }

    /// The hashes of what is rendered instead of the template where it can't be, in order, one behind the other.
    #[must_use]
    pub fn fallback_hashes(&self, template: &Template) -> Vec<u8> {
        let fit = fallbacks::fit(&self.templates, template);
        fit.flat_map(|fallback| fallback.hash().0).collect()
    }

    /// The names, in order, of those whose mail has a link to unsubscribe in every lane; once for each version.
    pub fn with_category(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .map(|template| template.manifest())
            .filter(|manifest| manifest.category.is_some())
            .map(|manifest| manifest.name.as_str())
    }

    /// All of them, by name and version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Template>> {
        self.templates.values().flat_map(BTreeMap::values)
    }
}

fn folders(directory: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error: std::io::Error| format!("can't be read: {error}");
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Hidden ones are those of git, and of Kubernetes' mounts; `_shared` is no template.
        if entry.path().is_dir() && !name.starts_with(['.', '_']) {
            folders.push(name);
        }
    }
    if folders.is_empty() {
        return Err("has no template's folder".to_owned());
    }
    if folders.len() > TEMPLATES_MAX {
        return Err(format!(
            "has {} folders; at most {TEMPLATES_MAX} are allowed",
            folders.len()
        ));
    }
    folders.sort();
    Ok(folders)
}

fn told_as(name: &str, version: u32) -> String {
    format!("{name}@{version}")
}

fn held(
    templates: &Versions,
    announced: &BTreeSet<(String, u32)>,
    used: Option<&Catalog>,
) -> BTreeMap<String, Option<u32>> {
    // In their order the newest is the last.
    let newest: BTreeMap<&String, u32> = announced.iter().map(|(name, version)| (name, *version)).collect();
    let held = newest.into_iter().filter_map(|(name, announced)| {
        let versions = templates.get(name);
        let usable = versions.and_then(|versions| versions.keys().next_back().copied());
        if usable.is_some_and(|usable| usable >= announced) {
            return None;
        }
        let before = used.and_then(|used| used.get(name, None));
        let stays = before.and_then(|before| {
            let version = before.manifest.version;
            let is_there = versions.is_some_and(|versions| versions.contains_key(&version));
            if is_there { Some(version) } else { usable }
        });
        Some((name.clone(), stays))
    });
    held.collect()
}

fn versions(folders: &BTreeMap<String, Arc<Template>>) -> Versions {
    let mut versions = Versions::new();
    for template in folders.values() {
        let (name, version) = (template.manifest.name.clone(), template.manifest.version);
        versions
            .entry(name)
            .or_default()
            .entry(version)
            .or_insert_with(|| Arc::clone(template));
    }
    versions
}

struct Loading<'a> {
    before: &'a Catalog,
    makes_links: bool,
    catalog: Catalog,
    findings: Vec<(String, Finding)>,
}

impl Loading<'_> {
    fn refuse(&mut self, folder: &str, description: impl Into<String>) {
        let finding = Finding::new(Rule::Folder, "", description);
        self.findings.push((folder.to_owned(), finding));
    }

    fn add(&mut self, directory: &Path, folder: &str) {
        let template = match self.read(&directory.join(folder), folder) {
            Ok(template) => Some(template),
            Err(findings) => {
                let findings = findings.into_iter().map(|finding| (folder.to_owned(), finding));
                self.findings.extend(findings);
                self.before.folders.get(folder).cloned()
            }
        };
        if let Some(template) = template {
            self.catalog.folders.insert(folder.to_owned(), template);
        }
    }

    /// The template of a folder, compiled anew only if its files are others.
    fn read(&self, path: &Path, folder: &str) -> Result<Arc<Template>, Vec<Finding>> {
        let refused = |text: String| vec![Finding::new(Rule::Folder, "", text)];
        let invalid = |error: InvalidBundle| vec![Finding::new(Rule::Size, "", error.to_string())];
        let files = bundle::read_folder(path).map_err(invalid)?;
        let hash = bundle::hash(&files);
        let before = self
            .before
            .folders
            .get(folder)
            .filter(|before| before.authored == hash);
        let template = match before {
            Some(before) => Arc::clone(before),
            None => Arc::new(compile(&files)?),
        };
        let manifest = &template.manifest;
        let (name, version) = (&manifest.name, manifest.version);
        if folder.split('@').next() != Some(name) {
            return Err(refused(format!(
                "holds the template `{name}`: name the folder so, or `{name}@{version}`"
            )));
        }
        let is_same =
            |other: &&Arc<Template>| (&other.manifest.name, other.manifest.version) == (name, version);
        if self.catalog.folders.values().find(is_same).is_some() {
            return Err(refused(format!("version {version} of `{name}` is there twice")));
        }
        if !self.makes_links && manifest.category.is_some() {
            return Err(refused(NO_LINKS.to_owned()));
        }
        Ok(template)
    }

    /// A template whose fallbacks are not as they must be is broken, too.
    fn check_fallbacks(&mut self) {
        for ((name, version), finding) in fallbacks::check(&versions(&self.catalog.folders)) {
            let is_it = |(_, template): &(&String, &Arc<Template>)| {
                (&template.manifest.name, template.manifest.version) == (&name, version)
            };
            let Some((folder, _)) = self.catalog.folders.iter().find(is_it) else {
                continue;
            };
            let folder = folder.clone();
            match self.before.folders.get(&folder) {
                Some(before) => self.catalog.folders.insert(folder.clone(), Arc::clone(before)),
                None => self.catalog.folders.remove(&folder),
            };
            self.findings.push((folder, finding));
        }
    }
}

fn compile(files: &Files) -> Result<Template, Vec<Finding>> {
    let template = Template::from_files(files).map_err(|error| match error {
        BundleError::Invalid(error) => vec![Finding::new(Rule::Size, "", error.to_string())],
        BundleError::Findings(findings) => findings,
    })?;
    match check::check_examples(&template) {
        findings if findings.is_empty() => Ok(template),
        findings => Err(findings),
    }
}
