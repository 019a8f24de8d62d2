//! Partials and layouts: what they see, where they fail, and that they end.

use paceline_templates::{Files, Template, check};
use serde_json::{Value, json};

use super::{compile, files_with, input, patient};

fn with_partials(html: &str, partials: &[(&str, &str)]) -> Files {
    let mut files = files_with(&[("body.html.hbs", Some(html))]);
    for (name, source) in partials {
        files.insert(format!("partials/{name}.hbs"), source.as_bytes().to_vec());
    }
    files
}

fn rendered(html: &str, partials: &[(&str, &str)], data: &Value) -> Result<String, String> {
    let template = compile(&with_partials(html, partials));
    let rendered = template.render_within(input(data), &patient());
    rendered
        .map(|parts| parts.html)
        .map_err(|error| error.to_string())
}

fn problem(html: &str, partials: &[(&str, &str)]) -> String {
    match Template::from_files(&with_partials(html, partials)) {
        Ok(_) => panic!("{} was compiled", html.chars().take(100).collect::<String>()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_partial_sees_the_scope_around_or_what_it_is_given() {
    let data = json!({ "name": "Ada", "shop": { "name": "S" }, "rows": [{ "name": "a" }, { "name": "b" }] });
    let partials = [
        ("line", "({{name}})"),
        ("titled", "{{title}}:{{name}}:{{this.name}}"),
        ("up", "{{name}}{{../name}}"),
        ("listed", "{{name}}{{#each items}}({{name}} {{../name}}){{/each}}"),
        ("outer", "[{{> line}}{{> titled title=\"t\"}}]"),
        (
            "layout",
            "<h1>{{title}}</h1>{{> @partial-block}}<hr>{{> @partial-block}}",
        ),
        (
            "frame",
            "({{#> layout title=\"in\"}}{{> @partial-block}}!{{/layout}})",
        ),
    ];
    for (html, expected) in [
        ("{{> line}}", "(Ada)"),
        ("{{> line shop}}", "(S)"),
        ("{{#each rows}}{{> line}}{{/each}}", "(a)(b)"),
        ("{{#each rows}}{{> line ..}}{{/each}}", "(Ada)(Ada)"),
        ("{{#each rows as |row|}}{{> line row}}{{/each}}", "(a)(b)"),
        ("{{> titled title=\"x\"}}", "x:Ada:Ada"),
        ("{{> titled shop title=name}}", "Ada:S:S"),
        ("{{> titled name=\"n\" title=shop.name}}", "S:n:n"),
        ("{{> listed items=rows name=\"all\"}}", "all(a all)(b all)"),
        ("{{#each rows as |name|}}{{> line @root.shop}}{{/each}}", "(S)(S)"),
        (
            "{{#each rows as |row|}}{{#> layout title=\"T\"}}{{row.name}}{{/layout}}{{/each}}",
            "<h1>T</h1>a<hr>a<h1>T</h1>b<hr>b",
        ),
        ("{{> up shop}}", "SAda"),
        ("{{> outer}}", "[(Ada)t:Ada:Ada]"),
        (
            "{{#> layout title=\"T\"}}{{name}}{{/layout}}",
            "<h1>T</h1>Ada<hr>Ada",
        ),
        ("{{#> frame}}x{{/frame}}", "(<h1>in</h1>x!<hr>x!)"),
        (
            "{{#each rows}}{{#> layout title=name}}{{@index}}{{/layout}}{{/each}}",
            "<h1>a</h1>0<hr>0<h1>b</h1>1<hr>1",
        ),
    ] {
        assert_eq!(
            rendered(html, &partials, &data).as_deref(),
            Ok(expected),
            "{html}"
        );
    }
    let unclear = problem("{{> p title=\"t\"}}", &[("p", "{{#shop}}{{title}}{{/shop}}")]);
    assert!(unclear.contains("only the data knows whose it is"), "{unclear}");
}

#[test]
fn a_layout_has_parts_that_its_user_fills() {
    let data = json!({ "name": "Ada" });
    let partials = [
        (
            "layout",
            "<{{#> head}}none{{/head}}|{{> @partial-block}}|{{> foot}}>",
        ),
        ("foot", "foot"),
    ];
    for (html, expected) in [
        ("{{#> layout}}x{{/layout}}", "<none|x|foot>"),
        (
            "{{#> layout}}{{#*inline \"head\"}}H{{name}}{{/inline}}x{{/layout}}",
            "<HAda|x|foot>",
        ),
        (
            "{{#*inline \"foot\"}}F{{/inline}}{{#> layout}}x{{/layout}}{{> foot}}",
            "<none|x|F>F",
        ),
        (
            "{{#> layout}}{{#*inline \"foot\"}}F{{/inline}}x{{/layout}}{{> foot}}",
            "<none|x|F>foot",
        ),
        (
            "{{#if name}}{{#*inline \"foot\"}}F{{/inline}}{{> foot}}{{/if}}{{> foot}}",
            "Ffoot",
        ),
        ("  {{> foot}}\n  {{name}} {{> foot}}", "  foot  Ada foot"),
    ] {
        assert_eq!(
            rendered(html, &partials, &data).as_deref(),
            Ok(expected),
            "{html}"
        );
    }
    assert!(problem("{{#> gone}}x{{/gone}}", &partials).contains("`gone` is not one of the partials"));
    let itself = "{{#*inline \"a\"}}{{> a}}{{/inline}}{{> a}}";
    assert!(problem(itself, &partials).contains("includes itself"));
}

#[test]
fn what_fails_in_a_partial_names_it_with_both_lines() {
    let partials = [
        ("a", "\n\n{{> b}}"),
        ("b", "\n{{gone}}"),
        ("broken", "x\n{{#if a}}"),
        ("unknown", "\n{{frob 1}}"),
    ];
    assert_eq!(
        rendered("<p>\n{{> a}}", &partials, &json!({})),
        Err(
            "template sample 3, body.html.hbs line 2, partial b line 2: the variable `gone` is missing"
                .to_owned()
        )
    );
    let told = problem("<p>\n{{> broken}}", &partials);
    assert!(
        told.contains("body.html.hbs line 2: partial `broken` line 2: "),
        "{told}"
    );
    let told = problem("<p>\n{{> unknown}}", &partials);
    assert!(
        told.contains("body.html.hbs line 2: partial `unknown` line 2: `frob`"),
        "{told}"
    );
    let told = problem("<a {{> b}}", &[("b", "href=\"")]);
    assert!(told.contains("in another block"), "{told}");
    let error = rendered(
        "<a href=\"{{> b u=x}}\">",
        &[("b", "{{u}}")],
        &json!({ "x": "javascript:1" }),
    );
    assert!(error.is_err_and(|error| error.contains("`javascript:` URL")));
}

#[test]
fn partials_end() {
    let itself = "includes itself";
    assert!(problem("{{> a}}", &[("a", "{{> a}}")]).contains(itself));
    assert!(problem("{{> a}}", &[("a", "{{#if x}}{{> a}}{{/if}}")]).contains(itself));
    assert!(
        problem(
            "{{> a}}",
            &[("a", "{{#each kids}}{{> b}}{{/each}}"), ("b", "{{> a}}")]
        )
        .contains(itself)
    );
    assert!(
        problem(
            "{{> a}}",
            &[
                ("a", "{{#> b}}{{/b}}"),
                ("b", "{{> @partial-block}}{{#> a}}{{/a}}")
            ]
        )
        .contains(itself)
    );

    let chain: Vec<_> = (0..20)
        .map(|n| (format!("p{n}"), format!("{{{{> p{}}}}}", n + 1)))
        .collect();
    let mut chain: Vec<_> = chain
        .iter()
        .map(|(name, source)| (name.as_str(), source.as_str()))
        .collect();
    chain.push(("p20", "x"));
    assert!(problem("{{> p0}}", &chain).contains("16 partials within each other"));
    assert_eq!(rendered("{{> p5}}", &chain, &json!({})).as_deref(), Ok("x"));

    // Each doubles the next: 2^15 copies of a kilobyte.
    let kilobyte = "x".repeat(1_024);
    let doubling: Vec<_> = (0..15)
        .map(|n| (format!("p{n}"), format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", n + 1)))
        .collect();
    let mut doubling: Vec<_> = doubling
        .iter()
        .map(|(name, source)| (name.as_str(), source.as_str()))
        .collect();
    doubling.push(("p15", &kilobyte));
    assert!(problem("{{> p0}}", &doubling).contains("200 KB or 16000 tags"));
    doubling[15] = ("p15", "");
    assert!(problem("{{> p0}}", &doubling).contains("200 KB or 16000 tags"));
    let nested = format!(
        "{}{kilobyte}{}",
        "{{#> twice}}".repeat(15),
        "{{/twice}}".repeat(15)
    );
    assert!(
        problem(&nested, &[("twice", "{{> @partial-block}}{{> @partial-block}}")])
            .contains("200 KB or 16000 tags")
    );

    let full = "x".repeat(50 * 1024);
    assert!(problem(&"{{> full}}".repeat(5), &[("full", &full)]).contains("200 KB"));
    assert_eq!(
        rendered(&"{{> full}}".repeat(4), &[("full", &full)], &json!({})).map(|html| html.len()),
        Ok(200 * 1024)
    );
}

#[test]
fn the_check_looks_into_partials() {
    let mut files = with_partials(
        "<p>\n{{> card order}}",
        &[("card", "\n{{total}}{{#if @root.gone}}{{/if}}{{#if totl}}{{/if}}")],
    );
    files.insert(
        "schema.json".to_owned(),
        b"{\"properties\": {\"order\": {\"properties\": {\"total\": {}}}}}".to_vec(),
    );
    files.insert(
        "examples/first.json".to_owned(),
        b"{\"order\": {\"total\": 1}}".to_vec(),
    );
    let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("body.html.hbs line 2") && found[0].contains("gone"),
        "{found:?}"
    );
    assert!(
        found[1].contains("body.html.hbs line 2") && found[1].contains("order.totl"),
        "{found:?}"
    );
}

#[test]
fn a_place_sees_so_many_inline_partials_and_no_more() {
    let defined = |count: usize| -> String {
        (0..count)
            .map(|number| format!("{{{{#*inline \"p{number}\"}}}}x{{{{/inline}}}}"))
            .collect()
    };
    compile(&with_partials(&defined(64), &[]));
    let told = problem(&defined(65), &[]);
    assert!(told.contains("more than 64 inline partials"), "{told}");
    // Those around are seen, too.
    let inside = format!("{}{{{{#> layout}}}}{}{{{{/layout}}}}", defined(40), defined(30));
    let told = problem(&inside, &[("layout", "{{> @partial-block}}")]);
    assert!(told.contains("more than 64 inline partials"), "{told}");
}
