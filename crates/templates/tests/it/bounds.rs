//! Hostile templates and data: each is refused, or costs at most its bound. None takes the process down; tests run on
//! threads with 2 MiB of stack, as a runtime's workers do.

use paceline_templates::{RenderFault, Template, check};
use serde_json::json;

use super::{compile, files, files_with, input, patient, problem, render};

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn nesting_is_bounded_and_what_is_within_it_fits_the_stack() {
    let deep = nested("{{#if a}}", "x", "{{/if}}", 63);
    assert_eq!(
        render(&deep, &json!({ "a": true }))
            .map(|r| r.html)
            .ok()
            .as_deref(),
        Some("x")
    );
    let each = format!(
        "{{{{#each a}}}}{}{{{{/each}}}}",
        nested("{{#each this}}", "x", "{{/each}}", 62)
    );
    let mut data = json!([1]);
    for _ in 0..63 {
        data = json!([data]);
    }
    assert!(render(&each, &json!({ "a": data })).is_ok());
    let chain = format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(61));
    assert!(render(&chain, &json!({ "a": false })).is_ok());
    let calls = format!("{{{{#if {}}}}}x{{{{/if}}}}", nested("(not ", "a", ")", 62));
    assert!(render(&calls, &json!({ "a": true })).is_ok());

    for hostile in [
        nested("{{#if a}}", "x", "{{/if}}", 64),
        nested("{{#if a}}", "x", "{{/if}}", 999),
        nested("{{#with a}}", "x", "{{/with}}", 999),
        nested("{{#each a}}", "x", "{{/each}}", 999),
        format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(1_990)),
        format!(
            "{{{{#if a}}}}{}{{{{/if}}}}",
            "{{else}}{{#if b}}{{/if}}".repeat(600)
        ),
        format!("{{{{#if {}}}}}x{{{{/if}}}}", nested("(not ", "a", ")", 3_900)),
        format!("{{{{not {}}}}}", nested("[", "1", "]", 3_900)),
        format!("{{{{not {}}}}}", nested("{\"a\":", "1", "}", 3_900)),
        format!(
            "{{{{#if a includeZero={}}}}}{{{{/if}}}}",
            nested("(not ", "a", ")", 3_900)
        ),
    ] {
        let problem = problem(&hostile);
        assert!(
            ["within each other", "syntax", "invalid parameter"]
                .iter()
                .any(|expected| problem.contains(expected)),
            "{}: {problem}",
            &hostile[..60]
        );
    }
}

#[test]
fn a_file_has_a_bounded_number_of_tags_brackets_and_bytes() {
    assert!(problem(&"{{a}}".repeat(2_001)).contains("2001 tags"));
    assert!(problem(&"{{#if a}}".repeat(2_001)).contains("tags"));
    assert!(problem(&nested("{{#if a}}", "", "{{/if}}", 2_000)).contains("tags"));
    for bracket in ["(", "[", "{ "] {
        assert!(problem(&bracket.repeat(4_001)).contains("4001 of"), "{bracket}");
    }
    assert!(problem(&"x".repeat(50 * 1024 + 1)).contains("51201 bytes"));
    assert!(Template::from_files(&files(&"x".repeat(50 * 1024))).is_ok());
    assert!(Template::from_files(&files(&"{{a}}".repeat(2_000))).is_ok());
    assert!(problem(&"\\".repeat(17)).contains("16 backslashes"));
    assert!(Template::from_files(&files(&"\\".repeat(16))).is_ok());
}

