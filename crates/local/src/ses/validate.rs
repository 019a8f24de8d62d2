//! The checks that SES makes, by its published model and developer guide.

use super::api::{Pair, SentAttachment, SentEmail, SimpleContent, Text, Tracking};
use crate::lookalike::fault::Failure;
use crate::lookalike::mailbox::{is_mailbox, is_printable};

const RECIPIENTS_MAX: usize = 50;
const HEADERS_MAX: usize = 15;
const TAGS_MAX: usize = 50;
/// Message with attachments, after base64.
const MESSAGE_BYTES_MAX: usize = 40 << 20;

/// Headers that SES writes itself or takes as parameters.
const RESERVED_HEADERS: [&str; 14] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "sender",
    "return-path",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "received",
];

pub(super) fn email(email: &SentEmail) -> Result<(), Failure> {
    addresses(email)?;
    let simple = email
        .simple()
        .ok_or_else(|| bad("Content.Simple is required: the look-alike takes no other content."))?;
    content(simple)?;
    headers(&simple.headers)?;
    tags(&email.email_tags)?;
    let name = |text: &Option<String>, what| match text {
        Some(text) if !is_tag_text(text, 64) => Err(bad(what)),
        _ => Ok(()),
    };
    name(
        &email.configuration_set_name,
        "ConfigurationSetName has an invalid format.",
    )?;
    name(&email.tenant_name, "TenantName has an invalid format.")?;
    tracking(&email.configuration_overrides.tracking)
}

fn tracking(wished: &Tracking) -> Result<(), Failure> {
    let both = [&wished.open_tracking_enabled, &wished.click_tracking_enabled];
    let known = |status: &String| matches!(status.as_str(), "ENABLED" | "DISABLED");
    if both.into_iter().flatten().all(known) {
        Ok(())
    } else {
        Err(bad("A status of tracking is neither ENABLED nor DISABLED."))
    }
}

fn bad(message: &str) -> Failure {
    Failure::new(400, Some("BadRequestException"), message)
}

fn addresses(email: &SentEmail) -> Result<(), Failure> {
    if !is_mailbox(&email.from_email_address) {
        return Err(bad("FromEmailAddress is missing or has an invalid format."));
    }
    let recipients = email.recipients().count();
    if recipients == 0 {
        return Err(bad("At least one recipient is required."));
    }
    if recipients > RECIPIENTS_MAX {
        return Err(bad("Recipient count exceeds 50."));
    }
    let reply_to = email.reply_to_addresses.iter().map(String::as_str);
    if email.recipients().chain(reply_to).all(is_mailbox) {
        Ok(())
    } else {
        Err(bad("Invalid email address."))
    }
}

fn content(simple: &SimpleContent) -> Result<(), Failure> {
    charset(&simple.subject)?;
    if simple.subject.data.contains(['\r', '\n']) {
        return Err(bad("The subject must not contain line breaks."));
    }
    let parts = [&simple.body.html, &simple.body.text];
    if parts.iter().all(|part| part.is_none()) {
        return Err(bad("The message has no body."));
    }
    for part in parts.into_iter().flatten() {
        charset(part)?;
    }
    for attachment in &simple.attachments {
        attached(attachment)?;
    }
    let body: usize = parts.into_iter().flatten().map(|part| part.data.len()).sum();
    let attached: usize = simple
        .attachments
        .iter()
        .map(|attachment| attachment.raw_content.len())
        .sum();
    if body + attached > MESSAGE_BYTES_MAX {
        return Err(bad("The message is longer than 40 MB."));
    }
    Ok(())
}

/// Text without a charset must be ASCII.
fn charset(text: &Text) -> Result<(), Failure> {
    match text.charset.as_deref() {
        Some(charset) if charset.eq_ignore_ascii_case("utf-8") => Ok(()),
        _ if text.data.is_ascii() => Ok(()),
        _ => Err(bad("Text that is not ASCII needs the charset UTF-8.")),
    }
}

fn attached(attachment: &SentAttachment) -> Result<(), Failure> {
    let name = &attachment.file_name;
    if name.is_empty() || name.chars().count() > 255 || name.contains(['\r', '\n', '/', '\\']) {
        return Err(bad("An attachment's FileName has an invalid format."));
    }
    if attachment.bytes().is_none() {
        return Err(bad("An attachment's RawContent is not base64."));
    }
    for (field, text) in [
        ("ContentType", &attachment.content_type),
        ("ContentId", &attachment.content_id),
    ] {
        let chars = text.as_ref().map(|text| text.chars().count());
        if chars.is_some_and(|chars| !(1..=78).contains(&chars)) {
            return Err(bad(&format!(
                "An attachment's {field} is not 1 to 78 characters long."
            )));
        }
    }
    match attachment.content_disposition.as_deref() {
        None | Some("ATTACHMENT" | "INLINE") => Ok(()),
        Some(_) => Err(bad(
            "An attachment's ContentDisposition is neither ATTACHMENT nor INLINE.",
        )),
    }
}

fn headers(headers: &[Pair]) -> Result<(), Failure> {
    if headers.len() > HEADERS_MAX {
        return Err(bad("More than 15 headers."));
    }
    for (index, Pair { name, value }) in headers.iter().enumerate() {
        let name_is_good = (1..=126).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !name_is_good {
            return Err(bad("A header's name has an invalid format."));
        }
        if value.is_empty() || name.len() + value.len() > 996 || !is_printable(value) {
            return Err(bad("A header's value has an invalid format."));
        }
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(bad("A header has a reserved name."));
        }
        let once = name.to_ascii_lowercase().starts_with("list-unsubscribe");
        let before = headers[..index]
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(name));
        if once && before {
            return Err(bad("List-Unsubscribe headers may be given once."));
        }
    }
    Ok(())
}

