//! The cases of npm's handlebars-spec through Handlebars.js and through Paceline: `make handlebars-spec` keeps the table in
//! docs/handlebars.md, and has Handlebars.js say anew what it writes for our own cases (tests/it/handlebars_js.json).
//!
//! The cases themselves are not kept here: their licence (AGPL) is not ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_templates::{Files, RenderFault, RenderInput, Template};
use serde::Deserialize;
use serde_json::Value;

const DOCUMENT: &str = "docs/handlebars.md";
const MARKS: [&str; 2] = ["<!-- cases -->", "<!-- /cases -->"];

#[derive(Deserialize)]
struct Case {
    file: String,
    name: String,
    template: String,
    data: Value,
    partials: BTreeMap<String, String>,
    /// Nothing where the case is about an error.
    expected: Option<String>,
    /// Whether Handlebars.js passes it.
    js: bool,
    /// What of the program around it takes part, such as helpers in JavaScript; then it is not for us.
    needs: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Same,
    /// Refused since nothing is left blank: a missing variable, null, an object.
    Strict,
    /// Refused when it is compiled.
    Refused,
    Other,
}

fn main() -> Result<()> {
    node(&[
        "cases",
        &here("tests/it/handlebars_js.json").display().to_string(),
    ])?;
    let spec = node(&["spec"])?;
    let cases: Vec<Case> = spec.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut files: BTreeMap<&str, Row> = BTreeMap::new();
    let mut different = Vec::new();
    for case in &cases {
        let row = files.entry(&case.file).or_default();
        row.cases += 1;
        row.js += usize::from(case.js);
        if case.needs.is_some() {
            row.host += 1;
            continue;
        }
        let (outcome, why) = outcome(case);
        *row.ours.entry(outcome).or_default() += 1;
        if outcome != Outcome::Same {
            different.push(format!(
                "| {} | {} | {} |",
                case.file,
                cell(&case.name),
                cell(&why)
            ));
        }
    }
    let table = table(&files, &different);
    println!("{table}");
    keep(&table)
}

#[derive(Default)]
struct Row {
    cases: usize,
    js: usize,
    host: usize,
    ours: BTreeMap<Outcome, usize>,
}

fn table(files: &BTreeMap<&str, Row>, different: &[String]) -> String {
    let mut total = Row::default();
    let mut lines = Vec::new();
    for (file, row) in files {
        lines.push(line(file, row));
        total.cases += row.cases;
        total.js += row.js;
        total.host += row.host;
        for (outcome, count) in &row.ours {
            *total.ours.entry(*outcome).or_default() += count;
        }
    }
    lines.push(line("**all**", &total));
    format!(
        "| file | cases | Handlebars.js passes | need code, options or data that only a program has | left | Paceline passes | \
         strict: refused | refused by the check | written otherwise |\n|---|---|---|---|---|---|---|---|---|\n{}\n\n\
         ### The cases that differ\n\n| file | case | what Paceline says |\n|---|---|---|\n{}\n",
        lines.join("\n"),
        different.join("\n")
    )
}

fn line(name: &str, row: &Row) -> String {
    let count = |outcome| row.ours.get(&outcome).copied().unwrap_or(0);
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.cases,
        row.js,
        row.host,
        row.cases - row.host,
        count(Outcome::Same),
        count(Outcome::Strict),
        count(Outcome::Refused),
        count(Outcome::Other)
    )
}

fn outcome(case: &Case) -> (Outcome, String) {
    let template = match Template::from_files(&files(case)) {
        Ok(template) => template,
        Err(_) if case.expected.is_none() => return (Outcome::Same, String::new()),
        Err(error) => return (Outcome::Refused, error.to_string()),
    };
    let rendered = template.render(RenderInput {
        data: case.data.as_object().cloned().unwrap_or_default(),
        message_id: MessageId([7; 16]),
        lane: Lane::Transactional,
        unsubscribe_url: None,
    });
    match (rendered, &case.expected) {
        (Ok(rendered), Some(expected)) if &rendered.html == expected => (Outcome::Same, String::new()),
        (Ok(rendered), _) => (Outcome::Other, format!("writes `{}`", rendered.html)),
        (Err(_), None) => (Outcome::Same, String::new()),
        (Err(error), Some(_)) => match error.fault {
            RenderFault::MissingVariable { .. }
            | RenderFault::Null
            | RenderFault::Object
            | RenderFault::ListHasNoNames { .. }
            | RenderFault::UnfinishedHtml => (Outcome::Strict, error.to_string()),
            _ => (Outcome::Other, error.to_string()),
        },
    }
}

fn files(case: &Case) -> Files {
    let mut files: Files = [
        (
            "template.toml",
            "name = \"case\"\nversion = 1\nlane = \"transactional\"\n",
        ),
        ("subject.hbs", "Case"),
        ("body.html.hbs", &case.template),
        ("body.txt.hbs", "Case"),
        ("schema.json", "{}"),
    ]
    .into_iter()
    .map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()))
    .collect();
    // The package leaves partials of one case in the next ones.
    let sources = case
        .partials
        .values()
        .chain([&case.template])
        .map(String::as_str)
        .collect::<Vec<_>>()
        .concat();
    for (name, source) in case
        .partials
        .iter()
        .filter(|(name, _)| sources.contains(name.as_str()))
    {
        files.insert(format!("partials/{name}.hbs"), source.as_bytes().to_vec());
    }
    files
}

/// As it stands in a table: one line, without what says which template it was.
fn cell(text: &str) -> String {
    let text = text
        .replace("template case 1, ", "")
        .replace("body.html.hbs line 1: ", "")
        .replace("body.html.hbs line 1, ", "");
    text.replace('|', "\\|").replace('\n', "\u{23ce}")
}

fn node(arguments: &[&str]) -> Result<String> {
    let output = Command::new("node")
        .arg(here("examples/handlebars_spec.mjs"))
        .args(arguments)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn keep(table: &str) -> Result<()> {
    let document = here("../..").join(DOCUMENT);
    let text = std::fs::read_to_string(&document)?;
    let (before, rest) = text.split_once(MARKS[0]).context("no mark for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).context("no second mark")?;
    Ok(std::fs::write(
        document,
        format!("{before}{}\n{table}{}{after}", MARKS[0], MARKS[1]),
    )?)
}
