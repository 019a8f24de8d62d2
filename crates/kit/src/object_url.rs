//! The addresses from which attachments are fetched: below prefixes that the settings list, and nowhere else.
//!
//! Ingest and the renderer judge an address by this code, so what is accepted is what is fetched. What is compared is parsed, and there is only
//! one spelling of a path that passes: no dot segments, nothing encoded that a server may take for a part of the path's structure.
//! An address may be presigned: whoever reads it may read the file, so no error, log or metric has it.

use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::settings::SettingsError;

/// Presigned addresses with a session's token have some two thousand bytes.
pub const URL_BYTES_MAX: usize = 4_096;
const PREFIXES_MAX: usize = 32;
const SETTING: &str = "attachments.url_prefixes";
/// RFC 3986, 2: all that an address is made of, but for the `#` that begins a fragment.
const PUNCTUATION: &[u8] = b"-._~:/?[]@!$&'()*+,;=%";
/// What divides a path, or ends it, for one server or another.
const STRUCTURE: [char; 5] = ['.', '/', '\\', ';', '\0'];

/// What is wrong with an address. Names no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    #[error("is {0} bytes long, at most {URL_BYTES_MAX}")]
    TooLong(usize),
    #[error("has a fragment, which no store is sent")]
    Fragment,
    #[error("has a character that no URL has")]
    Character,
    #[error("is no absolute https URL with a host")]
    NotHttps,
    #[error("has a user or a password")]
    Credentials,
    #[error(
        "has a path with dot segments, with encoded dots, slashes, backslashes or semicolons, or with bytes that are no UTF-8"
    )]
    Path,
    #[error("is not below one of {SETTING}")]
    NotAllowed,
    #[error("is not taken here: {SETTING} is not set")]
    NoneAllowed,
}

/// A place that was parsed: its parts in the one spelling by which they are compared.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    is_https: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: u16,
    path: String,
}

/// The prefixes of the settings. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct UrlPrefixes(Vec<Place>);

/// An address that may be fetched.
#[derive(Clone)]
pub struct ObjectUrl {
    uri: Uri,
    prefix: usize,
}

impl UrlPrefixes {
    /// # Errors
    /// Names the setting, and by its number the prefix that is none.
    pub fn read(prefixes: &[String]) -> Result<Self, SettingsError> {
        let invalid = |problem: String| SettingsError::invalid(SETTING, problem);
        if prefixes.len() > PREFIXES_MAX {
            return Err(invalid(format!("must be at most {PREFIXES_MAX}")));
        }
        let read = prefixes.iter().enumerate().map(|(index, prefix)| {
            let number = index + 1;
            let place = Place::of(prefix).map_err(|problem| invalid(format!("number {number} {problem}")))?;
            if prefix.contains('?') || !prefix.ends_with('/') {
                return Err(invalid(format!("number {number} must end with a \"/\"")));
            }
            Ok(place.0)
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    /// If the address is none, or is not below one of these.
    pub fn check(&self, url: &str) -> Result<ObjectUrl, UrlProblem> {
        if self.is_empty() {
            return Err(UrlProblem::NoneAllowed);
        }
        let (place, uri) = Place::of(url)?;
        let prefix = self.0.iter().position(|prefix| prefix.holds(&place));
        prefix
            .map(|prefix| ObjectUrl { uri, prefix })
            .ok_or(UrlProblem::NotAllowed)
    }
}

impl ObjectUrl {
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The number of the prefix below which it is, from 0.
    #[must_use]
    pub const fn prefix(&self) -> usize {
        self.prefix
    }
}

/// Never the address.
impl fmt::Debug for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectUrl")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

impl Place {
    fn of(url: &str) -> Result<(Self, Uri), UrlProblem> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlProblem::TooLong(url.len()));
        }
        if url.contains('#') {
            return Err(UrlProblem::Fragment);
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || PUNCTUATION.contains(&byte);
        if !url.bytes().all(is_allowed) || !encoding_is_whole(url) {
            return Err(UrlProblem::Character);
        }
        let uri: Uri = url.parse().map_err(|_| UrlProblem::NotHttps)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(UrlProblem::NotHttps),
        };
        let authority = uri.authority().ok_or(UrlProblem::NotHttps)?;
        if authority.as_str().contains('@') {
            return Err(UrlProblem::Credentials);
        }
        let host = authority.host();
        // Whatever else stands in the authority is read by everybody in a way of his own.
        let (as_read, port) = match authority.port_u16() {
            Some(port) => (format!("{host}:{port}"), port),
            None => (host.to_owned(), if is_https { 443 } else { 80 }),
        };
        let host = host.to_ascii_lowercase();
        // A stand-in on this machine.
        let is_here = matches!(&*host, "127.0.0.1" | "[::1]" | "localhost");
        if host.is_empty()
            || host.contains(['%', '*'])
            || as_read != authority.as_str()
            || !(is_https || is_here)
        {
            return Err(UrlProblem::NotHttps);
        }
        let path = uri.path().to_owned();
        if !path_is_plain(&path) {
            return Err(UrlProblem::Path);
        }
        let place = Self {
            is_https,
            host,
            port,
            path,
        };
        Ok((place, uri))
    }

