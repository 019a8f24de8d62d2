//! Renders programs, all of one message under one meter.
//!
//! Values are lent from the data, never copied, and a path is found in as many steps as it has names. What is deep is the program,
//! and that is bounded when it is made; so the stack is, too.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::error::RenderFault;
use super::helpers::Args;
use super::html::{Event, Lexer};
use super::meter::Meter;
use super::program::{
    Block, Call, Escape, Expr, If, Node, Partial, PartialScope, Place, Print, Program, Url,
};
use super::value::{self, Val};
use super::{escape, html, url};

mod lookup;

/// Where and why a source could not be rendered.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) line: Option<usize>,
    pub(crate) field: Option<Box<str>>,
    /// The partial in which it is, and the line there.
    pub(crate) partial: Option<(Box<str>, Option<usize>)>,
    pub(crate) fault: RenderFault,
}

type Done = Result<(), Box<Failure>>;

/// Renders one source of a message.
pub(crate) fn render(program: &Program, data: &Value, meter: &mut Meter<'_>) -> Result<String, Failure> {
    let mut render = Render {
        scopes: vec![Scope::of(Val::Given(data))],
        out: String::with_capacity(program.output_bytes.load(Ordering::Relaxed)),
        data,
        meter,
    };
    match render.nodes(&program.nodes) {
        Ok(()) => {
            program
                .output_bytes
                .fetch_max(render.out.len(), Ordering::Relaxed);
            Ok(render.out)
        }
        Err(failure) => Err(*failure),
    }
}

struct Render<'a, 'm, 'c> {
    data: &'a Value,
    /// The innermost last.
    scopes: Vec<Scope<'a>>,
    out: String,
    meter: &'m mut Meter<'c>,
}

struct Scope<'a> {
    this: Val<'a>,
    round: Option<Round<'a>>,
    /// What a partial is given by name.
    given: Vec<Val<'a>>,
    /// Of a section that is `true`: the scope around, which `../` leaves with it.
    is_same: bool,
}

impl<'a> Scope<'a> {
    const fn of(this: Val<'a>) -> Self {
        Self {
            this,
            round: None,
            given: Vec::new(),
            is_same: false,
        }
    }
}

/// Where a loop is.
#[derive(Clone, Copy)]
struct Round<'a> {
    index: usize,
    /// Over an object.
    key: Option<&'a str>,
    is_last: bool,
}