#[test]
fn what_can_call_itself_is_refused() {
    for (source, expected) in [
        ("{{> header}}", "`header` is not one of the partials: "),
        ("{{> (lookup this \"p\")}}", "must be written, not computed"),
        (
            "{{#> layout}}x{{/layout}}",
            "`layout` is not one of the partials: ",
        ),
        ("{{> @partial-block}}", "stands outside of a layout"),
        (
            "{{#*inline \"q\"}}{{> q}}{{/inline}}{{> q}}",
            "`q` includes itself",
        ),
        ("{{#*frame \"q\"}}x{{/frame}}", "decorators"),
        ("{{* set a=1}}", "decorators"),
        ("{{log secret}}", "`log` is not one of the helpers"),
        ("{{frob secret}}", "`frob` is not one of the helpers"),
        ("{{#frob secret}}{{/frob}}", "`frob` is not one of the helpers"),
        ("{{#if (frob secret)}}{{/if}}", "`frob` is not one of the helpers"),
        ("{{#eq a b}}{{/eq}}", "`eq` is not one of the helpers"),
        ("{{each a}}", "`each` is not one of the helpers"),
        ("{{#each}}{{/each}}", "needs a parameter"),
        ("{{#if a}}{{#if (len)}}{{/if}}{{/if}}", "needs a parameter"),
        ("{{eq a}}", "needs 2 parameters, not 1"),
        ("{{len a b=1}}", "has no option `b`"),
        ("{{../a}}", "leads above the data"),
        ("{{@level}}", "@root, @index, @key, @first, @last"),
        ("{{#if a}}x", "syntax"),
        ("{{#if a}}x{{/each}}", "each"),
        ("{{a b", "syntax"),
    ] {
        let problem = problem(source);
        assert!(problem.contains(expected), "{source}: {problem}");
    }
    assert!(
        problem("a\nb\n{{> header}}").contains("body.html.hbs line 3: "),
        "{}",
        problem("a\nb\n{{> header}}")
    );
}

#[test]
fn loops_within_loops_end_by_their_rounds() {
    let list: Vec<_> = (0..1_000).collect();
    let data = json!({ "a": list, "o": { "a": list } });
    for source in [
        "{{#each a}}{{#each ../a}}{{#each ../../a}}{{/each}}{{/each}}{{/each}}",
        "{{#each a}}{{#each @root.a}}{{#each @root.a}}x{{/each}}{{/each}}{{/each}}",
        "{{#each o.a}}{{#each (lookup @root.o \"a\")}}{{/each}}{{/each}}",
    ] {
        let error = render(source, &data).err().expect(source);
        assert_eq!(error.fault, RenderFault::TooManyRounds, "{source}");
    }
    let map: serde_json::Map<_, _> = (0..1_000).map(|n| (n.to_string(), json!(n))).collect();
    let error = render(
        "{{#each m}}{{#each @root.m}}{{/each}}{{/each}}",
        &json!({ "m": map }),
    )
    .err();
    assert_eq!(error.expect("a million").fault, RenderFault::TooManyRounds);
}

#[test]
fn output_is_bounded_over_all_parts() {
    let big = "x".repeat(200_000);
    let error = render(&"{{b}}".repeat(6), &json!({ "b": big }))
        .err()
        .expect("1.2 MB");
    assert_eq!(error.fault, RenderFault::OutputTooLarge);
    let escaped = render("{{b}}", &json!({ "b": "&".repeat(250_000) }))
        .err()
        .expect("1.25 MB once escaped");
    assert_eq!(escaped.fault, RenderFault::OutputTooLarge);
    let both = compile(&files_with(&[
        ("body.html.hbs", Some("{{b}}{{b}}{{b}}")),
        ("body.txt.hbs", Some("{{b}}{{b}}{{b}}")),
    ]));
    let error = both
        .render_within(input(&json!({ "b": big })), &patient())
        .err()
        .expect("1.2 MB together");
    assert_eq!(
        (error.file, error.fault),
        ("body.txt.hbs", RenderFault::OutputTooLarge)
    );
    assert!(render("{{b}}{{b}}{{b}}{{b}}{{b}}", &json!({ "b": big })).is_ok());
}

#[test]
fn one_render_s_end_is_not_the_next_one_s() {
    let template = compile(&files("{{#each a}}{{../b}}{{/each}}"));
    let hostile = json!({ "a": vec![1; 100_001], "b": "x" });
    let good = json!({ "a": [1, 2], "b": "x" });
    for _ in 0..3 {
        assert!(template.render_within(input(&hostile), &patient()).is_err());
        assert!(template.render_within(input(&good), &patient()).is_ok());
    }
}

