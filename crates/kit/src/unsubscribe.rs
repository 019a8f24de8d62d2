//! The `[unsubscribe]` sections: the renderer makes links by its own, and feedback knows them again by the keys in its.
//!
//! Without the section there are no links, and so no bulk mail: mailbox providers ask for a way to unsubscribe with one click
//! (RFC 8058) in each.

use http::Uri;
use paceline_domain::unsubscribe::{InvalidLink, SigningKey, UnsubscribeKeys, UnsubscribeLink};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::settings::SettingsError;

/// What stands between the base URL and a token.
pub const UNSUBSCRIBE_PATH: &str = "/unsubscribe/";

/// Templates that an error names.
const NAMED_MAX: usize = 5;
/// With path and token, the whole fits into a header of SES (995 bytes).
const BASE_URL_BYTES_MAX: usize = 256;

/// How links are made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnsubscribeSettings {
    /// Where feedback's web listener is reached from the outside. Empty: there are no links.
    pub base_url: String,
    /// The first signs, all are known: a key stays here for as long as mail with its links may be read.
    pub keys: Vec<UnsubscribeKeySettings>,
}

/// A key by which links are signed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeKeySettings {
    pub id: String,
    pub secret: Secret,
}

impl UnsubscribeSettings {
    /// What makes links; `None` if nothing is set.
    ///
    /// # Errors
    /// Names the setting that is missing or does not fit.
    pub fn read(&self) -> Result<Option<UnsubscribeLinks>, SettingsError> {
        if self.base_url.is_empty() && self.keys.is_empty() {
            return Ok(None);
        }
        if let Some(problem) = base_url_problem(&self.base_url) {
            return Err(SettingsError::invalid("unsubscribe.base_url", problem));
        }
        Ok(Some(UnsubscribeLinks {
            base_url: self.base_url.trim_end_matches('/').to_owned(),
            keys: read_keys(&self.keys)?,
        }))
    }
}

/// The keys, which must be there.
///
/// # Errors
/// Names the setting if they do not fit.
pub fn read_keys(keys: &[UnsubscribeKeySettings]) -> Result<UnsubscribeKeys, SettingsError> {
    let key = |key: &UnsubscribeKeySettings| SigningKey {
        id: key.id.clone(),
        secret: key.secret.expose().as_bytes().to_vec(),
    };
    UnsubscribeKeys::new(keys.iter().map(key).collect())
        .map_err(|error| SettingsError::invalid("unsubscribe.keys", error.to_string()))
}

/// Refuses to go on without links where `templates`, by name in order, need them.
///
/// # Errors
/// Names the setting and the first five templates, if there are any.
pub fn refuse_without<'a>(templates: impl Iterator<Item = &'a str>) -> Result<(), SettingsError> {
    let mut names: Vec<&str> = templates.collect();
    names.dedup();
    names.truncate(NAMED_MAX);
    if names.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "is not set, and bulk mail and mail with a category must have a link to unsubscribe: templates {}",
        names.join(", ")
    );
    Err(SettingsError::invalid("unsubscribe.base_url", problem))
}

/// What is wrong with a base URL, if anything is. It stands in headers and in html as it is.
#[must_use]
pub fn base_url_problem(url: &str) -> Option<&'static str> {
    if url.is_empty() {
        return Some("is not set: where feedback's web listener is reached from the outside, https://...");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    if url.len() > BASE_URL_BYTES_MAX || !url.bytes().all(allowed) {
        return Some("must be at most 256 characters: scheme, host and path, without a query");
    }
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("https") if !host.is_empty() => None,
        // A stand-in on this machine.
        Some("http") if matches!(host, "127.0.0.1" | "[::1]" | "localhost") => None,
        _ => Some("must begin with https:// and name a host"),
    }
}

/// Makes links.
#[derive(Clone, Debug)]
pub struct UnsubscribeLinks {
    base_url: String,
    keys: UnsubscribeKeys,
}

