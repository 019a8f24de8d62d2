//! The text that is derived when a bundle is built says what one derived from each rendering says, and neither costs more than its bound.

use paceline_templates::{Files, RenderFault, Template, build, check};
use serde_json::{Value, json};

use super::inlining::{Chance, in_root};
use super::{compile, files_with, input, patient};

fn with(html: &str, partials: &[(&str, &str)]) -> Files {
    let mut files = files_with(&[("body.html.hbs", Some(html)), ("body.txt.hbs", None)]);
    for (name, source) in partials {
        files.insert(format!("partials/{name}.hbs"), source.as_bytes().to_vec());
    }
    files
}

/// The text of a page as it is derived from a rendering.
fn derived(html: &str) -> String {
    let template = compile(&with("{{{h}}}", &[]));
    let rendered = template.render_within(input(&json!({ "h": html })), &patient());
    rendered.unwrap_or_else(|error| panic!("{error}: {html}")).text
}

fn built_text(html: &str, partials: &[(&str, &str)]) -> Option<String> {
    let built = build(&with(html, partials)).unwrap_or_else(|findings| panic!("{findings:?}"));
    let text = built.get("body.txt.hbs").cloned();
    text.map(|text| String::from_utf8(text).expect("UTF-8").replace(DERIVED, ""))
}

/// How a text begins that was derived when its bundle was built.
const DERIVED: &str = "{{!-- derived from the html --}}\n";

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn has_blank_element(html: &str) -> bool {
    let tags: Vec<_> = html.split('<').collect();
    tags.windows(2).any(|pair| {
        let is_start = !pair[0].starts_with(['/', '!']);
        is_start && pair[0].ends_with('>') && pair[1].starts_with('/')
    })
}

/// Holds the text of a template against what is derived from its html, and gives it.
fn hold(html: &str, partials: &[(&str, &str)], data: &Value) -> String {
    let rendered = compile(&with(html, partials)).render_within(input(data), &patient());
    let rendered = rendered.unwrap_or_else(|error| panic!("{error}: {html}"));
    let expected = derived(&rendered.html);
    // A block without text breaks a line of the built text, and none of the other.
    let parts = |text: &str| match has_blank_element(&rendered.html) {
        true => vec![words(text).concat()],
        false => words(text).into_iter().map(str::to_owned).collect(),
    };
    assert_eq!(
        parts(&rendered.text),
        parts(&expected),
        "{html}\n{partials:?}\n{data}\nbuilt: {:?}\nhtml: {}",
        built_text(html, partials),
        rendered.html
    );
    rendered.text
}

/// Holds a text, built and derived, to what it must be.
fn exact(html: &str, data: &Value, expected: &str) {
    assert_eq!(hold(html, &[], data), expected, "{html}");
    let rendered = compile(&with(html, &[])).render_within(input(data), &patient());
    let rendered = rendered.unwrap_or_else(|error| panic!("{error}: {html}"));
    assert_eq!(derived(&rendered.html), expected, "{html}");
}

#[test]
fn what_is_left_out_leaves_no_empty_lines_and_items_begin_where_they_are_marked() {
    let data = json!({ "none": [], "gift": false });
    for (html, expected) in [
        (
            "<p>a</p>{{#if gift}}<p>b</p>{{/if}}{{#each none}}<p>{{t}}</p>{{/each}}<p>c</p>{{#if gift}}<p>d</p>{{/if}}",
            "a\n\nc\n",
        ),
        (
            "<ul><li><p>a</p><p>b</p></li><li>\n<p>c</p></li></ul>",
            "* a\n\nb\n\n* c\n",
        ),
        ("<ol><li><p>d</p></li><li><p>e</p></li></ol>", "1. d\n2. e\n"),
    ] {
        assert!(built_text(html, &[]).is_some(), "{html}");
        exact(html, &data, expected);
    }
}

