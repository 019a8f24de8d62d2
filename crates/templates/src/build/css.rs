//! Style sheets by their text: which rules can be put into elements, and which stay as they are written.
//!
//! What stays: at-rules, and rules whose selector has a pseudo-class or a pseudo-element, which only the reader's client can judge.

use std::ops::Range;

/// A selector's bytes, and the steps in it: matching takes time for each.
const SELECTOR_BYTES_MAX: usize = 300;
const STEPS_MAX: usize = 8;

/// A rule of a sheet.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its place in the sheet.
    pub(super) range: Range<usize>,
    pub(super) selectors: Vec<Selector>,
    /// Within the braces.
    pub(super) body: Range<usize>,
    pub(super) declarations: Vec<Declaration>,
    /// The rules within an at-rule, and within those of it.
    pub(super) inner: Vec<Self>,
    /// True of an at-rule, and of one with rules in it.
    pub(super) is_kept: bool,
}

/// One selector of a rule.
#[derive(Debug)]
pub(super) struct Selector {
    pub(super) text: String,
    pub(super) can_match: bool,
    /// True if it asks what stands beside an element.
    pub(super) asks_siblings: bool,
    /// The attributes that it asks for, class and id aside.
    pub(super) attributes: Vec<String>,
    /// Of each `[style*=..]` what the `style` must have; `None` if it asks otherwise.
    pub(super) styles: Vec<Option<String>>,
    pub(super) subject: Subject,
}

/// What is plain to see of the elements that a selector is for: more than those have it.
#[derive(Debug, Default)]
pub(super) struct Subject {
    name: Option<String>,
    /// Classes behind a `.`, ids behind a `#`.
    words: Vec<(char, String)>,
}

impl Subject {
    fn new(selector: &str) -> Self {
        let mut bare = String::new();
        let mut depth = 0_usize;
        for char in selector.trim().chars() {
            match char {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ if depth == 0 => bare.push(char),
                _ => {}
            }
        }
        let last = bare.rsplit([' ', '\t', '\n', '\r', '>', '+', '~']).next();
        let last = last.and_then(|last| last.split(':').next()).unwrap_or_default();
        if last.contains(['\\', '|', '&', '/']) {
            return Self::default();
        }
        let begins: Vec<_> = last.match_indices(['.', '#']).map(|(at, _)| at).collect();
        let name = &last[..begins.first().copied().unwrap_or(last.len())];
        let ends = begins.iter().skip(1).copied().chain([last.len()]);
        let words = begins.iter().zip(ends).map(|(begin, end)| {
            let kind = if last[*begin..].starts_with('.') { '.' } else { '#' };
            (kind, last[begin + 1..end].to_owned())
        });
        Self {
            name: (!matches!(name, "" | "*")).then(|| name.to_ascii_lowercase()),
            words: words.filter(|(_, word)| !word.is_empty()).collect(),
        }
    }

    /// True unless an element with that name (in lower case), class and id is none of them.
    pub(super) fn may_be(&self, name: &str, class: &str, id: &str) -> bool {
        let has = |(kind, word): &(char, String)| {
            let value = if *kind == '.' { class } else { id };
            let mut words = value.split_ascii_whitespace();
            value.contains("{{") || words.any(|known| known.eq_ignore_ascii_case(word))
        };
        self.name.as_ref().is_none_or(|own| own == name) && self.words.iter().all(has)
    }
}

/// A declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    /// In lower case, unless it is an author's own (`--x`).
    pub(super) property: String,
    pub(super) value: String,
    pub(super) is_important: bool,
}

/// The rules of a sheet; `None` if it is not understood, or rests on layers, scopes or namespaces.
pub(super) fn rules(sheet: &str) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut at = 0;
    loop {
        at = skip_blank(sheet, at)?;
        if at == sheet.len() {
            return Some(rules);
        }
        let rule = if sheet[at..].starts_with('@') {
            at_rule(sheet, at)?
        } else {
            style_rule(sheet, at)?
        };
        at = rule.range.end;
        rules.push(rule);
    }
}

/// Past white space, comments, and the two ends of an html comment.
fn skip_blank(sheet: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = &sheet[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix("/*") {
            at += 2 + comment.find("*/")? + 2;
        } else if trimmed.starts_with("<!--") {
            at += 4;
        } else if trimmed.starts_with("-->") {
            at += 3;
        } else {
            return Some(at);
        }
    }
}

