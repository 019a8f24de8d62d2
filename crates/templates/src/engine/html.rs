//! Where in html a tag of a template stands, and what must not be there.
//!
//! Escaping keeps data from leaving its place, but a URL is a program of its own: `href="{{url}}"` runs what data says if it begins
//! with `javascript:`. So the markup is followed while a template is compiled, and the value of an attribute that holds a URL
//! is looked at once it is rendered. What `{{{value}}}` writes is followed while it is rendered: it has to end where it began.
//!
//! This is the part of a tokenizer (WHATWG HTML, 13.2.5) that tells tags and attributes apart; it knows nothing of trees.

/// Attributes whose value is a URL, or several (`ping`, `srcset`).
const URL_ATTRIBUTES: &[&str] = &[
    "action",
    "archive",
    "background",
    "cite",
    "classid",
    "codebase",
    "data",
    "dynsrc",
    "formaction",
    "href",
    "icon",
    "longdesc",
    "lowsrc",
    "manifest",
    "ping",
    "poster",
    "profile",
    "src",
    "srcset",
    "usemap",
    "xlink:href",
];

/// Elements whose content is no markup.
const RAW_TEXT: &[&str] = &[
    "iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp",
];

/// An attribute's name that data has a part in: it may be any.
const UNKNOWN: char = '?';
/// The name of a tag that may be any, whose content may be a script.
const UNKNOWN_TAG: &str = "?";
/// What is kept of a name: none that matters is longer.
const NAME_CHARS_MAX: usize = 32;

/// A place in markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lexer {
    state: State,
    /// The tag that is open, in lower case.
    tag: String,
    /// The attribute, the same.
    attribute: String,
    /// In the value of an attribute of [`URL_ATTRIBUTES`].
    in_url: bool,
    /// Whether conditional comments are read as Outlook does, as markup.
    as_outlook: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// After `<`.
    Open,
    TagName,
    BeforeName,
    Name,
    AfterName,
    /// One way was still in the tag's name, the other was past it.
    Seam,
    BeforeValue,
    Quoted(char),
    Unquoted,
    /// Up to `>`: `<!doctype>`, `<?xml?>`, and the two ends of a conditional comment, whose content Outlook reads as markup.
    Declaration,
    /// So many characters of `<!--` were seen, or of `<!---`.
    CommentOpen(u8),
    /// So many characters of `-->` or `--!>` were seen.
    Comment(u8),
    /// In an element of [`RAW_TEXT`]; so many characters of its end tag were seen.
    RawText(usize),
}

/// Something that matters begins or ends before the character at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// In which attribute.
    UrlBegins(&'static str),
    UrlEnds,
}

/// Why a tag can't stand where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    Unquoted,
    /// A tag's name, or an attribute's.
    Named,
    /// Where a script is read, or a document of its own: escaping does not keep data from being part of it.
    Script,
    /// The value of an attribute of which nobody knows which it is.
    Unknown,
}

