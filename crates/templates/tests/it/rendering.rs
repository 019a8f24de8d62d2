//! What templates can say, and how strictly they are taken.

use paceline_templates::RenderFault;
use serde_json::json;

use super::{compile, files, files_with, html, input, refusal};

#[test]
fn a_missing_variable_is_an_error_that_names_template_file_line_and_variable() {
    for (source, variable) in [
        ("{{name}}", "name"),
        ("\n\n{{user.name}}", "user.name"),
        ("{{user.name.first}}", "user.name.first"),
        ("{{{user.name}}}", "user.name"),
        ("{{#each items}}\n{{price}}{{/each}}", "price"),
        ("{{#each items as |item|}}{{item.price}}{{/each}}", "item.price"),
        ("{{#with user}}{{name}}{{/with}}", "name"),
        ("{{#if user}}{{user.name}}{{/if}}", "user.name"),
        ("{{lookup user \"name\"}}", "user.[...]"),
        ("{{lookup items 7}}", "items.[...]"),
        ("{{len user.name}}", "user.name"),
        ("{{#if (eq user.name \"x\")}}{{/if}}", "user.name"),
        ("{{#if (gt 1 user.name)}}{{/if}}", "user.name"),
        ("{{paceline.unknown}}", "paceline.unknown"),
        ("{{@index}}", "@index"),
    ] {
        let data = json!({ "user": { "id": "ada@example.com" }, "items": [{ "sku": "ada@example.com" }] });
        let template = compile(&files(source));
        let error = template
            .render_within(input(&data), &super::patient())
            .err()
            .expect(source);
        assert_eq!(
            error.fault,
            RenderFault::MissingVariable {
                variable: variable.to_owned()
            },
            "{source}"
        );
        assert_eq!(
            (error.template.as_str(), error.file),
            ("sample 3", "body.html.hbs"),
            "{source}"
        );
        let line = source[..source
            .find(variable.split(['.', '[']).next().expect("a part"))
            .expect("there")]
            .matches('\n')
            .count();
        assert_eq!(error.line, Some(line + 1), "{source}");
        assert!(
            !format!("{error} {error:?}").contains("ada@"),
            "{source}: {error}"
        );
    }
}

#[test]
fn a_missing_variable_is_false_where_only_its_truth_counts() {
    let data = json!({ "zero": 0, "empty": "", "none": null, "list": [] });
    for name in ["missing", "zero", "empty", "none", "list", "missing.deeper"] {
        assert_eq!(
            html(&format!("{{{{#if {name}}}}}a{{{{else}}}}b{{{{/if}}}}"), &data),
            "b",
            "{name}"
        );
        assert_eq!(
            html(&format!("{{{{#unless {name}}}}}a{{{{/unless}}}}"), &data),
            "a",
            "{name}"
        );
        assert_eq!(
            html(&format!("{{{{#with {name}}}}}a{{{{else}}}}b{{{{/with}}}}"), &data),
            if name == "zero" { "a" } else { "b" },
            "{name}"
        );
        assert_eq!(
            html(&format!("{{{{#if (or {name} 1)}}}}a{{{{/if}}}}"), &data),
            "a",
            "{name}"
        );
        assert_eq!(
            html(
                &format!("{{{{#if (and {name} 1)}}}}a{{{{else}}}}b{{{{/if}}}}"),
                &data
            ),
            "b",
            "{name}"
        );
        assert_eq!(
            html(&format!("{{{{#if (not {name})}}}}a{{{{/if}}}}"), &data),
            "a",
            "{name}"
        );
    }
    assert_eq!(html("{{#each missing}}a{{else}}b{{/each}}", &data), "b");
    assert_eq!(html("{{#if zero includeZero=true}}a{{/if}}", &data), "a");
}

