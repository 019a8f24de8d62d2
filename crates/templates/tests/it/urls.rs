//! URLs and html that data brings.

use paceline_templates::RenderFault;
use serde_json::json;

use super::{html, problem, refusal, render};

const HOSTILE: &[(&str, &str)] = &[
    ("javascript:alert(1)", "javascript"),
    ("JaVaScRiPt:alert(1)", "javascript"),
    (" \u{1}\tjavascript:alert(1)", "javascript"),
    ("java\nscript\r:alert(1)", "javascript"),
    ("java\u{200b}script:alert(1)", "javascript"),
    ("&#106;avascript:alert(1)", "javascript"),
    ("&#x6A;&#0000097vascript:alert(1)", "javascript"),
    ("javascript&colon;alert(1)", "javascript"),
    ("java&Tab;script&#58;alert(1)", "javascript"),
    ("&amp;#106;avascript:alert(1)", "javascript"),
    ("vbscript:msgbox", "vbscript"),
    ("data:text/html;base64,PHA+", "data"),
    ("data&NewLine;:text/html,x", "data"),
];

#[test]
fn a_url_from_data_has_no_scheme_that_runs() {
    for (url, scheme) in HOSTILE {
        for source in [
            "<a href=\"{{u}}\">x</a>",
            "<a href='{{u}}'>x</a>",
            "<a\nclass=b HREF = \"{{u}}\">x</a>",
            "<img src=\"{{u}}\"/>",
            "<td background=\"{{u}}\">",
            "<form action=\"{{u}}\">",
            "<a {{#if u}}href=\"{{u}}\"{{/if}}>",
            "<a href=\"{{#if u}}{{u}}{{else}}https://example.com{{/if}}\">",
            "<a href=\"{{#with o}}{{v}}{{/with}}\">",
            "<a href=\"{{default u 1}}\">",
            "<!--[if mso]><a href=\"{{u}}\"><![endif]-->",
            "<!--[if !mso]><!--><a href=\"{{u}}\"><!--<![endif]-->",
            // Comments that browsers end here.
            "<!---><a href=\"{{u}}\">-->",
            "<!-- x --!><a href=\"{{u}}\">-->",
            "<iframe><!--</iframe><a href=\"{{u}}\">-->",
        ] {
            let data = json!({ "u": url, "o": { "v": url } });
            let error = render(source, &data)
                .err()
                .unwrap_or_else(|| panic!("{source} with {url:?}"));
            assert!(
                matches!(&error.fault, RenderFault::RefusedUrl { scheme: refused, .. } if refused == scheme),
                "{source} with {url:?}: {error}"
            );
            assert!(
                error.line.is_some() && !error.to_string().contains("alert"),
                "{error}"
            );
        }
    }
    for hidden_by in [" ", "\t", "&#9;", "\u{200b}"] {
        let url = format!("{}javascript:alert(1)", hidden_by.repeat(5_000));
        let error = render("<a href=\"{{u}}\">x</a>", &json!({ "u": url }));
        assert!(
            matches!(error, Err(error) if matches!(error.fault, RenderFault::RefusedUrl { .. })),
            "{hidden_by:?}"
        );
    }
    let told = refusal(
        "<p>\n<a href=\"{{shop.url}}\">",
        &json!({ "shop": { "url": "javascript:1" } }),
    );
    assert_eq!(
        told,
        "template sample 3, body.html.hbs line 2, `shop.url`: makes the `href` a `javascript:` URL"
    );
}

#[test]
fn a_scheme_made_of_pieces_is_a_scheme() {
    for source in [
        "<a href=\"java{{a}}\">",
        "<a href=\"{{b}}{{a}}\">",
        "<a href=\"{{#each l}}{{this}}{{/each}}\">",
        "<a href=\"{{{b}}}{{{a}}}\">",
        "<img srcset=\"https://example.com/a.png 1x, {{b}}{{a}} 2x\">",
    ] {
        let data = json!({ "a": "script:1", "b": "java", "l": ["java", "script", ":1"] });
        assert!(refusal(source, &data).contains("`javascript:` URL"), "{source}");
    }
}

