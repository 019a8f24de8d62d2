//! MJML, the preheader, the color scheme: what they come to, what is refused, and where that is told.

use paceline_templates::{Files, Rule, Template, build, check};
use serde_json::json;

use super::{MANIFEST, compile, files_with, input};

pub(super) fn findings(files: &Files) -> Vec<String> {
    check(files).iter().map(ToString::to_string).collect()
}

fn built(files: &Files, file: &str) -> String {
    let files = build(files).unwrap_or_else(|findings| panic!("{findings:?}"));
    String::from_utf8(files[file].clone()).expect("UTF-8")
}

fn with_manifest(lines: &str, html: &str) -> Files {
    let manifest = format!("{MANIFEST}{lines}");
    files_with(&[("template.toml", Some(&manifest)), ("body.html.hbs", Some(html))])
}

#[test]
fn the_preheader_comes_right_behind_the_body_s_tag_and_is_hidden() {
    let lines = "preheader = \"Hi {{name}} & <you>{{#if name}}!{{/if}}\"\n";
    let html = "<html>\n<body class=\"x\">\n<p>Hello</p></body></html>";
    let files = with_manifest(lines, html);
    let source = built(&files, "body.html.hbs");
    let (before, after) = source.split_once("<body class=\"x\">").expect("a body");
    assert_eq!(before, "<html>\n");
    assert!(after.starts_with("<div style=\"display:none;"), "{after}");
    assert!(
        after.contains(">Hi {{name}} &amp; &lt;you&gt;{{#if name}}!{{/if}}&#8199;"),
        "{after}"
    );
    assert!(after.ends_with("</div>\n<p>Hello</p></body></html>"), "{after}");
    assert!(!built(&files, "template.toml").contains("preheader"));
    let rendered = compile(&files)
        .render(input(&json!({ "name": "<Ada>" })))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        rendered.html.contains("Hi &lt;Ada&gt; &amp; &lt;you&gt;!"),
        "{}",
        rendered.html
    );
    // What it prints is printed, and part of a message's identity.
    let fields = compile(&files).fields();
    assert!(fields.iter().any(|field| field.name == "name" && field.printed));
    let volatile = with_manifest("preheader = \"{{timestamp}}\"\n", html);
    assert!(
        findings(&volatile)
            .iter()
            .any(|text| text.contains("`timestamp` is used in")),
        "{:?}",
        findings(&volatile)
    );
}

#[test]
fn a_preheader_is_held_to_what_a_subject_is() {
    for (line, told) in [
        ("preheader = \"{{{name}}}\"\n", "without html and partials"),
        ("preheader = \"{{> x}}\"\n", "`x` is not one of the partials"),
        ("preheader = \" \"\n", "one line of 1 to 1000 bytes"),
        ("preheader = \"a\\nb\"\n", "one line of 1 to 1000 bytes"),
        (
            "preheader = \"{{#if x}}\"\n",
            "preheader: invalid handlebars syntax",
        ),
        (
            "color_scheme = \"blue\"\n",
            "color_scheme must be one of: dark, dark light",
        ),
    ] {
        let found = findings(&with_manifest(line, "<body><p>x</p></body>"));
        assert!(
            found
                .iter()
                .any(|text| text.starts_with("template.toml: ") && text.contains(told)),
            "{line}: {found:?}"
        );
    }
    let mut files = with_manifest(
        "preheader = \"{{nam}} {{frob x}}\"\n",
        "<body>\n<p>{{name}}</p></body>",
    );
    let found = findings(&files);
    assert!(
        found
            .iter()
            .any(|text| text.starts_with("template.toml: preheader: ") && text.contains("`frob`")),
        "{found:?}"
    );
    files = with_manifest("preheader = \"{{nam}}\"\n", "<body>\n<p>{{name}}</p></body>");
    files.insert("schema.json".to_owned(), b"{\"name\": \"string\"}".to_vec());
    files.insert("examples/first.json".to_owned(), b"{\"name\": \"Ada\"}".to_vec());
    let found = findings(&files);
    assert!(
        found
            .iter()
            .any(|text| text == "template.toml: preheader: `nam` is not a field of the schema"),
        "{found:?}"
    );
    assert!(
        !found
            .iter()
            .any(|text| text.starts_with("body.html.hbs") && text.contains("`nam` is not")),
        "{found:?}"
    );
    let long = with_manifest(
        &format!("preheader = \"{}\"\n", "x".repeat(200)),
        "<body><p>x</p></body>",
    );
    let found = check(&long);
    assert!(
        found.len() == 1 && found[0].rule == Rule::Preheader && !found[0].forbids(),
        "{found:?}"
    );
}

