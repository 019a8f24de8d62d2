//! What the check says of a bundle.

use paceline_domain::identity::FieldRule;
use paceline_templates::{Field, Files, Template, check};

use super::{MANIFEST, files_with};

fn findings(files: &Files) -> String {
    let texts: Vec<_> = check(files).iter().map(ToString::to_string).collect();
    texts.join("\n")
}

#[test]
fn a_good_bundle_has_no_findings() {
    assert_eq!(findings(&files_with(&[])), "");
    assert_eq!(findings(&files_with(&[("body.txt.hbs", None)])), "");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let files = files_with(&[
        (
            "template.toml",
            Some("name = \"sample\"\nversion = 0\nlane = \"bulk\"\ntries = 99\n"),
        ),
        ("subject.hbs", None),
        ("body.html.hbs", Some("{{#*a}}{{/a}}\n{{* b}}")),
        ("schema.json", Some("{\"type\": 7}")),
        ("examples/second.json", Some("{\"a\": 1, \"a\": 2}")),
        ("notes.md", Some("x")),
        ("examples/deeper/x.json", Some("{}")),
    ]);
    let text = findings(&files);
    for part in [
        "template.toml: version",
        "template.toml: tries",
        "subject.hbs: is missing",
        "body.html.hbs line 1: no decorators",
        "body.html.hbs line 2: no decorators",
        "schema.json: is no JSON Schema",
        "examples/second.json: a: the same name twice",
        "notes.md: is not a file",
        "examples/deeper/x.json: is not a file",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
}

#[test]
fn examples_must_be_there_fit_and_render() {
    let text = findings(&files_with(&[("examples/first.json", None)]));
    assert!(text.contains("examples/: there must be at least one"), "{text}");
    let text = findings(&files_with(&[
        ("schema.json", Some("{\"name\": \"string\"}")),
        ("examples/second.json", Some("{\"name\": 7}")),
    ]));
    assert!(
        text.contains("examples/first.json: data.name is missing"),
        "{text}"
    );
    assert!(
        text.contains("examples/second.json: data.name must be of type string"),
        "{text}"
    );
    let text = findings(&files_with(&[("body.html.hbs", Some("<p>\n{{name}}"))]));
    assert!(
        text.contains(
            "examples/first.json: template sample 3, body.html.hbs line 2: the variable `name` is missing"
        ),
        "{text}"
    );
}

#[test]
fn a_printed_field_that_is_not_identity_must_be_named() {
    let with = |lines: &str, html: &str| {
        let manifest = format!("{MANIFEST}{lines}");
        let schema = "{\"timestamp\": \"number?\", \"utm_source\": \"string?\", \"name\": \"string?\", \"list\": \"array?\"}";
        let example =
            "{\"timestamp\": 1, \"utm_source\": \"x\", \"name\": \"x\", \"list\": [{\"timestamp\": 1}]}";
        findings(&files_with(&[
            ("template.toml", Some(&manifest)),
            ("body.html.hbs", Some(&format!("<p>x</p>{html}"))),
            ("schema.json", Some(schema)),
            ("examples/first.json", Some(example)),
        ]))
    };
    for html in [
        "{{timestamp}}",
        "{{this.timestamp}}",
        "{{#if timestamp}}x{{/if}}",
        "{{#if (eq timestamp 1)}}x{{/if}}",
        "{{#each list}}{{@root.timestamp}}{{/each}}",
        "{{#each list}}{{../timestamp}}{{/each}}",
        "{{#each list as |row|}}{{#with row}}{{../../timestamp}}{{/with}}{{/each}}",
        "{{#with timestamp as |t|}}{{t}}{{/with}}",
        "{{#each list}}{{else}}{{timestamp}}{{/each}}",
    ] {
        let text = with("", html);
        assert!(
            text.contains("template.toml: `timestamp` is used in body.html.hbs"),
            "{html}: {text}"
        );
        assert_eq!(with("volatile = [\"timestamp\"]", html), "", "{html}");
        assert_eq!(with("identity = [\"timestamp\", \"list\"]", html), "", "{html}");
    }
    for html in [
        "{{name}}",
        "{{#each list}}{{timestamp}}{{/each}}",
        "{{#with list}}{{len this}}{{/with}}",
    ] {
        assert_eq!(with("", html), "", "{html}");
    }
    assert!(with("", "{{utm_source}}").contains("`utm_source`"));
    assert!(with("identity = [\"list\"]", "{{name}}").contains("`name`"));
    assert_eq!(
        with(
            "identity = [\"list\"]\nvolatile = [\"name\"]",
            "{{name}} {{paceline.message_id}}"
        ),
        ""
    );
}

#[test]
fn only_mail_that_people_can_unsubscribe_from_has_the_link() {
    let with = |manifest: &str| {
        findings(&files_with(&[
            (
                "template.toml",
                Some(&format!("name = \"sample\"\nversion = 1\n{manifest}")),
            ),
            (
                "body.html.hbs",
                Some("<a href=\"{{paceline.unsubscribe_url}}\">x</a>"),
            ),
            ("body.txt.hbs", None),
        ]))
    };
    assert_eq!(with("lane = \"bulk\""), "");
    assert_eq!(with("lane = \"transactional\"\ncategory = \"digest\""), "");
    let text = with("lane = \"transactional\"");
    assert!(
        text.contains("examples/first.json") && text.contains("unsubscribe_url"),
        "{text}"
    );
}

#[test]
fn every_field_has_its_part_in_the_id_and_a_reason() {
    let template = Template::from_files(&files_with(&[
        (
            "template.toml",
            Some("name = \"sample\"\nversion = 1\nlane = \"transactional\"\nvolatile = [\"seen\"]\n"),
        ),
        ("body.html.hbs", Some("{{name}}{{#if extra}}x{{/if}}")),
        (
            "schema.json",
            Some("{\"name\": \"string\", \"total\": \"number?\", \"trace_id\": \"string?\"}"),
        ),
        (
            "examples/first.json",
            Some("{\"name\": \"Ada\", \"extra\": 1, \"more\": 2}"),
        ),
    ]));
    let template = template.unwrap_or_else(|error| panic!("{error}"));
    let field = |name: &str, rule, printed| Field {
        name: name.to_owned(),
        rule,
        printed,
    };
    assert_eq!(
        template.fields(),
        [
            field("extra", FieldRule::Unlisted, true),
            field("more", FieldRule::Unlisted, false),
            field("name", FieldRule::Unlisted, true),
            field("seen", FieldRule::Volatile, false),
            field("total", FieldRule::Unlisted, false),
            field("trace_id", FieldRule::BuiltIn, false),
        ]
    );
}