impl UnsubscribeLinks {
    /// The URL of a link, signed by the first key: printable ASCII without spaces, at most 560 bytes.
    ///
    /// # Errors
    /// If it names what no accepted message has.
    pub fn url(&self, link: &UnsubscribeLink) -> Result<String, InvalidLink> {
        let token = self.keys.sign(link)?;
        Ok(format!("{}{UNSUBSCRIBE_PATH}{token}", self.base_url))
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::id::MessageId;
    use paceline_domain::keyed::AddressHash;
    use paceline_domain::time::Millis;
    use paceline_domain::unsubscribe::UnsubscribeLink;

    use super::{
        BASE_URL_BYTES_MAX, UNSUBSCRIBE_PATH, UnsubscribeKeySettings, UnsubscribeSettings, refuse_without,
    };
    use crate::secret::Secret;

    fn settings(base_url: &str, keys: &[(&str, &str)]) -> UnsubscribeSettings {
        UnsubscribeSettings {
            base_url: base_url.to_owned(),
            keys: keys
                .iter()
                .map(|(id, secret)| UnsubscribeKeySettings {
                    id: (*id).to_owned(),
                    secret: Secret::new(*secret),
                })
                .collect(),
        }
    }

    const KEY: (&str, &str) = ("a", "0123456789abcdef0123456789abcdef");

    fn link() -> UnsubscribeLink {
        UnsubscribeLink {
            tenant: "t".repeat(64),
            category: "c".repeat(64),
            address: AddressHash([1; 16]),
            message_id: MessageId([2; 16]),
            accepted_at: Millis(3),
        }
    }

    #[test]
    fn a_url_is_known_again_and_fits_a_header() {
        let longest = format!("https://{}/x", "a".repeat(BASE_URL_BYTES_MAX - 10));
        for base in [
            "https://mail.example.com",
            "https://mail.example.com/pl/",
            "http://127.0.0.1:8074",
            &longest,
        ] {
            let links = settings(base, &[KEY])
                .read()
                .expect("good settings")
                .expect("all is set");
            let url = links.url(&link()).expect("good names");
            let begin = format!("{}{UNSUBSCRIBE_PATH}", base.trim_end_matches('/'));
            let token = url.strip_prefix(&begin).expect("the base URL comes first");
            assert_eq!(links.keys.verify(token), Ok(link()));
            assert!(
                url.len() <= 560 && url.bytes().all(|byte| byte.is_ascii_graphic()),
                "{url}"
            );
        }
    }

    #[test]
    fn without_links_only_templates_that_need_none_are_taken() {
        refuse_without(std::iter::empty()).expect("none needs one");
        let error = refuse_without(["news", "news", "offers"].into_iter()).expect_err("two do");
        let text = error.to_string();
        assert!(
            text.starts_with("unsubscribe.base_url") && text.ends_with("templates news, offers"),
            "{text}"
        );
    }

    #[test]
    fn what_is_half_set_or_does_not_fit_is_named() {
        let good = "https://mail.example.com";
        assert!(settings("", &[]).read().expect("nothing is set").is_none());
        for (key, base, keys) in [
            ("unsubscribe.base_url", "", &[KEY][..]),
            ("unsubscribe.base_url", "http://mail.example.com", &[KEY]),
            ("unsubscribe.base_url", "http://127.0.0.1.example.com", &[KEY]),
            ("unsubscribe.base_url", "mail.example.com", &[KEY]),
            ("unsubscribe.base_url", "https://", &[KEY]),
            ("unsubscribe.base_url", "https://a.example/?x=1", &[KEY]),
            ("unsubscribe.base_url", "https://a.example/<b>", &[KEY]),
            ("unsubscribe.base_url", "https://a:b@a.example", &[KEY]),
            ("unsubscribe.keys", good, &[]),
            ("unsubscribe.keys", good, &[("", KEY.1)]),
            ("unsubscribe.keys", good, &[("a", "short-and-secret")]),
            ("unsubscribe.keys", good, &[KEY, KEY]),
        ] {
            let error = settings(base, keys).read().expect_err(base).to_string();
            assert!(error.starts_with(key), "{base} {error}");
            assert!(!error.contains("short-and-secret"), "{error}");
        }
    }
}
