//! Renders compiled files, all of one message under one meter.

use std::io;
use std::sync::LazyLock;

use handlebars::{Context, Handlebars, Output, RenderContext, Renderable, html_escape, no_escape};

use super::compile::Compiled;
use super::error::{RenderFault, fault_of};
use super::{helpers, meter};

/// What `{{value}}` does to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    Html,
    /// For subjects and plain text.
    Nothing,
}

static HTML: LazyLock<Handlebars<'static>> = LazyLock::new(|| registry(html_escape));
static PLAIN: LazyLock<Handlebars<'static>> = LazyLock::new(|| registry(no_escape));

fn registry(escape: fn(&str) -> String) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(escape);
    helpers::register(&mut registry);
    registry
}

/// Where and why a file could not be rendered.
pub(crate) struct Failure {
    pub(crate) line: Option<usize>,
    pub(crate) fault: RenderFault,
}

/// Renders one file. Must run inside [`meter::metered`], or nothing bounds it.
pub(crate) fn render(compiled: &Compiled, escape: Escape, context: &Context) -> Result<String, Failure> {
    let registry = match escape {
        Escape::Html => &*HTML,
        Escape::Nothing => &*PLAIN,
    };
    let mut output = Metered(String::with_capacity(8 * 1024));
    let mut state = RenderContext::new(None);
    match compiled
        .template
        .render(registry, context, &mut state, &mut output)
    {
        Ok(()) => Ok(output.0),
        Err(error) => Err(Failure {
            line: error.line_no,
            fault: meter::fault().unwrap_or_else(|| fault_of(error.reason())),
        }),
    }
}

struct Metered(String);

impl Output for Metered {
    fn write(&mut self, text: &str) -> io::Result<()> {
        meter::output(text.len()).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(())
    }
}
