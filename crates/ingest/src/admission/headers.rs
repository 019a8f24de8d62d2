//! Headers and tags of a request, held to what the provider takes and what Paceline writes itself.

use paceline_templates::{Template, UNSUBSCRIBE_HEADERS};
use paceline_wire::status::InvalidFields;
use paceline_wire::v1;

use super::text::{breaks_a_line, is_tag_text, length_problem, word_problem};

const HEADERS_MAX: usize = 10;
/// With the template's: SES takes 15, of which three are Paceline's own ...
const HEADERS_TOGETHER_MAX: usize = 12;
/// ... and two more for a link to unsubscribe.
const HEADERS_TOGETHER_MAX_WITH_LINK: usize = HEADERS_TOGETHER_MAX - UNSUBSCRIBE_HEADERS.len();
const HEADER_NAME_BYTES_MAX: usize = 126;
/// SES: name and value together at most 996, the value alone 995, both as they are written.
const HEADER_VALUE_BYTES_MAX: usize = 995;
const HEADER_BYTES_MAX: usize = 996;
const TAGS_MAX: usize = 6;
const TAG_BYTES_MAX: usize = 256;

/// Names, lower case, that Paceline or the provider writes, or that would change who receives or seems to send.
const RESERVED: &[&str] = &[
    "bcc",
    "cc",
    "date",
    "dkim-signature",
    "feedback-id",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];

/// The same by their beginning.
const RESERVED_PREFIXES: &[&str] = &[
    "arc-",
    "content-",
    "resent-",
    "x-mailgun-",
    "x-paceline-",
    "x-ses-",
];

/// Adds what is wrong with the headers, alone and beside those of the template.
pub(super) fn check_headers(
    headers: &[v1::Header],
    template: Option<&Template>,
    has_link: bool,
    wrong: &mut InvalidFields,
) {
    if headers.len() > HEADERS_MAX {
        return wrong.add(
            "headers",
            format!("are {}; at most {HEADERS_MAX} are taken", headers.len()),
        );
    }
    let mut seen: Vec<String> = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        let name = header.name.to_ascii_lowercase();
        if has_link && is_unsubscribe(&name) {
            let problem = "is reserved: Paceline writes it for mail that people can unsubscribe from";
            wrong.add(format!("headers[{index}].name"), problem);
        } else if let Some(problem) = name_problem(&name) {
            wrong.add(format!("headers[{index}].name"), problem);
        } else if seen.contains(&name) {
            wrong.add(format!("headers[{index}].name"), "is there twice");
        } else if let Some(problem) = value_problem(&name, &header.value) {
            wrong.add(format!("headers[{index}].value"), problem);
        }
        seen.push(name);
    }
    // A header of the request takes the place of the template's.
    let own = template
        .map(|template| template.manifest().headers.as_slice())
        .unwrap_or_default();
    let replaced = |name: &str| seen.iter().any(|seen| seen.eq_ignore_ascii_case(name));
    let together = seen.len() + own.iter().filter(|(name, _)| !replaced(name)).count();
    let together_max = if has_link {
        HEADERS_TOGETHER_MAX_WITH_LINK
    } else {
        HEADERS_TOGETHER_MAX
    };
    if together > together_max {
        wrong.add(
            "headers",
            format!("are {together} with those of the template; at most {together_max} are taken"),
        );
    }
}

fn is_unsubscribe(name: &str) -> bool {
    UNSUBSCRIBE_HEADERS
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name))
}

fn name_problem(name: &str) -> Option<String> {
    if let Some(problem) = length_problem(name.len(), 1, HEADER_NAME_BYTES_MAX, "bytes") {
        return Some(problem);
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Some("must be printable ASCII without spaces and colons".to_owned());
    }
    let reserved =
        RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    reserved.then(|| "is reserved: Paceline or the provider writes it".to_owned())
}

fn value_problem(name: &str, value: &str) -> Option<String> {
    if breaks_a_line(value) {
        return Some("has a control character".to_owned());
    }
    let encoded = encoded_bytes(value);
    length_problem(encoded, 1, HEADER_VALUE_BYTES_MAX, "bytes (encoded)").or_else(|| {
        let together = encoded + name.len();
        (together > HEADER_BYTES_MAX)
            .then(|| format!("is {together} bytes long together with its name, at most {HEADER_BYTES_MAX}"))
    })
}

/// How long a value is as a header: ASCII as it is, anything else as encoded words in base64 (RFC 2047). An upper bound: a
/// word carries at least 42 bytes, since a character is never split.
fn encoded_bytes(value: &str) -> usize {
    const WORD_CONTENT_BYTES: usize = 42;
    const WORD_BYTES: usize = "=?utf-8?b??= ".len() + WORD_CONTENT_BYTES.div_ceil(3) * 4;
    if value.is_ascii() {
        value.len()
    } else {
        value.len().div_ceil(WORD_CONTENT_BYTES) * WORD_BYTES
    }
}

/// Adds what is wrong with the tags.
pub(super) fn check_tags(tags: &[v1::Tag], wrong: &mut InvalidFields) {
    if tags.len() > TAGS_MAX {
        return wrong.add(
            "tags",
            format!("are {}; at most {TAGS_MAX} are taken", tags.len()),
        );
    }
    for (index, tag) in tags.iter().enumerate() {
        let problem = |text: &str| word_problem(text, TAG_BYTES_MAX, "[A-Za-z0-9_-]", is_tag_text);
        if let Some(problem) = problem(&tag.name) {
            wrong.add(format!("tags[{index}].name"), problem);
        } else if tag.name.to_ascii_lowercase().starts_with("paceline") {
            wrong.add(
                format!("tags[{index}].name"),
                "begins with the reserved \"paceline\"",
            );
        } else if tags[..index].iter().any(|other| other.name == tag.name) {
            wrong.add(format!("tags[{index}].name"), "is there twice");
        }
        if let Some(problem) = problem(&tag.value) {
            wrong.add(format!("tags[{index}].value"), problem);
        }
    }
}
