//! The file of API keys that a service of a test asks for.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// A file that goes with the value. Each key is its name and `-key`.
#[derive(Debug)]
pub struct ApiKeys(NamedTempFile);

impl ApiKeys {
    /// Of names, tenants (`*` for all) and scopes.
    ///
    /// # Panics
    /// If no file can be written.
    #[must_use]
    pub fn of(keys: &[(&str, &str, &[&str])]) -> Self {
        let mut text = String::new();
        for (name, tenant, scopes) in keys {
            let sha256 = hex::encode(Sha256::digest(format!("{name}-key")));
            write!(
                text,
                "[[key]]\nname = {name:?}\nsha256 = {sha256:?}\ntenant = {tenant:?}\nscopes = {scopes:?}\n"
            )
            .expect("a text takes everything");
        }
        let file = NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        Self(file)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The line of a service's settings that names the file.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("access.keys = {:?}", self.path().display().to_string())
    }
}