impl Lexer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Text,
            tag: String::new(),
            attribute: String::new(),
            in_url: false,
            as_outlook: true,
        }
    }

    /// Goes through markup, and tells what begins and ends in it.
    pub(super) fn advance(&mut self, markup: &str, mut on: impl FnMut(usize, Event)) {
        for (at, char) in markup.char_indices() {
            let was_in_value = self.in_value();
            self.state = self.next(char);
            match (was_in_value, self.in_value()) {
                (false, true) => {
                    if let Some(attribute) = url_attribute(&self.attribute) {
                        self.in_url = true;
                        // A quoted value begins after its quote, any other with its first character.
                        let quoted = matches!(self.state, State::Quoted(_));
                        on(at + usize::from(quoted), Event::UrlBegins(attribute));
                    }
                }
                (true, false) if self.in_url => {
                    self.in_url = false;
                    on(at, Event::UrlEnds);
                }
                _ => {}
            }
        }
    }

    /// Something that is not known stands here: escaped, or `trusted` to be html.
    pub(super) fn value(&mut self, trusted: bool) -> Result<(), Misplaced> {
        match self.state {
            State::BeforeValue | State::Unquoted => return Err(Misplaced::Unquoted),
            State::Open => return Err(Misplaced::Named),
            // Of a name that begins so no element does harm: `<h{{level}}>`.
            State::TagName if !is_heading(&self.tag) => return Err(Misplaced::Named),
            // A space would begin another one.
            State::BeforeName | State::Name | State::AfterName | State::Seam if !trusted => {
                return Err(Misplaced::Named);
            }
            State::BeforeName | State::Name | State::AfterName | State::Seam => {
                self.attribute = UNKNOWN.to_string();
                self.state = State::Name;
            }
            State::Quoted(_) if self.attribute.contains(UNKNOWN) => return Err(Misplaced::Unknown),
            State::Quoted(_) if runs(&self.attribute) => return Err(Misplaced::Script),
            State::RawText(_) if matches!(self.tag.as_str(), "script" | UNKNOWN_TAG) => {
                return Err(Misplaced::Script);
            }
            _ => {}
        }
        Ok(())
    }

    /// Two ways lead here. `None` if they end in different parts of the markup, so that nobody knows what follows.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        if self.in_tag() && other.in_tag() {
            return self.join_in_tag(other);
        }
        let in_comment = |state| matches!(state, State::CommentOpen(2 | 3) | State::Comment(_));
        let alike = match (self.state, other.state) {
            (State::RawText(_), State::RawText(_)) => self.tag == other.tag,
            (State::Text, State::Text) => true,
            (one, other) => in_comment(one) && in_comment(other),
        };
        alike.then_some(self)
    }

    fn join_in_tag(self, other: Self) -> Option<Self> {
        let alike = self.tag == other.tag || (is_heading(&self.tag) && is_heading(&other.tag));
        let unnamed = |state| matches!(state, State::TagName | State::BeforeName | State::Seam);
        let (state, attribute) = match (self.state, other.state) {
            (State::TagName, State::TagName) => (State::TagName, String::new()),
            (State::BeforeName, State::BeforeName) => (State::BeforeName, String::new()),
            (one, other) if unnamed(one) && unnamed(other) => (State::Seam, String::new()),
            // What follows may go on with a name.
            _ => (State::Name, UNKNOWN.to_string()),
        };
        alike.then_some(Self {
            state,
            attribute,
            ..self
        })
    }

    /// True if `html`, written here as it is, ends where it begins. `on` is told of every URL in it.
    pub(super) fn holds(&self, html: &str, mut on: impl FnMut(usize, Event)) -> bool {
        match self.state {
            // Nothing of it is read as markup, but for what would end it.
            State::Quoted(quote) => !html.contains([quote, '<', '>']),
            State::Comment(_) | State::CommentOpen(_) | State::Declaration => !html.contains('>'),
            State::RawText(_) => !html.contains("</"),
            _ => {
                let mut browser = self.clone();
                browser.as_outlook = false;
                !hides(html) && self.clone().returns(html, &mut on) && browser.returns(html, &mut on)
            }
        }
    }

    fn returns(self, html: &str, on: impl FnMut(usize, Event)) -> bool {
        let mut after = self.clone();
        after.advance(html, on);
        self.join(after).is_some()
    }

    fn in_tag(&self) -> bool {
        matches!(
            self.state,
            State::TagName | State::BeforeName | State::Name | State::AfterName | State::Seam
        )
    }

    fn is_raw_text(&self) -> bool {
        self.tag == UNKNOWN_TAG || RAW_TEXT.contains(&self.tag.as_str())
    }

    /// True in the value of an attribute that has no quotes.
    pub(super) fn is_unquoted(&self) -> bool {
        matches!(self.state, State::Unquoted | State::BeforeValue)
    }

    fn in_value(&self) -> bool {
        matches!(self.state, State::Quoted(_) | State::Unquoted)
    }

    fn next(&mut self, char: char) -> State {
        let space = char.is_ascii_whitespace();
        match self.state {
            State::Text => match char {
                '<' => State::Open,
                _ => State::Text,
            },
            State::Open => self.open(char),
            State::Declaration if char == '>' => State::Text,
            State::Declaration => State::Declaration,
            State::CommentOpen(2) if char == '[' && !self.as_outlook => State::Comment(0),
            State::CommentOpen(seen) => comment_open(seen, char),
            State::Comment(dashes) => comment(dashes, char),
            State::RawText(seen) => self.raw_text(seen, char),
            State::TagName if !space && !matches!(char, '/' | '>') => {
                keep(&mut self.tag, char);
                State::TagName
            }
            State::Name if !space && !matches!(char, '/' | '>' | '=') => {
                keep(&mut self.attribute, char);
                State::Name
            }
            State::Seam if !space && !matches!(char, '/' | '>') => {
                self.tag = UNKNOWN_TAG.to_owned();
                self.attribute = UNKNOWN.to_string();
                State::Name
            }
            State::TagName | State::BeforeName | State::Name | State::AfterName | State::Seam => {
                self.between(char)
            }
            State::BeforeValue => match char {
                '"' | '\'' => State::Quoted(char),
                '>' => self.close(),
                _ if space => State::BeforeValue,
                _ => State::Unquoted,
            },
            State::Quoted(quote) if char == quote => State::BeforeName,
            State::Quoted(quote) => State::Quoted(quote),
            State::Unquoted if space => State::BeforeName,
            State::Unquoted if char == '>' => self.close(),
            State::Unquoted => State::Unquoted,
        }
    }

    fn open(&mut self, char: char) -> State {
        self.tag.clear();
        match char {
            'a'..='z' | 'A'..='Z' | '/' => {
                keep(&mut self.tag, char);
                State::TagName
            }
            '!' => State::CommentOpen(0),
            '?' => State::Declaration,
            '<' => State::Open,
            _ => State::Text,
        }
    }

    /// Between a tag's name, its attributes and their values.
    fn between(&mut self, char: char) -> State {
        match char {
            '>' => self.close(),
            '/' => State::BeforeName,
            '=' if matches!(self.state, State::Name | State::AfterName) => State::BeforeValue,
            _ if char.is_ascii_whitespace() => match self.state {
                State::Name | State::AfterName => State::AfterName,
                _ => State::BeforeName,
            },
            _ => {
                self.attribute.clear();
                keep(&mut self.attribute, char);
                State::Name
            }
        }
    }

    fn close(&self) -> State {
        if self.is_raw_text() {
            State::RawText(0)
        } else {
            State::Text
        }
    }

    fn raw_text(&mut self, seen: usize, char: char) -> State {
        let end = "</".chars().chain(self.tag.chars());
        match end.clone().nth(seen) {
            Some(expected) if expected == char.to_ascii_lowercase() => State::RawText(seen + 1),
            None if char.is_ascii_whitespace() || matches!(char, '/' | '>') => {
                self.tag.insert(0, '/');
                self.between(char)
            }
            _ if char == '<' => State::RawText(1),
            _ => State::RawText(0),
        }
    }
}