#[test]
fn a_layout_s_body_has_the_preheader_and_its_head_the_color_scheme() {
    let mut files = with_manifest(
        "preheader = \"Hi {{name}}\"\ncolor_scheme = \"light dark\"\n",
        "{{#> layout}}<p>x</p>{{/layout}}",
    );
    let layout = "<html><head><title>x</title></head><body>{{> @partial-block}}</body></html>";
    files.insert("partials/layout.hbs".to_owned(), layout.as_bytes().to_vec());
    let layout = built(&files, "partials/layout.hbs");
    assert!(layout.contains("<body><div style=\"display:none"), "{layout}");
    assert!(
        layout.contains(
            "<head><meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\"><title>"
        ),
        "{layout}"
    );
    files.insert(
        "body.html.hbs".to_owned(),
        b"{{#> layout name=\"x\"}}<p>x</p>{{/layout}}".to_vec(),
    );
    let is_refused = |files: &Files, file: &str| {
        let found = findings(files);
        let told = format!(
            "preheader: <body> is in {file}, and there in a block, or included in one or with values"
        );
        assert!(found.iter().any(|text| text.contains(&told)), "{found:?}");
    };
    is_refused(&files, "partials/layout.hbs");
    for html in [
        "{{#with o}}{{#> layout}}x{{/layout}}{{/with}}",
        "{{#if o}}{{> layout}}{{else}}x{{/if}}",
    ] {
        files.insert("body.html.hbs".to_owned(), html.as_bytes().to_vec());
        is_refused(&files, "partials/layout.hbs");
    }
    for html in [
        "{{#with o}}<html><body>x</body></html>{{/with}}",
        "{{#if o}}<body>x</body>{{/if}}",
    ] {
        files.insert("body.html.hbs".to_owned(), html.as_bytes().to_vec());
        is_refused(&files, "body.html.hbs");
    }
    let html = "{{#> layout}}<body>x</body>{{/layout}}";
    files.insert("body.html.hbs".to_owned(), html.as_bytes().to_vec());
    for (layout, is_plain) in [
        ("<html>{{> @partial-block}}</html>", true),
        ("{{#with o}}{{> @partial-block}}{{/with}}", false),
    ] {
        files.insert("partials/layout.hbs".to_owned(), layout.as_bytes().to_vec());
        if is_plain {
            assert!(built(&files, "body.html.hbs").contains("<body><div style=\"display:none"));
        } else {
            is_refused(&files, "body.html.hbs");
        }
    }
}

#[test]
fn the_color_scheme_comes_where_there_is_none() {
    let there = with_manifest(
        "color_scheme = \"light\"\n",
        "<head><META name=\"Color-Scheme\" content=\"dark\"></head>",
    );
    assert_eq!(
        built(&there, "body.html.hbs"),
        "<head><meta name=\"supported-color-schemes\" content=\"light\"><META name=\"Color-Scheme\" content=\"dark\"></head>"
    );
    let bare = with_manifest(
        "preheader = \"Hi\"\ncolor_scheme = \"light\"\n",
        "<!doctype html>\n<p>x</p>",
    );
    let bare = built(&bare, "body.html.hbs");
    assert!(
        bare.starts_with("<!doctype html><meta name=\"color-scheme\"")
            && bare.contains("\"light\"><div style"),
        "{bare}"
    );
}

