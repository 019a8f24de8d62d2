//! A source as it is rendered: every path resolved to its scope, every helper to its function.

use std::sync::atomic::AtomicUsize;

use serde_json::Value;

use super::helpers::Helper;

/// A source and the partials that it includes.
pub(crate) struct Program {
    pub(super) nodes: Vec<Node>,
    /// The bytes of the largest output so far, for which room is made at once.
    pub(super) output_bytes: AtomicUsize,
}

/// Where a tag stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: Option<usize>,
}

pub(super) enum Node {
    Text(String),
    Print(Box<Print>),
    If(Box<If>),
    With(Box<Block>),
    Each(Box<Block>),
    /// `{{#name}}`: `each` for a list, `with` for an object, `if` for anything else.
    Section(Box<Block>),
    Partial(Box<Partial>),
    /// The value of an attribute that holds a URL, with the tags inside of it.
    Url(Box<Url>),
}

pub(super) struct Print {
    pub(super) value: Expr,
    pub(super) place: Place,
    pub(super) escape: Escape,
}

/// What is done to a value that is printed.
pub(super) enum Escape {
    /// Its characters that mean something in html become entities.
    Html,
    /// `{{{value}}}`: it is html, to be held to the place where it stands.
    Trusted(super::html::Lexer),
    /// Subjects and plain text.
    Nothing,
}

pub(super) struct If {
    pub(super) block: Block,
    /// False for `unless`.
    pub(super) wanted: bool,
    /// Whether 0 counts as true.
    pub(super) include_zero: Option<Expr>,
}

pub(super) struct Block {
    pub(super) value: Expr,
    pub(super) body: Vec<Node>,
    pub(super) inverse: Vec<Node>,
    pub(super) place: Place,
}

/// A partial or a layout in its place.
pub(super) struct Partial {
    pub(super) name: String,
    pub(super) scope: Option<PartialScope>,
    pub(super) body: Vec<Node>,
    pub(super) place: Place,
}

/// What a partial is given: `{{> name value title="x"}}`.
pub(super) struct PartialScope {
    /// Without it the scope around goes on.
    pub(super) this: Option<Expr>,
    pub(super) named: Vec<Expr>,
}

pub(super) struct Url {
    pub(super) attribute: &'static str,
    pub(super) nodes: Vec<Node>,
    /// The first variable of the value, as it is written.
    pub(super) variable: String,
    pub(super) place: Place,
}

pub(super) enum Expr {
    Path(Path),
    Literal(Value),
    Call(Box<Call>),
}

pub(super) struct Call {
    pub(super) helper: &'static Helper,
    pub(super) params: Vec<Expr>,
    pub(super) named: Vec<(&'static str, Expr)>,
}

pub(super) struct Path {
    pub(super) base: Base,
    pub(super) segments: Box<[Segment]>,
    /// As it is written, for errors.
    pub(super) written: Box<str>,
}

/// What a path begins at. Blocks are counted outwards from the innermost, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Root,
    /// The scope to which so many `../` lead.
    Scope(usize),
    /// The value that a block has, by the first name of `as |item key|`.
    Item(usize),
    /// `@index` and its like, of so many loops up.
    Loop(LoopValue, usize),
    /// What a partial is given by name: the partial's scope, and which of the names.
    Given(usize, usize),
    /// The key of the loop whose scope that is: the second name of `as |item key|`.
    Key(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopValue {
    Index,
    Key,
    First,
    Last,
}

/// One name of a path; where it leads into a list it is an index.
pub(super) struct Segment {
    pub(super) name: Box<str>,
    pub(super) index: Option<usize>,
}

impl Expr {
    /// The first variable in it, as it is written.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Path(path) => Some(&path.written),
            Self::Literal(_) => None,
            Self::Call(call) => call.params.iter().find_map(Self::field),
        }
    }

    /// What errors call it.
    pub(super) fn written(&self) -> &str {
        match self {
            Self::Path(path) => &path.written,
            Self::Literal(_) => "a literal",
            Self::Call(call) => call.helper.name,
        }
    }
}