#[test]
fn other_urls_are_left_alone() {
    for (source, url) in [
        ("<a href=\"{{u}}\">", "https://example.com/?q=javascript:1"),
        ("<a href=\"{{u}}\">", "/data:x"),
        ("<a href=\"{{u}}\">", "mailto:ada@example.com"),
        ("<a href=\"{{u}}\">", "database:x"),
        ("<a href=\"{{u}}\">", ""),
        ("<a href=\"https://example.com/{{u}}\">", "javascript:1"),
        ("<a href=\"https://example.com/?next={{u}}\">", "javascript:1"),
        ("<img src=\"data:image/png;base64,{{u}}\">", "AAAA"),
        ("<img alt=\"{{u}}\">", "javascript:1"),
        ("<p>{{u}}</p>", "javascript:1"),
        ("<!-- <a href=\"{{u}}\"> -->", "javascript:1"),
        ("<!-- -!> --! > <a href=\"{{u}}\"> -->", "javascript:1"),
        ("<xmp><a href=\"{{u}}\"></xmp>", "javascript:1"),
        (
            "<style>a:before { content: '<a href=\"{{u}}\">' }</style>",
            "javascript:1",
        ),
        ("<a href=\"x\" title='href=\"{{u}}'>", "javascript:1"),
    ] {
        assert!(
            render(source, &json!({ "u": url })).is_ok(),
            "{source} with {url}"
        );
    }
}

#[test]
fn html_from_data_is_held_to_its_place() {
    let whole =
        json!({ "h": "<!--[if mso]><table><![endif]--><b>bold</b><!--[if mso]></table><![endif]-->" });
    assert!(html("<p>{{{h}}}</p>", &whole).contains("bold"));
    let good = json!({ "h": "<b>bold</b> <a href=\"https://example.com\">x</a> <br/> 1 < 2" });
    for source in ["<p>{{{h}}}</p>", "{{&h}}", "{{{h}}}<p>"] {
        assert!(html(source, &good).contains("<b>bold</b>"), "{source}");
    }
    for hostile in [
        "<a href=\"javascript:1\">x</a>",
        "<a href=javascript:1>x</a>",
        "<a x=1 href='&#106;avascript:1'>x</a>",
        "<img src=\" java\nscript:1\">",
        // Only a browser sees this link, whose comment ends where Outlook reads a title.
        "<!--[if mso]><a title=\"--><a href=\"javascript:1\">\"><![endif]-->",
    ] {
        let told = refusal("<p>\n{{{h}}}</p>", &json!({ "h": hostile }));
        assert!(told.contains("line 2, `h`: makes the"), "{told}");
    }
    for (source, hostile) in [
        ("<p>{{{h}}}</p>", "<a href=\""),
        ("<p>{{{h}}}</p>", "<a "),
        ("<p>{{{h}}}</p>", "<!--"),
        ("<p>{{{h}}}</p>", "<style>"),
        ("<a title=\"{{{h}}}\">", "\" href=\"javascript:1"),
        ("<a title='{{{h}}}'>", "' href='javascript:1"),
        ("<style>{{{h}}}</style>", "</style><a href=\"javascript:1\">"),
        ("<!-- {{{h}}} -->", "--><a href=\"javascript:1\">"),
        // A comment for browsers, and markup for Outlook.
        ("<p>{{{h}}}</p>", "hi <!--[ x>"),
        ("<p>{{{h}}}</p>", "<script><!--<script ></script>"),
    ] {
        let told = refusal(source, &json!({ "h": hostile }));
        assert!(
            told.contains("`h`: is html that ends in another place"),
            "{source}: {told}"
        );
    }
    assert_eq!(
        html("<a title=\"{{{h}}}\">", &json!({ "h": "a=b" })),
        "<a title=\"a=b\">"
    );
}

