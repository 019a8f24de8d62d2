//! The rules of the check: for each what it refuses, and what stands just on the other side.

use paceline_templates::{Catalog, Files, Finding, Rule, Severity, check, check_directory};
use serde_json::{Value, json};

use super::{MANIFEST, files_with};

/// A bundle with this html, this schema and one example.
fn bundle(html: &str, schema: &Value, example: &Value) -> Files {
    files_with(&[
        ("body.html.hbs", Some(html)),
        (
            "schema.json",
            Some(&serde_json::to_string_pretty(schema).expect("JSON")),
        ),
        ("examples/first.json", Some(&example.to_string())),
    ])
}

/// As `rule file:line`, in the order of the files.
fn found(files: &Files) -> Vec<String> {
    let findings = check(files);
    let shown = findings.iter().map(|finding| {
        let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{} {}{line}", finding.rule.as_str(), finding.file)
    });
    shown.collect()
}

/// What is found in html over an order.
fn in_html(html: &str) -> Vec<String> {
    let schema = json!({
        "properties": {
            "name": { "type": "string" },
            "link": { "type": "string" },
            "order": {
                "properties": {
                    "total": { "type": "number" },
                    "items": { "type": "array", "items": { "properties": { "title": {}, "tags": { "items": {} } } } }
                }
            }
        }
    });
    let example = json!({
        "name": "Ada",
        "link": "https://example.com/a",
        "order": { "total": 1, "items": [{ "title": "Bell", "tags": ["new"] }] }
    });
    found(&bundle(html, &schema, &example))
}

#[test]
fn a_variable_is_a_field_of_the_schema_through_every_scope() {
    for html in [
        "{{name}} {{order.total}} {{this.name}} {{./name}} {{@root.name}} {{[name]}}",
        "{{#each order.items}}{{title}} {{this.title}} {{../order.total}} {{@root.name}} {{@index}}{{/each}}",
        "{{#each order.items as |item i|}}{{item.title}} {{i}} {{../name}}{{/each}}",
        "{{#each order.items as |item|}}{{#each item.tags as |tag|}}{{tag}} {{item.title}} {{../title}} {{../../name}}{{/each}}{{/each}}",
        "{{#with order}}{{total}}{{#with items.[0]}}{{title}} {{../total}} {{../../name}}{{/with}}{{/with}}",
        "{{#with order as |it|}}{{it.total}}{{/with}}{{#with (lookup order.items 0)}}{{title}}{{/with}}",
        "{{#if (and name (gt order.total 0))}}{{len order.items}}{{else}}{{name}}{{/if}}",
        "{{#unless name}}x{{else if order}}{{order.total}}{{/unless}}",
        "{{#with order}}{{#items}}{{title}} {{../total}}{{/items}}{{total}}{{items.length}} {{../name.length}}{{/with}}",
        "{{#order}}{{total}} {{../name}}{{/order}}{{#name}}{{this}}{{/name}}",
        "{{paceline.message_id}} {{paceline.lane}} {{@root.paceline.template}}",
    ] {
        assert_eq!(in_html(&format!("<p>{html}</p>")), [""; 0], "{html}");
    }
}

#[test]
fn a_variable_that_the_schema_does_not_name_is_told_with_its_line() {
    for (html, place) in [
        ("{{nam}}", "nam"),
        ("{{#if nam}}{{/if}}", "nam"),
        ("{{#if length}}{{/if}}", "length"),
        ("{{#nam}}{{/nam}}", "nam"),
        ("{{#if (eq nam 1)}}{{/if}}", "nam"),
        ("{{name}}{{#unless order.totals}}{{/unless}}", "order.totals"),
        (
            "{{#each order.items}}{{#if titel}}{{/if}}{{/each}}",
            "order.items[].titel",
        ),
        ("{{#each order.items}}{{#if ../total}}{{/if}}{{/each}}", "total"),
        (
            "{{#each order.items as |item|}}{{#if item.titel}}{{/if}}{{/each}}",
            "order.items[].titel",
        ),
        ("{{#with order}}{{#if name}}{{/if}}{{/with}}", "order.name"),
        (
            "{{#each order.items}}{{#if @root.title}}{{/if}}{{/each}}",
            "title",
        ),
        ("{{#each nam}}{{else}}{{/each}}", "nam"),
        ("{{#order}}{{#if titel}}{{/if}}{{/order}}", "order.titel"),
        (
            "{{#with order}}{{#items}}{{#if titel}}{{/if}}{{/items}}{{/with}}",
            "order.items.titel",
        ),
        ("{{#if paceline.tenant}}{{/if}}", "paceline.tenant"),
    ] {
        let files = bundle(
            &format!("<p>\n{html}</p>"),
            &json!({
                "properties": {
                    "name": {},
                    "order": { "properties": {
                        "total": {},
                        "items": { "items": { "properties": { "title": {} } } }
                    } }
                }
            }),
            &json!({ "name": "x", "order": { "total": 1, "items": [{ "title": "x" }] } }),
        );
        let findings = check(&files);
        let unknown: Vec<_> = findings
            .iter()
            .filter(|finding| finding.rule == Rule::UnknownVariable)
            .collect();
        assert_eq!(unknown.len(), 1, "{html}: {findings:?}");
        assert_eq!(
            (unknown[0].file.as_str(), unknown[0].line),
            ("body.html.hbs", Some(2)),
            "{html}"
        );
        assert!(
            unknown[0].description.contains(&format!("`{place}`")),
            "{html}: {}",
            unknown[0]
        );
    }
}

