//! One template: its files compiled, its manifest read, ready to check data and to render.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use paceline_domain::canonical::RESERVED_NAME;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use serde_json::{Map, Value, json};

use crate::build::{self, Built, Origin};
use crate::bundle::{self, BundleHash, Files, InvalidBundle};
use crate::engine::{self, Compiled, Limits, Meter, RenderError, RenderFault};
use crate::finding::{Finding, Rule};
use crate::manifest::Manifest;
use crate::plain;
use crate::reader::{self, HTML, MJML};
use crate::schema::{Schema, Violation};

/// A subject's bytes: what one line of a header holds (RFC 5322, 2.1.1).
pub(crate) const SUBJECT_BYTES_MAX: usize = 998;

/// The headers of a link to unsubscribe (RFC 2369, RFC 8058), which nobody but Paceline writes where mail has one.
pub const UNSUBSCRIBE_HEADERS: [&str; 2] = ["List-Unsubscribe", "List-Unsubscribe-Post"];

/// What Paceline itself says to a template, under [`RESERVED_NAME`].
pub(crate) const OWN_VALUES: [&str; 4] = ["lane", "message_id", "template", "unsubscribe_url"];

/// A compiled template.
pub struct Template {
    pub(crate) manifest: Manifest,
    pub(crate) hash: BundleHash,
    pub(crate) bundle: Bytes,
    pub(crate) source_bytes: usize,
    pub(crate) schema: Schema,
    pub(crate) subject: Compiled,
    pub(crate) html: Compiled,
    /// Without it the text is derived from the html.
    pub(crate) text: Option<Compiled>,
    /// True of a text that nobody wrote, which was derived when the bundle was built.
    pub(crate) is_text_derived: bool,
    pub(crate) examples: Vec<Example>,
    /// The hash of the files that it was built from: its own for a bundle that came built.
    pub(crate) authored: BundleHash,
    /// Where its html comes from, if that is known.
    pub(crate) origin: Option<Origin>,
}

/// One of a template's examples.
#[derive(Clone)]
pub struct Example {
    /// The file's name without `examples/` and `.json`.
    pub name: String,
    pub data: Map<String, Value>,
}

/// What a message is rendered from.
pub struct RenderInput {
    pub data: Map<String, Value>,
    pub message_id: MessageId,
    pub lane: Lane,
    /// For mail that people can unsubscribe from.
    pub unsubscribe_url: Option<String>,
}

/// The parts of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub html: String,
    pub text: String,
}

/// A bundle that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Invalid(#[from] InvalidBundle),
    #[error("{}", describe(.0))]
    Findings(Vec<Finding>),
}

fn describe(findings: &[Finding]) -> String {
    let texts: Vec<_> = findings.iter().map(Finding::to_string).collect();
    texts.join("; ")
}

impl Template {
    /// Builds and compiles the files of a bundle as they are written. Its hash and its bytes are those of the built files.
    ///
    /// # Errors
    /// Everything that is wrong with them, short of rendering the examples.
    pub fn from_files(files: &Files) -> Result<Self, BundleError> {
        bundle::check_bounds(files)?;
        Self::from_built(build::run(files), bundle::hash(files)).0
    }

