//! `paceline templates`: the check with its reports, the scaffold, the preview.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use paceline_templates::Rule;
use serde_json::Value;
use tempfile::TempDir;

/// A folder whose name no report must stumble over.
const DIRECTORY: &str = "my <templates> & \"more\" ä";

fn paceline(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("templates")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A directory with a good bundle, one with an error on a line, and one with a warning.
fn mixed() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["good", "broken", "unused"] {
        let made = paceline(folder.path(), &["new", name, "--directory", DIRECTORY]);
        assert!(made.status.success(), "{made:?}");
    }
    let change = |file: &str, from: &str, to: &str| {
        let path = folder.path().join(DIRECTORY).join(file);
        let before = fs::read_to_string(&path).expect("a file");
        assert!(before.contains(from), "{before}");
        fs::write(&path, before.replace(from, to)).expect("writable");
    };
    change("broken/body.html.hbs", "{{link}}", "http://example.com/<&>");
    change("unused/subject.hbs", "{{name}}", "you");
    change("unused/body.html.hbs", "{{name}}", "you");
    change("unused/body.txt.hbs", "{{name}}", "you");
    folder
}

#[test]
fn the_exit_code_tells_what_may_be_published() {
    let folder = mixed();
    let code = |arguments: &[&str]| paceline(folder.path(), arguments).status.code();
    let inside = |bundle: &str| format!("{DIRECTORY}/{bundle}");
    assert_eq!(code(&["check", &inside("good")]), Some(0));
    assert_eq!(
        code(&["check", &inside("unused")]),
        Some(0),
        "a warning forbids nothing"
    );
    assert_eq!(code(&["check", &inside("broken")]), Some(1));
    assert_eq!(code(&["check", DIRECTORY]), Some(1));
    assert_eq!(code(&["check", "missing"]), Some(2));
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    assert_eq!(code(&["check", "empty"]), Some(2));
    assert_eq!(code(&["check", DIRECTORY, "--format", "yaml"]), Some(2));
}

#[test]
fn the_text_names_file_line_and_rule() {
    let folder = mixed();
    let report = text(&paceline(folder.path(), &["check", DIRECTORY]));
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 3, "{report}");
    let broken = format!("{DIRECTORY}/broken/body.html.hbs:14: error: href of <a> is http");
    assert!(
        lines[0].starts_with(&broken) && lines[0].ends_with("[link-not-https]"),
        "{report}"
    );
    let unused = format!("{DIRECTORY}/unused/schema.json:4: warning: `name` is required");
    assert!(
        lines[1].starts_with(&unused) && lines[1].ends_with("[unused-field]"),
        "{report}"
    );
    assert_eq!(lines[2], "bundles: 3, errors: 1, warnings: 1");
}

#[test]
fn json_has_the_same() {
    let folder = mixed();
    let report = text(&paceline(
        folder.path(),
        &["check", DIRECTORY, "--format", "json"],
    ));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(
        (&report["bundles"], &report["errors"], &report["warnings"]),
        (&3.into(), &1.into(), &1.into())
    );
    let finding = &report["findings"][0];
    assert_eq!(finding["file"], format!("{DIRECTORY}/broken/body.html.hbs"));
    assert_eq!(
        (&finding["line"], &finding["severity"]),
        (&14.into(), &"error".into())
    );
    assert_eq!(finding["rule"], "link-not-https");
}