#[test]
fn subject_and_text_are_held_to_the_schema_too() {
    let files = files_with(&[
        ("subject.hbs", Some("{{#if a}}{{/if}}Hello")),
        ("body.txt.hbs", Some("Hello\n{{#if b}}{{/if}}")),
    ]);
    assert_eq!(
        found(&files),
        [
            "unknown-variable body.txt.hbs:2",
            "unknown-variable subject.hbs:1"
        ]
    );
}

#[test]
fn a_required_field_that_is_never_used_is_a_warning() {
    let schema = json!({
        "required": ["name", "order"],
        "properties": {
            "name": { "type": "string" },
            "order": { "type": "object", "required": ["items"], "properties": {
                "items": { "items": { "required": ["title", "price"], "properties": { "title": {}, "price": {} } } },
                "note": {}
            } },
            "optional": {}
        }
    });
    let example = json!({ "name": "x", "order": { "items": [{ "title": "x", "price": 1 }] } });
    let unused = |html: &str| -> Vec<String> {
        let findings = check(&bundle(html, &schema, &example));
        assert!(
            findings
                .iter()
                .all(|finding| finding.rule.severity() == Severity::Warning),
            "{findings:?}"
        );
        assert!(
            findings
                .iter()
                .all(|finding| !finding.forbids() && finding.line.is_some()),
            "{findings:?}"
        );
        findings
            .iter()
            .map(|finding| finding.description.split('`').nth(1).unwrap_or("").to_owned())
            .collect()
    };
    assert_eq!(
        unused("<p>{{name}}{{#each order.items}}{{title}}{{price}}{{/each}}</p>"),
        [""; 0]
    );
    assert_eq!(
        unused("<p>{{name}}{{#each order.items}}{{title}}{{/each}}</p>"),
        ["order.items[].price"]
    );
    assert_eq!(unused("<p>{{name}}{{#if order}}x{{/if}}</p>"), ["order.items"]);
    assert_eq!(unused("<p>Hello</p>"), ["name", "order"]);
    assert_eq!(
        unused("<p>{{name}}{{len (lookup order \"items\")}}</p>"),
        [""; 0],
        "which field only the data knows"
    );
}

#[test]
fn a_field_of_the_identity_is_in_the_schema() {
    let with = |identity: &str| {
        let manifest = format!("{MANIFEST}identity = [{identity}]\n");
        found(&files_with(&[
            ("template.toml", Some(&manifest)),
            ("schema.json", Some("{\"order\": \"string?\"}")),
        ]))
    };
    assert_eq!(with("\"order\""), [""; 0]);
    assert_eq!(with("\"order\", \"ordre\""), ["identity-unknown template.toml"]);
}

