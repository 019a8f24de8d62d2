//! `template.toml`: what a template says about its messages.
//!
//! The format of the file is [`File`], whose fields are documented for those who write one; [`Manifest`] is what the rest of
//! the code reads, with the defaults filled in and everything checked.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::address::Mailbox;
use paceline_domain::identity::IdentityFields;
use paceline_domain::lane::Lane;
use paceline_domain::record::DoubtPolicy;
use paceline_domain::suppression::{BULK_CATEGORY, check_category};
use serde::Deserialize;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const NAME_BYTES_MAX: usize = 64;
const FIELDS_MAX: usize = 64;
const HEADERS_MAX: usize = 10;
/// With the request's own, a message has at most twenty, more than any mail needs.
const HEADER_VALUE_BYTES_MAX: usize = 500;
const HEADER_NAME_BYTES_MAX: usize = 126;
const TRIES_MAX: u8 = 50;

/// Names, lower case, that Paceline or the provider writes, or that would change who receives or seems to send.
const RESERVED_HEADERS: &[&str] = &[
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
const RESERVED_HEADER_PREFIXES: &[&str] = &[
    "arc-",
    "content-",
    "resent-",
    "x-mailgun-",
    "x-paceline-",
    "x-ses-",
];

/// What a template says about its messages.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: String,
    /// Of two versions, the higher number is the newer.
    pub version: u32,
    pub lane: Lane,
    /// Which fields of the data are part of a message's identity.
    pub identity_fields: IdentityFields,
    /// What becomes of a message whose outcome stays unknown.
    pub in_doubt: DoubtPolicy,
    /// How long evidence of its outcome is awaited.
    pub in_doubt_window: Duration,
    /// How long an accepted message keeps its like from being sent.
    pub dedupe_window: Duration,
    /// A message that was not sent by then is not sent at all.
    pub time_to_live: Duration,
    /// How often a message may fail for its own reasons.
    pub tries_max: u8,
    /// How long the ledger keeps the data and the rendered parts; zero: it never gets them.
    pub keep: Duration,
    /// Whether the provider may count opens and clicks, for which it adds an image and rewrites the links.
    pub tracking: bool,
    /// Where the request names none.
    pub from: Option<Mailbox>,
    pub reply_to: Option<Mailbox>,
    /// Name and value, sorted by name. A header of the request replaces one of the same name.
    pub headers: Vec<(String, String)>,
    /// What of a person's mail one can unsubscribe from; `None` for mail that must come, such as a password reset.
    pub category: Option<String>,
    /// True if it goes although its recipient complained of some other mail.
    pub despite_complaint: bool,
    /// The template that is rendered instead where this one can't be.
    pub fallback: Option<String>,
    /// What is put into the html when the bundle is built; a built manifest asks for nothing.
    pub authoring: Authoring,
}

/// What a manifest asks to have done with its html.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authoring {
    /// A line of handlebars that lists of mails show beside the subject.
    pub preheader: Option<String>,
    /// The value of the html's `color-scheme`.
    pub color_scheme: Option<String>,
    /// Whether CSS goes into the elements that it is for.
    pub inlines_css: bool,
    /// True if any of this is said.
    pub(crate) is_said: bool,
}

impl Default for Authoring {
    fn default() -> Self {
        Self {
            preheader: None,
            color_scheme: None,
            inlines_css: true,
            is_said: false,
        }
    }
}

/// The fields that ask for it.
pub(crate) const AUTHORING_FIELDS: &[&str] = &["color_scheme", "inline_css", "preheader"];
const PREHEADER_BYTES_MAX: usize = 1_000;
const COLOR_SCHEMES: &[&str] = &[
    "dark",
    "dark light",
    "light",
    "light dark",
    "only dark",
    "only light",
];

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// `[a-z0-9_-]`, at most 64 characters; the folder's name.
    name: String,
    /// From 1 on; raised with every change that readers should be able to ask for.
    version: u32,
    lane: Lane,
    /// The top-level fields of the data that make two messages different ones; all others don't.
    identity: Option<Vec<String>>,
    /// The top-level fields that don't, on top of the built-in list.
    #[serde(default)]
    volatile: Vec<String>,
    #[serde(default)]
    in_doubt: DoubtPolicy,
    /// 15 minutes by default.
    #[serde(default, with = "humantime_serde")]
    in_doubt_window: Option<Duration>,
    /// 7 days by default, 24 hours in the bulk lane.
    #[serde(default, with = "humantime_serde")]
    dedupe_window: Option<Duration>,
    /// 3 days by default.
    #[serde(default, with = "humantime_serde")]
    time_to_live: Option<Duration>,
    /// 8 by default.
    tries: Option<u8>,
    /// Not at all by default.
    #[serde(default, with = "humantime_serde")]
    keep: Option<Duration>,
    /// By default on in the bulk lane and off in the transactional one: a link that resets a password is nobody else's to see.
    tracking: Option<bool>,
    from: Option<FileMailbox>,
    reply_to: Option<FileMailbox>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// What one can unsubscribe from: 1 to 64 of `[a-z0-9_-]`. "bulk" by default in the bulk lane; transactional mail without a
    /// category comes to those too who unsubscribed from everything.
    category: Option<String>,
    /// For transactional mail that must come, such as a password reset: it goes although its recipient reported some mail as spam.
    #[serde(default)]
    despite_complaint: bool,
    /// The name of the template that is rendered instead where this one can't be. Of the same lane and category; its schema must
    /// accept the same data. Without one such a message becomes a dead letter.
    fallback: Option<String>,
    /// A line of handlebars, put out of sight at the top of the html: lists of mails show it beside the subject.
    preheader: Option<String>,
    /// "light dark" for html that is made for both; "light", "dark", "dark light", "only light" or "only dark".
    color_scheme: Option<String>,
    /// True by default: the CSS of the html's `<style>` goes into its elements.
    inline_css: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMailbox {
    address: String,
    #[serde(default)]
    display_name: String,
}

