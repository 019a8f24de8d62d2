//! What building costs at most: of hostile sources, of what includes or inlines without end, and of sources by chance.

use paceline_templates::{BUILT_BYTES_MAX, FILE_BYTES_MAX, Rule, Template, build, check};

use super::authoring::{findings, mjml};
use super::files_with;
use super::inlining::Chance;

#[test]
fn hostile_sources_are_built_within_bounds() {
    let nested = |open: &str, count: usize| open.repeat(count);
    let body = |inside: &str| {
        format!(
            "<mjml><mj-body><mj-section><mj-column><mj-text>{inside}</mj-text></mj-column></mj-section></mj-body></mjml>"
        )
    };
    for inside in [
        nested("<div>", 9_000),
        format!("{}{}", nested("<b>", 5_000), nested("</b>", 5_000)),
        nested("<br/>", 9_000),
        nested("</p>", 12_000),
        format!("<p {}>", nested("a ", 20_000)),
        nested("<!--", 10_000),
        nested("{{#if a}}", 900),
        nested("<svg><style>", 3_000),
        nested("<a href=\"", 4_000),
    ] {
        let shown: String = inside.chars().take(12).collect();
        assert!(!findings(&mjml(&body(&inside))).is_empty(), "{shown}");
    }
    let styled = |sheet: &str, body: &str| {
        files_with(&[("body.html.hbs", Some(&format!("<style>{sheet}</style>{body}")))])
    };
    for files in [
        styled("p{top:0}", &nested("<div>x", 7_000)),
        styled("p{top:0}", &nested("<b><p>x</b>", 4_000)),
        styled(&nested("*{a:b}", 4_000), &nested("<p>x</p>", 2_500)),
        styled(
            &format!("{}{{a:b}}", nested("*,", 10_000)),
            &nested("<p>x</p>", 2_500),
        ),
        styled(
            &format!("*{{{}}}", nested("a:b;", 6_000)),
            &nested("<p>x</p>", 2_500),
        ),
        styled(&format!("{}{{a:b}}", nested("p ", 20_000)), "<p>x</p>"),
        styled(&nested("@media x{", 5_000), "<p>x</p>"),
        styled(&nested("(", 20_000), "<p>x</p>"),
        styled("p{top:0}", &format!("<p {}>x", nested("a=b ", 9_000))),
        styled("p{top:0}", &nested("</p>", 12_000)),
        styled(&nested("/*", 20_000), "<p>x</p>"),
    ] {
        // Each ends in good time, and what is not inlined renders as it is.
        let found = check(&files);
        assert!(
            found
                .iter()
                .all(|finding| finding.rule == Rule::NotInlined || finding.rule == Rule::Syntax),
            "{found:?}"
        );
    }
    let crowd: String = (0..5_000).map(|number| format!("a{number} ")).collect();
    for html in [
        format!("<p>x</p>\n<p {crowd}>x</p>"),
        format!("<p {{{{#if a}}}}x{{{{/if}}}} {crowd}>x</p>"),
    ] {
        let found = check(&files_with(&[("body.html.hbs", Some(&html))]));
        assert!(
            found
                .iter()
                .any(|finding| finding.rule == Rule::Markup && finding.line.is_some()),
            "{found:?}"
        );
    }
    let grown = styled(
        &format!("p{{background:url(https://e.x/{})}}", "x".repeat(2_000)),
        &nested("<p>x</p>", 500),
    );
    let found = check(&grown);
    assert!(
        found.len() == 1
            && found[0].rule == Rule::NotInlined
            && found[0]
                .description
                .contains(&format!("at most {BUILT_BYTES_MAX} are allowed")),
        "{found:?}"
    );
    assert_eq!(build(&grown).expect("builds"), grown);
    let large = styled("", &nested("x", FILE_BYTES_MAX));
    assert!(
        findings(&large)
            .iter()
            .any(|text| text.contains(&format!("at most {FILE_BYTES_MAX} are allowed")))
    );
}

#[test]
fn what_is_inlined_without_end_is_not() {
    let declarations: String = (0..480).map(|number| format!("a{number}:bcd;")).collect();
    let html = format!("<style>br{{{declarations}}}</style>{}", "<br>".repeat(3_900));
    let files = files_with(&[("body.html.hbs", Some(&html))]);
    assert_eq!(build(&files).expect("builds"), files);
    let found = findings(&files);
    assert!(found[0].contains("are too many"), "{found:?}");
}