#[test]
fn a_stored_bundle_is_built_and_never_built_again() {
    let files = with_manifest(
        "preheader = \"Hi\"\n",
        "<style>p{color:red}</style><body><p>x</p></body>",
    );
    let template = compile(&files);
    let stored =
        Template::from_bundle_bytes(&template.bundle_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stored.hash(), template.hash());
    assert_eq!(stored.manifest().authoring.preheader, None);
    let render = |template: &Template| template.render(input(&json!({}))).map(|rendered| rendered.html);
    assert_eq!(render(&stored), render(&template));
    assert_eq!(render(&stored).expect("renders").matches("Hi").count(), 1);
    let plain = with_manifest("", "<body><p>{{x}}</p></body>");
    assert_eq!(build(&plain).expect("nothing to build"), plain);
}

const MJML: &str = "<mjml>\n<mj-head><mj-title>{{#if a}}A{{else}}B{{/if}}</mj-title><mj-preview>Soon, {{name}}</mj-preview>\n<mj-style>.x{color:red}</mj-style></mj-head>\n\
    <mj-body>\n{{#each rows}}\n<mj-section>{{#if on}}\n<mj-column><mj-text css-class=\"x\">Hello <b>{{name}}</b> &amp; co\n{{#if last}}bye{{/if}}</mj-text>\n\
    <mj-table><tr><th>n</th></tr>{{#each cells}}<tr><td>{{this}}</td></tr>{{/each}}</mj-table>\n<mj-button href=\"{{../url}}\">Go</mj-button>\n\
    <mj-image src=\"https://e.x/{{name}}.png\" alt=\"{{name}}\" /></mj-column>\n{{/if}}</mj-section>\n{{/each}}</mj-body></mjml>";

pub(super) fn mjml(source: &str) -> Files {
    files_with(&[("body.html.hbs", None), ("body.mjml.hbs", Some(source))])
}

#[test]
fn mjml_becomes_html_with_blocks_where_they_are() {
    let files = mjml(MJML);
    let data = json!({
        "a": true, "name": "Ada", "url": "https://e.x/go",
        "rows": [{ "on": true, "name": "one", "last": false, "cells": [1, 2, 3] }, { "on": false }, { "on": true, "name": "two", "last": true, "cells": [] }],
    });
    let template = compile(&files);
    let html = template
        .render(input(&data))
        .unwrap_or_else(|error| panic!("{error}"))
        .html
        // Lines are broken within tags.
        .replace("\n>", ">")
        .replace("\n ", " ");
    assert!(html.contains("<title>A</title>"), "{html}");
    assert!(html.contains(">Soon, Ada</div>"), "{html}");
    assert!(
        html.contains("Hello <b>one</b> &amp; co") && html.contains("Hello <b>two</b> &amp; co\nbye"),
        "{html}"
    );
    assert_eq!(html.matches("<th>n</th>").count(), 2);
    assert_eq!(html.matches("<tr><td>").count(), 3);
    assert_eq!(html.matches("href=\"https://e.x/go\"").count(), 2);
    assert_eq!(
        html.matches("class=\"x\" style=\"color:red;").count(),
        2,
        "the class of mj-text's cell: {html}"
    );
    assert!(html.contains("src=\"https://e.x/one.png\"") && html.contains("alt=\"two\""));
    let opened = html.matches("<table").count();
    assert_eq!(opened, html.matches("</table>").count());
    assert!(!html.contains("fonts.googleapis.com"), "{html}");
    // A block around a column is no column beside it.
    assert!(
        html.contains("mj-column-per-100 ") && !html.contains("mj-column-per-33"),
        "{html}"
    );
    assert!(!build(&files).expect("builds").contains_key("body.mjml.hbs"));
}

