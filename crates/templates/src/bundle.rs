//! The files of a template, and their one encoding.
//!
//! The hash that a message pins is taken over this encoding: magic, the number of files, then each file in the order of
//! its path as `length, path, length, content` (big-endian). The same files give the same bytes on every machine, whatever
//! compresses them. What is stored in Redis is the encoding under zstd.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::shared;

/// The bytes of one file as it is written.
pub const FILE_BYTES_MAX: usize = 50 * 1024;
/// The bytes of one source once it is built: MJML and CSS grow.
pub const BUILT_BYTES_MAX: usize = 200 * 1024;
/// The files of one bundle.
pub const FILES_MAX: usize = 64;
/// The bytes of all files of a bundle.
pub const BUNDLE_BYTES_MAX: usize = 512 * 1024;

const PATH_BYTES_MAX: usize = 128;
const MAGIC: &[u8; 4] = b"PLB1";
/// What an encoded bundle can have at most: files, paths, lengths.
const ENCODED_BYTES_MAX: usize = BUNDLE_BYTES_MAX + FILES_MAX * (PATH_BYTES_MAX + 6) + 6;
const COMPRESSION_LEVEL: i32 = 9;

/// The files of a bundle by their path inside its folder, with `/` between its parts.
pub type Files = BTreeMap<String, Vec<u8>>;

/// SHA-256 of a bundle's encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleHash(pub [u8; 32]);

impl fmt::Display for BundleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BundleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes, or files, that are no bundle.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBundle {
    #[error("{files} files; at most {FILES_MAX} are allowed")]
    TooManyFiles { files: usize },
    #[error("{file} has {bytes} bytes; at most {max} are allowed")]
    FileTooLarge { file: String, bytes: u64, max: usize },
    #[error("the files have {bytes} bytes; at most {BUNDLE_BYTES_MAX} are allowed together")]
    TooLarge { bytes: usize },
    #[error("a path is empty, longer than {PATH_BYTES_MAX} bytes, or leads out of the folder")]
    Path,
    #[error("not a bundle's encoding")]
    Encoding,
    #[error("the bundle can't be unpacked")]
    Compression(#[source] io::Error),
    #[error("{path} is no file, or leads out of the directory that its bundle stands in")]
    Outside { path: String },
    #[error("{path} can't be read")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Holds files as they are written to the bounds of a bundle.
pub(crate) fn check_bounds(files: &Files) -> Result<(), InvalidBundle> {
    check_within(files, |_| FILE_BYTES_MAX)
}

/// Holds built files to the bounds of a bundle.
pub(crate) fn check_built_bounds(files: &Files) -> Result<(), InvalidBundle> {
    check_within(files, |path| {
        if path.ends_with(".hbs") {
            BUILT_BYTES_MAX
        } else {
            FILE_BYTES_MAX
        }
    })
}

fn check_within(files: &Files, max: impl Fn(&str) -> usize) -> Result<(), InvalidBundle> {
    if files.len() > FILES_MAX {
        return Err(InvalidBundle::TooManyFiles { files: files.len() });
    }
    let mut bytes = 0;
    for (path, content) in files {
        let strange = |part: &str| part.is_empty() || part == "." || part == "..";
        if path.len() > PATH_BYTES_MAX || path.split('/').any(strange) {
            return Err(InvalidBundle::Path);
        }
        let max = max(path);
        if content.len() > max {
            return Err(InvalidBundle::FileTooLarge {
                file: path.clone(),
                bytes: content.len() as u64,
                max,
            });
        }
        bytes += content.len();
    }
    if bytes > BUNDLE_BYTES_MAX {
        return Err(InvalidBundle::TooLarge { bytes });
    }
    Ok(())
}

/// The hash of the files' encoding.
pub(crate) fn hash(files: &Files) -> BundleHash {
    BundleHash(Sha256::digest(encode(files)).into())
}

/// The hash of built files' encoding, and the encoding under zstd.
pub(crate) fn pack(files: &Files) -> Result<(BundleHash, Bytes), InvalidBundle> {
    check_built_bounds(files)?;
    let encoded = encode(files);
    let hash = BundleHash(Sha256::digest(&encoded).into());
    let packed = zstd::bulk::compress(&encoded, COMPRESSION_LEVEL).map_err(InvalidBundle::Compression)?;
    Ok((hash, packed.into()))
}

/// The files of a packed bundle, which are built. They are held to the same bounds: who wrote to Redis may not have been us.
pub(crate) fn unpack(packed: &[u8]) -> Result<Files, InvalidBundle> {
    let encoded = zstd::bulk::decompress(packed, ENCODED_BYTES_MAX).map_err(InvalidBundle::Compression)?;
    let files = decode(&encoded).ok_or(InvalidBundle::Encoding)?;
    check_built_bounds(&files)?;
    Ok(files)
}

fn encode(files: &Files) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let put = |number: usize, bytes: usize| {
        let number = (number as u64).to_be_bytes();
        number[8 - bytes..].to_vec()
    };
    out.extend(put(files.len(), 2));
    for (path, content) in files {
        out.extend(put(path.len(), 2));
        out.extend_from_slice(path.as_bytes());
        out.extend(put(content.len(), 4));
        out.extend_from_slice(content);
    }
    out
}

fn decode(encoded: &[u8]) -> Option<Files> {
    fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, left) = rest.split_at_checked(count)?;
        *rest = left;
        Some(taken)
    }
    fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
        Some(
            take(rest, bytes)?
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }
    let mut rest = encoded.strip_prefix(MAGIC.as_slice())?;
    let count = number(&mut rest, 2)?;
    let mut files = Files::new();
    for _ in 0..count {
        let length = number(&mut rest, 2)?;
        let path = std::str::from_utf8(take(&mut rest, length)?).ok()?.to_owned();
        let length = number(&mut rest, 4)?;
        files.insert(path, take(&mut rest, length)?.to_vec());
    }
    (rest.is_empty() && files.len() == count).then_some(files)
}

