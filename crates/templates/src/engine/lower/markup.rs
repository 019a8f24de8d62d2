//! The texts of a source, and where in html its tags stand.

use super::super::html::{self, Event, Lexer, Misplaced};
use super::super::program::{Node, Place, Url};
use super::super::url;
use super::Lower;

/// Without them nobody knows where the value ends.
const QUOTES: &str = "an attribute's value that data or a block has a part in must stand in quotes";

/// The value of an attribute that is not over yet.
pub(super) struct OpenUrl {
    attribute: &'static str,
    /// What came before it in its list.
    before: Vec<Node>,
}

impl Lower {
    pub(super) fn text(&mut self, text: &str) {
        let mut events = Vec::new();
        if let Some(markup) = &mut self.markup {
            markup.advance(text, |at, event| events.push((at, event)));
        }
        let mut done = 0;
        for (at, event) in events {
            self.push_text(&text[done..at]);
            done = at;
            match event {
                Event::UrlBegins(attribute) => {
                    let before = std::mem::take(&mut self.nodes);
                    self.url = Some(OpenUrl { attribute, before });
                }
                Event::UrlEnds => self.end_url(),
            }
        }
        self.push_text(&text[done..]);
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.nodes.last_mut() {
            Some(Node::Text(last)) => last.push_str(text),
            _ => self.nodes.push(Node::Text(text.to_owned())),
        }
    }

    fn end_url(&mut self) {
        let Some(OpenUrl { attribute, before }) = self.url.take() else {
            return self.refuse("an attribute's value ends in another block than it begins");
        };
        let nodes = std::mem::replace(&mut self.nodes, before);
        let beginning = match nodes.first() {
            Some(Node::Text(text)) => text,
            _ => "",
        };
        let several = html::is_list(attribute);
        match nodes.iter().find_map(variable_of) {
            Some((variable, place)) if several || !url::is_settled(beginning) => {
                self.nodes.push(Node::Url(Box::new(Url {
                    attribute,
                    variable,
                    place,
                    nodes,
                })));
            }
            _ => {
                for node in nodes {
                    match node {
                        Node::Text(text) => self.push_text(&text),
                        node => self.nodes.push(node),
                    }
                }
            }
        }
    }

    /// A tag that prints stands here.
    pub(super) fn value_in_markup(&mut self, trusted: bool) {
        let Some(Err(misplaced)) = self.markup.as_mut().map(|markup| markup.value(trusted)) else {
            return;
        };
        self.refuse(match misplaced {
            Misplaced::Unquoted => QUOTES,
            Misplaced::Named => {
                "data can't be part of a tag's name, but for that of <h1> to <h6>, nor of an attribute's"
            }
            Misplaced::Script => {
                "data can't stand in a script, nor in an attribute such as onclick or srcdoc"
            }
            Misplaced::Unknown => {
                "only the data knows which attribute this is: write each whole, name and value, in its branch"
            }
        });
    }

    /// What is gone through again begins where it ended.
    pub(super) fn join_again(&mut self, before: Option<&Lexer>) {
        let (Some(after), Some(before)) = (&self.markup, before) else {
            return;
        };
        if after.clone().join(before.clone()).is_none() {
            self.refuse("what a block repeats must end in the part of a tag in which it begins");
        }
    }

    /// One way led to where the walk is, and another one to `other`.
    pub(super) fn join_markup(&mut self, other: Option<Lexer>) {
        let (Some(one), Some(other)) = (self.markup.take(), other) else {
            return;
        };
        let unquoted = one.is_unquoted() || other.is_unquoted();
        self.markup = one.join(other);
        if self.markup.is_none() {
            self.refuse(if unquoted {
                QUOTES
            } else {
                "a block must end in the part of a tag in which it begins, whichever way it is gone through"
            });
            self.markup = Some(Lexer::new());
        }
    }
}

/// The first value that is printed.
fn variable_of(node: &Node) -> Option<(String, Place)> {
    match node {
        Node::Text(_) => None,
        Node::Print(print) => Some((print.value.written().to_owned(), print.place)),
        Node::If(conditional) => {
            variable_in(&conditional.block.body).or_else(|| variable_in(&conditional.block.inverse))
        }
        Node::With(block) | Node::Each(block) | Node::Section(block) => {
            variable_in(&block.body).or_else(|| variable_in(&block.inverse))
        }
        Node::Partial(partial) => variable_in(&partial.body),
        Node::Url(url) => variable_in(&url.nodes),
    }
}

fn variable_in(nodes: &[Node]) -> Option<(String, Place)> {
    nodes.iter().find_map(variable_of)
}
