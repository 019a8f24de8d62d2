//! Rules about html: links, images, the way to unsubscribe, the size.
//!
//! What the source itself writes is told with its line. What the data brings is seen in the rendering of each example, and told
//! there without the value.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::examples::Rendering;
use crate::build;
use crate::engine::{Compiled, HOLE};
use crate::finding::{Finding, Rule};
use crate::template::Template;

/// Gmail shows no more html than this, and hides the rest, the link to unsubscribe included, behind "View entire message".
const CLIPPED_BYTES: usize = 102 * 1024;

const CROWDED: &str = "a tag has more than 127 attributes";

/// The attributes that lead to somewhere.
const LINKS: [&str; 4] = ["action", "background", "href", "src"];

pub(super) fn check(template: &Template, renderings: &[Rendering]) -> Vec<Finding> {
    let (mut findings, written) = check_source(&template.html);
    for rendering in renderings {
        if let Some(line) = build::crowded_tag(&rendering.rendered.html) {
            let text = format!("line {line} of its html: {CROWDED}");
            findings.push(Finding::new(Rule::Markup, &rendering.file, text));
            continue;
        }
        if rendering.rendered.html.len() > CLIPPED_BYTES {
            findings.push(clipped(rendering));
            continue;
        }
        findings.extend(brought_links(rendering, &template.html, &written));
    }
    findings.extend(unsubscribe(template, renderings));
    findings
}

fn clipped(rendering: &Rendering) -> Finding {
    let bytes = rendering.rendered.html.len();
    let text = format!("its html has {bytes} bytes; Gmail clips what has more than {CLIPPED_BYTES}");
    Finding::new(Rule::Clipped, &rendering.file, text)
}

/// What the source itself gets wrong, and the links among it.
fn check_source(source: &Compiled) -> (Vec<Finding>, Vec<String>) {
    let mut findings = Vec::new();
    let mut written = Vec::new();
    for skeleton in source.skeletons() {
        if let Some(line) = build::crowded_tag(&skeleton.text) {
            let line = skeleton.source_line(line);
            findings.push(Finding::new(Rule::Markup, source.file, CROWDED).at(line));
            continue;
        }
        for (tag, line) in tags(&skeleton.text) {
            let line = skeleton.source_line(line);
            let computed = tag
                .attrs
                .iter()
                .any(|attribute| attribute.name.local.contains(HOLE));
            if &*tag.name == "img" && value(&tag, "alt").is_none() && !computed {
                let text = "an image has no alt text; alt=\"\" is for decoration";
                findings.push(Finding::new(Rule::ImageWithoutAlt, source.file, text).at(line));
            }
            for (name, link) in links(&tag) {
                if let Some(problem) = written_problem(name, link) {
                    let text = format!("{name} of <{}> {problem}", &*tag.name);
                    findings.push(Finding::new(Rule::LinkNotHttps, source.file, text).at(line));
                    written.push(before_hole(link).to_owned());
                }
            }
        }
    }
    findings.sort_by(|a, b| (a.line, &a.description).cmp(&(b.line, &b.description)));
    findings.dedup();
    (findings, written)
}

/// Links of a rendering that are wrong by the data. Those that begin as one in `written` are told already.
fn brought_links(rendering: &Rendering, source: &Compiled, written: &[String]) -> Vec<Finding> {
    let told = |link: &str| {
        let begins =
            |known: &String| known == link || (!known.is_empty() && link.starts_with(known.as_str()));
        written.iter().any(begins)
    };
    let mut texts = Vec::new();
    for (tag, _) in tags(&rendering.rendered.html) {
        for (name, link) in links(&tag).filter(|(_, link)| !told(link)) {
            if let Some(problem) = problem(name, link) {
                texts.push(format!("{name} of <{}> in {} {problem}", &*tag.name, source.file));
            }
        }
    }
    texts.sort();
    texts.dedup();
    let finding = |text| Finding::new(Rule::LinkNotHttps, &rendering.file, text);
    texts.into_iter().map(finding).collect()
}

/// Mail that one can unsubscribe from must say how, in both of its bodies.
fn unsubscribe(template: &Template, renderings: &[Rendering]) -> Vec<Finding> {
    let Some(url) = template.sample_unsubscribe_url(template.manifest.lane) else {
        return Vec::new();
    };
    let lacks = |rendering: &Rendering| {
        if build::crowded_tag(&rendering.rendered.html).is_some() {
            return None;
        }
        let links = tags(&rendering.rendered.html);
        let in_html = links.iter().any(|(tag, _)| value(tag, "href") == Some(&url));
        let part = match (in_html, rendering.rendered.text.contains(&url)) {
            (true, true) => return None,
            (false, _) => "its html has no link to",
            (true, false) => "its plain text does not have",
        };
        let text =
            format!("{part} {{{{paceline.unsubscribe_url}}}}, by which one can unsubscribe from such mail");
        Some(Finding::new(Rule::NoUnsubscribeLink, &rendering.file, text))
    };
    renderings.iter().filter_map(lacks).collect()
}

/// What is wrong with a link as far as the source writes it.
fn written_problem(attribute: &str, link: &str) -> Option<&'static str> {
    let begin = before_hole(link);
    // The data decides, so the renderings tell.
    let open = begin.len() < link.len() && "https://".starts_with(&begin.trim_start().to_ascii_lowercase());
    if open { None } else { problem(attribute, begin) }
}

fn before_hole(link: &str) -> &str {
    link.split(HOLE).next().unwrap_or_default()
}

/// What is wrong with a link, without its value.
fn problem(attribute: &str, link: &str) -> Option<&'static str> {
    let link = link.trim_start().to_ascii_lowercase();
    let others: &[&str] = match attribute {
        "href" => &["mailto:", "tel:", "sms:"],
        "src" | "background" => &["cid:"],
        _ => &[],
    };
    let named_place = attribute == "href" && link.starts_with('#') && link.len() > 1;
    if link.starts_with("https://") || named_place || others.iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    Some(if link.is_empty() {
        "is empty"
    } else if link.starts_with("http:") {
        "is http; it must be absolute https"
    } else if link
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|begin| begin.contains(':'))
    {
        "has a scheme other than https"
    } else {
        "is relative; it must be absolute https"
    })
}

fn links(tag: &Tag) -> impl Iterator<Item = (&'static str, &str)> {
    LINKS
        .into_iter()
        .filter_map(|name| Some((name, value(tag, name)?)))
}

fn value<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| &*attribute.value)
}

/// The start tags of html, with their lines from 1. Comments, those for Outlook too, have none.
fn tags(html: &str) -> Vec<(Tag, usize)> {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    let tokenizer = Tokenizer::new(StartTags::default(), TokenizerOpts::default());
    // It would stop for a sink that runs scripts.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.0.into_inner()
}

#[derive(Default)]
struct StartTags(RefCell<Vec<(Tag, usize)>>);

impl TokenSink for StartTags {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else {
            return TokenSinkResult::Continue;
        };
        if tag.kind == TagKind::EndTag {
            return TokenSinkResult::Continue;
        }
        let inside = match &*tag.name {
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            _ => TokenSinkResult::Continue,
        };
        self.0
            .borrow_mut()
            .push((tag, usize::try_from(line).unwrap_or(usize::MAX)));
        inside
    }
}
