//! What building puts into elements is what their style sheet says: held against css-inline on what is rendered, which knows no
//! handlebars, for templates by hand and by chance.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use paceline_templates::{Files, Rule, build, check};
use serde_json::{Value, json};

use super::{MANIFEST, compile, files_with, input, patient};

/// An element of a page: its name, its attributes without `style`, what its `style` comes to, and its depth.
type Element = (usize, String, BTreeMap<String, String>);

fn with(html: &str, partials: &[(&str, &str)], lines: &str) -> Files {
    let manifest = format!("{MANIFEST}{lines}");
    let mut files = files_with(&[("template.toml", Some(&manifest)), ("body.html.hbs", Some(html))]);
    for (name, source) in partials {
        files.insert(format!("partials/{name}.hbs"), source.as_bytes().to_vec());
    }
    files
}

fn rendered(files: &Files, data: &Value) -> String {
    let rendered = compile(files).render_within(input(data), &patient());
    rendered.unwrap_or_else(|error| panic!("{error}")).html
}

/// The page as a parser of html sees it.
fn parsed(html: &str, inlines: bool) -> String {
    let options = css_inline::InlineOptions::default()
        .inline_style_tags(inlines)
        .keep_style_tags(!inlines)
        .load_remote_stylesheets(false);
    options.build().inline(html).expect("inlines")
}

/// The elements of a serialized page.
fn elements(page: &str) -> Vec<Element> {
    let mut depth = 0_usize;
    let mut elements = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or((part, ""));
        if tag.starts_with('/') {
            depth -= 1;
        } else if !tag.starts_with('!') {
            let (bare, style) = match tag.split_once(" style=\"") {
                None => (tag.to_owned(), ""),
                Some((before, after)) => {
                    let (style, rest) = after.split_once('"').expect("quoted");
                    (format!("{before}{rest}"), style)
                }
            };
            let is_void = ["img", "br", "meta"]
                .iter()
                .any(|name| bare.split(' ').next() == Some(name));
            elements.push((depth, bare, cascaded(style)));
            depth += usize::from(!is_void);
        }
    }
    elements
}

/// What the declarations of a `style` come to.
fn cascaded(style: &str) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for declaration in style.split(';').filter(|part| !part.trim().is_empty()) {
        let (property, value) = declaration.split_once(':').unwrap_or_else(|| panic!("{style}"));
        let (property, value) = (property.trim().to_owned(), value.trim().to_owned());
        // A shorthand sets what it stands for.
        values.retain(|known, old| {
            let stays = old.ends_with("!important") && !value.ends_with("!important");
            stays || !known.starts_with(&format!("{property}-"))
        });
        let wins = value.ends_with("!important")
            || !values
                .get(&property)
                .is_some_and(|known| known.ends_with("!important"));
        if wins {
            values.insert(property, value);
        }
    }
    values
}

/// The page without what inlining may change.
fn without_styles(page: &str) -> Vec<(usize, String)> {
    let is_style = |bare: &str| bare.split(' ').next() == Some("style");
    let elements = elements(page).into_iter();
    elements
        .filter(|(_, bare, _)| !is_style(bare))
        .map(|(depth, bare, _)| (depth, bare))
        .collect()
}

/// Holds a template with its CSS inlined against the same without.
fn hold(html: &str, partials: &[(&str, &str)], data: &Value, shown: &str) -> String {
    let built = rendered(&with(html, partials, ""), data);
    let plain = rendered(&with(html, partials, "inline_css = false\n"), data);
    assert_eq!(
        without_styles(&parsed(&built, false)),
        without_styles(&parsed(&plain, false)),
        "{shown}\n{html}\n{built}"
    );
    let (ours, theirs) = (elements(&parsed(&built, true)), elements(&parsed(&plain, true)));
    assert_eq!(
        ours, theirs,
        "{shown}\n{html}\n{partials:?}\nbuilt: {built}\nplain: {plain}"
    );
    // Where the screen is as the rules for it ask.
    let on_screen = |page: &str| elements(&parsed(&page.replace("@media x{", "").replace("}}", "}"), true));
    assert_eq!(
        on_screen(&built),
        on_screen(&plain),
        "on screen: {shown}\n{html}\n{partials:?}\nbuilt: {built}\nplain: {plain}"
    );
    built
}

