//! The templates of a directory: one folder each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle;
use crate::check;
use crate::fallbacks::{self, Versions};
use crate::finding::{Finding, Rule};
use crate::template::{BundleError, Template};

/// The folders of one directory.
const TEMPLATES_MAX: usize = 2_000;

/// Templates by name and version. Immutable: a change of the directory is a new catalog.
pub struct Catalog {
    templates: Versions,
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
        let mut loading = Loading::default();
        match folders(directory) {
            Ok(folders) => {
                for folder in folders {
                    loading.add(directory, &folder);
                }
            }
            Err(description) => loading.refuse("", description),
        }
        let unfit = fallbacks::check(&loading.templates);
        loading
            .findings
            .extend(unfit.into_iter().map(|((name, _), finding)| (name, finding)));
        if loading.findings.is_empty() {
            Ok(Self {
                templates: loading.templates,
            })
        } else {
            Err(CatalogError {
                directory: directory.to_owned(),
                findings: loading.findings,
            })
        }
    }

    /// The template of that name: its newest version, or the one asked for.
    #[must_use]
    pub fn get(&self, name: &str, version: Option<&str>) -> Option<Arc<Template>> {
        let versions = self.templates.get(name)?;
        match version {
            None => versions.values().next_back().cloned(),
            Some(version) => versions.get(&version.parse().ok()?).cloned(),
        }
    }

    /// What is rendered instead of the template where it can't be, in order.
    #[must_use]
    pub fn fallbacks(&self, template: &Template) -> Vec<Arc<Template>> {
        let chain = fallbacks::chain(&self.templates, template);
        chain.into_iter().cloned().collect()
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
        // Hidden ones are those of git, and of Kubernetes' mounts.
        if entry.path().is_dir() && !name.starts_with('.') {
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

#[derive(Default)]
struct Loading {
    templates: Versions,
    findings: Vec<(String, Finding)>,
}

impl Loading {
    fn refuse(&mut self, folder: &str, description: impl Into<String>) {
        let finding = Finding::new(Rule::Folder, "", description);
        self.findings.push((folder.to_owned(), finding));
    }

    fn add(&mut self, directory: &Path, folder: &str) {
        let compiled = bundle::read_folder(&directory.join(folder))
            .map_err(BundleError::from)
            .and_then(|files| Template::from_files(&files));
        let template = match compiled {
            Ok(template) => template,
            Err(BundleError::Invalid(error)) => return self.refuse(folder, error.to_string()),
            Err(BundleError::Findings(findings)) => {
                let findings = findings.into_iter().map(|finding| (folder.to_owned(), finding));
                return self.findings.extend(findings);
            }
        };
        let broken = check::check_examples(&template);
        self.findings
            .extend(broken.into_iter().map(|finding| (folder.to_owned(), finding)));
        let manifest = template.manifest();
        let (name, version) = (manifest.name.clone(), manifest.version);
        if folder.split('@').next() != Some(&name) {
            return self.refuse(
                folder,
                format!("holds the template `{name}`: name the folder so, or `{name}@{version}`"),
            );
        }
        let versions = self.templates.entry(name.clone()).or_default();
        if versions.insert(version, Arc::new(template)).is_some() {
            self.refuse(folder, format!("version {version} of `{name}` is there twice"));
        }
    }
}