#[test]
fn data_stands_where_it_can_be_told_from_markup() {
    for source in [
        "<a href={{u}}>",
        "<a href=https://example.com/{{u}}>",
        "<td width={{u}}>",
        "<a href= {{u}}>",
    ] {
        assert!(problem(source).contains("must stand in quotes"), "{source}");
    }
    for source in [
        "<{{u}}>",
        "</{{u}}>",
        "<s{{u}}>",
        "<{{{u}}}>",
        "<a {{u}}>",
        "<a {{u}}=\"x\">",
        "<a title {{u}}>",
        "<a hr{{u}}=\"x\">",
        "<b data-{{u}}=\"x\">",
    ] {
        assert!(
            problem(source).contains("data can't be part of a tag's name"),
            "{source}"
        );
    }
    for source in [
        "<script>let name = '{{u}}'</script>",
        "<SCRIPT type=\"text/javascript\">{{u}}</SCRIPT>",
        "<script type=\"application/ld+json\">{\"a\": \"{{u}}\"}</script>",
        "<script {{#if u}}async{{/if}}>{{u}}</script>",
        "<script{{#if u}} async{{/if}}>{{u}}</script>",
        "<s{{#if u}} {{/if}}cript>{{u}}</script>",
        "<style></stylex></style><script>{{u}}</script>",
        "<b onclick=\"go('{{u}}')\">",
        "<iframe srcdoc=\"{{u}}\">",
    ] {
        assert!(
            problem(source).contains("data can't stand in a script"),
            "{source}"
        );
    }
    for source in [
        "<b {{{u}}}=\"{{u}}\">",
        "<b on{{{u}}}=\"{{u}}\">",
        "<td {{#if u}}on{{/if}}click=\"{{u}}\">",
        "<td {{#if u}}align{{else}}valign{{/if}}=\"{{u}}\">",
    ] {
        assert!(problem(source).contains("each whole, name and value"), "{source}");
    }
    assert!(problem("<td {{#if u}}width=20{{/if}}>").contains("must stand in quotes"));
}

#[test]
fn a_block_ends_in_the_part_of_a_tag_in_which_it_begins() {
    for source in [
        "<s{{#if u}}crip{{/if}}t>",
        "{{#each u}}<a title=\"{{else}}<a title=\"{{/each}}\">",
        "{{#u}}<a {{else}}<a {{/u}}>",
        "{{#if u}}<a href=\"{{/if}}x\">",
        "<a href=\"{{#if u}}\">{{/if}}",
        "{{#each u}}<a {{/each}}",
        "{{#if u}}<!--{{/if}} x -->",
        "{{#if u}}<a href=\"{{else}}<b title=\"{{/if}}\">",
        "<a {{#if u}}href={{/if}}>",
    ] {
        let problem = problem(source);
        assert!(
            problem.contains("in the part of a tag in which it begins")
                || problem.contains("in another block")
                || problem.contains("must stand in quotes"),
            "{source}: {problem}"
        );
    }
    let data = json!({ "u": "c", "l": [1, 2] });
    for (source, expected) in [
        ("<tr{{#if u}} class=\"{{u}}\"{{/if}}>", "<tr class=\"c\">"),
        (
            "<td a=\"b\"{{#if u}} class=\"{{u}}\"{{else}} b{{/if}} d>",
            "<td a=\"b\" class=\"c\" d>",
        ),
        ("<h{{#if u}}1{{else}}2{{/if}}>", "<h1>"),
        ("<h{{l.0}}></h{{l.0}}>", "<h1></h1>"),
        ("<td {{{u}}}>", "<td c>"),
        ("<!--{{#if u}}-{{/if}}-->", "<!----->"),
        ("{{#each l}}<b>{{else}}<i>{{/each}}", "<b><b>"),
    ] {
        assert_eq!(html(source, &data), expected, "{source}");
    }
}
