//! Why a message could not be rendered: template, file, line, variable. Never a value.

use std::fmt;

/// A message that can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RenderError {
    /// Name and version of the template.
    pub template: String,
    pub file: &'static str,
    pub line: Option<usize>,
    /// The partial that is included there, and the line in it, if that is where it failed.
    pub partial: Option<Box<(Box<str>, Option<usize>)>>,
    /// The variable of the tag that failed, as it is written there.
    pub field: Option<Box<str>>,
    pub fault: RenderFault,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {}, {}", self.template, self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some((name, line)) = self.partial.as_deref() {
            write!(f, ", partial {name}")?;
            if let Some(line) = line {
                write!(f, " line {line}")?;
            }
        }
        match (&self.field, &self.fault) {
            // It tells the variable itself: the one that is missing may be another parameter of the tag.
            (_, RenderFault::MissingVariable { .. }) | (None, _) => {}
            (Some(field), _) => write!(f, ", `{field}`")?,
        }
        write!(f, ": {}", self.fault)
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    #[error("the variable `{variable}` is missing")]
    MissingVariable { variable: String },
    #[error("is null; print it within an `if`, or with `default`")]
    Null,
    #[error("is an object; print one of its fields")]
    Object,
    #[error("a list has no field `{name}`; only a number leads into it")]
    ListHasNoNames { name: String },
    #[error("{helper}: {problem}")]
    Helper { helper: &'static str, problem: String },
    #[error("makes the `{attribute}` a `{scheme}:` URL")]
    RefusedUrl {
        attribute: &'static str,
        scheme: &'static str,
    },
    #[error("is html that ends in another place than it begins, such as inside a tag")]
    UnfinishedHtml,
    #[error("the output is larger than allowed")]
    OutputTooLarge,
    #[error("rendering takes longer than allowed")]
    TooSlow,
    #[error("its loops have more rounds than allowed")]
    TooManyRounds,
    #[error("the subject is empty")]
    SubjectEmpty,
    #[error("the subject has a line break or another control character")]
    SubjectNotOneLine,
    #[error("the subject has more than {max} bytes")]
    SubjectTooLong { max: usize },
    #[error("no plain text can be derived from the html: {problem}")]
    TextNotDerivable { problem: &'static str },
    #[error("the engine panicked")]
    Panicked,
}
