//! From handlebars' syntax tree to a [`Program`]: refuses what has no bound or no meaning, resolves every path and helper, and
//! finds out which fields a source uses.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use handlebars::Template as Parsed;
use handlebars::template::{BlockParam, HelperTemplate, TemplateElement};

use super::compile::SourceError;
use super::html::Lexer;
use super::partials;
use super::program::{Block, Escape, Expr, If, Node, Partial, PartialScope, Place, Print, Program};
use expr::name_of;

mod expr;
mod markup;

/// Blocks, `else if`s, subexpressions and literals within each other. Compiling and rendering take stack for each.
const DEPTH_MAX: usize = 64;
/// What is told of one file.
const ERRORS_MAX: usize = 20;
/// Helpers that have a block.
const BLOCKS: &[&str] = &["each", "if", "raw", "unless", "with"];

/// What a template uses of its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The names of top-level fields, through loops, scopes and names of block parameters.
    pub(crate) fields: BTreeSet<String>,
}

/// Looks at everything in a parsed source. `is_html` says what it is escaped for.
pub(super) fn lower(template: &Parsed, is_html: bool) -> Result<(Program, Usage), Vec<SourceError>> {
    let mut lower = Lower {
        usage: Usage::default(),
        errors: Vec::new(),
        place: Place::default(),
        frames: vec![Frame::of(Origin::Root, 0)],
        source: 0,
        sources: 1,
        callers: Vec::new(),
        nodes: Vec::new(),
        markup: is_html.then(Lexer::new),
        url: None,
    };
    let nodes = lower.list(Some(template), 1);
    if lower.errors.is_empty() {
        let output_bytes = AtomicUsize::new(0);
        Ok((Program { nodes, output_bytes }, lower.usage))
    } else {
        Err(lower.errors)
    }
}

/// What a value is a part of.
#[derive(Clone)]
enum Origin {
    /// The data as a whole.
    Root,
    /// Something inside this top-level field.
    Field(String),
    /// What a helper, a loop or the template made.
    Made,
}

/// A scope: the data, or the block of an `each`, `with` or section.
struct Frame {
    origin: Origin,
    /// What `as |item key|` names.
    item: Option<String>,
    key: Option<String>,
    /// The names of what a partial is given.
    given: Vec<String>,
    /// In which source it is: what `as |item key|` names is not known in the partials that the block includes.
    source: usize,
    /// Of a section, which is no scope of its own where the data says `true`.
    is_section: bool,
}

impl Frame {
    const fn of(origin: Origin, source: usize) -> Self {
        Self {
            origin,
            item: None,
            key: None,
            given: Vec::new(),
            source,
            is_section: false,
        }
    }
}

struct Lower {
    usage: Usage,
    errors: Vec<SourceError>,
    place: Place,
    /// The innermost last.
    frames: Vec<Frame>,
    /// The source, or partial, whose text is being walked over: a number of its own wherever it is included.
    source: usize,
    sources: usize,
    /// The sources that include it, the innermost last.
    callers: Vec<usize>,
    /// What was made of the list of elements that is being walked over.
    nodes: Vec<Node>,
    /// Where in html the walk is; `None` in a source that is no html.
    markup: Option<Lexer>,
    /// The URL in which it is, if that began in the same list.
    url: Option<markup::OpenUrl>,
}