#[test]
fn a_text_is_derived_once_with_blocks_where_they_are() {
    let data = json!({ "name": "Ada & <Bob>", "url": "https://e.x/?a=1&b=2", "rows": [{ "t": "Bell", "n": 1 }, { "t": "Lamp", "n": 2 }], "none": [], "gift": false });
    for (html, expected) in [
        (
            "<h1>Hello {{name}}</h1><p>Two\n words&nbsp;&amp; &copy;</p>",
            "# Hello Ada & <Bob>\n\nTwo words\u{a0}& ©\n",
        ),
        (
            "<table><tr><th>what</th><th>how many</th></tr>{{#each rows}}<tr><td>{{t}}</td><td>{{n}}</td></tr>{{/each}}</table>",
            "what how many\nBell 1\nLamp 2\n",
        ),
        (
            "<ul>{{#each rows}}<li>{{t}}</li>{{else}}<li>nothing</li>{{/each}}</ul>",
            "* Bell\n* Lamp\n",
        ),
        (
            "<ul>{{#each none}}<li>{{t}}</li>{{else}}<li>nothing</li>{{/each}}</ul>",
            "* nothing\n",
        ),
        (
            "<p>a {{#if gift}}b {{/if}}c{{#unless gift}}<br>d{{/unless}}</p>",
            "a c\nd\n",
        ),
        (
            "<p><a href=\"{{url}}\">Go</a>, <a href=\"{{url}}\">{{url}}</a> <a href='mailto:a@e.x'>write</a> <a href=#top>up</a></p>",
            "Go (https://e.x/?a=1&b=2), https://e.x/?a=1&b=2 write (a@e.x) up\n",
        ),
        (
            "<p><a href=\"https://e.x/?a=1&copy=2\"><img src=x alt=\"Bell {{name}}\"></a></p>",
            "Bell Ada & <Bob> (https://e.x/?a=1&copy=2)\n",
        ),
        (
            "<a href=\"https://e.x/{{#if gift}}gift{{else}}buy{{/if}}\">Go</a>",
            "Go (https://e.x/buy)\n",
        ),
        (
            "<title>{{name}}</title><style>p{top:0}</style><div style=\"display:none\">{{name}}<div>x</div></div><p>y</p><!-- {{name}} -->{{! no }}",
            "y\n",
        ),
        (
            "<table><tr{{#if gift}} class=\"x\"{{/if}} style=\"top:0\"><td>{{name}}</td></tr></table>",
            "Ada & <Bob>\n",
        ),
        (
            "<p>a</p><hr><pre>b\n  c</pre><ol><li>{{name}}</li><li>e</li></ol>",
            "a\n\n---\n\nb\n  c\n1. Ada & <Bob>\n2. e\n",
        ),
    ] {
        assert!(built_text(html, &[]).is_some(), "{html}");
        exact(html, &data, expected);
    }
    let text = built_text(
        "<p>Hi {{name}}</p><table>{{#each rows}}<tr><td>{{t}}</td><td>{{n}}</td></tr>{{/each}}</table>",
        &[],
    );
    assert_eq!(
        text.as_deref(),
        Some("Hi {{name}}\n\n{{#each rows}}\n{{t}} {{n}}\n{{/each}}\n")
    );
}

#[test]
fn a_loop_of_sections_of_mjml_is_one_of_the_text() {
    let mut files = with("", &[]);
    files.remove("body.html.hbs");
    let source = "<mjml><mj-body><mj-wrapper>{{#each rows}}<mj-section><mj-column>{{#if n}}<mj-text>{{t}}</mj-text>{{else}}<mj-button href=\"https://e.x\">Go</mj-button>{{/if}}</mj-column></mj-section>{{/each}}</mj-wrapper></mj-body></mjml>";
    files.insert("body.mjml.hbs".to_owned(), source.as_bytes().to_vec());
    let text = String::from_utf8(build(&files).expect("builds")["body.txt.hbs"].clone()).expect("UTF-8");
    let text = text.strip_prefix(DERIVED).expect("is told");
    assert_eq!(
        words(text),
        [
            "{{#each",
            "rows}}",
            "{{#if",
            "n}}",
            "{{t}}",
            "{{else}}",
            "Go",
            "(https://e.x)",
            "{{/if}}",
            "{{/each}}"
        ]
    );
    let data = json!({ "rows": [{ "n": 1, "t": "a" }, { "n": 0 }] });
    let rendered = compile(&files)
        .render_within(input(&data), &patient())
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(words(&rendered.text), words(&derived(&rendered.html)));
    assert_eq!(words(&rendered.text), ["a", "Go", "(https://e.x)"]);
}