#[test]
fn links_that_the_source_writes_are_absolute_https() {
    for good in [
        "<a href=\"https://example.com\">x</a>",
        "<a href=\" HTTPS://example.com/{{name}}\">x</a>",
        "<a href=\"{{link}}\">x</a><a href='{{link}}?a=\"b\"'>x</a>",
        "<a href='{{link}}'>x</a>",
        "<a href=\"https://{{#if name}}a{{else}}b{{/if}}.example.com\">x</a>",
        "<a {{#if name}}href=\"https://example.com\"{{/if}}>x</a>",
        "<a href=\"mailto:ada@example.com\">x</a> <a href=\"tel:+1\">x</a> <a href=\"#more\">x</a>",
        "<img alt=\"\" src=\"cid:logo\"><img alt=x src=https://example.com/a.png>",
        "<!--[if mso]><a href=\"http://example.com\"><![endif]-->",
        "<style>a[href=\"<a href='http://x'>\"] {}</style>",
        "<p>&lt;a href=\"http://example.com\"&gt;</p>",
    ] {
        assert_eq!(in_html(&format!("<p>\n{good}</p>")), [""; 0], "{good}");
    }
    for bad in [
        "<a href=\"http://example.com\">x</a>",
        "<a href=\"http://example.com/{{name}}\">x</a>",
        "<a href=\"//example.com\">x</a>",
        "<a href=\"/orders\">x</a>",
        "<a href=\"orders/{{name}}\">x</a>",
        "<a href=\"#\">x</a>",
        "<a href=\"\">x</a>",
        "<a href=\"java&#115;cript:alert(1)\">x</a>",
        "<a {{#if name}}href=\"https://x.example\"{{else}}href=\"http://x.example\"{{/if}}>x</a>",
        "<img alt=x src=\"data:image/png;base64,AA\">",
        "<table background=\"http://example.com/a.png\"></table>",
        "<form action=\"mailto:ada@example.com\"></form>",
    ] {
        assert_eq!(
            in_html(&format!("<p>\n{bad}</p>")),
            ["link-not-https body.html.hbs:2"],
            "{bad}"
        );
    }
}

#[test]
fn links_that_the_data_brings_are_seen_in_the_examples() {
    let with = |link: &str| {
        let html = "<a href=\"{{link}}\">x</a><a href=\"{{link}}/more\">x</a>";
        let files = bundle(html, &json!({ "link": "string" }), &json!({ "link": link }));
        let findings = check(&files);
        assert!(
            findings
                .iter()
                .all(|finding| link.is_empty() || !finding.description.contains(link)),
            "{findings:?}"
        );
        found(&files)
    };
    assert_eq!(with("https://example.com"), [""; 0]);
    assert_eq!(with("http://example.com"), ["link-not-https examples/first.json"]);
    assert_eq!(with("example.com"), ["link-not-https examples/first.json"]);
}

#[test]
fn images_have_an_alt_text() {
    for good in [
        "<img src=\"https://example.com/a.png\" alt=\"A bell\">",
        "<img src=\"https://example.com/a.png\" alt=\"\">",
        "<img src=\"https://example.com/a.png\" {{#if name}}alt=\"{{name}}\"{{else}}alt=\"\"{{/if}}>",
    ] {
        assert_eq!(in_html(good), [""; 0], "{good}");
    }
    let html = "<p>{{name}}</p>\n{{#if name}}\n  <img\n    src=\"https://example.com/a.png\">\n{{/if}}\n<IMG src=cid:x>";
    assert_eq!(
        in_html(html),
        [
            "image-without-alt body.html.hbs:4",
            "image-without-alt body.html.hbs:6"
        ]
    );
}

#[test]
fn mail_that_one_can_unsubscribe_from_says_how_in_both_bodies() {
    let with = |manifest: &str, html: &str, text: Option<&str>| {
        found(&files_with(&[
            (
                "template.toml",
                Some(&format!("name = \"sample\"\nversion = 1\n{manifest}\n")),
            ),
            ("body.html.hbs", Some(html)),
            ("body.txt.hbs", text),
        ]))
    };
    let link = "<a href=\"{{paceline.unsubscribe_url}}\">Unsubscribe</a>";
    let text = "Unsubscribe: {{paceline.unsubscribe_url}}";
    let lacking = ["no-unsubscribe-link examples/first.json"];
    for manifest in [
        "lane = \"bulk\"",
        "lane = \"transactional\"\ncategory = \"digest\"",
    ] {
        assert_eq!(with(manifest, link, Some(text)), [""; 0], "{manifest}");
        assert_eq!(
            with(manifest, link, None),
            [""; 0],
            "{manifest}: the text is derived"
        );
        assert_eq!(with(manifest, link, Some("Hello")), lacking, "{manifest}");
        assert_eq!(
            with(manifest, "<p>{{paceline.unsubscribe_url}}</p>", Some(text)),
            lacking,
            "{manifest}"
        );
    }
    assert_eq!(
        with("lane = \"transactional\"", "<p>Hello</p>", Some("Hello")),
        [""; 0]
    );
}

