//! The report as JUnit's XML: a suite for each bundle, in which each rule is a case. A warning fails no case; it stands in its
//! output.

use std::path::Path;

use anyhow::Context as _;
use paceline_templates::{CheckedBundle, Finding, Rule, Severity};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::path_of;

type Xml = Writer<Vec<u8>>;

pub(super) fn report(directory: &Path, bundles: &[CheckedBundle]) -> anyhow::Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("testsuites").write_inner_content(|xml| {
        bundles
            .iter()
            .try_for_each(|bundle| suite(xml, directory, bundle))
    })?;
    String::from_utf8(xml.into_inner()).context("the report can't be written")
}

fn suite(xml: &mut Xml, directory: &Path, bundle: &CheckedBundle) -> std::io::Result<()> {
    let cases: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| Case::new(*rule, directory, bundle))
        .collect();
    let failures = cases.iter().filter(|case| case.fails()).count();
    let name = directory.join(&bundle.folder).display().to_string();
    xml.create_element("testsuite")
        .with_attributes([
            ("name", printable(&name).as_str()),
            ("tests", &cases.len().to_string()),
            ("failures", &failures.to_string()),
            ("errors", "0"),
        ])
        .write_inner_content(|xml| cases.iter().try_for_each(|case| case.write(xml, &name)))?;
    Ok(())
}

/// What a rule finds in a bundle.
struct Case {
    rule: Rule,
    /// A line for each finding.
    text: String,
}

impl Case {
    fn new(rule: Rule, directory: &Path, bundle: &CheckedBundle) -> Self {
        let shown = |finding: &Finding| {
            let path = path_of(directory, bundle, finding);
            let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
            format!("{}{line}: {}", path.display(), finding.description)
        };
        let findings = bundle.findings.iter().filter(|finding| finding.rule == rule);
        Self {
            rule,
            text: printable(&findings.map(shown).collect::<Vec<_>>().join("\n")),
        }
    }

    fn fails(&self) -> bool {
        !self.text.is_empty() && self.rule.severity() == Severity::Error
    }

    fn write(&self, xml: &mut Xml, suite: &str) -> std::io::Result<()> {
        let name = self.rule.as_str();
        let suite = printable(suite);
        let case = xml
            .create_element("testcase")
            .with_attributes([("name", name), ("classname", &suite)]);
        if self.text.is_empty() {
            case.write_empty()?;
            return Ok(());
        }
        case.write_inner_content(|xml| {
            let mut inner = xml.create_element(if self.fails() { "failure" } else { "system-out" });
            if self.fails() {
                inner = inner.with_attributes([("type", name), ("message", self.rule.asks())]);
            }
            inner.write_text_content(BytesText::new(&self.text))?;
            Ok(())
        })?;
        Ok(())
    }
}

/// Without the characters that XML 1.0 can't have (2.2), such as those that a file's name may have.
fn printable(text: &str) -> String {
    let allowed = |char: &char| !char.is_control() || matches!(char, '\n' | '\t' | '\r');
    text.chars()
        .filter(allowed)
        .filter(|char| !matches!(char, '\u{fffe}' | '\u{ffff}'))
        .collect()
}
