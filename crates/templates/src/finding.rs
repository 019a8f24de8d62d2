//! What a check says of a bundle.

use std::fmt;

/// Whether a bundle may be published all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Warning,
    /// Forbids publishing.
    Error,
}

impl Severity {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Defines the rules once: their stable name in reports, their severity, and what they ask for.
macro_rules! rules {
    ($($variant:ident, $name:literal, $severity:ident, $asks:literal;)*) => {
        /// What a finding is about. The names are stable: people's settings and baselines refer to them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $asks] $variant,)*
        }

        impl Rule {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }

            /// What it asks for, as a sentence.
            #[must_use]
            pub const fn asks(self) -> &'static str {
                match self {
                    $(Self::$variant => $asks,)*
                }
            }
        }
    };
}

rules! {
    Size, "size", Error, "A bundle and each of its files are within their bounds, and readable.";
    UnknownFile, "unknown-file", Error, "A bundle has no files but those that it is made of.";
    MissingFile, "missing-file", Error, "A bundle has a manifest, a subject, html and a schema.";
    Folder, "folder", Error, "A folder has the name of its template, and each version is there once.";
    Manifest, "manifest", Error, "template.toml has the fields that it may have, with values that fit.";
    Schema, "schema", Error, "schema.json is a JSON Schema (2020-12) within bounds, or the shorthand.";
    Syntax, "syntax", Error, "A source parses, within bounds, and uses helpers that there are.";
    UnknownVariable, "unknown-variable", Error, "Every variable that is used is a field of the schema.";
    UnusedField, "unused-field", Warning, "Every required field of the schema is used.";
    VolatilePrinted, "volatile-printed", Error, "A field that is printed is part of the message's identity, unless the manifest says otherwise.";
    IdentityUnknown, "identity-unknown", Error, "Every field of `identity` is a field of the schema.";
    Fallback, "fallback", Error, "A fallback is there, ends, is of the same lane and category, and takes the same data.";
    NoExample, "no-example", Error, "There is at least one example.";
    ExampleInvalid, "example-invalid", Error, "Every example is JSON that fits the schema.";
    ExampleFails, "example-fails", Error, "Every example renders.";
    NoPlainText, "no-plain-text", Error, "Every example has a plain text, written or derivable from the html.";
    LinkNotHttps, "link-not-https", Error, "Links and images are absolute https.";
    ImageWithoutAlt, "image-without-alt", Error, "Every image has an alt text; an empty one if it is for decoration.";
    NoUnsubscribeLink, "no-unsubscribe-link", Error, "Html and text of mail that one can unsubscribe from have `paceline.unsubscribe_url`.";
    Markup, "markup", Error, "body.mjml.hbs is MJML and the only html of its bundle, and html and MJML are within bounds.";
    ColumnWidth, "mjml-column-width", Warning, "Columns of MJML among which a block stands have their widths.";
    NotInlined, "css-not-inlined", Warning, "CSS can be put into the elements that it is for, and what stays in a style wins where it must.";
    Preheader, "preheader", Warning, "A preheader has no more characters than lists of mails show.";
    Clipped, "clipped-by-gmail", Error, "The html stays under the size at which Gmail clips it (102 KB).";
}

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: Rule,
    /// The file's path inside the bundle; empty for the bundle as a whole.
    pub file: String,
    pub line: Option<usize>,
    /// Names fields, limits and sizes, never a value of the data.
    pub description: String,
}

impl Finding {
    pub(crate) fn new(rule: Rule, file: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            rule,
            file: file.into(),
            line: None,
            description: description.into(),
        }
    }

    pub(crate) fn at(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }

    /// True if it forbids publishing.
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.rule.severity() == Severity::Error
    }
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

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn a_rule_has_a_name_of_its_own_and_asks_for_something() {
        let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
        assert!(Rule::ALL.iter().all(|rule| rule.asks().ends_with('.')));
    }
}
