//! Attachments of a request.

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

/// Adds what is wrong with the attachments.
pub(super) fn check(attachments: &[v1::Attachment], wrong: &mut InvalidFields) {
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
        let is_empty = attachment.content.is_empty();
        refuse("content", is_empty.then(|| "is empty".to_owned()));
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

fn file_name_problem(name: &str) -> Option<String> {
    line_problem(name, 1, FILE_NAME_CHARS_MAX).or_else(|| {
        let is_path = name.contains(['/', '\\']) || name == "." || name == "..";
        is_path.then(|| "is a path; a name alone is taken".to_owned())
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
