//! Text for mail headers: what is not ASCII is encoded (RFC 2047), names are quoted, and nothing can start a header of its own.
//!
//! SES folds lines itself, so everything here is one line.

use std::fmt;

use email_encoding::headers::rfc2047;
use email_encoding::headers::writer::EmailWriter;

use crate::message::Mailbox;

/// What begins an encoded word. Plain text that contains it would be decoded by many readers, so it is encoded, too.
const ENCODED_WORD: &str = "=?";

/// A header that can't be sent. Says where, never what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("{0} has a control character")]
    ControlCharacter(&'static str),
    #[error("{0} has a character that is not allowed there")]
    Character(&'static str),
    #[error("{0} has the wrong length")]
    Length(&'static str),
}

/// An address with its display name, as one entry of a From, To or Reply-To.
///
/// # Errors
/// If the address is no printable ASCII or could be more than one, or the name has a control character.
pub fn mailbox(mailbox: Mailbox<'_>) -> Result<String, HeaderError> {
    let Mailbox {
        address,
        display_name,
    } = mailbox;
    if !address.bytes().all(|byte| byte.is_ascii_graphic()) || address.contains(['<', '>', ',', ';']) {
        return Err(HeaderError::Character("an address"));
    }
    refuse_control("a display name", display_name)?;
    if display_name.is_empty() {
        return Ok(address.to_owned());
    }
    if display_name.is_ascii() && !display_name.contains(ENCODED_WORD) {
        Ok(format!("\"{}\" <{address}>", Quoted(display_name)))
    } else {
        Ok(format!("{} <{address}>", encoded_words(display_name)))
    }
}

/// A custom header's name, within the provider's limits.
///
/// # Errors
/// If it has not 1 to 126 bytes, or one that a name can't have (RFC 5322, 2.2).
pub fn field_name(name: &str) -> Result<&str, HeaderError> {
    if !(1..=126).contains(&name.len()) {
        return Err(HeaderError::Length("a header's name"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(HeaderError::Character("a header's name"));
    }
    Ok(name)
}

/// A custom header's value, within the provider's limits. Printable ASCII stays as it is, encoded words included.
///
/// # Errors
/// If it has a control character, or not 1 to 995 bytes once it is encoded.
pub fn field_value(value: &str) -> Result<String, HeaderError> {
    refuse_control("a header", value)?;
    let encoded = if value.is_ascii() {
        value.to_owned()
    } else {
        encoded_words(value)
    };
    if (1..=995).contains(&encoded.len()) {
        Ok(encoded)
    } else {
        Err(HeaderError::Length("a header"))
    }
}

/// A subject travels as UTF-8 and is encoded by the provider.
///
/// # Errors
/// If it has a control character.
pub fn subject(subject: &str) -> Result<&str, HeaderError> {
    refuse_control("the subject", subject).map(|()| subject)
}

/// A part's name stays as it is; quotes are the form's concern.
///
/// # Errors
/// If it has a control character.
pub fn file_name(name: &str) -> Result<&str, HeaderError> {
    refuse_control("a part's name", name).map(|()| name)
}

/// A part's media type, with its parameters; of none, the one that says nothing.
///
/// # Errors
/// If it is no printable ASCII.
pub fn content_type(text: &str) -> Result<&str, HeaderError> {
    if text.is_empty() {
        return Ok("application/octet-stream");
    }
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(text)
    } else {
        Err(HeaderError::Character("a part's media type"))
    }
}

fn refuse_control(place: &'static str, text: &str) -> Result<(), HeaderError> {
    // Line and paragraph separators are no control characters for Rust, but end a line for some readers.
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    if text.contains(breaks) {
        Err(HeaderError::ControlCharacter(place))
    } else {
        Ok(())
    }
}

/// `text` as encoded words, one after the other, none longer than RFC 2047 allows and none that splits a character.
fn encoded_words(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() * 2 + 16);
    {
        // The writer flushes when it is dropped.
        let mut writer = EmailWriter::new(&mut folded, 0, 0, false);
        rfc2047::encode(text, &mut writer).expect("a String takes whatever is written to it");
    }
    folded.replace("\r\n", "")
}

/// The content of a quoted-string (RFC 5322, 3.2.4).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(f, "\\{c}"),
            c => write!(f, "{c}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderError, field_name, field_value, mailbox, subject};
    use crate::message::Mailbox;

    #[track_caller]
    fn check_name(display_name: &str, expected: &str) {
        let address = "a@x.example";
        let text = mailbox(Mailbox {
            address,
            display_name,
        })
        .expect("a good mailbox");
        assert_eq!(text, expected);
    }

    #[test]
    fn names_are_quoted_or_encoded() {
        check_name("", "a@x.example");
        check_name("Ada", "\"Ada\" <a@x.example>");
        check_name("Lovelace, Ada", "\"Lovelace, Ada\" <a@x.example>");
        check_name(
            r#"Ada "the" \ Countess"#,
            r#""Ada \"the\" \\ Countess" <a@x.example>"#,
        );
        check_name("x <evil@y.example>", "\"x <evil@y.example>\" <a@x.example>");
        // Known answers: Python, base64.b64encode(name.encode()).
        check_name("Zoë", "=?utf-8?b?Wm/Dqw==?= <a@x.example>");
        check_name("株式会社", "=?utf-8?b?5qCq5byP5Lya56S+?= <a@x.example>");
        // Python: base64.b64encode(b"=?utf-8?q?x?=").
        check_name("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@x.example>");
    }

    #[test]
    fn a_long_name_becomes_several_whole_words_on_one_line() {
        let name = "Größe ist alles, sagt Jürgen Müller-Lüdenscheidt aus Köln am schönen Rhein, täglich";
        let text = mailbox(Mailbox {
            address: "a@x.example",
            display_name: name,
        })
        .expect("a good mailbox");
        assert!(!text.contains(['\r', '\n']), "{text}");
        let words: Vec<&str> = text
            .strip_suffix(" <a@x.example>")
            .expect("the address last")
            .split(' ')
            .collect();
        assert!(words.len() > 1);
        let mut decoded = String::new();
        for word in words {
            assert!(word.len() <= 75, "RFC 2047, 2: {word}");
            let base64 = word
                .strip_prefix("=?utf-8?b?")
                .and_then(|word| word.strip_suffix("?="))
                .expect("an encoded word");
            let bytes = data_encoding::BASE64.decode(base64.as_bytes()).expect("base64");
            decoded.push_str(std::str::from_utf8(&bytes).expect("no split character"));
        }
        assert_eq!(decoded, name);
    }

    #[test]
    fn nothing_starts_a_header_of_its_own() {
        for hostile in [
            "x\r\nBcc: y@z.example",
            "x\ny",
            "x\ry",
            "x\0y",
            "x\u{85}y",
            "x\u{2028}y",
        ] {
            assert_eq!(
                subject(hostile),
                Err(HeaderError::ControlCharacter("the subject"))
            );
            assert_eq!(
                field_value(hostile),
                Err(HeaderError::ControlCharacter("a header"))
            );
            assert!(field_name(hostile).is_err());
            let named = Mailbox {
                address: "a@x.example",
                display_name: hostile,
            };
            assert_eq!(
                mailbox(named),
                Err(HeaderError::ControlCharacter("a display name"))
            );
            let addressed = Mailbox {
                address: hostile,
                display_name: "",
            };
            assert_eq!(mailbox(addressed), Err(HeaderError::Character("an address")));
        }
        for hostile in [
            "a@x.example>,<b@y.example",
            "a@x.example,b@y.example",
            "a b@x.example",
        ] {
            let addressed = Mailbox {
                address: hostile,
                display_name: "",
            };
            assert!(mailbox(addressed).is_err(), "{hostile}");
        }
    }

    #[test]
    fn headers_keep_to_the_providers_limits() {
        assert_eq!(field_name("X-Order"), Ok("X-Order"));
        for bad in ["", "X Order", "X:Order", "Größe", &"x".repeat(127)] {
            assert!(field_name(bad).is_err(), "{bad}");
        }
        assert_eq!(
            field_value("<mailto:u@x.example>, <https://x.example/u>").as_deref(),
            Ok("<mailto:u@x.example>, <https://x.example/u>")
        );
        assert_eq!(field_value("Grüße").as_deref(), Ok("=?utf-8?b?R3LDvMOfZQ==?="));
        assert!(field_value(&"x".repeat(995)).is_ok());
        assert_eq!(
            field_value(&"x".repeat(996)),
            Err(HeaderError::Length("a header"))
        );
        assert_eq!(
            field_value(&"ü".repeat(500)),
            Err(HeaderError::Length("a header"))
        );
        assert_eq!(field_value(""), Err(HeaderError::Length("a header")));
    }
}
