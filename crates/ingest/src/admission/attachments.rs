//! Attachments of a request.

use paceline_wire::status::InvalidFields;
use paceline_wire::v1;

use super::text::{is_line, is_tag_text};

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
        let mut refuse =
            |field: &str, problem: &str| wrong.add(format!("attachments[{index}].{field}"), problem);
        if !is_file_name(&attachment.file_name) {
            refuse(
                "file_name",
                "must be 1 to 200 characters, without a path and without control characters",
            );
        }
        if !is_media_type(&attachment.content_type) {
            refuse(
                "content_type",
                "must be a media type such as \"application/pdf\", of at most 78 characters",
            );
        }
        if attachment.content.is_empty() {
            refuse("content", "is empty");
        }
        let id = &attachment.content_id;
        if !id.is_empty() && !is_content_id(id) {
            refuse("content_id", "must be 1 to 78 of [A-Za-z0-9._@-]");
        } else if !id.is_empty() && attachments[..index].iter().any(|other| other.content_id == *id) {
            refuse("content_id", "is there twice");
        }
    }
}

fn is_file_name(name: &str) -> bool {
    is_line(name, 1, FILE_NAME_CHARS_MAX) && !name.contains(['/', '\\']) && name != "." && name != ".."
}

/// `type/subtype` of RFC 6838's restricted names, without parameters.
fn is_media_type(text: &str) -> bool {
    let restricted = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && text
            .split_once('/')
            .is_some_and(|(kind, subtype)| restricted(kind) && restricted(subtype))
}

fn is_content_id(id: &str) -> bool {
    id.len() <= CONTENT_ID_BYTES_MAX
        && id
            .split(['.', '@'])
            .all(|part| !part.is_empty() && is_tag_text(part))
}
