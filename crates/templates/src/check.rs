//! Checks a bundle: compiles it, and renders its examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use paceline_domain::canonical::parse_data;
use paceline_domain::id::MessageId;

use crate::bundle::{self, BundleHash, Files};
use crate::engine::{self, Compiled};
use crate::manifest::Manifest;
use crate::schema::Schema;
use crate::template::{Example, RenderInput, Template};

const MANIFEST: &str = "template.toml";
const SUBJECT: &str = "subject.hbs";
const HTML: &str = "body.html.hbs";
const TEXT: &str = "body.txt.hbs";
const SCHEMA: &str = "schema.json";
const EXAMPLES: &str = "examples/";

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's path inside the bundle; empty for the bundle as a whole.
    pub file: String,
    pub line: Option<usize>,
    pub description: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if let Some(line) = self.line {
                write!(f, " line {line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.description)
    }
}

impl Finding {
    fn new(file: &str, description: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            description: description.into(),
        }
    }
}

/// Everything that is wrong with a bundle: nothing, if it may be published.
#[must_use]
pub fn check(files: &Files) -> Vec<Finding> {
    let packed = match bundle::pack(files) {
        Ok(packed) => packed,
        Err(error) => return vec![Finding::new("", error.to_string())],
    };
    match compile(files, packed.0, packed.1) {
        Ok(template) => check_examples(&template),
        Err(findings) => findings,
    }
}

/// Every example must fit the schema and render.
pub(crate) fn check_examples(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    if template.examples.is_empty() {
        findings.push(Finding::new(EXAMPLES, "there must be at least one example"));
    }
    for example in &template.examples {
        let file = format!("{EXAMPLES}{}.json", example.name);
        if let Err(violations) = template.validate(&example.data) {
            findings.extend(violations.into_iter().map(|violation| {
                Finding::new(&file, format!("{} {}", violation.path, violation.description))
            }));
            continue;
        }
        let lane = template.manifest.lane;
        let rendered = template.render(RenderInput {
            data: example.data.clone(),
            message_id: MessageId([0; 16]),
            lane,
            unsubscribe_url: template.sample_unsubscribe_url(lane),
        });
        if let Err(error) = rendered {
            findings.push(Finding::new(&file, error.to_string()));
        }
    }
    findings
}

/// Compiles the files of a bundle that is within its bounds.
pub(crate) fn compile(files: &Files, hash: BundleHash, bundle: Bytes) -> Result<Template, Vec<Finding>> {
    let mut reader = Reader {
        files,
        findings: Vec::new(),
    };
    reader.refuse_strangers();
    let manifest = reader.manifest();
    let subject = reader.subject();
    let html = reader.source(HTML);
    let text = files.contains_key(TEXT).then(|| reader.source(TEXT));
    let schema = reader.schema();
    let examples = reader.examples();
    if let Some(manifest) = &manifest {
        let sources = [
            subject.as_ref(),
            html.as_ref(),
            text.as_ref().and_then(Option::as_ref),
        ];
        reader.refuse_printed_volatile(manifest, sources.into_iter().flatten());
    }
    match (manifest, schema, subject, html) {
        (Some(manifest), Some(schema), Some(subject), Some(html)) if reader.findings.is_empty() => {
            Ok(Template {
                manifest,
                hash,
                bundle,
                source_bytes: files.values().map(Vec::len).sum(),
                schema,
                subject,
                html,
                text: text.flatten(),
                examples,
            })
        }
        _ => Err(reader.findings),
    }
}

struct Reader<'a> {
    files: &'a Files,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn add(&mut self, file: &str, description: impl Into<String>) {
        self.findings.push(Finding::new(file, description));
    }

    fn required(&mut self, file: &str) -> Option<&[u8]> {
        if !self.files.contains_key(file) {
            self.add(file, "is missing");
        }
        self.files.get(file).map(Vec::as_slice)
    }

    fn refuse_strangers(&mut self) {
        let known = [MANIFEST, SUBJECT, HTML, TEXT, SCHEMA];
        let files = self.files;
        for path in files.keys() {
            if !known.contains(&path.as_str()) && example_name(path).is_none() {
                self.add(path, "is not a file that a bundle has");
            }
        }
    }

    fn manifest(&mut self) -> Option<Manifest> {
        let parsed = Manifest::parse(self.required(MANIFEST)?);
        parsed
            .map_err(|problems| {
                problems
                    .into_iter()
                    .for_each(|problem| self.add(MANIFEST, problem))
            })
            .ok()
    }

    fn schema(&mut self) -> Option<Schema> {
        let parsed = Schema::parse(self.required(SCHEMA)?);
        parsed.map_err(|problem| self.add(SCHEMA, problem)).ok()
    }

    /// The line break that editors put at a file's end is not part of the subject.
    fn subject(&mut self) -> Option<Compiled> {
        let source = self.required(SUBJECT)?;
        let source = source.strip_suffix(b"\n").unwrap_or(source);
        let source = source.strip_suffix(b"\r").unwrap_or(source).to_vec();
        self.compile_source(SUBJECT, &source)
    }

    fn source(&mut self, file: &'static str) -> Option<Compiled> {
        let source = self.required(file)?.to_vec();
        self.compile_source(file, &source)
    }

    fn compile_source(&mut self, file: &'static str, source: &[u8]) -> Option<Compiled> {
        engine::compile(file, source)
            .map_err(|errors| {
                self.findings.extend(errors.into_iter().map(|error| Finding {
                    file: file.to_owned(),
                    line: error.line,
                    description: error.problem,
                }));
            })
            .ok()
    }

    fn examples(&mut self) -> Vec<Example> {
        let files = self.files;
        let mut examples = Vec::new();
        for (path, content) in files {
            let Some(name) = example_name(path) else {
                continue;
            };
            match parse_data(content) {
                Ok(data) => examples.push(Example {
                    name: name.to_owned(),
                    data: data.into_inner(),
                }),
                Err(error) => self.add(path, error.to_string()),
            }
        }
        examples
    }

    /// A field that the recipient sees but the id does not: two different emails would pass for one message.
    fn refuse_printed_volatile<'c>(
        &mut self,
        manifest: &Manifest,
        sources: impl Iterator<Item = &'c Compiled>,
    ) {
        let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for source in sources {
            for field in &source.usage.fields {
                used.entry(field).or_default().insert(source.file);
            }
        }
        for (field, files) in used {
            if manifest.identity_fields.counts(field) || manifest.identity_fields.names(field) {
                continue;
            }
            let files: Vec<_> = files.into_iter().collect();
            self.add(
                MANIFEST,
                format!(
                    "`{field}` is used in {} but is not part of a message's identity: two emails that differ in it alone \
                     would be one; name it in `identity`, or in `volatile` if that is meant",
                    files.join(" and ")
                ),
            );
        }
    }
}

fn example_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix(EXAMPLES)?.strip_suffix(".json")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}