fn at_rule(sheet: &str, begin: usize) -> Option<Rule> {
    let name: String = sheet[begin + 1..]
        .chars()
        .take_while(|char| char.is_ascii_alphanumeric() || *char == '-')
        .collect::<String>()
        .to_ascii_lowercase();
    if matches!(name.as_str(), "layer" | "scope" | "namespace" | "container") {
        return None;
    }
    let prelude_end = find(sheet, begin, &[';', '{']).unwrap_or(sheet.len());
    let mut within = Vec::new();
    let (end, body) = if sheet[prelude_end..].starts_with('{') {
        let close = find(sheet, prelude_end + 1, &['}'])?;
        let body = prelude_end + 1..close;
        if matches!(name.as_str(), "media" | "supports") {
            for mut rule in rules(&sheet[body.clone()])? {
                within.append(&mut rule.inner);
                within.push(rule);
            }
        }
        (close + 1, body)
    } else {
        let end = (prelude_end + 1).min(sheet.len());
        (end, end..end)
    };
    Some(Rule {
        range: begin..end,
        selectors: Vec::new(),
        body,
        declarations: Vec::new(),
        inner: within,
        is_kept: true,
    })
}

fn style_rule(sheet: &str, begin: usize) -> Option<Rule> {
    let open = find(sheet, begin, &['{'])?;
    let close = find(sheet, open + 1, &['}'])?;
    let body = open + 1..close;
    let inside = &sheet[body.clone()];
    let selectors = split(&sheet[begin..open], ',')?;
    Some(Rule {
        range: begin..close + 1,
        selectors: selectors.into_iter().map(selector).collect(),
        declarations: declarations(inside),
        inner: Vec::new(),
        is_kept: find(inside, 0, &['{']).is_some(),
        body,
    })
}

fn selector(text: &str) -> Selector {
    let text = text.trim();
    let (mut attributes, mut styles) = (Vec::new(), Vec::new());
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        // What is kept in its place is neither a combinator nor a pseudo-class.
        plain.push('.');
        let name = after.trim_start();
        let end = name
            .find(|char: char| !(char.is_alphanumeric() || matches!(char, '-' | '_')))
            .unwrap_or(name.len());
        attributes.push(name[..end].to_ascii_lowercase());
        let close = find(after, 0, &[']']);
        if name[..end].eq_ignore_ascii_case("style") {
            let asked = &name[end..close.map_or(name.len(), |close| close - (after.len() - name.len()))];
            let part = asked.trim().strip_prefix("*=").map(str::trim);
            let quoted = part.and_then(|part| part.strip_prefix(['"', '\'']).zip(part.chars().next()));
            styles.push(
                quoted
                    .and_then(|(part, quote)| part.strip_suffix(quote))
                    .map(str::to_owned),
            );
        }
        rest = close.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    let steps = plain
        .split([' ', '\t', '\n', '\r', '>', '+', '~'])
        .filter(|step| !step.is_empty())
        .count();
    let is_plain = !plain.contains([':', '\\', '&', '|', '/', '(', '"', '\'', '!', '@']);
    Selector {
        can_match: is_plain
            && styles.is_empty()
            && !plain.trim().is_empty()
            && text.len() <= SELECTOR_BYTES_MAX
            && steps <= STEPS_MAX,
        asks_siblings: plain.contains(['+', '~']),
        attributes,
        styles,
        subject: Subject::new(&plain),
        text: text.to_owned(),
    }
}

/// The declarations of a block, or of a `style` attribute.
pub(super) fn declarations(block: &str) -> Vec<Declaration> {
    let parts = split(block, ';').unwrap_or_default();
    let declaration = |part: &str| {
        let part = &part[skip_blank(part, 0)?..];
        let (property, value) = part.split_once(':')?;
        let value = value.trim();
        let important = value
            .len()
            .checked_sub("important".len())
            .filter(|at| value.is_char_boundary(*at) && value[*at..].eq_ignore_ascii_case("important"))
            .and_then(|at| value[..at].trim_end().strip_suffix('!'));
        let property = property.trim();
        Some(Declaration {
            property: match property.starts_with("--") {
                true => property.to_owned(),
                false => property.to_ascii_lowercase(),
            },
            value: important.unwrap_or(value).trim_end().to_owned(),
            is_important: important.is_some(),
        })
    };
    parts.into_iter().filter_map(declaration).collect()
}

/// Shorthands: what begins with one of them may be set by it, or by another of its kind.
const SHORTHANDS: [&str; 17] = [
    "animation",
    "background",
    "border",
    "column",
    "flex",
    "font",
    "grid",
    "inset",
    "list-style",
    "margin",
    "mask",
    "outline",
    "overflow",
    "padding",
    "place",
    "text-decoration",
    "transition",
];

/// A name for all properties that a property may have a part in: `padding` and `padding-top` have the same.
pub(super) fn family(property: &str) -> &str {
    let vendors = ["-webkit-", "-moz-", "-ms-", "-o-"];
    let bare = vendors.iter().find_map(|vendor| property.strip_prefix(vendor));
    let bare = bare.unwrap_or(property);
    let covers = |whole: &&str| {
        bare.strip_prefix(*whole)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    match bare {
        "line-height" => "font",
        _ => SHORTHANDS.into_iter().find(covers).unwrap_or(bare),
    }
}

fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while let Some(end) = find(text, begin, &[separator]) {
        parts.push(&text[begin..end]);
        begin = end + 1;
    }
    parts.push(&text[begin..]);
    Some(parts)
}