/// The warnings that a template gets for its CSS.
fn warnings(html: &str, partials: &[(&str, &str)]) -> Vec<(Option<usize>, String)> {
    let found = check(&with(html, partials, "")).into_iter();
    found
        .filter(|finding| finding.rule == Rule::NotInlined)
        .map(|finding| (finding.line, finding.description))
        .collect()
}

fn built_html(html: &str) -> String {
    let built = build(&with(html, &[], "")).unwrap_or_else(|findings| panic!("{findings:?}"));
    String::from_utf8(built["body.html.hbs"].clone()).expect("UTF-8")
}

const SHEET: &str = "<style>td{padding:1px}.odd,.even{color:red}table .name{color:blue}li>b{font-weight:900 !important}tr td{margin:0}</style>";

#[test]
fn loops_in_tables_rows_and_lists_are_as_they_were() {
    let data = json!({ "rows": [{ "cells": [1, 2], "hot": true }, { "cells": [], "hot": false }, { "cells": [3], "hot": true }], "none": [] });
    for body in [
        "<table>{{#each rows}}<tr class=\"odd\"><td>{{@index}}</td></tr>{{/each}}</table>",
        "<table><tr>{{#each rows}}<td class=name>{{hot}}</td>{{/each}}</tr></table>",
        "<table>{{#each rows}}<tr>{{#each cells}}<td style=\"color:green\">{{this}}</td>{{else}}<td class=\"even\">-</td>{{/each}}</tr>{{/each}}</table>",
        "<ul>{{#each rows}}<li>{{#if hot}}<b style='margin:1px'>hot</b>{{else}}<i>cold</i>{{/if}}</li>{{/each}}</ul>",
        "<table><tbody>{{#each none}}<tr><td>x</td></tr>{{else}}<tr><td class='odd name'>none</td></tr>{{/each}}</tbody></table>",
        "<table>{{#each rows}}{{#if hot}}<tr><td><table><tr><td class=name>{{#each cells}}<b>{{this}}</b>{{/each}}</td></tr></table></td></tr>{{/if}}{{/each}}</table>",
        "<!--[if mso]><table>{{#each rows}}<tr><td><![endif]--><p class=odd>{{hot}}</p><!--[if mso]></td></tr>{{/each}}</table><![endif]-->",
        "<select>{{#each rows}}<option class=odd>{{@index}}</option>{{/each}}</select>",
    ] {
        let html = format!("<html><head>{SHEET}</head><body>{body}</body></html>");
        assert_eq!(warnings(&html, &[]), [], "{body}");
        let built = hold(&html, &[], &data, body);
        assert!(built.contains("style="), "{built}");
        assert!(
            built_html(&html).contains(&body[body.find("{{#").expect("a loop")..][..12]),
            "{body}"
        );
    }
}

#[test]
fn what_is_written_stays_byte_for_byte() {
    let html = "<!DOCTYPE html>\n<!--[if mso]><table class=\"o\"><tr><td><![endif]-->\n<p CLASS='a' title=\"&amp;&nbsp;{{x}}\">&copy; {{x}}\n\
                <img src=\"https://e.x/a\" alt=''/><br>\n<script type=\"application/ld+json\">{\"a\": \"</p>{{x}}\"}</script></P>\n<!--[if mso]></td></tr></table><![endif]-->\n";
    assert_eq!(built_html(html), html, "no style: nothing changes");
    let styled = format!("<style>\n.a {{ color: red }}\n.b {{ top: 0 }}\n</style>{html}");
    let expected = html.replace("<p CLASS", "<p style=\"color:red\" CLASS");
    assert_eq!(
        built_html(&styled),
        format!("<style>\n\n.b {{ top: 0 }}\n</style>{expected}")
    );
}

