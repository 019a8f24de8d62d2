//! Partials and layouts that several bundles share: `_shared/NAME.hbs` beside the bundles' folders.
//!
//! What a bundle uses of them becomes part of it when it is loaded, as `partials/NAME.hbs`: so its hash is that of all it is
//! rendered from, and whoever has the bundle needs nothing else. A partial of the bundle's own goes before a shared one.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::bundle::{Files, InvalidBundle, read_file};
use crate::reader::PARTIALS;

/// The folder's name.
pub(crate) const FOLDER: &str = "_shared";
/// A name's characters; a longer one is no file's.
const NAME_BYTES_MAX: usize = 64;

/// Adds to a bundle's files what they use of those that the bundles of their directory share.
pub(crate) fn add(directory: &Path, files: &mut Files) -> Result<(), InvalidBundle> {
    let shared = directory.join(FOLDER);
    let sources = files.iter().filter(|(path, _)| path.ends_with(".hbs"));
    let mut wanted: BTreeSet<String> = sources.flat_map(|(_, source)| included(source)).collect();
    while let Some(name) = wanted.pop_first() {
        let inside = format!("{PARTIALS}{name}.hbs");
        if files.contains_key(&inside) {
            continue;
        }
        let path = shared.join(format!("{name}.hbs"));
        let source = match read_file(directory, &path) {
            // The compiler says where it is used and not there.
            Err(InvalidBundle::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            other => other?,
        };
        wanted.extend(included(&source));
        files.insert(inside, source);
    }
    Ok(())
}

/// The names that a source includes, by its text alone: `{{> name}}`, `{{#> name}}`, `{{~> "name"}}`. One too many, such as from a
/// comment, does no harm.
fn included(source: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(source);
    let tags = text.split("{{").skip(1);
    let names = tags.filter_map(|tag| {
        let tag = tag.strip_prefix('~').unwrap_or(tag);
        let tag = tag.strip_prefix('#').unwrap_or(tag);
        let name = tag
            .strip_prefix('>')?
            .trim_start()
            .trim_start_matches(['"', '\'', '[']);
        let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        let end = name.find(|char| !allowed(char)).unwrap_or(name.len());
        (1..=NAME_BYTES_MAX)
            .contains(&end)
            .then(|| name[..end].to_owned())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::included;

    #[test]
    fn names_are_found_however_they_are_written() {
        let text = b"{{> a}}{{>b x=1}}{{~> \"c-1\" ~}}{{#> d_2}}{{/d_2}}{{~#>[e]}}{{> @partial-block}}{{> (lookup x)}}{{gt a b}}{{> ../f}}";
        assert_eq!(included(text), ["a", "b", "c-1", "d_2", "e"]);
        assert!(included(format!("{{{{> {}}}}}", "x".repeat(65)).as_bytes()).is_empty());
    }
}