#[test]
fn html_that_means_harm_is_bounded_when_text_is_derived() {
    let template = compile(&files_with(&[
        ("body.html.hbs", Some("{{{h}}}")),
        ("body.txt.hbs", None),
    ]));
    let derive = |html: String| {
        template
            .render_within(input(&json!({ "h": html })), &patient())
            .map(|r| r.text)
    };
    let refusal = |html: String| derive(html).err().map(|error| error.fault);
    // Seconds, and beyond that minutes, if they were parsed.
    let too_large = RenderFault::TextNotDerivable {
        problem: "it is too large for that; write a body.txt.hbs",
    };
    for hostile in [
        "<div>x".repeat(3_001),
        "<ul><li>x".repeat(1_501),
        "x".repeat(300_000),
    ] {
        let shown = hostile[..9].to_owned();
        assert_eq!(refusal(hostile), Some(too_large.clone()), "{shown}");
    }
    let no_text = RenderFault::TextNotDerivable {
        problem: "it has no text",
    };
    assert_eq!(refusal("<p></p>".to_owned()), Some(no_text));
    // Within the bound each is laid out or refused: what matters is that process and stack stay whole.
    for hostile in [
        "<div>",
        "<b>",
        "<ul><li>",
        "<blockquote>",
        "<a href=x>",
        "<svg>",
        "<table><tr><td>x",
    ] {
        let tags = hostile.matches('<').count();
        let text = derive(format!("{}x", hostile.repeat(3_000 / tags)));
        assert!(text.is_err() || text.is_ok_and(|text| text.len() < 1 << 20));
    }
    // A parser opens what differs anew in each paragraph: gigabytes, if it saw the attributes.
    let different: String = (0..1_400).map(|number| format!("<i a{number}>")).collect();
    let text = derive(format!("<p>{different}{}", "<p>x".repeat(1_400)));
    assert_eq!(text.map(|text| text.matches('x').count()), Ok(1_400));
    let rows = "<tr><td>a</td><td>b</td></tr>".repeat(900);
    assert!(derive(format!("<table>{rows}</table>")).is_ok());
}

#[test]
fn unicode_costs_its_bytes() {
    let template = compile(&files_with(&[
        ("body.html.hbs", Some("<p>{{u}}</p>")),
        ("subject.hbs", Some("{{s}}")),
        ("body.txt.hbs", None),
    ]));
    for bomb in [
        // Marks on one letter, families of one glyph, directions within each other, a letter that decomposes into eighteen, no character at all.
        "\u{301}",
        "\u{1f468}\u{200d}",
        "\u{202e}\u{2066}",
        "\u{fdfa}",
        "\u{10ffff}",
    ] {
        let text = format!("a{}", bomb.repeat(200_000 / bomb.len()));
        let rendered = template
            .render_within(input(&json!({ "u": text, "s": "Hello" })), &patient())
            .unwrap_or_else(|error| panic!("{bomb:?}: {error}"));
        assert!(rendered.html == format!("<p>{text}</p>"), "{bomb:?}");
        assert!(rendered.text.len() < 2 * text.len(), "{bomb:?}");
        let error = template
            .render_within(input(&json!({ "u": "x", "s": text })), &patient())
            .err()
            .expect("a long subject");
        assert_eq!(error.fault, RenderFault::SubjectTooLong { max: 998 }, "{bomb:?}");
    }
}

#[test]
fn hostile_bundles_are_findings_of_the_check() {
    for source in [
        nested("{{#if a}}", "x", "{{/if}}", 999),
        "{{#each a}}{{> b}}{{/each}}".to_owned(),
        "{{{{{{{{".repeat(200),
        "\\".repeat(50_000),
        "{{!--".repeat(1_500),
        "{{\"".repeat(1_500),
        "\u{202e}\u{200b}{{\u{feff}}}".to_owned(),
    ] {
        let findings = check(&files(&source));
        assert!(
            !findings.is_empty(),
            "{}",
            source.chars().take(20).collect::<String>()
        );
    }
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let findings = check(&files_with(&[(
        "examples/first.json",
        Some(&format!("{{\"a\":{deep}}}")),
    )]));
    assert_eq!(findings.len(), 1, "{findings:?}");
    let findings = check(&files_with(&[("schema.json", Some(&deep))]));
    assert_eq!(findings.len(), 1, "{findings:?}");
}