#[test]
fn a_layout_s_text_has_what_is_put_into_it() {
    let partials = [
        (
            "layout",
            "<html><body><h1>{{title}}</h1><table><tr><td>{{> @partial-block}}</td></tr></table><p>{{> sign}}</p></body></html>",
        ),
        ("sign", "<b>the shop</b>"),
        ("row", "<tr><td>{{this}}</td></tr>"),
    ];
    let html = "{{#> layout}}<p>Hello</p><table>{{#each rows}}{{> row}}{{/each}}</table>{{/layout}}";
    let text = hold(html, &partials, &json!({ "title": "T", "rows": ["a", "b"] }));
    assert_eq!(words(&text), ["#", "T", "Hello", "a", "b", "the", "shop"]);
    let built = build(&with(html, &partials)).expect("builds");
    assert!(
        built.contains_key("partials/layout-as-text.hbs") && built.contains_key("partials/row-as-text.hbs"),
        "{:?}",
        built.keys()
    );
}

#[test]
fn where_the_data_decides_each_email_s_text_is_its_own() {
    let data = json!({ "k": "<p>x</p>", "ends": "</div><p>x</p><div>", "on": true, "off": false, "css": "top:0", "list": [1] });
    let partials = [("part", "style=\"display:none\"")];
    for html in [
        "<p>a</p>{{{k}}}",
        "<p>a</p>{{&k}}",
        "<p>a</p><div style=\"display:none\">{{{ends}}}</div>",
        "<ol>{{#each list}}<li>{{this}}</li>{{/each}}</ol>",
        "<div>{{#if on}}<p>a{{else}}<p>b{{/if}}</p></div>",
        "<a {{#if on}}href=\"https://e.x\"{{/if}}>a</a>",
        "<p style=\"display:{{#if on}}none{{else}}block{{/if}}\">a</p><p>b</p>",
        "<p {{#if off}}style=\"display:none\"{{/if}}>Discount {{on}}</p>",
        "<p {{#if off}}style=\"top:0\"{{else}}style=\"{{css}}\"{{/if}}>a</p>b",
        "<p {{#if on}}style=\"top:0\"{{else}}style=\"Display:none\"{{/if}}>a</p>b",
        "<p {{#if on}}{{> part}}{{/if}}>Discount</p><p>b</p>",
        "<p>&#123;&#123;k}}</p>",
        "<p>&#92;{{on}}</p>",
    ] {
        assert_eq!(built_text(html, &partials), None, "{html}");
        hold(html, &partials, &data);
    }
    let files = with("<p>a</p>", &[]);
    let written = files_with(&[("body.html.hbs", Some("<p>a</p>"))]);
    assert_eq!(build(&written).expect("builds"), written, "a written text stays");
    assert_eq!(
        build(&files).expect("builds")["body.txt.hbs"],
        format!("{DERIVED}a\n").as_bytes()
    );
}

#[test]
fn nothing_is_told_of_texts_that_nobody_wrote() {
    let told = |html: &str, partials: &[(&str, &str)]| -> Vec<String> {
        let found = check(&with(html, partials));
        found.iter().map(ToString::to_string).collect()
    };
    for (source, problem) in [
        ("{{nope}}", "`nope` is not a field"),
        ("{{timestamp}}", "`timestamp` is used in body.html.hbs but"),
    ] {
        let found = told("<p>x{{> part}}</p>", &[("part", source)]);
        assert!(found.iter().any(|text| text.contains(problem)), "{found:?}");
        let of_text = |text: &String| text.contains("body.txt.hbs") || text.contains("-as-text");
        assert!(!found.iter().any(of_text), "{found:?}");
    }
    let blank = told("<p>{{#if on}}x{{/if}}</p>", &[]);
    let text = "no plain text can be derived from the html: it has no text";
    assert!(blank.iter().any(|found| found.ends_with(text)), "{blank:?}");
    assert!(
        !blank.iter().any(|found| found.contains("body.txt.hbs")),
        "{blank:?}"
    );
    // A stored bundle tells as much.
    let template = compile(&with("<p>{{#if on}}x{{/if}}</p>", &[]));
    let stored =
        Template::from_bundle_bytes(&template.bundle_bytes()).unwrap_or_else(|error| panic!("{error}"));
    for template in [template, stored] {
        assert!(
            template
                .render(input(&json!({ "on": true })))
                .is_ok_and(|rendered| rendered.text == "x\n")
        );
        let refused = template
            .render(input(&json!({ "on": false })))
            .err()
            .map(|error| error.fault);
        assert!(matches!(
            refused,
            Some(RenderFault::TextNotDerivable {
                problem: "it has no text"
            })
        ));
    }
}

