//! Plain text from html, for templates without a `body.txt.hbs` of which none could be derived when they were built.
//!
//! A parser's time grows with the tags that are open times the tags that come, and a template may let data write tags (`{{{raw}}}`): forty
//! thousand unclosed ones took one most of a minute. So what html has is counted first, and a parser sees it flattened: without
//! attributes, and without ends of what was never begun.

use crate::build;

/// No line is broken: clients do that, at the width that they have.
const WIDTH: usize = 1 << 20;
const HTML_BYTES_MAX: usize = 256 * 1024;
/// Opening tags, and closing ones: all nested within each other take some tens of milliseconds at this number.
const TAGS_MAX: usize = 3_000;

/// Derives the text; a link's address stands behind what it reads.
pub(crate) fn derive(html: &str) -> Result<String, &'static str> {
    const TOO_LARGE: &str = "it is too large for that; write a body.txt.hbs";
    if html.len() > HTML_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let flat = build::flatten_page(html, TAGS_MAX).ok_or(TOO_LARGE)?;
    let text = lay_out(&flat).ok_or("it can't be laid out as text; write a body.txt.hbs")?;
    checked(text)
}

/// A text, derived once, as it is sent: without the empty lines that blocks left out leave.
pub(crate) fn rendered(text: &str) -> Result<String, &'static str> {
    checked(tidy(text))
}

fn checked(text: String) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("it has no text");
    }
    Ok(text)
}

/// Lays flattened html out as text.
pub(crate) fn lay_out(flat: &str) -> Option<String> {
    let text = html2text::config::plain()
        .raw_mode(true)
        .link_footnotes(false)
        .string_from_read(flat.as_bytes(), WIDTH)
        .ok()?;
    Some(tidy(&text))
}

/// A text whose lines end where they do, with one empty line at most between others.
fn tidy(text: &str) -> String {
    let mut laid_out = String::with_capacity(text.len());
    for line in text.trim_matches('\n').lines() {
        let line = line.trim_end();
        if !(line.is_empty() && (laid_out.is_empty() || laid_out.ends_with("\n\n"))) {
            laid_out.push_str(line);
            laid_out.push('\n');
        }
    }
    laid_out
}
