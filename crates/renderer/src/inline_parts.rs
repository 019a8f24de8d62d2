//! What html shows of its own message: `cid:` addresses (RFC 2392), each of which must be an attachment's content id.
//!
//! An image that is not there is a broken picture in somebody's mailbox, which nobody hears of. The other way round is no mistake: an
//! inline part that nothing refers to arrives as one more attachment.

use std::cell::{Cell, RefCell};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use paceline_wire::v1::Attachment;
use percent_encoding::percent_decode_str;

/// The attributes whose address is shown where they stand.
const SHOWN: [&str; 3] = ["background", "poster", "src"];
const SCHEME: &str = "cid:";

/// The first address, by its number from 1, that is no attachment's.
pub(crate) fn missing(html: &str, attachments: &[Attachment]) -> Option<usize> {
    // Nearly all mail has none, and is not read once more for it.
    if !mentions(html) {
        return None;
    }
    let is_there = |id: &String| {
        attachments
            .iter()
            .any(|part| !id.is_empty() && part.content_id == *id)
    };
    let missing = shown(html).iter().position(|id| !is_there(id));
    missing.map(|index| index + 1)
}

/// True if `cid:` stands anywhere, in whatever case. Of an address whose scheme is written in character references, which nobody does, nothing
/// is known.
fn mentions(html: &str) -> bool {
    let before = SCHEME.len() - 1;
    html.match_indices(':').any(|(colon, _)| {
        let scheme = colon
            .checked_sub(before)
            .map(|start| &html.as_bytes()[start..=colon]);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
    })
}

/// The content ids in the order of the html.
fn shown(html: &str) -> Vec<String> {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    let tokenizer = Tokenizer::new(Shown::default(), TokenizerOpts::default());
    // It would stop for a sink that runs scripts.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.ids.into_inner()
}

#[derive(Default)]
struct Shown {
    ids: RefCell<Vec<String>>,
    in_style: Cell<bool>,
}

impl TokenSink for Shown {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => {
                let is_start = tag.kind == TagKind::StartTag;
                self.in_style.set(is_start && &*tag.name == "style");
                if is_start {
                    self.of_tag(&tag);
                    return inside(&tag.name);
                }
            }
            Token::CharacterTokens(text) if self.in_style.get() => self.of_style(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// What follows a start tag of that name.
fn inside(name: &str) -> TokenSinkResult<()> {
    match name {
        "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
        "script" => TokenSinkResult::RawData(RawKind::ScriptData),
        _ => TokenSinkResult::Continue,
    }
}

impl Shown {
    fn of_tag(&self, tag: &Tag) {
        for attribute in &tag.attrs {
            match &*attribute.name.local {
                name if SHOWN.contains(&name) => self.add(&attribute.value),
                "srcset" => attribute.value.split(',').for_each(|candidate| {
                    self.add(candidate.split_whitespace().next().unwrap_or_default());
                }),
                "style" => self.of_style(&attribute.value),
                _ => {}
            }
        }
    }

    /// Each `url(...)`.
    fn of_style(&self, text: &str) {
        let mut rest = text;
        while let Some(at) = find(rest, "url(") {
            rest = &rest[at + "url(".len()..];
            let end = rest.find(')').unwrap_or(rest.len());
            self.add(rest[..end].trim().trim_matches(['"', '\'']));
        }
    }

    fn add(&self, address: &str) {
        let address = address.trim();
        if find(address, SCHEME) == Some(0) {
            let id = percent_decode_str(&address[SCHEME.len()..]).decode_utf8_lossy();
            self.ids.borrow_mut().push(id.into_owned());
        }
    }
}

/// Where a text in lower case begins, in whatever case it stands.
fn find(text: &str, lower: &str) -> Option<usize> {
    let windows = text.as_bytes().windows(lower.len());
    windows
        .enumerate()
        .find(|(_, window)| window.eq_ignore_ascii_case(lower.as_bytes()))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(html: &str, ids: &[&str]) {
        assert_eq!(shown(html), ids, "{html}");
    }

    #[test]
    fn what_a_reader_would_see_is_found() {
        for (html, ids) in [
            (
                "<img src=\"cid:logo\"><IMG SRC=CID:two alt=''>",
                &["logo", "two"][..],
            ),
            ("<img src=' cid:a%40b '>", &["a@b"]),
            ("<td background=cid:bg><video poster='cid:p'>", &["bg", "p"]),
            (
                "<img srcset=\"cid:one, https://a.example/b 2x,cid:two 3x\">",
                &["one", "two"],
            ),
            (
                "<p style=\"background: URL( 'cid:bg' ), url(cid:b2)\">",
                &["bg", "b2"],
            ),
            ("<style>p { background: url(\"cid:bg\") }</style>", &["bg"]),
            ("<img src=cid:>", &[""]),
        ] {
            shows(html, ids);
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for html in [
            "<p>cid:logo, src=\"cid:logo\"</p>",
            "<a href=\"cid:logo\">x</a>",
            "<img alt=\"cid:logo\" src=\"https://a.example/?x=cid:logo\">",
            "<!--[if mso]><img src=\"cid:logo\"><![endif]-->",
            "<title><img src=\"cid:logo\"></title>",
            "<style></style><p>url(cid:logo)</p>",
            "<p style='content: \"cid:logo\"'>",
        ] {
            shows(html, &[]);
        }
    }

    #[test]
    fn the_first_that_is_not_attached_is_told_by_its_number() {
        let part = |id: &str| Attachment {
            content_id: id.to_owned(),
            ..Attachment::default()
        };
        let html = "<img src=cid:a><img src=cid:b><img src=cid:a>";
        assert_eq!(missing(html, &[part("a"), part("b"), part("unused")]), None);
        assert_eq!(missing(html, &[part("a"), part("B")]), Some(2));
        assert_eq!(missing(html, &[]), Some(1));
        assert_eq!(missing("<img src=cid:>", &[part("")]), Some(1));
        assert_eq!(missing("<p>hello</p>", &[]), None);
    }
}