#[test]
fn the_cascade_is_that_of_the_sheet() {
    for (html, expected) in [
        (
            "<style>p{color:red}</style><p style=\"color:blue\">",
            "<p style=\"color:red;color:blue\">",
        ),
        (
            "<style>p{color:red;top:0}</style><p style='color:blue'>",
            "<p style='color:red;top:0;color:blue'>",
        ),
        (
            "<style>p{color:red !important}</style><p style=color:blue>",
            "<p style=\"color:red !important;color:blue\">",
        ),
        (
            "<style>p{color:red}</style><p style=\"color:{{c}}\">",
            "<p style=\"color:red;color:{{c}}\">",
        ),
        (
            "<style>p{color:red}</style><p style=\"{{#if a}}color:blue{{/if}}\">",
            "<p style=\"color:red;{{#if a}}color:blue{{/if}}\">",
        ),
        (
            "<style>p{color:red}.a{color:blue}p{top:0}</style><p class=a>",
            "<p style=\"top:0;color:blue\" class=a>",
        ),
        (
            "<style>p{font-family:\"A B\",'C'}</style><p>",
            "<p style=\"font-family:'A B','C'\">",
        ),
        (
            "<style>p,a:hover{color:red}</style><p>",
            "<style>a:hover{color:red}</style><p style=\"color:red\">",
        ),
        (
            "<style>.x,p{color:red}#outlook a{top:0}</style><p>",
            "<style>.x{color:red}#outlook a{top:0}</style><p style=\"color:red\">",
        ),
        (
            "<style>p{background:red;background:linear-gradient(red,blue);top:0}</style><p style=\"top:1px\">",
            "<p style=\"background:red;background:linear-gradient(red,blue);top:0;top:1px\">",
        ),
        (
            "<style>p{--Own:red;color:var(--Own)}</style><p>",
            "<p style=\"--Own:red;color:var(--Own)\">",
        ),
        (
            "<style>p{top:0}[style*=\"top: 0\"]{color:red}</style><p>",
            "<style>[style*=\"top: 0\"]{color:red}</style><p style=\"top:0\">",
        ),
        (
            "<style>p{top:0}[style*=\"top:0\"]{color:red}</style><p>",
            "<style>p{top:0}[style*=\"top:0\"]{color:red}</style><p>",
        ),
        (
            "<style>p{top:0}b[style]{color:red}</style><p>",
            "<style>p{top:0}b[style]{color:red}</style><p>",
        ),
        (
            "<!doctype html><style>.A{top:0}p table{top:0}</style><b class=a></b><p><table></table>",
            "<!doctype html><style>.A{top:0}p table{top:0}</style><b class=a></b><p><table></table>",
        ),
        (
            "<style>@import url(https://e.x/a.css);p{color:red}</style><link rel=stylesheet href=\"/etc/passwd\"><p>",
            "<style>@import url(https://e.x/a.css);</style><link rel=stylesheet href=\"/etc/passwd\"><p style=\"color:red\">",
        ),
    ] {
        assert_eq!(built_html(html), expected, "{html}");
    }
}

#[test]
fn what_stays_in_a_sheet_does_not_lose_to_what_is_inlined() {
    for (html, expected) in [
        (
            "<style>p{color:red !important}</style><style>@media x{p{color:blue !important}}</style><p>",
            "<style>p{color:red !important}</style><style>@media x{p{color:blue !important}}</style><p>",
        ),
        (
            "<style>a{color:red !important;top:0}@media x{.x{color:white !important}}</style><a class=x style=\"color:blue\"></a><a style=\"color:blue\">",
            "<style>a{color:red !important}@media x{.x{color:white !important}}</style><a class=x style=\"top:0;color:blue\"></a>\
             <a style=\"top:0;color:red !important;color:blue\">",
        ),
        (
            "<style>p{color:red !important;top:0}</style><style media=\"(max-width:600px)\">p{color:blue !important}</style><p>",
            "<style>p{color:red !important}</style><style media=\"(max-width:600px)\">p{color:blue !important}</style><p style=\"top:0\">",
        ),
        (
            "<style>p{color:red;top:0}</style><style data-css-inline=ignore>p{color:blue}</style><p>",
            "<style>p{color:red}</style><style data-css-inline=ignore>p{color:blue}</style><p style=\"top:0\">",
        ),
        (
            "<style>p{color:red}</style><style media=\"(max-width:600px)\">p{color:blue !important}</style><p>",
            "<style media=\"(max-width:600px)\">p{color:blue !important}</style><p style=\"color:red\">",
        ),
        (
            "<style>td{border-bottom:1px solid;top:0}tr:last-child td{border-bottom:0}</style><table><tr><td></td></tr></table>",
            "<style>td{border-bottom:1px solid}tr:last-child td{border-bottom:0}</style><table><tr><td style=\"top:0\"></td></tr></table>",
        ),
        (
            "<style>.c{width:600px}#i{top:0}b{top:0}p{top:0}</style><!--[if mso]><table class=\"b c\" id=i><b><![endif]--><p id=i><b class=c>",
            "<style>.c{width:600px}#i{top:0}b{top:0}</style><!--[if mso]><table class=\"b c\" id=i><b><![endif]-->\
             <p style=\"top:0\" id=i><b style=\"top:0;width:600px\" class=c>",
        ),
    ] {
        assert_eq!(built_html(html), expected, "{html}");
    }
}

