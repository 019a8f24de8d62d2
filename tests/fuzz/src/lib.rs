//! What must hold whatever comes in, as functions of bytes.
//!
//! cargo-fuzz calls them for as long as it is let (`make fuzz`), the tests beside over the corpus (`fuzz/corpus`) and a few thousand
//! inputs made from it. A panic, an overflow of the stack or a hang is a find.

mod urls;

use std::time::Duration;

use paceline_domain::address::{ADDRESS_BYTES_MAX, Address, Mailbox};
use paceline_domain::canonical::parse_data;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_providers::{Mailbox as OutgoingMailbox, header_text};
use paceline_templates::{Files, Limits, RenderInput, Rendered, Template, check};

pub use urls::url;

/// Divides an input into its parts.
const DIVIDER: char = '\0';
/// Errors are shown to people: this is more than any needs.
const ERROR_BYTES_MAX: usize = 64 * 1024;

const LIMITS: Limits = Limits {
    output_bytes_max: 64 * 1024,
    // Only what has no bound is a find, not a slow machine.
    time_max: Duration::from_secs(5),
    rounds_max: 10_000,
};

/// A source is compiled, or refused with an error that can be shown.
pub fn template(input: &[u8]) {
    let files = files(input, b"x");
    if let Err(error) = Template::from_files(&files) {
        assert!(error.to_string().len() <= ERROR_BYTES_MAX, "a long error");
    }
    for finding in check(&files) {
        assert!(finding.to_string().len() <= ERROR_BYTES_MAX, "a long finding");
    }
}

/// A source and data: rendered within its bounds, or refused; the subject is one line.
pub fn render(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (source, data) = text.split_once(DIVIDER).unwrap_or((&text, "{}"));
    let Some(rendered) = rendered(&files(source.as_bytes(), source.as_bytes()), data) else {
        return;
    };
    let bytes = rendered.subject.len() + rendered.html.len();
    assert!(bytes <= LIMITS.output_bytes_max, "{bytes} bytes of output");
    assert!(
        !rendered.subject.contains(['\r', '\n']),
        "a subject of several lines"
    );
}

/// An address is refused, or has one spelling that is its own.
pub fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (address, name) = text.split_once(DIVIDER).unwrap_or((&text, ""));
    if let Ok(parsed) = Address::parse(address) {
        let spelling = parsed.as_str();
        assert!(spelling.len() <= ADDRESS_BYTES_MAX && spelling.bytes().all(|byte| byte.is_ascii_graphic()));
        let again = Address::parse(spelling);
        assert!(again.is_ok_and(|again| again == parsed), "another spelling");
    }
    if let Ok(mailbox) = Mailbox::parse(address, name) {
        let name = mailbox.display_name().unwrap_or_default();
        assert!(!name.contains(char::is_control), "a control character in a name");
    }
}

/// A header is refused, or is one line of printable ASCII.
pub fn header(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split(DIVIDER);
    let mut next = || parts.next().unwrap_or_default();
    let (address, display_name, name, value) = (next(), next(), next(), next());
    let mailbox = header_text::mailbox(OutgoingMailbox {
        address,
        display_name,
    });
    let field_value = header_text::field_value(value);
    let field_name = header_text::field_name(name).map(str::to_owned);
    for written in [&mailbox, &field_value, &field_name].into_iter().flatten() {
        assert!(
            written.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "a header that is no line of printable ASCII"
        );
    }
    // What is ASCII stays as it is, even if it looks like encoded words.
    let encoded = [(mailbox, display_name), (field_value, value)].into_iter();
    for (written, _) in encoded.filter(|(_, given)| !given.is_ascii()) {
        for word in written.iter().flat_map(|written| written.split(' ')) {
            assert!(
                word.len() <= 75 || !word.starts_with("=?"),
                "a long encoded word (RFC 2047, 2)"
            );
        }
    }
}

fn files(html: &[u8], subject: &[u8]) -> Files {
    let files: [(&str, &[u8]); 6] = [
        (
            "template.toml",
            b"name = \"fuzz\"\nversion = 1\nlane = \"transactional\"\n",
        ),
        ("subject.hbs", subject),
        ("body.html.hbs", html),
        ("body.txt.hbs", b"x"),
        ("schema.json", b"{}"),
        ("partials/part.hbs", b"[{{> @partial-block}}]"),
    ];
    files
        .into_iter()
        .map(|(path, content)| (path.to_owned(), content.to_vec()))
        .collect()
}

fn rendered(files: &Files, data: &str) -> Option<Rendered> {
    let template = Template::from_files(files).ok()?;
    let data = parse_data(data.as_bytes()).ok()?.into_inner();
    let input = RenderInput {
        data,
        message_id: MessageId([7; 16]),
        lane: Lane::Transactional,
        unsubscribe_url: None,
    };
    template.render_within(input, &LIMITS).ok()
}