#[test]
fn loops_and_scopes_are_those_of_handlebars() {
    let data = json!({
        "shop": "S", "rows": [{ "n": "a", "tags": [1, 2] }, { "n": "b", "tags": [] }],
        "map": { "x": { "v": 1 }, "y": { "v": 2 } }, "words": ["p", "q"], "key": "x"
    });
    for (source, expected) in [
        (
            "{{#each rows}}{{@index}}{{n}}{{#if @first}}F{{/if}}{{#if @last}}L{{/if}};{{/each}}",
            "0aF;1bL;",
        ),
        (
            "{{#each rows}}{{n}}:{{#each tags}}{{this}}{{../n}}{{../../shop}}{{@root.shop}},{{else}}none{{/each}};{{/each}}",
            "a:1aSS,2aSS,;b:none;",
        ),
        (
            "{{#each rows as |row i|}}{{i}}{{row.n}}{{#each row.tags as |t|}}{{t}}{{row.n}}{{/each}};{{/each}}",
            "0a1a2a;1b;",
        ),
        ("{{#each map}}{{@key}}={{v}};{{/each}}", "x=1;y=2;"),
        (
            "{{#each map as |value key|}}{{key}}={{value.v}};{{/each}}",
            "x=1;y=2;",
        ),
        (
            "{{#each words}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}",
            "p, q",
        ),
        ("{{#each (lookup map key)}}{{@key}}{{this}}{{/each}}", "v1"),
        (
            "{{#each (lookup map key) as |value name|}}{{name}}{{value}}{{/each}}",
            "v1",
        ),
        ("{{#with (lookup map \"y\") as |m|}}{{m.v}}{{v}}{{/with}}", "22"),
        ("{{#with rows.[1]}}{{n}}{{/with}}{{rows.0.n}}", "ba"),
        ("{{#each rows}}{{#with tags}}{{@index}}{{/with}}{{/each}}", "0"),
        ("{{#if (eq shop \"S\")}}a{{else if key}}b{{else}}c{{/if}}", "a"),
        (
            "{{#if (and (gt 2 1) (lte 1 1.0) (ne shop \"T\") (not (lt \"b\" \"a\")) (eq 1 1.0) (gte 2 2))}}a{{/if}}",
            "a",
        ),
        ("{{len rows}}{{len shop}}{{len map}}", "212"),
        (
            "{{{{raw}}}}{{name}}{{{{/raw}}}}\\{{name}}{{! a comment }}{{!-- {{name}} --}}",
            "{{name}}{{name}}",
        ),
    ] {
        assert_eq!(html(source, &data), expected, "{source}");
    }
    assert!(refusal("{{#each shop}}{{/each}}", &data).contains("neither over a list"));
    assert!(refusal("{{rows.n}}", &data).contains("a list has no field `n`"));
    assert!(refusal("{{len 7}}", &data).contains("neither a list"));
}

#[test]
fn html_is_escaped_and_subject_and_text_are_not() {
    let files = files_with(&[
        ("subject.hbs", Some("{{name}} & \"co\"\r\n")),
        ("body.html.hbs", Some("<p>{{name}}|{{{name}}}|{{&name}}</p>")),
        ("body.txt.hbs", Some("{{name}} & {{{name}}}")),
    ]);
    let rendered = compile(&files)
        .render(input(&json!({ "name": "<b>&\"'=`" })))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.subject, "<b>&\"'=` & \"co\"");
    assert_eq!(
        rendered.html,
        "<p>&lt;b&gt;&amp;&quot;&#x27;&#x3D;&#x60;|<b>&\"'=`|<b>&\"'=`</p>"
    );
    assert_eq!(rendered.text, "<b>&\"'=` & <b>&\"'=`");
}

#[test]
fn what_is_ours_is_there_and_can_t_be_overridden() {
    let mut data = json!({});
    let source = "{{paceline.message_id}} {{paceline.template}} {{paceline.lane}}";
    let expected = html(source, &data);
    assert!(
        expected.ends_with(" sample bulk") && expected.len() == 26 + " sample bulk".len(),
        "{expected}"
    );
    data["paceline"] = json!({ "message_id": "forged" });
    assert_eq!(html(source, &data), expected);
}

#[test]
fn a_subject_is_one_line() {
    let template = compile(&files_with(&[("subject.hbs", Some("About {{topic}}"))]));
    let fault = |topic: &str| {
        template
            .render(input(&json!({ "topic": topic })))
            .err()
            .map(|error| (error.file, error.fault))
    };
    assert_eq!(fault("grüße 🚲"), None);
    for topic in [
        "a\r\nBcc: x@example.com",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{2028}b",
        "a\u{85}b",
        "a\tb",
    ] {
        assert_eq!(
            fault(topic),
            Some(("subject.hbs", RenderFault::SubjectNotOneLine)),
            "{topic:?}"
        );
    }
    assert_eq!(
        fault(&"x".repeat(993)),
        Some(("subject.hbs", RenderFault::SubjectTooLong { max: 998 }))
    );
    assert_eq!(fault(&"x".repeat(992)), None);
    let blank = compile(&files_with(&[("subject.hbs", Some("{{topic}} "))]));
    let error = blank.render(input(&json!({ "topic": "" }))).err().expect("blank");
    assert_eq!(error.fault, RenderFault::SubjectEmpty);
}

#[test]
fn text_is_derived_where_none_is_written() {
    let source = "<html><head><title>T</title><style>p { color: red }</style></head><body><h1>Hello {{name}}</h1>\
                  <table><tr><td>A cell</td><td>Another</td></tr></table>\
                  <p>See <a href=\"https://example.com/x\">the page</a>.</p></body></html>";
    let template = compile(&files_with(&[
        ("body.html.hbs", Some(source)),
        ("body.txt.hbs", None),
    ]));
    let rendered = template
        .render_within(input(&json!({ "name": "Ada & co" })), &super::patient())
        .unwrap_or_else(|error| panic!("{error}"));
    for part in [
        "Hello Ada & co",
        "A cell",
        "Another",
        "the page",
        "https://example.com/x",
    ] {
        assert!(rendered.text.contains(part), "{part}: {}", rendered.text);
    }
    assert!(
        !rendered.text.contains('<') && !rendered.text.contains("color"),
        "{}",
        rendered.text
    );
}