/// `h1` to `h6`, and what else begins so: nothing that is read otherwise than text.
fn is_heading(tag: &str) -> bool {
    tag.trim_start_matches('/').starts_with('h')
}

/// True of html with a script whose end tag a comment in it may keep from being one (WHATWG HTML, 13.2.5.19).
fn hides(html: &str) -> bool {
    html.contains("<!--") && html.to_ascii_lowercase().contains("<script")
}

/// True of an attribute that holds a script, or a whole document, which entities are decoded for.
fn runs(attribute: &str) -> bool {
    attribute.starts_with("on") || attribute == "srcdoc"
}

fn comment_open(dashes: u8, char: char) -> State {
    match (dashes, char) {
        (0, '-') => State::CommentOpen(1),
        (1, '-') => State::CommentOpen(2),
        // `<!-->` and `<!--->` are empty comments; `<!--[if mso]>` leaves what follows to be read.
        (2 | 3, '>') => State::Text,
        (2, '[') => State::Declaration,
        (2, '-') => State::CommentOpen(3),
        (3, '-') => State::Comment(2),
        (2 | 3, _) => State::Comment(0),
        (_, '>') => State::Text,
        _ => State::Declaration,
    }
}

fn comment(seen: u8, char: char) -> State {
    match (seen, char) {
        (3, '-') => State::Comment(1),
        (_, '-') => State::Comment((seen + 1).min(2)),
        (2, '!') => State::Comment(3),
        (2 | 3, '>') => State::Text,
        _ => State::Comment(0),
    }
}

fn keep(name: &mut String, char: char) {
    if name.len() < NAME_CHARS_MAX {
        name.push(char.to_ascii_lowercase());
    }
}

/// True if the attribute's value is a list of URLs.
pub(super) fn is_list(attribute: &str) -> bool {
    matches!(attribute, "ping" | "srcset")
}

fn url_attribute(name: &str) -> Option<&'static str> {
    if name.contains(UNKNOWN) {
        return Some("attribute");
    }
    URL_ATTRIBUTES
        .iter()
        .find(|attribute| **attribute == name)
        .copied()
}
