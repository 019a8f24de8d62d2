//! Which fields of a template's data are part of its messages' ids, and why.

use std::collections::BTreeSet;

use paceline_domain::identity::FieldRule;

use crate::template::Template;

/// A top-level field of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub rule: FieldRule,
    /// True if subject or body use it.
    pub printed: bool,
}

impl Template {
    /// Every field that the schema, the sources, the examples or the manifest's lists name, by name. Data may have others, which
    /// count as their names and the lists say.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        let printed: BTreeSet<&str> = self
            .sources()
            .flat_map(|source| source.usage.fields.iter().map(String::as_str))
            .collect();
        let examples = self.examples.iter().flat_map(|example| example.data.keys());
        let mut names: BTreeSet<&str> = self
            .schema
            .fields
            .iter()
            .chain(examples)
            .map(String::as_str)
            .collect();
        names.extend(&printed);
        names.extend(self.manifest.identity_fields.listed());
        let field = |name: &str| Field {
            name: name.to_owned(),
            rule: self.manifest.identity_fields.rule(name),
            printed: printed.contains(name),
        };
        names.into_iter().map(field).collect()
    }
}