impl Manifest {
    /// Reads a `template.toml`; on failure, everything that is wrong with it.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Vec<String>> {
        let text = std::str::from_utf8(content).map_err(|_| vec!["is not UTF-8".to_owned()])?;
        let file: File = toml::from_str(text).map_err(|error| vec![error.to_string().trim().to_owned()])?;
        let mut wrong = file.problems();
        let from = mailbox("from", file.from.as_ref(), &mut wrong);
        let reply_to = mailbox("reply_to", file.reply_to.as_ref(), &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            in_doubt_window: file.in_doubt_window(),
            dedupe_window: file.dedupe_window(),
            time_to_live: file.time_to_live(),
            tries_max: file.tries.unwrap_or(8),
            keep: file.keep.unwrap_or_default(),
            tracking: file.tracking.unwrap_or(file.lane == Lane::Bulk),
            name: file.name,
            version: file.version,
            lane: file.lane,
            identity_fields: IdentityFields::new(file.identity, file.volatile),
            in_doubt: file.in_doubt,
            from,
            reply_to,
            headers: file.headers.into_iter().collect(),
            category: file
                .category
                .or_else(|| (file.lane == Lane::Bulk).then(|| BULK_CATEGORY.to_owned())),
            despite_complaint: file.despite_complaint,
            fallback: file.fallback,
            authoring: Authoring {
                is_said: file.preheader.is_some() || file.color_scheme.is_some() || file.inline_css.is_some(),
                preheader: file.preheader,
                color_scheme: file.color_scheme,
                inlines_css: file.inline_css.unwrap_or(true),
            },
        })
    }

    /// The category of a message in `lane`, which it is unsubscribed from by its link; `None` for mail without one. Bulk mail has one
    /// in any case, also where only its request says that it is bulk; a bulk template's mail in either lane.
    #[must_use]
    pub fn category_in(&self, lane: Lane) -> Option<&str> {
        let of_lane = (lane == Lane::Bulk).then_some(BULK_CATEGORY);
        self.category.as_deref().or(of_lane)
    }
}

impl File {
    fn in_doubt_window(&self) -> Duration {
        self.in_doubt_window.unwrap_or(15 * MINUTE)
    }

    fn dedupe_window(&self) -> Duration {
        self.dedupe_window.unwrap_or(match self.lane {
            Lane::Transactional => 7 * DAY,
            Lane::Bulk => DAY,
        })
    }

    fn time_to_live(&self) -> Duration {
        self.time_to_live.unwrap_or(3 * DAY)
    }

    fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if !is_name(&self.name) {
            wrong.push(format!("name must be 1 to {NAME_BYTES_MAX} of [a-z0-9_-]"));
        }
        if self.version == 0 {
            wrong.push("version must be 1 or more".to_owned());
        }
        if !(1..=TRIES_MAX).contains(&self.tries.unwrap_or(1)) {
            wrong.push(format!("tries must be 1 to {TRIES_MAX}"));
        }
        for (key, value, least, most) in [
            ("in_doubt_window", self.in_doubt_window(), MINUTE, 7 * DAY),
            ("dedupe_window", self.dedupe_window(), MINUTE, 90 * DAY),
            ("time_to_live", self.time_to_live(), MINUTE, 30 * DAY),
        ] {
            if value < least || value > most {
                let days = most.as_secs() / DAY.as_secs();
                wrong.push(format!("{key} must be 1m to {days}d"));
            }
        }
        if let Some(Err(problem)) = self.category.as_deref().map(check_category) {
            wrong.push(format!("category {problem}"));
        }
        if self
            .fallback
            .as_ref()
            .is_some_and(|name| !is_name(name) || name == &self.name)
        {
            wrong.push("fallback must be the name of another template".to_owned());
        }
        if self.despite_complaint && (self.lane == Lane::Bulk || self.category.is_some()) {
            wrong.push(
                "despite_complaint is for transactional mail without a category: nobody who complained gets what one can \
                 unsubscribe from"
                    .to_owned(),
            );
        }
        wrong.extend(self.authoring_problems());
        let keep = self.keep.unwrap_or_default();
        if !keep.is_zero() && !(DAY..=365 * DAY).contains(&keep) {
            wrong.push("keep must be 1d to 365d, or 0s for not at all".to_owned());
        }
        if self.in_doubt == DoubtPolicy::Resend && self.in_doubt_window() >= self.time_to_live() {
            wrong.push(
                "in_doubt_window must be shorter than time_to_live, or nothing is ever resent".to_owned(),
            );
        }
        let fields = self.identity.iter().flatten().chain(&self.volatile);
        if fields.clone().count() > FIELDS_MAX || fields.clone().any(String::is_empty) {
            wrong.push(format!(
                "identity and volatile name at most {FIELDS_MAX} fields, none of them empty"
            ));
        }
        if self.headers.len() > HEADERS_MAX {
            wrong.push(format!(
                "headers are {}; at most {HEADERS_MAX} are taken",
                self.headers.len()
            ));
        }
        for (index, (name, value)) in self.headers.iter().enumerate() {
            let same = |other: &String| other.eq_ignore_ascii_case(name);
            if let Some(problem) = header_problem(name, value) {
                wrong.push(format!("header number {}: {problem}", index + 1));
            } else if self.headers.keys().take(index).any(same) {
                wrong.push(format!("header number {}: its name is there twice", index + 1));
            }
        }
        wrong
    }
}

impl File {
    fn authoring_problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(preheader) = &self.preheader {
            let bytes = preheader.len();
            if preheader.trim().is_empty() || bytes > PREHEADER_BYTES_MAX || preheader.contains(['\n', '\r'])
            {
                wrong.push(format!(
                    "preheader must be one line of 1 to {PREHEADER_BYTES_MAX} bytes; it has {bytes}"
                ));
            }
        }
        let scheme = self.color_scheme.as_deref();
        if scheme.is_some_and(|scheme| !COLOR_SCHEMES.contains(&scheme)) {
            wrong.push(format!(
                "color_scheme must be one of: {}",
                COLOR_SCHEMES.join(", ")
            ));
        }
        wrong
    }
}

fn mailbox(key: &str, written: Option<&FileMailbox>, wrong: &mut Vec<String>) -> Option<Mailbox> {
    let written = written?;
    Mailbox::parse(&written.address, &written.display_name)
        .map_err(|error| wrong.push(format!("{key}: {error}")))
        .ok()
}

