//! Our own cases of what people write, beside what Handlebars.js 4.7.10 writes for them in its strict mode. `make handlebars-spec` has it
//! say that anew. Where Paceline does otherwise, the case says what.

use std::collections::BTreeMap;

use paceline_templates::Template;
use serde::Deserialize;
use serde_json::Value;

use super::{files, input, patient};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    template: String,
    data: Value,
    #[serde(default)]
    partials: BTreeMap<String, String>,
    /// What Handlebars.js writes; an object with its error if it refuses.
    js: Value,
    /// What is ours where it is not the same: what is written, or part of the error.
    paceline: Option<String>,
}

/// What Paceline writes, or its error.
fn paceline(case: &Case) -> Result<String, String> {
    let mut files = files(&case.template);
    for (name, source) in &case.partials {
        files.insert(format!("partials/{name}.hbs"), source.as_bytes().to_vec());
    }
    let template = Template::from_files(&files).map_err(|error| error.to_string())?;
    let rendered = template.render_within(input(&case.data), &patient());
    rendered
        .map(|parts| parts.html)
        .map_err(|error| error.to_string())
}

#[test]
fn every_case_is_as_in_handlebars_js_or_says_how_not() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("handlebars_js.json")).expect("cases");
    let mut wrong = Vec::new();
    for case in &cases {
        let ours = paceline(case);
        let same = match (&ours, &case.js) {
            (Ok(written), Value::String(js)) => written == js,
            (Err(_), js) => js.is_object(),
            _ => false,
        };
        let as_told = match (&ours, &case.paceline) {
            (_, None) => same,
            (Ok(written), Some(told)) => written == told && !same,
            (Err(error), Some(told)) => error.contains(told) && !told.is_empty() && !same,
        };
        if !as_told {
            wrong.push(format!(
                "{:?}: {ours:?}, Handlebars.js {}, told {:?}",
                case.template, case.js, case.paceline
            ));
        }
    }
    assert!(
        cases.len() > 100 && wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
