//! The folder of fixtures: `fixtures/<number>/<name>`, a higher number for a later writer. A number has what changed by then.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

/// What is written now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// A path within a number's folder.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    pub(crate) fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }
}

/// What some release wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

/// The numbers that there are, the oldest first.
///
/// # Errors
/// If the folder can't be read, or something in it is no number.
pub(crate) fn numbers() -> anyhow::Result<Vec<u32>> {
    let entries = fs::read_dir(root()).with_context(|| format!("can't read {}", root().display()))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_string_lossy().parse::<u32>();
        numbers.push(number.with_context(|| format!("{} is no number", name.display()))?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// All fixtures of a name, the oldest first.
///
/// # Errors
/// If one can't be read.
pub(crate) fn all(name: &str) -> anyhow::Result<Vec<Frozen>> {
    let mut found = Vec::new();
    for number in numbers()? {
        let path = root().join(number.to_string()).join(name);
        if path.is_file() {
            let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
            found.push(Frozen { number, path, bytes });
        }
    }
    Ok(found)
}

/// The samples that are not what was frozen last.
///
/// # Errors
/// As [`all`].
pub(crate) fn changed(samples: Vec<Sample>) -> anyhow::Result<Vec<Sample>> {
    let mut changed = Vec::new();
    for sample in samples {
        let newest = all(&sample.name)?.pop();
        if newest.is_none_or(|newest| newest.bytes != sample.bytes) {
            changed.push(sample);
        }
    }
    Ok(changed)
}

/// Adds a number with these. Never touches what is there.
///
/// # Errors
/// If they can't be written.
pub(crate) fn freeze(samples: &[Sample]) -> anyhow::Result<u32> {
    let number = numbers()?.last().map_or(1, |last| last + 1);
    for sample in samples {
        let path = root().join(number.to_string()).join(&sample.name);
        let folder = path.parent().context("a fixture stands in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&path, &sample.bytes).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(number)
}