fn tags(tags: &[Pair]) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(bad("Too many tags."));
    }
    for (index, Pair { name, value }) in tags.iter().enumerate() {
        if !is_tag_text(name, 256) || !is_tag_text(value, 256) {
            return Err(bad(
                "A tag's name and value must be 1 to 256 of A-Z, a-z, 0-9, _ and -.",
            ));
        }
        if tags[..index].iter().any(|other| other.name == *name) {
            return Err(bad("A tag is given twice."));
        }
    }
    Ok(())
}

fn is_tag_text(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::email;

    fn good() -> Value {
        json!({
            "FromEmailAddress": "\"Shop, \\\"the\\\" best\" <shop@x.example>",
            "Destination": {"ToAddresses": ["=?utf-8?b?Wm/Dqw==?= <ada.l+1@x-y.example>"]},
            "ReplyToAddresses": ["help@x.example"],
            "Content": {"Simple": {
                "Subject": {"Data": "Grüße", "Charset": "UTF-8"},
                "Body": {"Html": {"Data": "<p>ü</p>", "Charset": "UTF-8"}},
                "Headers": [{"Name": "List-Unsubscribe", "Value": "<https://x.example/u>"}],
                "Attachments": [{"FileName": "ü".repeat(255), "ContentType": "a/b", "ContentId": "c", "RawContent": "aGk="}],
            }},
            "EmailTags": [{"Name": "paceline_id", "Value": "0123abc"}],
            "ConfigurationSetName": "events",
            "TenantName": "shop",
            "ConfigurationOverrides": {"Tracking": {
                "OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "ENABLED",
            }},
        })
    }

    /// `pointer` set to `value` makes a good request bad.
    #[track_caller]
    fn check_refused(pointer: &str, value: Value) {
        let mut request = good();
        *request.pointer_mut(pointer).expect("a member") = value.clone();
        let parsed = serde_json::from_value(request).expect("still a request");
        let refusal = email(&parsed).expect_err(&format!("{pointer} {value}"));
        assert_eq!(
            (refusal.status, refusal.code.as_deref()),
            (400, Some("BadRequestException"))
        );
    }

    #[test]
    fn a_good_request_passes() {
        email(&serde_json::from_value(good()).expect("a request")).expect("good");
    }

    #[test]
    fn addresses_are_checked() {
        for bad in [
            "",
            "x",
            "@x.example",
            "a@",
            "a@localhost",
            "a b@x.example",
            "a@x..example",
            "ä@x.example",
            "Zoë <a@x.example>",
            "Shop, best <a@x.example>",
            "\"open <a@x.example>",
            "a@x.example\r\nBcc: b@x.example",
            "a@-x.example",
        ] {
            check_refused("/FromEmailAddress", json!(bad));
            check_refused("/Destination/ToAddresses/0", json!(bad));
            check_refused("/ReplyToAddresses/0", json!(bad));
        }
        check_refused("/Destination/ToAddresses", json!([]));
        check_refused("/Destination/ToAddresses", json!(vec!["a@x.example"; 51]));
    }

    #[test]
    fn content_is_checked() {
        check_refused("/Content", json!({"Raw": {"Data": ""}}));
        check_refused("/Content/Simple/Body", json!({}));
        check_refused("/Content/Simple/Subject", json!({"Data": "Grüße"}));
        check_refused(
            "/Content/Simple/Subject",
            json!({"Data": "a\r\nBcc: b", "Charset": "UTF-8"}),
        );
        check_refused("/Content/Simple/Body/Html", json!({"Data": "ü"}));
        check_refused("/Content/Simple/Attachments/0/RawContent", json!("%%%"));
        check_refused("/Content/Simple/Attachments/0/FileName", json!("../x"));
        check_refused("/Content/Simple/Attachments/0/FileName", json!("x".repeat(256)));
        for bad in [String::new(), "x".repeat(79)] {
            check_refused("/Content/Simple/Attachments/0/ContentType", json!(bad));
            check_refused("/Content/Simple/Attachments/0/ContentId", json!(bad));
        }
    }

    #[test]
    fn headers_and_tags_are_checked() {
        let header = |name: &str, value: &str| json!([{"Name": name, "Value": value}]);
        let long = "x".repeat(256);
        for bad in [
            header("Subject", "x"),
            header("X Y", "x"),
            header("X:", "x"),
            header(&"x".repeat(127), "x"),
            header("X", "ü"),
            header("X", "a\r\nB: c"),
            header("X", ""),
            header("X", &"x".repeat(996)),
            json!(vec![json!({"Name": "X", "Value": "x"}); 16]),
            json!(vec![json!({"Name": "List-Unsubscribe", "Value": "x"}); 2]),
        ] {
            check_refused("/Content/Simple/Headers", bad);
        }
        for bad in [
            header("a.b", "x"),
            header("x", "a@b"),
            header("", "x"),
            header("x", ""),
            header("x", &format!("{long}x")),
            json!(vec![json!({"Name": "x", "Value": "y"}); 2]),
        ] {
            check_refused("/EmailTags", bad);
        }
        check_refused("/ConfigurationSetName", json!("a b"));
        check_refused("/TenantName", json!("x".repeat(65)));
        for what in ["Open", "Click"] {
            let pointer = format!("/ConfigurationOverrides/Tracking/{what}TrackingEnabled");
            check_refused(&pointer, json!("yes"));
        }
    }
}