#[test]
fn what_is_wrong_with_mjml_is_told_by_its_own_line() {
    for (source, told) in [
        (
            "<mjml><mj-body>\n<mj-section>\n<mj-columm/></mj-section></mj-body></mjml>",
            "body.mjml.hbs line 3: <mj-columm>: is no element",
        ),
        (
            "<mjml><mj-head>\n<mj-include path=\"/etc/passwd\"/></mj-head></mjml>",
            "body.mjml.hbs line 2: <mj-include>: mj-include reads",
        ),
        (
            "<mjml><mj-body>\n<mj-section {{#if a}}x=\"y\"{{/if}}></mj-section></mj-body></mjml>",
            "body.mjml.hbs line 2: <mj-section>: handlebars stands in",
        ),
        (
            "<mjml><mj-body>\n<mj-section><mj-column><mj-image width=\"{{w}}\" src=\"https://e.x\"/></mj-column></mj-section></mj-body></mjml>",
            "body.mjml.hbs line 2: ",
        ),
        (
            "<mjml><mj-body>\n<mj-raw>{{frob x}}</mj-raw></mj-body></mjml>",
            "body.mjml.hbs line 2: `frob`",
        ),
        (
            "<mjml><mj-body><mj-raw>\n<p>\n{{> none}}</p></mj-raw></mj-body></mjml>",
            "body.mjml.hbs line 3: `none` is not one of",
        ),
        ("<mjml><mj-body></mjml>", "body.mjml.hbs"),
        (
            "<mjml><mj-body><mj-raw>\u{2192}></mj-raw></mj-body></mjml>",
            "body.mjml.hbs: mrml fails over it",
        ),
        ("<p>x</p>", "body.mjml.hbs"),
        ("", "body.mjml.hbs"),
    ] {
        let found = findings(&mjml(source));
        assert!(
            found.iter().any(|text| text.starts_with(told)),
            "{source}: {found:?}"
        );
        assert!(
            !found.iter().any(|text| text.starts_with("body.html.hbs")),
            "{source}: {found:?}"
        );
    }
    let missing = findings(&mjml(
        "<mjml><mj-body><mj-raw>\n\n{{name}}</mj-raw></mj-body></mjml>",
    ));
    assert!(
        missing
            .iter()
            .any(|text| text.contains("body.mjml.hbs line 3: the variable `name` is missing")),
        "{missing:?}"
    );
    let mut twice = mjml(
        "<mjml><mj-head><mj-preview>a</mj-preview></mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>",
    );
    twice.insert(
        "template.toml".to_owned(),
        format!("{MANIFEST}preheader = \"b\"\n").into_bytes(),
    );
    assert_eq!(
        findings(&twice),
        [
            "template.toml: preheader: body.mjml.hbs has an mj-preview, which is the same; one of the two is enough"
        ]
    );
    let both = files_with(&[("body.mjml.hbs", Some("<mjml><mj-body></mj-body></mjml>"))]);
    assert_eq!(
        findings(&both),
        ["body.mjml.hbs: stands beside body.html.hbs: one of the two is the html"]
    );
}