    /// Compiles what was built of files with the hash `authored`; also tells what building had to say that forbids nothing.
    pub(crate) fn from_built(
        built: Built,
        authored: BundleHash,
    ) -> (Result<Self, BundleError>, Vec<Finding>) {
        let Built {
            files,
            findings,
            origin,
        } = built;
        let (mut wrong, warnings): (Vec<_>, Vec<_>) = findings.into_iter().partition(Finding::forbids);
        let compiled = bundle::pack(&files).map(|(hash, bundle)| reader::compile(&files, hash, bundle));
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(error) => return (Err(error.into()), warnings),
        };
        // Html that could not be made is not missing.
        let is_told = |finding: &Finding| {
            let of_mjml = wrong.iter().any(|wrong| wrong.file == MJML);
            of_mjml && finding.file == HTML && finding.rule == Rule::MissingFile
        };
        let of_source = |finding: Finding| match &origin {
            Some(origin) => origin.of(finding),
            None => finding,
        };
        let template = match compiled {
            Ok(template) if wrong.is_empty() => Ok(Self {
                authored,
                origin,
                ..template
            }),
            Ok(_) => Err(BundleError::Findings(wrong)),
            Err(findings) => {
                let findings: Vec<_> = findings
                    .into_iter()
                    .filter(|finding| !is_told(finding))
                    .map(of_source)
                    .collect();
                wrong.extend(findings);
                Err(BundleError::Findings(wrong))
            }
        };
        (template, warnings)
    }

    /// Builds and compiles the bundle in a folder.
    ///
    /// # Errors
    /// As [`Template::from_files`], and if the folder can't be read.
    pub fn from_folder(folder: &Path) -> Result<Self, BundleError> {
        Self::from_files(&bundle::read_folder(folder)?)
    }

    /// Compiles a bundle as [`Template::bundle_bytes`] gave it, which is built: nothing of it is built again. The caller compares the hash with the one it asked for.
    ///
    /// # Errors
    /// If the bytes are no bundle, or one that this release can't compile.
    pub fn from_bundle_bytes(packed: &[u8]) -> Result<Self, BundleError> {
        let files = bundle::unpack(packed)?;
        let (hash, bundle) = bundle::pack(&files)?;
        reader::compile(&files, hash, bundle).map_err(BundleError::Findings)
    }

    /// The same, built of files with this hash.
    #[must_use]
    pub const fn built_of(mut self, authored: BundleHash) -> Self {
        self.authored = authored;
        self
    }

    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What a message pins.
    #[must_use]
    pub const fn hash(&self) -> BundleHash {
        self.hash
    }

    /// The bundle, packed, from which any renderer can make this template again.
    #[must_use]
    pub fn bundle_bytes(&self) -> Bytes {
        self.bundle.clone()
    }

    /// Its compiled files, as far as somebody wrote them.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Compiled> {
        let text = self.text.as_ref().filter(|_| !self.is_text_derived);
        [Some(&self.subject), Some(&self.html), text]
            .into_iter()
            .flatten()
    }

    /// A link that leads nowhere, for a rendering that is not sent: of mail in `lane`, if that has one.
    #[must_use]
    pub fn sample_unsubscribe_url(&self, lane: Lane) -> Option<String> {
        self.manifest
            .category_in(lane)
            .map(|_| "https://unsubscribe.example/unsubscribe/sample".to_owned())
    }

    /// In the order of their names.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Holds data to the schema.
    ///
    /// # Errors
    /// What does not fit, by path and without values.
    pub fn validate(&self, data: &Map<String, Value>) -> Result<(), Vec<Violation>> {
        // The validator takes a `Value`; an object's map can be lent to it only inside one.
        self.schema.validate(&Value::Object(data.clone()))
    }

    /// Renders one of its examples, as a message that no one gets.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_example(&self, example: &Example) -> Result<Rendered, RenderError> {
        let lane = self.manifest.lane;
        self.render(RenderInput {
            data: example.data.clone(),
            message_id: MessageId([0; 16]),
            lane,
            unsubscribe_url: self.sample_unsubscribe_url(lane),
        })
    }

    /// Renders a message within the default bounds.
    ///
    /// # Errors
    /// If a variable is missing, a bound is met, or the result is no email.
    pub fn render(&self, input: RenderInput) -> Result<Rendered, RenderError> {
        self.render_within(input, &Limits::default())
    }

    /// Renders a message within `limits`.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_within(&self, input: RenderInput, limits: &Limits) -> Result<Rendered, RenderError> {
        let data = self.with_own_values(input);
        let rendered = catch_unwind(AssertUnwindSafe(|| {
            self.render_parts(&data, &mut Meter::new(limits, &engine::cpu_time))
        }));
        rendered.unwrap_or_else(|_| Err(self.error(self.html.file, RenderFault::Panicked)))
    }

    /// The data with what Paceline itself knows, under a name that the caller can't use.
    fn with_own_values(&self, input: RenderInput) -> Value {
        let mut data = input.data;
        let mut own = json!({
            "message_id": input.message_id.to_string(),
            "template": self.manifest.name,
            "lane": input.lane.as_str(),
        });
        if let Some(url) = input.unsubscribe_url {
            own["unsubscribe_url"] = url.into();
        }
        data.insert(RESERVED_NAME.to_owned(), own);
        Value::Object(data)
    }

    /// Renders a line with one of the examples, within the default bounds.
    pub(crate) fn render_line(&self, line: &Compiled, example: &Example) -> Option<String> {
        let lane = self.manifest.lane;
        let data = self.with_own_values(RenderInput {
            data: example.data.clone(),
            message_id: MessageId([0; 16]),
            lane,
            unsubscribe_url: self.sample_unsubscribe_url(lane),
        });
        engine::render(
            &line.program,
            &data,
            &mut Meter::new(&Limits::default(), &engine::cpu_time),
        )
        .ok()
    }

    fn render_parts(&self, data: &Value, meter: &mut Meter<'_>) -> Result<Rendered, RenderError> {
        let mut part = |compiled: &Compiled| {
            engine::render(&compiled.program, data, meter).map_err(|failure| RenderError {
                line: self.authored_line(compiled, failure.line),
                field: failure.field,
                partial: failure.partial.map(Box::new),
                ..self.error(compiled.file, failure.fault)
            })
        };
        let subject = part(&self.subject)?;
        check_subject(&subject).map_err(|fault| self.error(self.subject.file, fault))?;
        let html = part(&self.html)?;
        let text = match &self.text {
            Some(text) if self.is_text_derived => {
                let text = part(text).map_err(|error| self.error(HTML, error.fault))?;
                plain::rendered(&text)
            }
            Some(text) => Ok(part(text)?),
            None => plain::derive(&html),
        };
        let text =
            text.map_err(|problem| self.error(self.html.file, RenderFault::TextNotDerivable { problem }))?;
        Ok(Rendered { subject, html, text })
    }

    /// The line of what its author wrote.
    fn authored_line(&self, compiled: &Compiled, line: Option<usize>) -> Option<usize> {
        match &self.origin {
            Some(origin) if compiled.file == HTML => origin.line(line),
            _ => line,
        }
    }

    fn error(&self, file: &'static str, fault: RenderFault) -> RenderError {
        let origin = self.origin.as_ref().filter(|_| file == HTML);
        RenderError {
            template: format!("{} {}", self.manifest.name, self.manifest.version),
            file: origin.map_or(file, |origin| origin.file),
            line: None,
            field: None,
            partial: None,
            fault,
        }
    }
}

fn check_subject(subject: &str) -> Result<(), RenderFault> {
    if subject.trim().is_empty() {
        return Err(RenderFault::SubjectEmpty);
    }
    // The line and paragraph separators too: some clients break the line there.
    if subject
        .chars()
        .any(|char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}'))
    {
        return Err(RenderFault::SubjectNotOneLine);
    }
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(RenderFault::SubjectTooLong {
            max: SUBJECT_BYTES_MAX,
        });
    }
    Ok(())
}