impl Lower {
    fn refuse(&mut self, problem: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(SourceError {
                line: self.place.line,
                problem: problem.into(),
            });
        }
    }

    /// True if there is nothing to be gained by looking deeper.
    fn too_deep(&mut self, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            self.refuse(format!(
                "more than {DEPTH_MAX} blocks and subexpressions within each other"
            ));
        }
        depth > DEPTH_MAX
    }

    /// The nodes of a block, or of the whole.
    fn list(&mut self, template: Option<&Parsed>, depth: usize) -> Vec<Node> {
        let Some(template) = template else {
            return Vec::new();
        };
        if self.too_deep(depth) {
            return Vec::new();
        }
        let (outer, outer_url) = (std::mem::take(&mut self.nodes), self.url.take());
        for (index, element) in template.elements.iter().enumerate() {
            if let Some(mapping) = template.mapping.get(index) {
                self.place.line = Some(mapping.0);
            }
            self.element(element, depth);
        }
        if self.url.is_some() {
            self.refuse("an attribute's value ends in another block than it begins");
        }
        self.url = outer_url;
        std::mem::replace(&mut self.nodes, outer)
    }

    fn element(&mut self, element: &TemplateElement, depth: usize) {
        match element {
            TemplateElement::RawString(text) => self.text(text),
            TemplateElement::Expression(helper) => self.print(helper, false, depth),
            TemplateElement::HtmlExpression(helper) => self.print(helper, true, depth),
            TemplateElement::HelperBlock(helper) => self.block(helper, depth),
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                self.refuse("no decorators but {{#*inline \"name\"}} are supported");
            }
            TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
                self.refuse("a partial that is not in place");
            }
            TemplateElement::Comment(_) => {}
            // The enum is open: what a later release adds has no bound that we know of.
            _ => self.refuse("a kind of tag that is not supported"),
        }
    }

    fn print(&mut self, helper: &HelperTemplate, trusted: bool, depth: usize) {
        let is_call = !helper.params.is_empty() || !helper.hash.is_empty();
        let value = if is_call {
            self.call(helper, depth)
        } else {
            self.expr(&helper.name, depth).map(|(value, _)| value)
        };
        let escape = match &self.markup {
            None => Escape::Nothing,
            Some(at) if trusted => Escape::Trusted(at.clone()),
            Some(_) => Escape::Html,
        };
        self.value_in_markup(trusted);
        if let Some(value) = value {
            let place = self.place;
            let print = Print { value, place, escape };
            self.nodes.push(Node::Print(Box::new(print)));
        }
    }

    fn partial(&mut self, name: &str, helper: &HelperTemplate, depth: usize) {
        let (this, origin) = match &helper.params[..] {
            [] => (
                None,
                self.frames
                    .last()
                    .map_or(Origin::Made, |frame| frame.origin.clone()),
            ),
            [param] => match self.expr(param, depth) {
                Some((this, origin)) => (Some(this), origin),
                None => return,
            },
            _ => {
                return self.refuse(format!(
                    "the partial `{name}` is given more than one value without a name"
                ));
            }
        };
        let mut frame = Frame::of(origin, self.sources);
        let mut named = Vec::with_capacity(helper.hash.len());
        for (option, param) in &helper.hash {
            if let Some((value, _)) = self.expr(param, depth) {
                frame.given.push(option.clone());
                named.push(value);
            }
        }
        let scope = (this.is_some() || !named.is_empty()).then_some(PartialScope { this, named });
        let place = self.place;
        let scopes = self.frames.len();
        self.frames.extend(scope.is_some().then_some(frame));
        let told = self.errors.len();
        let body = self.included(name, helper.template.as_ref(), depth + 1);
        self.frames.truncate(scopes);
        self.place = place;
        for error in &mut self.errors[told..] {
            let line = error.line.map(|line| format!(" line {line}")).unwrap_or_default();
            error.problem = format!("partial `{name}`{line}: {}", error.problem);
            error.line = place.line;
        }
        let name = name.to_owned();
        let partial = Partial {
            name,
            scope,
            body,
            place,
        };
        self.nodes.push(Node::Partial(Box::new(partial)));
    }

    /// A partial's nodes, or those of the block that its layout is put around, which is the caller's own text.
    fn included(&mut self, name: &str, template: Option<&Parsed>, depth: usize) -> Vec<Node> {
        let (source, callers) = (self.source, self.callers.len());
        let caller = if name == partials::BLOCK {
            self.callers.pop()
        } else {
            None
        };
        match caller {
            Some(caller) => self.source = caller,
            None => {
                self.callers.push(source);
                self.source = self.sources;
                self.sources += 1;
            }
        }
        let nodes = self.list(template, depth);
        self.callers.truncate(callers);
        self.callers.extend(caller);
        self.source = source;
        nodes
    }

    fn block(&mut self, helper: &HelperTemplate, depth: usize) {
        if let Some(name) = partials::name_of(helper) {
            return self.partial(name, helper, depth);
        }
        let Some(name) = name_of(&helper.name) else {
            return self.refuse("a helper's name must be written, not computed");
        };
        if name == "raw" {
            let inner = self.list(helper.template.as_ref(), depth + 1);
            return self.nodes.extend(inner);
        }
        let is_section = is_section(name, helper);
        let value = if is_section {
            self.expr(&helper.name, depth)
        } else {
            self.block_value(name, helper, depth)
        };
        let Some((value, origin)) = value else {
            return;
        };
        let include_zero = self.block_options(name, helper, depth);
        let place = self.place;
        let is_if = matches!(name, "if" | "unless");
        let frame = (!is_if).then(|| Frame {
            is_section,
            ..named_frame(helper, origin, self.source)
        });
        let repeats = !is_if && name != "with";
        let (body, inverse) = self.branches(helper, frame, repeats, depth);
        let block = Block {
            value,
            body,
            inverse,
            place,
        };
        self.nodes.push(match name {
            "if" | "unless" => Node::If(Box::new(If {
                block,
                wanted: name == "if",
                include_zero,
            })),
            "each" => Node::Each(Box::new(block)),
            "with" => Node::With(Box::new(block)),
            _ => Node::Section(Box::new(block)),
        });
    }

    /// The one parameter of a block's helper.
    fn block_value(&mut self, name: &str, helper: &HelperTemplate, depth: usize) -> Option<(Expr, Origin)> {
        if !BLOCKS.contains(&name) {
            self.refuse(format!(
                "`{name}` is not one of the helpers that stand here: {}",
                BLOCKS.join(", ")
            ));
            return None;
        }
        match &helper.params[..] {
            [param] => self.expr(param, depth),
            params => {
                self.refuse(format!(
                    "the helper `{name}` needs a parameter, not {}",
                    params.len()
                ));
                None
            }
        }
    }

    /// The one option that a block's helper can have.
    fn block_options(&mut self, name: &str, helper: &HelperTemplate, depth: usize) -> Option<Expr> {
        let mut include_zero = None;
        for (option, param) in &helper.hash {
            if matches!(name, "if" | "unless") && option == "includeZero" {
                include_zero = self.expr(param, depth).map(|(value, _)| value);
            } else {
                self.refuse(format!("the helper `{name}` has no option `{option}`"));
            }
        }
        include_zero
    }

    /// Both sides of a block; the first, which a loop `repeats`, in a scope of its own, if it makes one.
    fn branches(
        &mut self,
        helper: &HelperTemplate,
        frame: Option<Frame>,
        repeats: bool,
        depth: usize,
    ) -> (Vec<Node>, Vec<Node>) {
        let before = self.markup.clone();
        let scopes = self.frames.len();
        self.frames.extend(frame);
        let body = self.list(helper.template.as_ref(), depth + 1);
        self.frames.truncate(scopes);
        if repeats {
            self.join_again(before.as_ref());
        }
        let after_body = std::mem::replace(&mut self.markup, before);
        let inverse = self.list(helper.inverse.as_ref(), depth + 1);
        self.join_markup(after_body);
        (body, inverse)
    }
}

/// True of `{{#name}}`, where `name` is no helper.
pub(super) fn is_section(name: &str, helper: &HelperTemplate) -> bool {
    let is_known = BLOCKS.contains(&name) || partials::name_of(helper).is_some();
    !is_known && helper.params.is_empty() && helper.hash.is_empty()
}

/// The scope of a block, with what `as |item key|` calls its parts.
fn named_frame(helper: &HelperTemplate, origin: Origin, source: usize) -> Frame {
    let owned = |parameter| name_of(parameter).map(str::to_owned);
    let (item, key) = match &helper.block_param {
        Some(BlockParam::Single(item)) => (owned(item), None),
        Some(BlockParam::Pair((item, key))) => (owned(item), owned(key)),
        _ => (None, None),
    };
    Frame {
        item,
        key,
        ..Frame::of(origin, source)
    }
}