#[test]
fn what_can_t_be_known_keeps_to_the_sheet() {
    for (body, line, told) in [
        (
            "\n<p class=\"a {{k}}\"><b>x</b></p><p>y</p>",
            2,
            "only the data knows",
        ),
        (
            "\n\n<p {{#if k}}class=\"a\"{{/if}}>x</p><p>y</p>",
            3,
            "only the data knows",
        ),
        (
            "<p{{#if k}} class=\"a\"{{/if}}>x</p><p>y</p>",
            1,
            "only the data knows",
        ),
        ("<p>\n{{#if k}}<b>{{/if}}x</p><p>y</p>", 2, "must end within"),
        (
            "<div>{{#if k}}<p>x{{else}}<p class=a>{{/if}}</p></div><p>y</p>",
            1,
            "must end within",
        ),
        ("<div>{{#if k}}</div>{{/if}}<p>y</p>", 1, "must end within"),
    ] {
        let html = format!("<style>p{{color:red}}.a,p b{{top:0}}.a{{color:blue}}</style>{body}");
        let warnings = warnings(&html, &[]);
        assert!(
            warnings
                .iter()
                .any(|(at, text)| *at == Some(line) && text.contains(told)),
            "{body}: {warnings:?}"
        );
        for k in ["a", ""] {
            hold(&html, &[], &json!({ "k": k }), body);
        }
        assert!(
            built_html(&html).starts_with(&html[..html.find("</style>").expect("a style")]),
            "{body}"
        );
    }
}

#[test]
fn what_the_data_may_make_otherwise_is_not_inlined() {
    let html = "<style>p b{top:0}</style><p>{{#if k}}<div>x</div>{{/if}}<b>y</b></p>";
    assert!(
        warnings(html, &[])[0]
            .1
            .contains("do not nest as they are written"),
        "{:?}",
        warnings(html, &[])
    );
    hold(html, &[], &json!({ "k": false }), "a paragraph that a block ends");
    let html = "<style>p+p{top:0}</style><div>{{#if k}}<p>a</p>{{/if}}<p>b</p></div>";
    for k in [true, false] {
        hold(html, &[], &json!({ "k": k }), "one beside another");
    }
    let html = "<style>p b{top:0}</style><b>x<p>y</b>z</p>";
    assert!(
        warnings(html, &[])[0].1.contains("is left as it is"),
        "{:?}",
        warnings(html, &[])
    );
    hold(html, &[], &json!({}), "an element of which a parser makes two");
    for (html, told) in [
        (
            "<style>p{color:{{k}}}</style><p>x</p>",
            "what handlebars writes in it",
        ),
        ("<style>@layer a{p{top:0}}</style><p>x</p>", "layers"),
        (
            "<style>p{top:0}@media x{p{top:1px}}</style><p>x</p>",
            "top of elements that a rule may be for",
        ),
    ] {
        let warnings = warnings(html, &[]);
        assert!(
            warnings.len() == 1 && warnings[0].1.contains(told),
            "{html}: {warnings:?}"
        );
    }
    let raw = "<style>p{color:red}</style><p>x</p>{{{k}}}";
    assert_eq!(warnings(raw, &[]), []);
    assert!(built_html(raw).starts_with("<style>p{color:red}</style><p style=\"color:red\">"));
}