/// The first of `wanted` that is not within brackets, quotes or comments.
fn find(text: &str, from: usize, wanted: &[char]) -> Option<usize> {
    let mut closing = Vec::new();
    let mut chars = text[from..].char_indices().map(|(at, char)| (from + at, char));
    while let Some((at, char)) = chars.next() {
        if closing.is_empty() && wanted.contains(&char) {
            return Some(at);
        }
        match char {
            '\\' => {
                chars.next();
            }
            '"' | '\'' => loop {
                match chars.next()? {
                    (_, '\\') => {
                        chars.next();
                    }
                    // A string ends with its line, whatever follows.
                    (_, '\n') => break,
                    (_, inside) if inside == char => break,
                    _ => {}
                }
            },
            '/' if text[at..].starts_with("/*") => {
                let end = at + 2 + text[at + 2..].find("*/")? + 1;
                while chars.next().is_some_and(|(at, _)| at < end) {}
            }
            '(' => closing.push(')'),
            '[' => closing.push(']'),
            '{' => closing.push('}'),
            ')' | ']' | '}' if closing.pop() != Some(char) => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{declarations, family, rules};

    #[test]
    fn a_sheet_is_taken_apart_by_its_rules() {
        let sheet = "/* a{} */ p, .b[c=\"},:\"]>i { color: red !IMPORTANT; background:url(a;b) } a:hover{x:y}\n\
                     @media (x){ .d{ e:f; } } @import url(x); td + td{} <!-- .n{ &:hover{} } -->";
        let rules = rules(sheet).expect("understood");
        let shown: Vec<_> = rules
            .iter()
            .map(|rule| {
                let selectors = rule.selectors.iter().map(|selector| {
                    format!("{}{}", selector.text, if selector.can_match { "" } else { "!" })
                });
                let declared = rule.declarations.iter().map(|declaration| {
                    let mark = if declaration.is_important { "!" } else { "" };
                    format!("{}={}{mark}", declaration.property, declaration.value)
                });
                let (selectors, declared): (Vec<_>, Vec<_>) = (selectors.collect(), declared.collect());
                format!("{selectors:?} {declared:?} {}", rule.is_kept)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "[\"p\", \".b[c=\\\"},:\\\"]>i\"] [\"color=red!\", \"background=url(a;b)\"] false",
                "[\"a:hover!\"] [\"x=y\"] false",
                "[] [] true",
                "[] [] true",
                "[\"td + td\"] [] false",
                "[\".n\"] [\"&=hover{}\"] true",
            ]
        );
        assert_eq!(rules[0].selectors[1].attributes, ["c"]);
        assert_eq!(rules[2].inner[0].declarations[0].property, "e");
        assert!(rules[4].selectors[0].asks_siblings && !rules[0].selectors[1].asks_siblings);
        for broken in ["p{", "p}", "p", "@layer a{}", "a{b:c)}", "/* x"] {
            assert!(super::rules(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn a_shorthand_has_a_part_in_what_it_stands_for() {
        for (one, other) in [
            ("padding", "padding-top"),
            ("font", "line-height"),
            ("border-top", "border-color"),
            ("-webkit-border-radius", "border"),
        ] {
            assert_eq!(family(one), family(other));
        }
        assert!(family("text-align") != family("text-decoration") && family("border") != family("borders"));
        let found = declarations("A:b;;c;--Own-Name:d");
        let names: Vec<_> = found.iter().map(|found| found.property.as_str()).collect();
        assert_eq!(names, ["a", "--Own-Name"]);
    }

    #[test]
    fn a_subject_is_what_is_plain_to_see() {
        for (selector, is, is_not) in [
            ("tr:last-child td", ("td", "", ""), ("tr", "", "")),
            (".a #b.c:not(.d)>.e", ("p", "f E", ""), ("p", "a b", "e")),
            ("p[title=\".x\"]#i", ("p", "", "i"), ("p", "i", "")),
            ("*:hover", ("p", "", ""), ("", "", "")),
            ("p.a", ("p", "{{k}}", ""), ("b", "{{k}}", "")),
        ] {
            let rules = rules(&format!("{selector}{{}}")).expect("understood");
            let subject = &rules[0].selectors[0].subject;
            assert!(subject.may_be(is.0, is.1, is.2), "{selector}");
            assert!(
                is_not.0.is_empty() || !subject.may_be(is_not.0, is_not.1, is_not.2),
                "{selector}"
            );
        }
        let rules = rules("p[style*=\"a: b\"] [style='c'] [ style ]{}").expect("understood");
        assert_eq!(
            rules[0].selectors[0].styles,
            [Some("a: b".to_owned()), None, None]
        );
        assert!(!rules[0].selectors[0].can_match);
    }
}