    /// True if `other` is below this, a prefix whose path ends with a slash.
    fn holds(&self, other: &Self) -> bool {
        (self.is_https, &self.host, self.port) == (other.is_https, &other.host, other.port)
            && other
                .path
                .strip_prefix(&self.path)
                .is_some_and(|rest| !rest.is_empty())
    }
}

fn encoding_is_whole(url: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = url.as_bytes();
    let whole = |at: usize| is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2));
    (0..bytes.len()).filter(|&at| bytes[at] == b'%').all(whole)
}

fn path_is_plain(path: &str) -> bool {
    decodes_to_itself(path)
        && path
            .split('/')
            .all(|segment| !matches!(segment.split(';').next(), Some("." | "..")))
}

/// True if a server that decodes once or twice divides the path as one that does not: what is no UTF-8, overlong dots among it, is read by
/// everybody in a way of his own.
fn decodes_to_itself(path: &str) -> bool {
    let structure = |text: &str| text.matches(STRUCTURE).count();
    let Ok(once) = percent_decode_str(path).decode_utf8() else {
        return false;
    };
    let twice = percent_decode_str(&once).decode_utf8();
    twice.is_ok_and(|twice| structure(&twice) == structure(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Result<UrlPrefixes, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        UrlPrefixes::read(&texts).map_err(|error| error.to_string())
    }

    const STORE: &str = "https://files.example/mail/";

    #[track_caller]
    fn refused(url: &str, problem: UrlProblem) {
        let both = prefixes(&[STORE, "http://127.0.0.1:9000/mail/"]).expect("good");
        assert_eq!(both.check(url).expect_err(url), problem, "{url}");
        assert!(!problem.to_string().contains("secret"));
    }

    #[test]
    fn what_is_below_a_prefix_is_taken_as_it_is_written() {
        let all = prefixes(&[
            STORE,
            "http://127.0.0.1:9000/mail/",
            "https://bucket.example:8443/",
            "https://[2001:db8::1]/x/",
        ]);
        let all = all.expect("good");
        for (url, prefix) in [
            ("https://files.example/mail/a.pdf", 0),
            (
                "https://FILES.example:443/mail/2026/a%20b.pdf?X-Amz-Signature=ab%2Fc&x=../..",
                0,
            ),
            ("https://files.example/mail/..a/b..", 0),
            ("https://files.example/mail/a;b/%C3%A4%25.pdf", 0),
            ("https://files.example/mail//a", 0),
            ("http://127.0.0.1:9000/mail/a", 1),
            ("https://bucket.example:8443/a", 2),
            ("https://[2001:db8::1]/x/y", 3),
        ] {
            let taken = all
                .check(url)
                .unwrap_or_else(|problem| panic!("{url}: {problem}"));
            assert_eq!(taken.prefix(), prefix, "{url}");
            let (_, path) = url.split_once("://").expect("a scheme");
            let path = &path[path.find('/').expect("a path")..];
            assert_eq!(taken.uri().path_and_query().expect("a path"), path);
        }
    }

    #[test]
    fn another_place_is_not_below_one() {
        for url in [
            "https://files.example/mail/",
            "https://files.example/mail",
            "https://files.example/mail?/mail/a",
            "https://files.example/mailbox/a",
            "https://files.example/Mail/a",
            "https://files.example/",
            "https://files.example.evil.example/mail/a",
            "https://evil.example/https://files.example/mail/a",
            "https://files.example:8443/mail/a",
            "https://files.example./mail/a",
            "https://127.0.0.1:9000/mail/a",
            "http://127.0.0.1/mail/a",
            "http://localhost:9000/mail/a",
            "http://[::1]:9000/mail/a",
        ] {
            refused(url, UrlProblem::NotAllowed);
        }
    }

    #[test]
    fn a_path_has_one_reading() {
        for path in [
            "../a",
            "..",
            ".",
            "./a",
            "x/../../a",
            "..;/a",
            "%2e%2e/a",
            "%2E./a",
            ".%2e/a",
            "x%2f..%2fa",
            "%5c..%5ca",
            "%252e%252e/a",
            "%252Fa",
            "a%00.pdf",
            "..%3b/a",
            "a%3Bb",
            "a%253bb",
            "%c0%ae%c0%ae/a",
            "%E0%80%AE/a",
            "%25c0%25af",
        ] {
            refused(&format!("{STORE}{path}"), UrlProblem::Path);
        }
    }

    #[test]
    fn what_is_no_plain_https_url_is_refused() {
        for url in [
            "",
            "files.example/mail/a",
            "/mail/a",
            "//files.example/mail/a",
            "ftp://files.example/mail/a",
            "file:///mail/a",
            "https:///mail/a",
            "https://:443/mail/a",
            "https://files.example:/mail/a",
            "https://files.example:0443/mail/a",
            "https://files.example:99999/mail/a",
            "https://files%2eexample/mail/a",
            "http://files.example/mail/a",
            "http://127.0.0.1.nip.io:9000/mail/a",
            "http://169.254.169.254/mail/a",
        ] {
            refused(url, UrlProblem::NotHttps);
        }
        refused(
            "https://user:secret@files.example/mail/a",
            UrlProblem::Credentials,
        );
        refused(
            "https://files.example@evil.example/mail/a",
            UrlProblem::Credentials,
        );
        refused("https://files.example/mail/a#secret", UrlProblem::Fragment);
        for url in [
            "https://files.example/mail/a b",
            "https://files.example\\mail/a",
            "https://files.example/mail/\\..\\a",
            "https://files.example/mail/a\r\nX: secret",
            "https://files.example/mail/ä",
            "https://files.example/mail/%",
            "https://files.example/mail/%2",
            "https://files.example/mail/%zz",
        ] {
            refused(url, UrlProblem::Character);
        }
        let long = format!("{STORE}{}", "x".repeat(URL_BYTES_MAX));
        refused(&long, UrlProblem::TooLong(long.len()));
        let longest = format!("{STORE}{}", "x".repeat(URL_BYTES_MAX - STORE.len()));
        prefixes(&[STORE])
            .expect("good")
            .check(&longest)
            .expect("as long as may be");
    }

    #[test]
    fn a_prefix_says_all_of_the_place() {
        for bad in [
            "https://files.example/mail",
            "https://files.example",
            "https://files.example/mail/?x=/",
            "http://files.example/mail/",
            "https://user@files.example/mail/",
            "https://files.example/mail/../",
            "https://*.example/mail/",
            "files.example/",
            "",
        ] {
            let error = prefixes(&[STORE, bad]).expect_err(bad);
            assert!(
                error.contains("attachments.url_prefixes") && error.contains("number 2"),
                "{error}"
            );
        }
        assert!(
            prefixes(&[STORE; 33])
                .expect_err("too many")
                .contains("at most 32")
        );
        let none = prefixes(&[]).expect("none is a choice");
        let refusal = none.check("https://files.example/mail/a").expect_err("none");
        assert_eq!(refusal, UrlProblem::NoneAllowed);
    }

    #[test]
    fn an_address_is_never_shown() {
        let url = prefixes(&[STORE])
            .and_then(|all| all.check(&format!("{STORE}secret")).map_err(|p| p.to_string()))
            .expect("good");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