impl<'a> Render<'a, '_, '_> {
    fn nodes(&mut self, nodes: &'a [Node]) -> Done {
        for node in nodes {
            match node {
                Node::Text(text) => self.text(text)?,
                Node::Print(print) => self
                    .print(print)
                    .map_err(|fault| at(print.place, &print.value, fault))?,
                Node::If(conditional) => self
                    .conditional(conditional)
                    .map_err(|failure| within(&conditional.block, failure))?,
                Node::With(block) => self.with(block).map_err(|failure| within(block, failure))?,
                Node::Each(block) => self.each(block).map_err(|failure| within(block, failure))?,
                Node::Section(block) => self.section(block).map_err(|failure| within(block, failure))?,
                Node::Partial(partial) => self.partial(partial)?,
                Node::Url(url) => self.url(url)?,
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Done {
        self.meter.output(text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn print(&mut self, print: &'a Print) -> Result<(), RenderFault> {
        if let Expr::Path(path) = &print.value
            && let Some(Value::String(text)) = self.lent(path)
        {
            // By far the most of what is printed.
            self.meter.steps(path.segments.len())?;
            return self.write(text, &print.escape);
        }
        let value = self.eval(&print.value)?;
        match value.get() {
            Some(Value::String(text)) => self.write(text, &print.escape),
            Some(value) => {
                let mut text = String::new();
                value::print(value, &mut text)?;
                self.write(&text, &print.escape)
            }
            None => Err(self.missing(&print.value)),
        }
    }

    fn write(&mut self, text: &str, escape: &Escape) -> Result<(), RenderFault> {
        let before = self.out.len() + text.len();
        self.meter.output(text.len())?;
        match escape {
            Escape::Html => escape::html(text, &mut self.out),
            Escape::Nothing => self.out.push_str(text),
            Escape::Trusted(place) => {
                check_html(text, place)?;
                self.out.push_str(text);
            }
        }
        match self.out.len() - before {
            0 => Ok(()),
            entities => self.meter.output(entities),
        }
    }

    fn conditional(&mut self, conditional: &'a If) -> Done {
        let If {
            block,
            wanted,
            include_zero,
        } = conditional;
        let truth = self.truth(&block.value, include_zero.as_ref());
        self.nodes(if truth? == *wanted {
            &block.body
        } else {
            &block.inverse
        })
    }

    fn truth(&mut self, value: &'a Expr, include_zero: Option<&'a Expr>) -> Result<bool, RenderFault> {
        let include_zero = match include_zero {
            Some(option) => self.eval(option)?.is_true(true),
            None => false,
        };
        Ok(self.eval(value)?.is_true(include_zero))
    }

    fn with(&mut self, block: &'a Block) -> Done {
        let value = self.eval(&block.value)?;
        if value.is_true(true) {
            self.scoped(Scope::of(value), &block.body)
        } else {
            self.nodes(&block.inverse)
        }
    }

    fn section(&mut self, block: &'a Block) -> Done {
        let value = self.eval(&block.value)?;
        match value.get() {
            Some(Value::Array(_)) => self.rounds(value, block),
            // `true` leaves the scope as it is.
            Some(Value::Bool(true)) => {
                let this = self
                    .scopes
                    .last()
                    .map_or(Val::Missing, |scope| scope.this.clone());
                self.scoped(
                    Scope {
                        is_same: true,
                        ..Scope::of(this)
                    },
                    &block.body,
                )
            }
            Some(Value::Null | Value::Bool(false)) => self.nodes(&block.inverse),
            // Unlike the helpers, as in the strict mode of Handlebars.js.
            None => Err(self.missing(&block.value).into()),
            Some(_) => self.scoped(Scope::of(value), &block.body),
        }
    }

    fn each(&mut self, block: &'a Block) -> Done {
        let value = self.eval(&block.value)?;
        match value.get() {
            Some(Value::Array(_) | Value::Object(_)) => self.rounds(value, block),
            Some(_) if value.is_true(true) => {
                let problem = "is neither over a list nor over an object".to_owned();
                Err(RenderFault::Helper {
                    helper: "each",
                    problem,
                }
                .into())
            }
            _ => self.nodes(&block.inverse),
        }
    }

    /// The rounds of a loop over a list or an object, which are never a helper's own.
    fn rounds(&mut self, value: Val<'a>, block: &'a Block) -> Done {
        let (count, items): (usize, &mut dyn Iterator<Item = (Option<&'a str>, &'a Value)>) = match value {
            Val::Given(Value::Array(list)) => (list.len(), &mut list.iter().map(|item| (None, item))),
            Val::Given(Value::Object(object)) => (
                object.len(),
                &mut object.iter().map(|(key, item)| (Some(key.as_str()), item)),
            ),
            _ => (0, &mut std::iter::empty()),
        };
        if count == 0 {
            return self.nodes(&block.inverse);
        }
        self.meter.rounds(count)?;
        for (index, (key, item)) in items.enumerate() {
            let is_last = index + 1 == count;
            let round = Round { index, key, is_last };
            self.meter.steps(1)?;
            let scope = Scope {
                round: Some(round),
                ..Scope::of(Val::Given(item))
            };
            self.scoped(scope, &block.body)?;
        }
        Ok(())
    }

    fn scoped(&mut self, scope: Scope<'a>, body: &'a [Node]) -> Done {
        self.scopes.push(scope);
        let done = self.nodes(body);
        self.scopes.pop();
        done
    }

    fn partial(&mut self, partial: &'a Partial) -> Done {
        let done = match &partial.scope {
            None => self.nodes(&partial.body),
            Some(scope) => self
                .partial_scope(scope)
                .map_err(Box::from)
                .and_then(|scope| self.scoped(scope, &partial.body)),
        };
        // The line is the partial's own, if it is known; what it is included by is known in any case.
        done.map_err(|mut failure| {
            let inside = (partial.name.as_str().into(), failure.line);
            failure.partial.get_or_insert(inside);
            failure.line = partial.place.line;
            failure
        })
    }

    fn partial_scope(&mut self, scope: &'a PartialScope) -> Result<Scope<'a>, RenderFault> {
        self.meter.steps(1)?;
        let this = match &scope.this {
            Some(this) => self.eval(this)?,
            None => self
                .scopes
                .last()
                .map_or(Val::Missing, |scope| scope.this.clone()),
        };
        let mut given = Vec::with_capacity(scope.named.len());
        for value in &scope.named {
            given.push(self.eval(value)?);
        }
        Ok(Scope {
            given,
            ..Scope::of(this)
        })
    }

    fn url(&mut self, url: &'a Url) -> Done {
        let begin = self.out.len();
        self.nodes(&url.nodes)?;
        let several = html::is_list(url.attribute);
        match url::refused_scheme(&self.out[begin..], several) {
            None => Ok(()),
            Some(scheme) => {
                let attribute = url.attribute;
                Err(Box::new(Failure {
                    line: url.place.line,
                    field: Some(url.variable.as_str().into()),
                    partial: None,
                    fault: RenderFault::RefusedUrl { attribute, scheme },
                }))
            }
        }
    }

    fn eval(&mut self, expr: &'a Expr) -> Result<Val<'a>, RenderFault> {
        match expr {
            Expr::Path(path) => self.path(path),
            Expr::Literal(value) => {
                self.meter.steps(1)?;
                Ok(Val::Given(value))
            }
            Expr::Call(call) => self.call(call),
        }
    }

    fn call(&mut self, call: &'a Call) -> Result<Val<'a>, RenderFault> {
        let mut values = Vec::with_capacity(call.params.len());
        for param in &call.params {
            values.push(self.eval(param)?);
        }
        let mut options = Vec::with_capacity(call.named.len());
        for (_, option) in &call.named {
            options.push(self.eval(option)?);
        }
        self.meter.steps(call.helper.steps)?;
        (call.helper.run)(&mut Args {
            call,
            values,
            options,
            meter: self.meter,
        })
    }
}

fn check_html(markup: &str, place: &Lexer) -> Result<(), RenderFault> {
    let mut begin = None;
    let mut refused = None;
    let holds = place.holds(markup, |at, event| match event {
        Event::UrlBegins(attribute) => begin = Some((at, attribute)),
        Event::UrlEnds => {
            if let Some((begin, attribute)) = begin.take()
                && let Some(scheme) = url::refused_scheme(&markup[begin..at], html::is_list(attribute))
            {
                refused = Some(RenderFault::RefusedUrl { attribute, scheme });
            }
        }
    });
    match refused {
        Some(fault) => Err(fault),
        None if holds => Ok(()),
        None => Err(RenderFault::UnfinishedHtml),
    }
}

fn at(place: Place, value: &Expr, fault: RenderFault) -> Box<Failure> {
    Box::new(Failure {
        line: place.line,
        field: value.field().map(Into::into),
        partial: None,
        fault,
    })
}

/// What failed in a block without knowing where is told by the block's own place.
fn within(block: &Block, failure: Box<Failure>) -> Box<Failure> {
    if failure.line.is_some() {
        return failure;
    }
    at(block.place, &block.value, failure.fault)
}

impl From<RenderFault> for Failure {
    fn from(fault: RenderFault) -> Self {
        Self {
            line: None,
            field: None,
            partial: None,
            fault,
        }
    }
}

impl From<RenderFault> for Box<Failure> {
    fn from(fault: RenderFault) -> Self {
        Self::new(fault.into())
    }
}