#[test]
fn what_includes_too_much_is_not_built() {
    let mut files = files_with(&[("body.txt.hbs", None)]);
    let mut put =
        |name: &str, source: String| files.insert(format!("partials/{name}.hbs"), source.into_bytes());
    put("q", String::new());
    put("p", "{{> q}}".repeat(1_990));
    for level in 1..12 {
        put(
            &format!("l{level}"),
            format!("{{{{#> l{}}}}}{{{{/l{}}}}}", level + 1, level + 1),
        );
    }
    put("l12", "{{> p}}".repeat(60));
    let many = |count: usize| {
        let inline: String = (0..count)
            .map(|number| format!("{{{{#*inline \"a{number}\"}}}}{{{{/inline}}}}"))
            .collect();
        format!("<style>p{{top:0}}</style>{inline}<p>x</p>{{{{#> l1}}}}{{{{/l1}}}}")
    };
    for (count, told) in [(60, "too many elements"), (65, "can't be followed")] {
        files.insert("body.html.hbs".to_owned(), many(count).into_bytes());
        let found = findings(&files);
        assert!(found.iter().any(|text| text.contains(told)), "{count}: {found:?}");
    }
    for source in [
        "{{a}}".repeat(2_001),
        format!(
            "<mjml><mj-body><mj-raw>{}</mj-raw></mj-body></mjml>",
            "{{a}}".repeat(2_001)
        ),
    ] {
        let file = if source.starts_with("<mjml") {
            "body.mjml.hbs"
        } else {
            "body.html.hbs"
        };
        let files = files_with(&[("body.html.hbs", None), (file, Some(&source))]);
        assert!(findings(&files)[0].contains("2000"), "{:?}", findings(&files));
    }
    let font = format!(
        "<mjml><mj-head><mj-attributes><mj-all font-family=\"{}\"/></mj-attributes></mj-head><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>",
        "x".repeat(20_000),
        "<mj-text/>".repeat(1_500)
    );
    let found = findings(&mjml(&font));
    assert!(
        found.len() == 1 && found[0].starts_with("body.mjml.hbs: the html made of it has "),
        "{found:?}"
    );
}

#[test]
fn a_template_that_grows_past_its_bounds_stays_as_it_is_written() {
    let html = format!(
        "<style>td{{padding:0;margin:0;color:red;font-size:1px;line-height:2;border:0;font-family:Helvetica,Arial,Verdana,sans-serif;background:none}}</style><table>{}</table>",
        "<tr><td>x</td></tr>".repeat(1_400)
    );
    let files = files_with(&[("body.html.hbs", Some(&html))]);
    let found = check(&files);
    assert!(found.len() == 1 && found[0].rule == Rule::NotInlined, "{found:?}");
    assert_eq!(build(&files).expect("builds"), files);
    let text = "<p>x</p>".repeat(6_000);
    let mut files = files_with(&[("body.html.hbs", Some(&text)), ("body.txt.hbs", None)]);
    let example = format!("{{\"a\": \"{}\"}}", "x".repeat(51_000));
    for number in 0..9 {
        files.insert(format!("examples/{number}.json"), example.clone().into_bytes());
    }
    assert_eq!(build(&files).expect("builds"), files);
    assert!(Template::from_files(&files).is_ok());
}

/// What sources are made of.
const PARTS: [&str; 59] = [
    "<",
    ">",
    "\"",
    "'",
    "{{",
    "}}",
    "{{#if a}}",
    "{{/if}}",
    "{{else}}",
    "{{a}}",
    "{{{a}}}",
    "é",
    "\u{1f600}",
    "<style>",
    "</style>",
    "=",
    "<!--",
    "-->",
    "/*",
    "*/",
    "{",
    "}",
    ":",
    ";",
    "p",
    " ",
    "\n",
    "\\",
    "&",
    "&amp;",
    "<p class=\"a\" style='b:c'>",
    "</p>",
    "<table><tr>",
    "</tr></table>",
    "<a href=\"",
    "{{> p}}",
    "{{#> p}}",
    "{{/p}}",
    "{{#*inline \"p\"}}",
    "{{/inline}}",
    "<ol>",
    "<li>",
    "@media",
    "[",
    "]",
    "(",
    ")",
    "!important",
    "a{b:c}",
    "<title>",
    "</",
    "<!",
    "<body>",
    "style=\"display:none\"",
    "{{!--",
    "--}}",
    "{{~",
    "~}}",
    "\u{e000}",
];

#[test]
fn no_source_by_chance_makes_a_build_panic() {
    let mut chance = Chance(1);
    for _ in 0..2_000 {
        let count = 1 + chance.below(24);
        let soup: String = (0..count).map(|_| chance.of(&PARTS)).collect();
        let styled = format!(
            "<style>p,.a>b{{c:d}}{}</style>{soup}<p class=a>x</p>",
            chance.of(&PARTS)
        );
        let text = format!(
            "<mjml><mj-body><mj-section><mj-column><mj-text a=\"{}\">{soup}</mj-text></mj-column></mj-section></mj-body></mjml>",
            chance.of(&PARTS)
        );
        for (file, source) in [
            ("body.html.hbs", &styled),
            ("body.html.hbs", &soup),
            ("body.mjml.hbs", &text),
        ] {
            let mut files = files_with(&[
                ("body.html.hbs", None),
                ("body.txt.hbs", None),
                (file, Some(source)),
            ]);
            files.insert(
                "partials/p.hbs".to_owned(),
                soup.replace("{{> p", "").into_bytes(),
            );
            for finding in check(&files) {
                assert!(!finding.description.contains("panicked"), "{source:?}: {finding}");
            }
        }
    }
}