#[test]
fn a_style_that_is_not_for_all_stays() {
    for style in [
        "<!--[if !mso]><!--><style>p{color:red}</style><!--<![endif]-->",
        "<![if !mso]><style>p{color:red}</style><![endif]>",
        "<!--[if mso]><style>p{color:red}</style><![endif]-->",
        "{{#if k}}<style>p{color:red}</style>{{/if}}",
        "<style media=\"screen and (min-width:9px)\">p{color:red}</style>",
        "<style type=\"text/less\">p{color:red}</style>",
        "<style data-css-inline=\"ignore\">p{color:red}</style>",
        "<style>p:hover{color:red}@media x{p{top:0}}.none,#outlook a{color:red}@font-face{font-family:x}</style>",
        "<style></style>",
    ] {
        let html = format!("<html><head>{style}</head><body><p>x</p></body></html>");
        assert_eq!(built_html(&html), html);
        assert_eq!(warnings(&html, &[]), [], "{style}");
    }
    let html = "<style>p{color:red}</style><p>x</p>";
    let off = build(&with(html, &[], "inline_css = false\n")).expect("builds");
    assert_eq!(off["body.html.hbs"], html.as_bytes());
    let after = "<!--[if !mso]><!--><p>a</p><!--<![endif]--><style>p{color:red}</style><p>b</p>";
    assert_eq!(
        built_html(after).matches("style=\"color:red\"").count(),
        2,
        "{}",
        built_html(after)
    );
}

#[test]
fn the_css_of_a_layout_reaches_what_is_put_into_it() {
    let layout = "<html><head><style>.card b{color:red}td{padding:0}</style></head><body><table><tr><td class=\"card\">{{> @partial-block}}{{> foot}}</td></tr></table></body></html>";
    let partials = [
        ("layout", layout),
        ("foot", "<p><b>{{k}}</b></p>"),
        ("item", "<tr><td>{{this}}</td></tr>"),
    ];
    let html =
        "{{#> layout}}<h1><b>{{k}}</b></h1><table>{{#each list}}{{> item}}{{/each}}</table>{{/layout}}";
    let built = hold(html, &partials, &json!({ "k": "x", "list": [1, 2] }), "a layout");
    assert_eq!(built.matches("<b style=\"color:red\">").count(), 2, "{built}");
    assert_eq!(built.matches("<td style=\"padding:0\"").count(), 3, "{built}");
    assert!(!built.contains("<style"), "{built}");
    assert_eq!(warnings(html, &partials), []);
    // The same partial within and without.
    let twice = "{{#> layout}}{{/layout}}{{> foot}}";
    assert!(
        warnings(twice, &partials)[0]
            .1
            .contains("other CSS where the partial is used again")
    );
    hold(twice, &partials, &json!({ "k": "x" }), "twice");
}

