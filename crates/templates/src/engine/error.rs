//! Why a message could not be rendered: template, file, line, variable. Never a value.

use std::fmt;

use handlebars::RenderErrorReason;

/// A message that can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RenderError {
    /// Name and version of the template.
    pub template: String,
    pub file: &'static str,
    pub line: Option<usize>,
    pub fault: RenderFault,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {}, {}", self.template, self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    #[error("the variable `{variable}` is missing")]
    MissingVariable { variable: String },
    #[error("a list has no field `{name}`; only a number leads into it")]
    ListHasNoNames { name: String },
    #[error("{helper}: {problem}")]
    Helper {
        helper: &'static str,
        problem: &'static str,
    },
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
    /// An error of handlebars that a compiled template should not meet.
    #[error("the engine failed: {problem}")]
    Engine { problem: &'static str },
}

/// The reasons of handlebars that carry a name from the template are passed on; the others, which may carry a value, are
/// only classed.
pub(super) fn fault_of(reason: &RenderErrorReason) -> RenderFault {
    match reason {
        RenderErrorReason::MissingVariable(variable) => RenderFault::MissingVariable {
            variable: variable.clone().unwrap_or_else(|| "?".to_owned()),
        },
        RenderErrorReason::InvalidJsonIndex(name) => RenderFault::ListHasNoNames { name: name.clone() },
        RenderErrorReason::NestedError(nested) => match nested.downcast_ref::<RenderFault>() {
            Some(fault) => fault.clone(),
            None => RenderFault::Engine {
                problem: "nested error",
            },
        },
        RenderErrorReason::HelperNotFound(_) => RenderFault::Engine {
            problem: "a helper is not there",
        },
        RenderErrorReason::ParamNotFoundForIndex(helper, _) => RenderFault::Helper {
            helper,
            problem: "a parameter is missing",
        },
        _ => RenderFault::Engine {
            problem: "an error without a name",
        },
    }
}
