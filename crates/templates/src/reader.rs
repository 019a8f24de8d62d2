//! The files of a bundle into a template, with everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use paceline_domain::canonical::parse_data;

use crate::build::DERIVED;
use crate::bundle::{BundleHash, Files};
use crate::engine::{self, Compiled};
use crate::finding::{Finding, Rule};
use crate::manifest::Manifest;
use crate::schema::Schema;
use crate::template::{Example, Template};

pub(crate) const MANIFEST: &str = "template.toml";
pub(crate) const SUBJECT: &str = "subject.hbs";
pub(crate) const HTML: &str = "body.html.hbs";
/// Instead of the html, which is made of it.
pub(crate) const MJML: &str = "body.mjml.hbs";
pub(crate) const TEXT: &str = "body.txt.hbs";
pub(crate) const SCHEMA: &str = "schema.json";
pub(crate) const EXAMPLES: &str = "examples/";
pub(crate) const PARTIALS: &str = "partials/";

/// Compiles the built files of a bundle that is within its bounds.
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
    let is_text_derived = files
        .get(TEXT)
        .is_some_and(|text| text.starts_with(DERIVED.as_bytes()));
    let schema = reader.schema();
    let examples = reader.examples();
    if let Some(manifest) = &manifest {
        let sources = [
            subject.as_ref(),
            html.as_ref(),
            text.as_ref()
                .and_then(Option::as_ref)
                .filter(|_| !is_text_derived),
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
                is_text_derived,
                examples,
                authored: hash,
                origin: None,
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
    fn add(&mut self, rule: Rule, file: &str, description: impl Into<String>) {
        self.findings.push(Finding::new(rule, file, description));
    }

    fn required(&mut self, file: &str) -> Option<&[u8]> {
        if !self.files.contains_key(file) {
            self.add(Rule::MissingFile, file, "is missing");
        }
        self.files.get(file).map(Vec::as_slice)
    }

    fn refuse_strangers(&mut self) {
        let known = [MANIFEST, SUBJECT, HTML, TEXT, SCHEMA];
        let files = self.files;
        for path in files.keys() {
            let is_known = known.contains(&path.as_str());
            if !is_known && example_name(path).is_none() && partial_name(path).is_none() {
                self.add(Rule::UnknownFile, path, "is not a file that a bundle has");
            }
        }
    }

    fn manifest(&mut self) -> Option<Manifest> {
        let parsed = Manifest::parse(self.required(MANIFEST)?);
        parsed
            .map_err(|problems| {
                problems
                    .into_iter()
                    .for_each(|problem| self.add(Rule::Manifest, MANIFEST, problem))
            })
            .ok()
    }

    fn schema(&mut self) -> Option<Schema> {
        let parsed = Schema::parse(self.required(SCHEMA)?);
        parsed
            .map_err(|problem| self.add(Rule::Schema, SCHEMA, problem))
            .ok()
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
        let files = self.files.iter();
        let partials = files.filter_map(|(path, source)| Some((partial_name(path)?, source.as_slice())));
        engine::compile(file, source, &partials.collect())
            .map_err(|errors| {
                let findings = errors.into_iter();
                self.findings.extend(
                    findings.map(|error| Finding::new(Rule::Syntax, file, error.problem).at(error.line)),
                );
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
                Err(error) => self.add(Rule::ExampleInvalid, path, error.to_string()),
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
                Rule::VolatilePrinted,
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

pub(crate) fn partial_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix(PARTIALS)?.strip_suffix(".hbs")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}