/// A generator of numbers that everyone gets alike.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(super) fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let index = self.below(list.len() as u64);
        list[usize::try_from(index).expect("an index")]
    }

    fn sheet(&mut self) -> String {
        let mut sheet = String::new();
        for _ in 0..1 + self.below(6) {
            let simple = [
                "p", "td", ".a", ".b", ".c", "b", "li", "#i", "div", "*", "[title]", ".a.b",
            ];
            let mut selectors = Vec::new();
            for _ in 0..1 + self.below(2) {
                let mut selector = self.of(&simple).to_owned();
                if self.below(2) == 0 {
                    let joint = self.of(&[" ", ">", " ", "+", "~"]);
                    let last = self.of(&simple);
                    write!(selector, "{joint}{last}").expect("a string");
                }
                selectors.push(selector);
            }
            let (property, value) = (
                self.of(&["color", "margin", "margin-top", "top", "padding"]),
                self.of(&["1px", "2px", "3px !important", "0"]),
            );
            let pseudo = self.of(&["", "", "", "", ":first-child", ":last-child"]);
            let rule = format!("{}{pseudo}{{{property}:{value}}}", selectors.join(","));
            match self.below(6) {
                0 => write!(sheet, "@media x{{{rule}}}"),
                _ => write!(sheet, "{rule}"),
            }
            .expect("a string");
        }
        sheet
    }

    fn attributes(&mut self) -> &'static str {
        self.of(&[
            "",
            "",
            " class=\"a\"",
            " class='b'",
            " class=\"a c\"",
            " id=i",
            " style=\"color:9px\"",
            " style='top:{{n}}px'",
            " title=\"{{t}}\"",
            " class=\"{{k}}\"",
            "{{#if f}} class=\"b\"{{/if}}",
            " style=\"{{#if f}}margin:4px !important{{/if}}\"",
        ])
    }

    pub(super) fn children(&mut self, name: &str, depth: u64) -> String {
        (0..self.below(4)).map(|_| self.child(name, depth)).collect()
    }

    fn child(&mut self, name: &str, depth: u64) -> String {
        if depth == 0 {
            return if matches!(name, "table" | "tr" | "ul") {
                String::new()
            } else {
                "x{{t}}".to_owned()
            };
        }
        match self.below(12) {
            0 => format!("{{{{#each l}}}}{}{{{{/each}}}}", self.children(name, depth - 1)),
            1 => format!(
                "{{{{#if f}}}}{}{{{{else}}}}{}{{{{/if}}}}",
                self.children(name, depth - 1),
                self.children(name, depth - 1)
            ),
            2 => format!(
                "{{{{#unless f}}}}{}{{{{/unless}}}}",
                self.children(name, depth - 1)
            ),
            3 if !matches!(name, "table" | "tr" | "ul") => self
                .of(&["{{> part}}", "{{> other}}", "{{#if f}}<b>{{/if}}"])
                .to_owned(),
            _ => {
                let inside = match name {
                    "table" => "tr",
                    "tr" => "td",
                    "ul" => "li",
                    "p" => "b",
                    _ => self.of(&["div", "p", "table", "ul", "b"]),
                };
                let attributes = self.attributes();
                format!(
                    "<{inside}{attributes}>{}</{inside}>",
                    self.children(inside, depth - 1)
                )
            }
        }
    }
}

/// A template whose names are the data's own also within loops, whose items have none.
pub(super) fn in_root(text: &str) -> String {
    text.replace("{{t}}", "{{@root.t}}")
        .replace("{{k}}", "{{@root.k}}")
        .replace("{{n}}", "{{@root.n}}")
        .replace("if f", "if @root.f")
        .replace("unless f", "unless @root.f")
        .replace("each l", "each @root.l")
}

#[test]
fn templates_by_chance_look_alike_with_and_without() {
    let (mut inlined, mut left) = (0, 0);
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let sheet = chance.sheet();
        let (body, part, other) = (
            chance.children("div", 5),
            chance.children("div", 2).replace("{{>", "{{!"),
            "<p class=\"c\">{{t}}</p>",
        );
        let doctype = chance.of(&["", "<!doctype html>"]);
        let comment = chance.of(&["", "", "<!--[if mso]><table class=\"a\"><tr><td><![endif]-->"]);
        let page =
            format!("{doctype}<html><head><style>{sheet}</style></head><body>{comment}{body}</body></html>");
        let partials = [("part", part.as_str()), ("other", other)];
        for (f, l) in [
            (true, json!([1, 2])),
            (false, json!([])),
            (true, json!([])),
            (false, json!([3])),
        ] {
            let data = json!({ "f": f, "l": l, "n": 7, "t": "t", "k": "a b" });
            let partials = partials.map(|(name, text)| (name, in_root(text)));
            let partials: Vec<_> = partials
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect();
            let built = hold(&in_root(&page), &partials, &data, &format!("seed {seed}"));
            inlined += usize::from(built.matches("style=").count() > page.matches("style=").count());
            left += usize::from(built.contains(&sheet));
        }
    }
    assert!(inlined > 100 && left > 100, "{inlined} {left}");
}