#[test]
fn tags_of_mjml_on_different_lines_are_told_apart() {
    let source = "<mjml><mj-body>\n<mj-section>\n<mj-column>\n<mj-text>{{o.a}}</mj-text>\n\n</mj-column>\n<mj-column>\n\
                  <mj-text>{{o.b}} {{o.nope}}</mj-text>\n<mj-image src=\"https://e.x/{{o.none}}.png\" alt=\"\"/>\n\
                  {{#if o.gone}}<mj-text>\n{{o.away}}</mj-text>{{/if}}</mj-column></mj-section></mj-body></mjml>";
    let mut files = mjml(source);
    let schema = b"{\"type\": \"object\", \"properties\": {\"o\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}, \"b\": {\"type\": \"string\"}}}}}";
    files.insert("schema.json".to_owned(), schema.to_vec());
    let found = findings(&files);
    for (name, line) in [("nope", 8), ("none", 9), ("gone", 10), ("away", 11)] {
        let told = format!("body.mjml.hbs line {line}: `o.{name}` is not a field");
        assert!(
            found.iter().any(|text| text.starts_with(&told)),
            "{told}: {found:?}"
        );
    }
    assert!(
        !found
            .iter()
            .any(|text| text.contains("`o.a`") && text.contains("is not a field")),
        "{found:?}"
    );
    let volatile = findings(&mjml(
        "<mjml><mj-body><mj-raw>{{timestamp}}</mj-raw></mj-body></mjml>",
    ));
    assert!(
        volatile
            .iter()
            .any(|text| text.contains("`timestamp` is used in body.mjml.hbs but")),
        "{volatile:?}"
    );
}

#[test]
fn a_block_in_the_head_of_mjml_is_told_where_it_may_stand() {
    let in_head = |head: &str| {
        findings(&mjml(&format!(
            "<mjml><mj-head>\n{head}</mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>"
        )))
    };
    let found = in_head("{{#if a}}<mj-title>x</mj-title>{{/if}}");
    let told = "body.mjml.hbs line 2: in mj-head handlebars stands in mj-title";
    assert!(
        found.iter().all(|text| text.starts_with(told)) && found.len() == 2,
        "{found:?}"
    );
    let found =
        in_head("{{! no }}<mj-title>{{#if a}}x{{/if}}</mj-title><mj-raw>{{#if a}}<meta>{{/if}}</mj-raw>");
    assert!(
        found
            .iter()
            .all(|text| text.contains("is not a field of the schema")),
        "{found:?}"
    );
}

#[test]
fn a_block_among_columns_without_widths_is_told() {
    let column = "<mj-column><mj-text>x</mj-text></mj-column>";
    let sized = "<mj-column width=\"50%\"><mj-text>x</mj-text></mj-column>";
    let row = |inside: &str| {
        mjml(&format!(
            "<mjml><mj-body><mj-section>\n{inside}</mj-section></mj-body></mjml>"
        ))
    };
    for (inside, is_told) in [
        (
            format!("{{{{#if a}}}}{column}{{{{else}}}}{column}{{{{/if}}}}"),
            true,
        ),
        (format!("{{{{#each a}}}}{column}{{{{/each}}}}"), true),
        (format!("{column}{{{{#if a}}}}{sized}{{{{/if}}}}"), true),
        (
            format!("<mj-group>{{{{#if a}}}}{column}{{{{/if}}}}{column}</mj-group>"),
            true,
        ),
        (format!("{{{{#if a}}}}{column}{{{{/if}}}}"), false),
        (
            format!("{{{{#if a}}}}{sized}{{{{else}}}}{sized}{{{{/if}}}}"),
            false,
        ),
        (
            format!("{column}<mj-column>{{{{#each a}}}}<mj-text>x</mj-text>{{{{/each}}}}</mj-column>"),
            false,
        ),
    ] {
        let found = check(&row(&inside));
        let told = found.iter().find(|finding| finding.rule == Rule::ColumnWidth);
        assert_eq!(told.is_some(), is_told, "{inside}: {found:?}");
        assert!(
            told.is_none_or(|told| told.file == "body.mjml.hbs" && told.line == Some(2)),
            "{told:?}"
        );
    }
    let all = format!(
        "<mjml><mj-head><mj-attributes><mj-column width=\"50%\"/></mj-attributes></mj-head><mj-body><mj-section>{{{{#each a}}}}{column}{{{{/each}}}}</mj-section></mj-body></mjml>"
    );
    let found = check(&mjml(&all));
    assert!(
        found.iter().all(|finding| finding.rule != Rule::ColumnWidth),
        "{found:?}"
    );
}