#[test]
fn html_is_not_larger_than_gmail_shows() {
    let with = |bytes: usize| {
        let (row, rows) = ("x".repeat(10 * 1024), 10);
        let html = format!(
            "{{{{#each rows}}}}{row}{{{{/each}}}}{}",
            "y".repeat(bytes - rows * row.len())
        );
        let example = json!({ "rows": vec![1; rows] });
        found(&bundle(&html, &json!({ "rows": "array" }), &example))
    };
    assert_eq!(with(102 * 1024), [""; 0]);
    assert_eq!(with(102 * 1024 + 1), ["clipped-by-gmail examples/first.json"]);
}

#[test]
fn there_is_a_plain_text() {
    let with = |html: &str, text: Option<&str>| {
        found(&files_with(&[
            ("body.html.hbs", Some(html)),
            ("body.txt.hbs", text),
        ]))
    };
    assert_eq!(with("<p>Hello</p>", None), [""; 0]);
    assert_eq!(with("<p></p>", Some("Hello")), [""; 0]);
    assert_eq!(with("<p> </p>", None), ["no-plain-text examples/first.json"]);
    assert_eq!(
        with("<p>Hello</p>", Some(" \n")),
        ["no-plain-text examples/first.json"]
    );
}

#[test]
fn bounds_are_told_as_a_rule() {
    let mut files = files_with(&[]);
    files.insert("body.txt.hbs".to_owned(), vec![b'x'; 50 * 1024]);
    assert_eq!(found(&files), [""; 0]);
    files.insert("body.txt.hbs".to_owned(), vec![b'x'; 50 * 1024 + 1]);
    assert_eq!(found(&files), ["size "]);
}

/// A template without data.
fn plain<'a>(name: &'a str, manifest: &'a str) -> (&'a str, &'a str, &'a str, &'a str) {
    (name, manifest, "{}", "{}")
}

/// What is found in a directory of templates with these manifests and schemas, each with an example of its own.
fn in_directory(templates: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, manifest, schema, example) in templates {
        let manifest = format!("name = \"{name}\"\nversion = 1\n{manifest}\n");
        let files = files_with(&[
            ("template.toml", Some(&manifest)),
            ("schema.json", Some(schema)),
            ("examples/first.json", Some(example)),
        ]);
        super::write(directory.path(), name, &files);
    }
    let checked = check_directory(directory.path()).expect("readable");
    let findings = checked.iter().flat_map(|bundle| {
        let shown = |finding: &Finding| {
            format!(
                "{} {} {}",
                bundle.folder.display(),
                finding.rule.as_str(),
                finding.file
            )
        };
        bundle
            .findings
            .iter()
            .filter(|finding| finding.forbids())
            .map(shown)
    });
    let found: Vec<_> = findings.collect();
    // What a service loads is held to the same.
    assert_eq!(Catalog::load(directory.path()).is_ok(), found.is_empty());
    found
}

#[test]
fn a_fallback_is_there_ends_and_takes_the_same_data() {
    const T: &str = "lane = \"transactional\"";
    let to = |name: &str| format!("{T}\nfallback = \"{name}\"");
    let (b, c, d, e) = (&to("b"), &to("c"), &to("d"), &to("e"));
    assert_eq!(
        in_directory(&[plain("a", b), plain("b", c), plain("c", d), plain("d", T)]),
        [""; 0]
    );
    assert_eq!(
        in_directory(&[
            plain("a", b),
            plain("b", c),
            plain("c", d),
            plain("d", e),
            plain("e", T)
        ]),
        ["a fallback template.toml"],
        "four are too many"
    );
    assert_eq!(
        in_directory(&[plain("a", b)]),
        ["a fallback template.toml"],
        "not there"
    );
    let circle = [plain("b", c), plain("c", b)];
    assert_eq!(
        in_directory(&circle),
        ["b fallback template.toml", "c fallback template.toml"]
    );
    let category = format!("{T}\ncategory = \"news\"");
    assert_eq!(
        in_directory(&[plain("a", b), ("b", &category, "{}", "{}")])
            .iter()
            .filter(|found| found.contains(" fallback "))
            .count(),
        1
    );
    let needs = "{\"name\": \"string\"}";
    assert_eq!(
        in_directory(&[plain("a", b), ("b", T, needs, "{\"name\": \"x\"}")]),
        ["a fallback examples/first.json"]
    );
    assert_eq!(
        in_directory(&[
            ("a", b, "{}", "{\"name\": \"y\"}"),
            ("b", T, needs, "{\"name\": \"x\"}")
        ]),
        [""; 0]
    );
}
