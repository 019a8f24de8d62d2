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
    /// The `type` of a script.
    kind: String,
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
    /// A tag's name, or the beginning of an attribute's.
    Named,
    /// Where a script is read: escaping does not keep data from being part of it.
    Script,
}

impl Lexer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Text,
            tag: String::new(),
            attribute: String::new(),
            in_url: false,
            kind: String::new(),
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
            State::TagName if !matches!(self.tag.as_str(), "h" | "/h") => return Err(Misplaced::Named),
            State::BeforeName | State::AfterName if !trusted => return Err(Misplaced::Named),
            State::BeforeName | State::AfterName => {
                self.attribute = UNKNOWN.to_string();
                self.state = State::Name;
            }
            State::Name if !self.attribute.contains(UNKNOWN) => self.attribute.push(UNKNOWN),
            State::Quoted(_) if self.runs() => return Err(Misplaced::Script),
            State::Quoted(_) if self.is_kind() => self.kind.push(UNKNOWN),
            // JSON, such as what Gmail reads of an order, is no script.
            State::RawText(_)
                if self.tag == "script" && (!self.kind.ends_with("json") || self.kind.contains(UNKNOWN)) =>
            {
                return Err(Misplaced::Script);
            }
            _ => {}
        }
        Ok(())
    }

    /// True in an attribute that may be one of an event, such as `onclick`.
    fn runs(&self) -> bool {
        let known = self.attribute.split(UNKNOWN).next().unwrap_or_default();
        known.starts_with("on")
            || (known.len() < 2 && self.attribute.contains(UNKNOWN) && "on".starts_with(known))
    }

    fn is_kind(&self) -> bool {
        self.tag == "script" && self.attribute == "type"
    }

    /// Two ways lead here. `None` if they end in different parts of the markup, so that nobody knows what follows.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        let unnamed = |lexer: &Self| matches!(lexer.state, State::TagName | State::BeforeName);
        let tags_alike = self.tag == other.tag || !(self.is_raw_text() || other.is_raw_text());
        if self.in_tag() && other.in_tag() && tags_alike {
            let (state, attribute) = if unnamed(&self) && unnamed(&other) {
                (State::BeforeName, String::new())
            } else {
                (State::AfterName, UNKNOWN.to_string())
            };
            return Some(Self {
                state,
                attribute,
                ..self
            });
        }
        let in_comment = |state| matches!(state, State::CommentOpen(2 | 3) | State::Comment(_));
        let alike = match (self.state, other.state) {
            (State::RawText(_), State::RawText(_)) => self.tag == other.tag && self.kind == other.kind,
            (State::Text, State::Text) => true,
            (one, other) => in_comment(one) && in_comment(other),
        };
        alike.then_some(self)
    }

    /// True if `html`, written here as it is, ends where it begins. `on` is told of every URL in it.
    pub(super) fn holds(&self, html: &str, on: impl FnMut(usize, Event)) -> bool {
        match self.state {
            // Nothing of it is read as markup, but for what would end it.
            State::Quoted(quote) => !html.contains([quote, '<', '>']),
            State::Comment(_) | State::CommentOpen(_) | State::Declaration => !html.contains('>'),
            State::RawText(_) => !html.contains("</"),
            _ => {
                let mut after = self.clone();
                after.advance(html, on);
                self.clone().join(after).is_some()
            }
        }
    }

    fn in_tag(&self) -> bool {
        matches!(
            self.state,
            State::TagName | State::BeforeName | State::Name | State::AfterName
        )
    }

    fn is_raw_text(&self) -> bool {
        RAW_TEXT.contains(&self.tag.as_str())
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
            State::TagName | State::BeforeName | State::Name | State::AfterName => self.between(char),
            State::BeforeValue => match char {
                '"' | '\'' => State::Quoted(char),
                '>' => self.close(),
                _ if space => State::BeforeValue,
                _ => State::Unquoted,
            },
            State::Quoted(quote) if char == quote => State::BeforeName,
            State::Quoted(quote) => {
                if self.is_kind() {
                    keep(&mut self.kind, char);
                }
                State::Quoted(quote)
            }
            State::Unquoted if space => State::BeforeName,
            State::Unquoted if char == '>' => self.close(),
            State::Unquoted => State::Unquoted,
        }
    }

    fn open(&mut self, char: char) -> State {
        self.tag.clear();
        self.kind.clear();
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
            None => {
                self.tag.insert(0, '/');
                self.between(char)
            }
            Some(_) if char == '<' => State::RawText(1),
            Some(_) => State::RawText(0),
        }
    }
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
