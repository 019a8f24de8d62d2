//! Addresses as people read them.

use std::borrow::Cow;

/// One entry of a From, To or Reply-To, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readable<'a> {
    /// Empty if there is none.
    pub(super) name: String,
    pub(super) address: &'a str,
}

impl<'a> Readable<'a> {
    pub(super) fn of(mailbox: &'a str) -> Self {
        match mailbox.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => Self {
                name: readable_name(name.trim()),
                address,
            },
            None => Self {
                name: String::new(),
                address: mailbox,
            },
        }
    }

    /// The name and the address in one line.
    pub(super) fn line(&self) -> Cow<'a, str> {
        if self.name.is_empty() {
            Cow::Borrowed(self.address)
        } else {
            Cow::Owned(format!("{} <{}>", self.name, self.address))
        }
    }
}

/// Several entries in one line.
pub(super) fn readable_list<'a>(mailboxes: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<Cow<'_, str>> = mailboxes.map(|mailbox| Readable::of(mailbox).line()).collect();
    lines.join(", ")
}

/// A quoted-string without its quotes, encoded words decoded; what is neither stays as it is.
fn readable_name(name: &str) -> String {
    if let Some(quoted) = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        let mut unquoted = String::with_capacity(quoted.len());
        let mut rest = quoted.chars();
        while let Some(c) = rest.next() {
            unquoted.extend(if c == '\\' { rest.next() } else { Some(c) });
        }
        return unquoted;
    }
    let words: Option<String> = name.split_ascii_whitespace().map(decode_word).collect();
    words.unwrap_or_else(|| name.to_owned())
}

/// An encoded word of UTF-8 in base64 (RFC 2047), the only kind that Paceline writes.
fn decode_word(word: &str) -> Option<String> {
    let start = word
        .get(..10)
        .filter(|start| start.eq_ignore_ascii_case("=?utf-8?b?"))?;
    let base64 = word[start.len()..].strip_suffix("?=")?;
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Readable, readable_list};

    #[track_caller]
    fn check(mailbox: &str, name: &str, address: &str) {
        let name = name.to_owned();
        assert_eq!(Readable::of(mailbox), Readable { name, address });
    }

    #[test]
    fn names_are_shown_as_they_were_meant() {
        check("a@x.example", "", "a@x.example");
        check(
            "\"Shop \\\"the\\\" best\" <a@x.example>",
            "Shop \"the\" best",
            "a@x.example",
        );
        check(
            "=?utf-8?b?Wm/Dqw==?= =?utf-8?B?IE0=?= <a@x.example>",
            "Zoë M",
            "a@x.example",
        );
        check("=?utf-8?b?%%?= <a@x.example>", "=?utf-8?b?%%?=", "a@x.example");
        check("=?ütf <a@x.example>", "=?ütf", "a@x.example");
        check("Ada <a@x.example>", "Ada", "a@x.example");
        check("\"", "", "\"");
        let list = readable_list(["a@x.example", "\"B\" <b@x.example>"].into_iter());
        assert_eq!(list, "a@x.example, B <b@x.example>");
    }
}
