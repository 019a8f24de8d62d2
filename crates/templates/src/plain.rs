//! Plain text from html, for templates without a `body.txt.hbs`.
//!
//! The parser's time grows with the tags that are open times the tags that come, and a template may let data write tags
//! (`{{{raw}}}`): forty thousand unclosed ones took it most of a minute. So the tags are counted before it starts.

/// The columns of the text.
const WIDTH: usize = 78;
const HTML_BYTES_MAX: usize = 256 * 1024;
/// All opening tags nested within each other take some tens of milliseconds at this number.
const TAGS_MAX: usize = 3_000;

/// Derives the text; links become footnotes.
pub(crate) fn derive(html: &str) -> Result<String, &'static str> {
    let opening = |pair: &&[u8]| pair[0] == b'<' && pair[1].is_ascii_alphabetic();
    if html.len() > HTML_BYTES_MAX || html.as_bytes().windows(2).filter(opening).count() > TAGS_MAX {
        return Err("it is too large for that; write a body.txt.hbs");
    }
    let text = html2text::config::plain()
        .raw_mode(true)
        .link_footnotes(true)
        .string_from_read(html.as_bytes(), WIDTH)
        .map_err(|_| "it can't be laid out as text; write a body.txt.hbs")?;
    if text.trim().is_empty() {
        return Err("it has no text");
    }
    Ok(text)
}
