//! What people write into what is rendered, once, when a bundle is loaded or published.
//!
//! MJML becomes html, CSS goes into the elements, the preheader and the color scheme into the html, and a text is derived. The **built** files
//! are what is compiled, hashed, pinned by messages and stored: whoever renders a stored bundle builds nothing, and knows nothing of
//! all this. A built manifest has none of the fields that ask for it.
//!
//! Every source stays as it is written but for what is put in: its lines are the same lines, so that an error names the line that its
//! author knows. Of MJML, a built line leads back by what handlebars prints there.

mod css;
mod flatten;
mod head;
mod inline;
mod markup;
mod mjml;
mod mustache;
mod text;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{self, Files, InvalidBundle};
use crate::finding::{Finding, Rule};
use crate::manifest::{Authoring, Manifest};
use crate::preheader;
use crate::reader::{HTML, MANIFEST, MJML, SUBJECT, TEXT, partial_name};
pub(crate) use head::HIDDEN;
pub(crate) use text::DERIVED;
use view::Source;

/// Parsers recurse into what is nested.
const STACK_BYTES: usize = 256 << 20;

/// The files of a bundle as they are rendered, and stored.
///
/// # Errors
/// What forbids to build them, by the authored files; that they compile is not said.
pub fn build(files: &Files) -> Result<Files, Vec<Finding>> {
    bundle::check_bounds(files).map_err(|error| vec![Finding::new(Rule::Size, "", error.to_string())])?;
    let built = run(files);
    let wrong: Vec<_> = built.findings.into_iter().filter(Finding::forbids).collect();
    if wrong.is_empty() {
        Ok(built.files)
    } else {
        Err(wrong)
    }
}

/// What is left of a page for its text; `None` if it has more tags than that.
pub(crate) fn flatten_page(html: &str, tags_max: usize) -> Option<String> {
    let pieces = markup::scan(html, &[]);
    let starts = pieces
        .iter()
        .filter(|piece| matches!(piece, markup::Piece::Start(_)))
        .count();
    let ends = pieces
        .iter()
        .filter(|piece| matches!(piece, markup::Piece::End { .. }))
        .count();
    if starts.max(ends) > tags_max {
        return None;
    }
    let words = flatten::Words {
        mustaches: &[],
        word: &|_| None,
        is_block: &|_| false,
    };
    flatten::flatten(html, &pieces, &words).ok()
}

/// The line of the first tag that has so many attributes that tokenizers, which hold each against all before it, take long.
pub(crate) fn crowded_tag(html: &str) -> Option<usize> {
    let is_crowded = |tag: &markup::Tag| tag.attributes.len() >= markup::ATTRIBUTES_MAX;
    markup::scan(html, &[]).iter().find_map(|piece| match piece {
        markup::Piece::Start(tag) if is_crowded(tag) => Some(mustache::line_at(html, tag.range.start)),
        _ => None,
    })
}

/// Built files, and what is to be said of how they were built.
pub(crate) struct Built {
    pub(crate) files: Files,
    pub(crate) findings: Vec<Finding>,
    pub(crate) origin: Option<Origin>,
}

/// Where a built html comes from, if not from a source of its own name.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) file: &'static str,
    /// The authored line of each built one.
    lines: Vec<Option<usize>>,
}

impl Origin {
    pub(crate) fn line(&self, built: Option<usize>) -> Option<usize> {
        self.lines.get(built?.checked_sub(1)?).copied().flatten()
    }

    /// A finding of the built html as one of what was written.
    pub(crate) fn of(&self, finding: Finding) -> Finding {
        if finding.rule == Rule::VolatilePrinted {
            let description = finding.description.replace(HTML, self.file);
            return Finding {
                description,
                ..finding
            };
        }
        if finding.file != HTML {
            return finding;
        }
        Finding {
            file: self.file.to_owned(),
            line: self.line(finding.line),
            ..finding
        }
    }
}

/// Builds files that are within the bounds of authored ones.
pub(crate) fn run(files: &Files) -> Built {
    let build = || Build::new(files).run();
    let built = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("build".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, build)
            .map(std::thread::ScopedJoinHandle::join)
    });
    match built {
        Ok(Ok(built)) => built,
        Ok(Err(_)) => unbuilt(files, "building it panicked".to_owned()),
        Err(error) => unbuilt(files, format!("no thread to build it: {error}")),
    }
}

fn unbuilt(files: &Files, problem: String) -> Built {
    Built {
        files: files.clone(),
        findings: vec![Finding::new(Rule::Markup, "", problem)],
        origin: None,
    }
}

struct Build<'a> {
    authored: &'a Files,
    built: Built,
}

impl<'a> Build<'a> {
    fn new(authored: &'a Files) -> Self {
        Self {
            authored,
            built: Built {
                files: authored.clone(),
                findings: Vec::new(),
                origin: None,
            },
        }
    }

    fn run(mut self) -> Built {
        // What is wrong with a manifest is told where it is read for good.
        let manifest = self.authored.get(MANIFEST);
        let asked = manifest
            .and_then(|content| Manifest::parse(content).ok())
            .map(|manifest| manifest.authoring);
        let asked = asked.unwrap_or_default();
        self.mjml();
        if asked.inlines_css {
            self.inline();
        }
        self.text();
        self.head(&asked);
        self.built
    }

    fn text_of(&self, file: &str) -> Option<&str> {
        std::str::from_utf8(self.built.files.get(file)?).ok()
    }

    fn tell(&mut self, finding: Finding) {
        self.built.findings.push(finding);
    }