#[test]
fn sarif_is_what_its_schema_asks_for() {
    let mut schema: Value = serde_json::from_str(include_str!("data/sarif-2.1.0.json")).expect("JSON");
    // Of a field that we do not write; its expression has a bracket too many, which not every validator takes.
    for part in ["run", "toolComponent"] {
        schema["definitions"][part]["properties"]["language"] = Value::Bool(true);
    }
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let folder = mixed();
    let report = text(&paceline(
        folder.path(),
        &["check", DIRECTORY, "--format", "sarif"],
    ));
    let mut report: Value = serde_json::from_str(&report).expect("JSON");
    let wrong: Vec<_> = schema
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let results = report["runs"][0]["results"].as_array().expect("results");
    let levels: Vec<_> = results.iter().map(|result| &result["level"]).collect();
    assert_eq!(levels, ["error", "warning"]);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 14);
    let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
    assert!(uri.ends_with("%20%C3%A4/broken/body.html.hbs"), "{uri}");
    report["runs"][0]["results"][0]["level"] = "bad".into();
    assert!(!schema.is_valid(&report), "the schema looks at levels");
}

#[test]
fn junit_is_what_its_schema_asks_for() {
    let folder = mixed();
    let report = text(&paceline(
        folder.path(),
        &["check", DIRECTORY, "--format", "junit"],
    ));
    let validate = |report: &str| {
        fs::write(folder.path().join("report.xml"), report).expect("writable");
        Command::new("xmllint")
            .args(["--noout", "--nonet", "--schema"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/data/junit-10.xsd"))
            .arg(folder.path().join("report.xml"))
            .output()
            .expect("xmllint runs; scripts/setup installs it")
    };
    let valid = validate(&report);
    assert!(
        valid.status.success(),
        "{}\n{report}",
        String::from_utf8_lossy(&valid.stderr)
    );
    assert!(!validate(&report.replace("<testcase ", "<case ")).status.success());
    let suite = format!(
        "/broken\" tests=\"{}\" failures=\"1\" errors=\"0\"",
        Rule::ALL.len()
    );
    assert!(report.contains(&suite), "{report}");
    assert!(report.contains("type=\"link-not-https\""), "{report}");
    assert!(
        report.contains("<system-out>") && report.contains("`name` is required"),
        "{report}"
    );
}

#[test]
fn what_new_makes_is_never_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = |name: &str| paceline(folder.path(), &["new", name, "--lane", "bulk"]);
    assert!(new("spring").status.success());
    let subject = folder.path().join("templates/spring/subject.hbs");
    fs::write(&subject, "Changed {{name}}").expect("writable");
    assert!(!new("spring").status.success());
    assert_eq!(fs::read_to_string(&subject).expect("a file"), "Changed {{name}}");
    assert!(!new("../spring").status.success());
    assert!(!folder.path().join("spring").exists());
}

#[test]
fn a_preview_is_a_page_and_pictures_of_each_width() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(paceline(folder.path(), &["new", "hello"]).status.success());
    let html = folder.path().join("templates/hello/body.html.hbs");
    let tall = fs::read_to_string(&html).expect("a file").replace(
        "</body>",
        "<p style=\"height:1700px;background:red\">x</p><script>document.body.innerHTML = ''</script></body>",
    );
    fs::write(&html, tall).expect("writable");
    let shown = paceline(
        folder.path(),
        &["preview", "templates/hello", "--no-open", "--png", "pictures"],
    );
    assert!(shown.status.success(), "{shown:?}");
    let printed = text(&shown);
    let page = fs::read_to_string(printed.lines().next().expect("a path")).expect("the page");
    assert!(
        page.contains("<h1>Hello Ada</h1>") && page.contains("begin here: https://example.com/start"),
        "{page}"
    );
    for (name, width) in [("desktop", 800), ("phone", 390)] {
        let png = fs::read(folder.path().join(format!("pictures/{name}.png"))).expect("a picture");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(&png[1..4], b"PNG");
        assert_eq!(number(16), width, "{name}");
        // As high as what it shows, which no script of the email has emptied.
        assert!((1_700..2_000).contains(&number(20)), "{name}: {}", number(20));
    }
    let other = paceline(
        folder.path(),
        &["preview", "templates/hello", "--no-open", "--example", "second"],
    );
    assert!(!other.status.success());
    assert!(
        String::from_utf8_lossy(&other.stderr).contains("first"),
        "{other:?}"
    );
}