/// Reads the files of a folder: those at its top, those of `examples/` and `partials/`, and what they use of the partials that are
/// shared. Hidden files and editors' backups are not seen. Links are followed as far as the directory that the folder stands in.
///
/// # Errors
/// If they can't be read, are no files, lead out of that directory, or are past a bound.
pub fn read_folder(folder: &Path) -> Result<Files, InvalidBundle> {
    // Where the folder is a link, its directory is that of what it leads to: a swap of links changes both at once.
    let home = folder.canonicalize().map_err(unreadable(folder))?;
    let directory = home.parent().unwrap_or(&home);
    let mut files = Files::new();
    read_into(directory, folder, "", &mut files)?;
    shared::add(directory, &mut files)?;
    check_bounds(&files)?;
    Ok(files)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> InvalidBundle {
    let path = path.display().to_string();
    move |source| InvalidBundle::Unreadable { path, source }
}

fn read_into(directory: &Path, folder: &Path, prefix: &str, files: &mut Files) -> Result<(), InvalidBundle> {
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(InvalidBundle::Path);
        };
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let inside = format!("{prefix}{name}");
        if path.is_dir() {
            // One level is all that a bundle has; a deeper folder is named by the check as a file that is not part of it.
            if prefix.is_empty() {
                read_into(directory, &path, &format!("{name}/"), files)?;
            }
            continue;
        }
        if files.len() == FILES_MAX {
            return Err(InvalidBundle::TooManyFiles { files: FILES_MAX + 1 });
        }
        files.insert(inside, read_file(directory, &path)?);
    }
    Ok(())
}

/// A file below the directory, up to what is too much. A pipe would never end, and a link elsewhere would publish what it leads to.
pub(crate) fn read_file(directory: &Path, path: &Path) -> Result<Vec<u8>, InvalidBundle> {
    let real = path.canonicalize().map_err(unreadable(path))?;
    if !real.starts_with(directory) || !real.is_file() {
        let path = path.display().to_string();
        return Err(InvalidBundle::Outside { path });
    }
    let mut content = Vec::new();
    std::fs::File::open(real)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content))
        .map_err(unreadable(path))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::{FILE_BYTES_MAX, FILES_MAX, Files, InvalidBundle, pack, unpack};

    fn files(list: &[(&str, &[u8])]) -> Files {
        list.iter()
            .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
            .collect()
    }

    #[test]
    fn a_bundle_reads_back_and_its_hash_is_its_content() {
        let original = files(&[
            ("subject.hbs", b"Hello"),
            ("examples/first.json", b"{}"),
            ("empty", b""),
        ]);
        let (hash, packed) = pack(&original).expect("within bounds");
        assert_eq!(unpack(&packed).expect("its own bytes"), original);
        assert_eq!(pack(&original).expect("again").0, hash);
        let (other, _) = pack(&files(&[("subject.hbs", b"Hell"), ("o", b"")])).expect("another");
        let (moved, _) = pack(&files(&[("subject.hbs", b"Hello"), ("o", b"")])).expect("another");
        assert!(other != hash && moved != hash && moved != other);
        // Written down, so that a change of the encoding, which would orphan every stored bundle, is seen.
        assert_eq!(
            hash.to_string(),
            "25a5eaf9d983c7aa68c21ef5df2f14a82429fca3d9b3198a4ec852a1e19a12f4"
        );
    }

    #[test]
    fn foreign_bytes_are_no_bundle() {
        let (_, packed) = pack(&files(&[("a", b"b")])).expect("within bounds");
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
        assert!(unpack(b"").is_err() && unpack(b"PLB1").is_err());
        for encoded in [
            &b"PLB1"[..],
            b"PLB1\0\x01",
            b"PLB1\0\0x",
            b"PLB2\0\0",
            b"PLB1\0\x01\0\x01a\xff\xff\xff\xff",
        ] {
            let packed = zstd::bulk::compress(encoded, 1).expect("compresses");
            assert!(
                matches!(unpack(&packed), Err(InvalidBundle::Encoding)),
                "{encoded:?}"
            );
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let packed = zstd::bulk::compress(&vec![0; 64 << 20], 19).expect("compresses");
        assert!(packed.len() < 16 * 1024);
        assert!(matches!(unpack(&packed), Err(InvalidBundle::Compression(_))));
    }

    #[test]
    fn bounds_hold() {
        let many = (0..=FILES_MAX).map(|n| (n.to_string(), Vec::new())).collect();
        assert!(matches!(pack(&many), Err(InvalidBundle::TooManyFiles { files }) if files == FILES_MAX + 1));
        let large = files(&[("a", &vec![b'x'; FILE_BYTES_MAX + 1])]);
        assert!(matches!(pack(&large), Err(InvalidBundle::FileTooLarge { .. })));
        let heavy = (0..11)
            .map(|n| (n.to_string(), vec![b'x'; FILE_BYTES_MAX]))
            .collect();
        assert!(matches!(pack(&heavy), Err(InvalidBundle::TooLarge { .. })));
        for path in [
            "",
            "../a",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "./a",
            &"x".repeat(129),
        ] {
            assert!(
                matches!(pack(&files(&[(path, b"")])), Err(InvalidBundle::Path)),
                "{path}"
            );
        }
    }
}