    /// `body.mjml.hbs` into html.
    fn mjml(&mut self) {
        let Some(source) = self.built.files.remove(MJML) else {
            return;
        };
        if self.built.files.contains_key(HTML) {
            let text = format!("stands beside {HTML}: one of the two is the html");
            return self.tell(Finding::new(Rule::Markup, MJML, text));
        }
        let source = String::from_utf8(source).map_err(|_| vec![(None, "is not UTF-8".to_owned())]);
        match source.and_then(|source| mjml::to_html(&source)) {
            Ok(html) => {
                for (line, warning) in html.warnings {
                    self.tell(Finding::new(Rule::ColumnWidth, MJML, warning).at(line));
                }
                self.built.files.insert(HTML.to_owned(), html.text.into_bytes());
                let lines = html.lines;
                self.built.origin = Some(Origin { file: MJML, lines });
            }
            Err(problems) => {
                for (line, problem) in problems {
                    self.tell(Finding::new(Rule::Markup, MJML, problem).at(line));
                }
            }
        }
    }

    /// `None` if a source is not understood.
    fn sources(&self) -> Option<Sources> {
        let mut sources = vec![Source::new(HTML, self.text_of(HTML)?)?];
        let mut names = BTreeMap::new();
        for file in self.built.files.keys() {
            if let Some(name) = partial_name(file) {
                names.insert(name.to_owned(), sources.len());
                sources.push(Source::new(file, self.text_of(file)?)?);
            }
        }
        let mut elsewhere = BTreeSet::new();
        for file in [SUBJECT, TEXT] {
            let Some(text) = self.text_of(file) else {
                continue;
            };
            let mut wanted: Vec<_> = included(&mustache::scan(text)?).collect();
            while let Some(name) = wanted.pop() {
                if let Some(&source) = names.get(&name)
                    && elsewhere.insert(source)
                {
                    wanted.extend(included(&sources[source].mustaches));
                }
            }
        }
        Some(Sources {
            sources,
            names,
            elsewhere,
        })
    }

    fn inline(&mut self) {
        // What is not understood here is told by the compiler.
        let Some(sources) = self.sources() else {
            return;
        };
        let mut inlined = inline::inline(&sources);
        let changed = inlined.changed.into_iter();
        let changed: Vec<_> = changed.map(|(file, text)| (file, text.into_bytes())).collect();
        if let Err(too_large) = self.add(changed) {
            let text = format!("its CSS is not inlined: with it, {too_large}");
            inlined.warnings = vec![Finding::new(Rule::NotInlined, HTML, text)];
        }
        for warning in inlined.warnings {
            let warning = match &self.built.origin {
                Some(origin) => origin.of(warning),
                None => warning,
            };
            self.tell(warning);
        }
    }

    /// A text, where none is written and one can be derived for all data.
    fn text(&mut self) {
        if self.built.files.contains_key(TEXT) {
            return;
        }
        let derived = self
            .sources()
            .and_then(|sources| text::derive(&sources))
            .unwrap_or_default();
        // Where there is no room for it, each email's is derived.
        let _ = self.add(derived);
    }

    /// Adds files, or replaces them, if the bundle stays within its bounds.
    fn add(&mut self, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<(), InvalidBundle> {
        let mut with = self.built.files.clone();
        with.extend(files);
        bundle::check_built_bounds(&with)?;
        self.built.files = with;
        Ok(())
    }

    /// Preheader and color scheme, and a manifest without what asked for all this.
    fn head(&mut self, asked: &Authoring) {
        if asked.is_said {
            let manifest = self.text_of(MANIFEST).and_then(head::built_manifest);
            if let Some(manifest) = manifest {
                self.built
                    .files
                    .insert(MANIFEST.to_owned(), manifest.into_bytes());
            }
        }
        if let Some(preheader) = &asked.preheader
            && let Err(problems) = preheader::compile(preheader)
        {
            for problem in problems {
                self.tell(Finding::new(
                    Rule::Syntax,
                    MANIFEST,
                    format!("preheader: {problem}"),
                ));
            }
            return;
        }
        let mjml = self.authored.get(MJML).filter(|_| self.built.origin.is_some());
        let has_preview = mjml.is_some_and(|source| String::from_utf8_lossy(source).contains("<mj-preview"));
        if asked.preheader.is_some() && has_preview {
            let text =
                format!("preheader: {MJML} has an mj-preview, which is the same; one of the two is enough");
            return self.tell(Finding::new(Rule::Manifest, MANIFEST, text));
        }
        if asked.preheader.is_none() && asked.color_scheme.is_none() {
            return;
        }
        let Some(sources) = self.sources() else {
            return;
        };
        match head::put_in(&sources, asked) {
            Ok(changed) => {
                for (file, text) in changed {
                    self.built.files.insert(file, text.into_bytes());
                }
            }
            Err(problem) => self.tell(Finding::new(Rule::Manifest, MANIFEST, problem)),
        }
    }
}

/// The html of a bundle, and what it may include.
struct Sources {
    /// The html first, then the partials.
    sources: Vec<Source>,
    /// The partials by name.
    names: BTreeMap<String, usize>,
    /// Those that are used where no html is, too.
    elsewhere: BTreeSet<usize>,
}

/// The names of partials that tags include.
fn included(tags: &[mustache::Mustache]) -> impl Iterator<Item = String> {
    tags.iter()
        .filter(|tag| matches!(tag.kind, mustache::Kind::Partial | mustache::Kind::Layout))
        .map(|tag| tag.name.clone())
}
