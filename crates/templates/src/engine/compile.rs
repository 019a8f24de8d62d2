//! A source file into a program that is safe to render.

use handlebars::Template as Parsed;

use super::lower::{self, Usage};
use super::partials::{self, Partials};
use super::program::Program;
use super::source;

/// Tags of one file. The parser's time grows with their number times the file's size.
pub(crate) const TAGS_MAX: usize = 2_000;
/// Brackets of one file, of each kind: the parser recurses into them. Counted in the bare text, CSS included, since only the
/// parser knows for sure what is inside a tag.
const BRACKETS_MAX: usize = 4_000;
/// Backslashes in a row: at each of them the parser reads all that follow, in search of a tag that they escape.
const BACKSLASHES_MAX: usize = 16;
/// The parser recurses into blocks, brackets and, per character, hardly at all: this is several times what the densest
/// file within the bounds above needs. Only touched pages cost memory.
const STACK_BYTES: usize = 256 << 20;

/// How the names of sources end whose values are escaped for html.
const HTML: &str = ".html.hbs";

/// What is told of a parser's error.
const PROBLEM_CHARS_MAX: usize = 300;

/// A compiled source file.
pub(crate) struct Compiled {
    /// Its path in the bundle.
    pub(crate) file: &'static str,
    pub(crate) usage: Usage,
    pub(crate) program: Program,
    /// For rules that look at the tree.
    pub(super) template: Parsed,
}

/// What is wrong with a source file.
#[derive(Debug)]
pub(crate) struct SourceError {
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

impl SourceError {
    fn whole(problem: impl Into<String>) -> Vec<Self> {
        vec![Self {
            line: None,
            problem: problem.into(),
        }]
    }
}

/// Compiles a source, of which and of each of whose partials the bytes are within [`crate::FILE_BYTES_MAX`].
pub(crate) fn compile(
    file: &'static str,
    source: &[u8],
    partials: &Partials<'_>,
) -> Result<Compiled, Vec<SourceError>> {
    // What is refused is dropped in there too: dropping recurses as well.
    let compile = || -> Result<Compiled, Vec<SourceError>> {
        let mut template = parse(source)?;
        partials::include(&mut template, partials)?;
        let (program, usage) = lower::lower(&template, file.ends_with(HTML))?;
        Ok(Compiled {
            file,
            usage,
            program,
            template,
        })
    };
    let compiled = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, compile)
            .map(std::thread::ScopedJoinHandle::join)
    });
    match compiled {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(_)) => Err(SourceError::whole("the parser panicked")),
        Err(error) => Err(SourceError::whole(format!("no thread to parse it: {error}"))),
    }
}

/// Parses what the parser can be trusted with. Recurses.
pub(super) fn parse(source: &[u8]) -> Result<Parsed, Vec<SourceError>> {
    let source = std::str::from_utf8(source).map_err(|_| SourceError::whole("is not UTF-8"))?;
    let tags = source.matches("{{").count();
    if tags > TAGS_MAX {
        return Err(SourceError::whole(format!(
            "has {tags} tags; at most {TAGS_MAX} are allowed"
        )));
    }
    for bracket in ['(', '[', '{'] {
        let count = source.matches(bracket).count();
        if count > BRACKETS_MAX + 2 * tags {
            return Err(SourceError::whole(format!(
                "has {count} of `{bracket}`; at most {BRACKETS_MAX} are allowed outside tags"
            )));
        }
    }
    if source.contains(&"\\".repeat(BACKSLASHES_MAX + 1)) {
        return Err(SourceError::whole(format!(
            "has more than {BACKSLASHES_MAX} backslashes in a row"
        )));
    }
    Parsed::compile(&source::bridge(source)).map_err(|error| {
        let (line, _) = error.pos().unzip();
        // It may quote the whole file.
        let problem = error.reason().to_string();
        let problem = problem.chars().take(PROBLEM_CHARS_MAX).collect();
        vec![SourceError { line, problem }]
    })
}
