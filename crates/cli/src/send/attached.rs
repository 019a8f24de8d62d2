//! Files that go with a message: their bytes, or where the renderer finds them.

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use paceline_wire::v1::Attachment;

use crate::args::AttachOptions;

/// What ingest takes of all attachments together.
const BYTES_MAX: u64 = 7 << 20;

/// Types by the ending of a name, of the files that mail usually has; another one is a file of bytes.
const TYPES: [(&str, &str); 18] = [
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("webp", "image/webp"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// # Errors
/// If a file can't be read or is larger than ingest takes, or a SHA-256 is none.
pub(super) fn read(options: &AttachOptions) -> anyhow::Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for path in &options.attach {
        attachments.push(from_file(path)?);
    }
    for (content_id, path) in &options.inline {
        attachments.push(Attachment {
            content_id: content_id.clone(),
            ..from_file(Path::new(path))?
        });
    }
    for (sha256, url) in &options.attach_url {
        attachments.push(from_url(sha256, url)?);
    }
    Ok(attachments)
}

fn from_file(path: &Path) -> anyhow::Result<Attachment> {
    let shown = path.display();
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{shown} has no name that a message can have"))?;
    let found = std::fs::metadata(path).with_context(|| format!("can't read {shown}"))?;
    let bytes = found.len();
    ensure!(
        bytes <= BYTES_MAX,
        "{shown} has {bytes} bytes; at most {BYTES_MAX} are taken"
    );
    let content = std::fs::read(path).with_context(|| format!("can't read {shown}"))?;
    Ok(Attachment {
        content: content.into(),
        ..named(name)
    })
}

/// Named as the end of the url's path.
fn from_url(sha256: &str, url: &str) -> anyhow::Result<Attachment> {
    let sha256 = hex(sha256).context("--attach-url begins with the 64 hexadecimal digits of a SHA-256")?;
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| anyhow!("the name at the end of --attach-url is not UTF-8"))?;
    Ok(Attachment {
        url: url.to_owned(),
        sha256: sha256.into(),
        ..named(&name)
    })
}

fn named(name: &str) -> Attachment {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    let known = TYPES.iter().find(|(known, _)| ending.as_deref() == Some(*known));
    Attachment {
        file_name: name.to_owned(),
        content_type: known
            .map_or("application/octet-stream", |(_, kind)| kind)
            .to_owned(),
        ..Attachment::default()
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok();
    is_digest.then(|| (0..32).map(byte).collect::<Option<Vec<u8>>>())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_by_its_name_and_the_type_of_its_ending() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("written");
            path
        };
        let options = AttachOptions {
            attach: vec![path("menü.PDF"), path("noending")],
            inline: vec![("logo".to_owned(), path("logo.png").display().to_string())],
            attach_url: vec![(
                "0A".repeat(32),
                "https://a.example/mail/a%20b.csv?x=/y".to_owned(),
            )],
        };
        let read = read(&options).expect("all are there");
        let shown: Vec<_> = read
            .iter()
            .map(|part| (&*part.file_name, &*part.content_type, &*part.content_id))
            .collect();
        let bytes = "application/octet-stream";
        let expected = [
            ("menü.PDF", "application/pdf", ""),
            ("noending", bytes, ""),
            ("logo.png", "image/png", "logo"),
            ("a b.csv", "text/csv", ""),
        ];
        assert_eq!(shown, expected);
        assert_eq!(read[0].content, "menü.PDF");
        assert_eq!(
            (&*read[3].url, &*read[3].sha256),
            ("https://a.example/mail/a%20b.csv?x=/y", &[10; 32][..])
        );
        assert!(read[3].content.is_empty());
    }

    #[test]
    fn what_can_t_go_is_told_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let large = folder.path().join("large.bin");
        let file = std::fs::File::create(&large).expect("created");
        file.set_len(BYTES_MAX + 1).expect("sized");
        let attach = |path: &Path| AttachOptions {
            attach: vec![path.to_owned()],
            ..AttachOptions::default()
        };
        for (options, says) in [
            (attach(&large), "large.bin has 7340033 bytes"),
            (attach(&folder.path().join("none")), "can't read"),
            (
                AttachOptions {
                    attach_url: vec![("ab".to_owned(), "https://a.example/a".to_owned())],
                    ..AttachOptions::default()
                },
                "64 hexadecimal digits",
            ),
        ] {
            let error = read(&options).expect_err(says);
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
    }
}
