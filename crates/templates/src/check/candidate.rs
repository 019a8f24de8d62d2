//! A bundle that somebody wishes to publish.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bundle::{BundleHash, Files};
use crate::fallbacks;
use crate::finding::Finding;
use crate::template::Template;

/// A bundle that may be published, if its fallbacks are as they must be.
pub struct Candidate {
    /// The hash of the files as they were written.
    pub authored: BundleHash,
    pub template: Arc<Template>,
    pub warnings: Vec<Finding>,
}

impl Candidate {
    /// Builds, compiles and checks the files of a bundle as they are written. Takes up to a second for a hostile one.
    ///
    /// # Errors
    /// Everything that is wrong with them, if something of it forbids publishing.
    pub fn read(files: &Files) -> Result<Self, Vec<Finding>> {
        match super::compile_and_check(files) {
            (Some(template), findings) if !findings.iter().any(Finding::forbids) => Ok(Self {
                authored: template.authored,
                template: Arc::new(template),
                warnings: findings,
            }),
            (_, findings) => Err(findings),
        }
    }

    /// What is wrong with its fallbacks, where these are the newest versions of those that are there.
    #[must_use]
    pub fn check_fallbacks(&self, others: Vec<Arc<Template>>) -> Vec<Finding> {
        let mut versions = fallbacks::Versions::new();
        for template in others.into_iter().chain([Arc::clone(&self.template)]) {
            let (name, version) = (template.manifest.name.clone(), template.manifest.version);
            versions.insert(name, BTreeMap::from([(version, template)]));
        }
        let own = (&self.template.manifest.name, self.template.manifest.version);
        let wrong = fallbacks::check(&versions).into_iter();
        wrong
            .filter(|((name, version), _)| (name, *version) == own)
            .map(|(_, finding)| finding)
            .collect()
    }
}