fn is_name(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn header_problem(name: &str, value: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let printable = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if !(1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(printable) {
        return Some(format!(
            "its name must be 1 to {HEADER_NAME_BYTES_MAX} characters of printable ASCII without spaces and colons"
        ));
    }
    let begins = |prefix: &&str| lower.starts_with(prefix);
    if RESERVED_HEADERS.contains(&lower.as_str()) || RESERVED_HEADER_PREFIXES.iter().any(begins) {
        return Some("its name is reserved: Paceline or the provider writes it".to_owned());
    }
    if !(1..=HEADER_VALUE_BYTES_MAX).contains(&value.len()) || value.chars().any(char::is_control) {
        return Some(format!(
            "its value must be 1 to {HEADER_VALUE_BYTES_MAX} bytes without control characters"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::lane::Lane;
    use paceline_domain::record::DoubtPolicy;

    use super::Manifest;

    fn parse(text: &str) -> Result<Manifest, Vec<String>> {
        Manifest::parse(text.as_bytes())
    }

    fn with(lines: &str) -> String {
        format!("name = \"a\"\nversion = 1\nlane = \"transactional\"\n{lines}")
    }

    #[test]
    fn the_defaults_are_those_of_the_lane() {
        let manifest = parse(&with("")).expect("the least there can be");
        assert_eq!(manifest.in_doubt, DoubtPolicy::Hold);
        assert_eq!(manifest.in_doubt_window, Duration::from_secs(15 * 60));
        assert_eq!(manifest.dedupe_window, Duration::from_secs(7 * 86_400));
        assert_eq!(manifest.time_to_live, Duration::from_secs(3 * 86_400));
        assert_eq!(manifest.tries_max, 8);
        assert_eq!(manifest.keep, Duration::ZERO, "nothing is kept");
        assert!(!manifest.tracking);
        let bulk = parse("name = \"a\"\nversion = 1\nlane = \"bulk\"").expect("bulk");
        assert_eq!(bulk.dedupe_window, Duration::from_secs(86_400));
        assert_eq!((manifest.category, manifest.despite_complaint), (None, false));
        assert_eq!(bulk.category.as_deref(), Some("bulk"));
        assert!(bulk.tracking);
    }

    #[test]
    fn everything_can_be_said() {
        let text = with(
            "identity = [\"order\"]\nvolatile = [\"seen\"]\nin_doubt = \"resend\"\nin_doubt_window = \"5m\"\n\
             dedupe_window = \"2d\"\ntime_to_live = \"1h\"\ntries = 3\nkeep = \"30d\"\ntracking = true\n\
             from = { address = \"Shop@Example.COM\", display_name = \"Shop\" }\n\
             reply_to = { address = \"help@example.com\" }\nheaders = { X-Kind = \"receipt\" }\n",
        );
        let manifest = parse(&text).expect("complete");
        assert_eq!(manifest.in_doubt, DoubtPolicy::Resend);
        assert_eq!(manifest.in_doubt_window, Duration::from_secs(300));
        assert_eq!(manifest.dedupe_window, Duration::from_secs(2 * 86_400));
        assert_eq!(manifest.time_to_live, Duration::from_secs(3_600));
        assert_eq!(manifest.tries_max, 3);
        assert_eq!(manifest.keep, Duration::from_secs(30 * 86_400));
        assert!(manifest.tracking);
        assert!(manifest.identity_fields.counts("order") && !manifest.identity_fields.counts("other"));
        let from = manifest.from.expect("given");
        assert_eq!(
            (from.address().as_str(), from.display_name()),
            ("Shop@example.com", Some("Shop"))
        );
        assert_eq!(manifest.headers, [("X-Kind".to_owned(), "receipt".to_owned())]);
        let digest = parse(&with("category = \"digest\"")).expect("transactional mail may have one");
        assert_eq!(digest.category.as_deref(), Some("digest"));
        let reset = parse(&with("despite_complaint = true")).expect("complete");
        assert!(reset.despite_complaint);
    }

    #[test]
    fn bulk_mail_always_has_a_category() {
        let category = |text: &str, lane| parse(text).expect("good").category_in(lane).map(str::to_owned);
        let bulk = "name = \"a\"\nversion = 1\nlane = \"bulk\"\n";
        let named = "category = \"news\"\n";
        for (text, in_transactional, in_bulk) in [
            (with(""), None, Some("bulk")),
            (with(named), Some("news"), Some("news")),
            (bulk.to_owned(), Some("bulk"), Some("bulk")),
            (format!("{bulk}{named}"), Some("news"), Some("news")),
        ] {
            assert_eq!(
                category(&text, Lane::Transactional).as_deref(),
                in_transactional,
                "{text}"
            );
            assert_eq!(category(&text, Lane::Bulk).as_deref(), in_bulk, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (lines, expected) in [
            ("colour = \"red\"", "colour"),
            ("tries = 0", "tries"),
            ("keep = \"1h\"", "keep"),
            ("keep = \"400d\"", "keep"),
            ("tracking = \"opens\"", "tracking"),
            ("time_to_live = \"5s\"", "time_to_live"),
            ("time_to_live = \"soon\"", "time_to_live"),
            ("dedupe_window = \"400d\"", "dedupe_window"),
            ("in_doubt = \"perhaps\"", "in_doubt"),
            (
                "in_doubt = \"resend\"\ntime_to_live = \"10m\"",
                "in_doubt_window must be shorter",
            ),
            ("volatile = [\"\"]", "volatile"),
            ("category = \"News\"", "category"),
            ("fallback = \"a\"", "fallback"),
            ("fallback = \"a b\"", "fallback"),
            ("from = { address = \"nobody\" }", "from"),
            ("headers = { Subject = \"x\" }", "reserved"),
            ("headers = { X-SES-TENANT = \"x\" }", "reserved"),
            ("headers = { X-Mailgun-Tag = \"x\" }", "reserved"),
            ("headers = { \"X: y\" = \"x\" }", "printable"),
            ("headers = { X-A = \"x\\r\\nBcc: y\" }", "control characters"),
            ("headers = { X-A = \"x\", x-a = \"y\" }", "twice"),
            ("category = \"News!\"", "category must be"),
            (
                "category = \"news\"\ndespite_complaint = true",
                "despite_complaint",
            ),
        ] {
            let wrong = parse(&with(lines)).expect_err(lines).join("; ");
            assert!(wrong.contains(expected), "{lines}: {wrong}");
        }
        assert!(
            parse("name = \"A b\"\nversion = 0\nlane = \"bulk\"")
                .expect_err("two mistakes")
                .len()
                == 2
        );
    }
}