#[test]
fn texts_by_chance_are_those_of_the_html() {
    let mut texts = 0;
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let body = chance.children("div", 5);
        let part = chance.children("div", 2).replace("{{>", "{{!");
        let page = in_root(&format!("<html><body><h2>t</h2>{body}</body></html>"));
        let part = in_root(&part);
        let partials = [
            ("part", part.as_str()),
            ("other", "<p class=\"c\">{{@root.t}}</p>"),
        ];
        texts += usize::from(built_text(&page, &partials).is_some());
        for (f, l) in [(true, json!([1, 2])), (false, json!([])), (false, json!([3]))] {
            hold(
                &page,
                &partials,
                &json!({ "f": f, "l": l, "n": 7, "t": "t & u", "k": "a" }),
            );
        }
    }
    assert!(texts > 150, "{texts}");
}

#[test]
fn the_text_of_what_the_repository_ships_is_that_of_its_html() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut held = 0;
    for set in [
        "templates",
        "tests/e2e/templates",
        "tests/chaos/templates",
        "tests/peers/templates",
    ] {
        for folder in std::fs::read_dir(root.join(set)).expect("a folder") {
            let mut files =
                paceline_templates::read_folder(&folder.expect("an entry").path()).expect("readable");
            files.remove("body.txt.hbs");
            assert!(build(&files).expect("builds").contains_key("body.txt.hbs"));
            let template = Template::from_files(&files).unwrap_or_else(|error| panic!("{error}"));
            for example in template.examples() {
                let rendered = template
                    .render_example(example)
                    .unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(
                    words(&rendered.text),
                    words(&derived(&rendered.html)),
                    "{} {}",
                    template.manifest().name,
                    example.name
                );
                held += 1;
            }
        }
    }
    assert!(held > 8, "{held}");
}

#[test]
fn what_data_writes_is_derived_within_bounds() {
    let template = compile(&with("<p>x</p>{{{h}}}", &[]));
    let derive = |html: String| {
        template
            .render_within(input(&json!({ "h": html })), &patient())
            .map(|rendered| rendered.text)
    };
    let too_large = |html: String| {
        let shown = html[..12].to_owned();
        let error = derive(html).err().unwrap_or_else(|| panic!("{shown}"));
        assert!(
            matches!(error.fault, RenderFault::TextNotDerivable { problem } if problem.starts_with("it is too large")),
            "{shown}: {error}"
        );
    };
    too_large("</p>".repeat(60_000));
    too_large("</table></b>".repeat(20_000));
    too_large("<b>x</b><i>".repeat(3_001));
    // None of these is more to a parser than its text.
    for html in [
        format!("<p {}>y</p>", "a b c ".repeat(40_000)),
        format!("<p {}>y</p>", "a=\"b\" ".repeat(40_000)),
        format!("<a href=\"{}\">y</a>", "&".repeat(40_000)),
        format!("<!--{}-->y", "<p>".repeat(60_000)),
        format!("<style>{}</style>y", "<p>".repeat(60_000)),
        format!("{}y", "</p>".repeat(2_900)),
        format!(
            "{}y",
            "<p style=display:none>"
                .repeat(1_000)
                .replace("none>", "none></p>")
        ),
    ] {
        let text = derive(html).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            text.contains('y') && !text.contains("<p"),
            "{}",
            &text[..text.len().min(80)]
        );
    }
}
