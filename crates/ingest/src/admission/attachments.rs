//! Attachments of a request.

use paceline_kit::object_url::UrlPrefixes;
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;

use super::text::{is_tag_text, length_problem, line_problem};

const ATTACHMENTS_MAX: usize = 10;
/// All together, before base64.
const ATTACHMENTS_BYTES_MAX: usize = 7 << 20;
const FILE_NAME_CHARS_MAX: usize = 200;
/// SES's limit (`AttachmentContentType`), and below what RFC 6838, 4.2 allows each half.
const MEDIA_TYPE_BYTES_MAX: usize = 78;
const CONTENT_ID_BYTES_MAX: usize = 78;

const SHA256_BYTES: usize = 32;
/// SHA-256 of nothing.
const OF_NOTHING: [u8; SHA256_BYTES] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];
/// The endings of file names that SES refuses: <https://docs.aws.amazon.com/ses/latest/dg/mime-types.html>, as of 2026-11.
const REFUSED_ENDINGS: &[&str] = &[
    "ade", "adp", "app", "asp", "bas", "bat", "cer", "chm", "cmd", "com", "cpl", "crt", "csh", "der", "exe",
    "fxp", "gadget", "hlp", "hta", "inf", "ins", "isp", "its", "js", "jse", "ksh", "lib", "lnk", "mad",
    "maf", "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw", "mda", "mdb", "mde", "mdt", "mdw",
    "mdz", "msc", "msh", "msh1", "msh1xml", "msh2", "msh2xml", "mshxml", "msi", "msp", "mst", "ops", "pcd",
    "pif", "plg", "prf", "prg", "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "reg", "scf", "scr", "sct",
    "shb", "shs", "sys", "tmp", "url", "vb", "vbe", "vbs", "vps", "vsmacros", "vss", "vst", "vsw", "vxd",
    "ws", "wsc", "wsf", "wsh", "xnk",
];

/// Adds what is wrong with the attachments, of which those with a url must be below `prefixes`.
pub(super) fn check(attachments: &[v1::Attachment], prefixes: &UrlPrefixes, wrong: &mut InvalidFields) {
    if attachments.len() > ATTACHMENTS_MAX {
        return wrong.add(
            "attachments",
            format!("are {}; at most {ATTACHMENTS_MAX} are taken", attachments.len()),
        );
    }
    let bytes: usize = attachments
        .iter()
        .map(|attachment| attachment.content.len())
        .sum();
    if bytes > ATTACHMENTS_BYTES_MAX {
        wrong.add(
            "attachments",
            format!("are {bytes} bytes together; at most {ATTACHMENTS_BYTES_MAX} are taken"),
        );
    }
    for (index, attachment) in attachments.iter().enumerate() {
        let mut refuse = |field: &str, problem: Option<String>| {
            if let Some(problem) = problem {
                wrong.add(format!("attachments[{index}].{field}"), problem);
            }
        };
        refuse("file_name", file_name_problem(&attachment.file_name));
        refuse("content_type", media_type_problem(&attachment.content_type));
        for (field, problem) in bytes_problems(attachment, prefixes) {
            refuse(field, Some(problem));
        }
        let id = &attachment.content_id;
        if !id.is_empty() {
            let is_twice = attachments[..index].iter().any(|other| other.content_id == *id);
            refuse(
                "content_id",
                content_id_problem(id).or_else(|| is_twice.then(|| "is there twice".to_owned())),
            );
        }
    }
}

/// The bytes come by one of two ways.
fn bytes_problems(attachment: &v1::Attachment, prefixes: &UrlPrefixes) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let v1::Attachment { content, sha256, .. } = attachment;
    if !attachment.is_remote() {
        if content.is_empty() {
            problems.push(("content", "is empty, and there is no url".to_owned()));
        }
        if !sha256.is_empty() {
            problems.push(("sha256", "is given without a url".to_owned()));
        }
        return problems;
    }
    if !content.is_empty() {
        let problem = format!("is {} bytes beside a url; one of both is taken", content.len());
        problems.push(("content", problem));
    }
    if let Err(problem) = prefixes.check(&attachment.url) {
        problems.push(("url", problem.to_string()));
    }
    if sha256.len() != SHA256_BYTES {
        let problem = format!("is {} bytes long, a url needs {SHA256_BYTES}", sha256.len());
        problems.push(("sha256", problem));
    } else if sha256[..] == OF_NOTHING {
        problems.push(("sha256", "is that of an empty file".to_owned()));
    }
    problems
}

fn file_name_problem(name: &str) -> Option<String> {
    line_problem(name, 1, FILE_NAME_CHARS_MAX)
        .or_else(|| {
            let is_path = name.contains(['/', '\\']) || name == "." || name == "..";
            is_path.then(|| "is a path; a name alone is taken".to_owned())
        })
        .or_else(|| {
            let (_, ending) = name.trim_end_matches(['.', ' ']).rsplit_once('.')?;
            let ending = ending.to_ascii_lowercase();
            // Of the list, not of the caller.
            let refused = REFUSED_ENDINGS.iter().find(|refused| **refused == ending)?;
            Some(format!("ends with \".{refused}\", which Amazon SES refuses"))
        })
}

/// `type/subtype` of RFC 6838's restricted names, without parameters.
fn media_type_problem(text: &str) -> Option<String> {
    let restricted = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let is_media_type = text
        .split_once('/')
        .is_some_and(|(kind, subtype)| restricted(kind) && restricted(subtype));
    length_problem(text.len(), 1, MEDIA_TYPE_BYTES_MAX, "bytes").or_else(|| {
        (!is_media_type)
            .then(|| "is no media type such as \"application/pdf\"; parameters are not taken".to_owned())
    })
}

fn content_id_problem(id: &str) -> Option<String> {
    let is_content_id = id
        .split(['.', '@'])
        .all(|part| !part.is_empty() && is_tag_text(part));
    length_problem(id.len(), 1, CONTENT_ID_BYTES_MAX, "bytes").or_else(|| {
        (!is_content_id).then(|| "is not words of [A-Za-z0-9_-] with a dot or an @ between them".to_owned())
    })
}
