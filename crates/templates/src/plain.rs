//! Plain text from html, for templates without a `body.txt.hbs`.

/// The columns of the text.
const WIDTH: usize = 78;
/// Parsing takes far longer than rendering: mail beyond this needs a `body.txt.hbs` of its own.
const HTML_BYTES_MAX: usize = 256 * 1024;

/// Derives the text.
pub(crate) fn derive(html: &str) -> Result<String, &'static str> {
    if html.len() > HTML_BYTES_MAX {
        return Err("the html is too large for it; write a body.txt.hbs");
    }
    html2text::config::plain_no_decorate()
        .raw_mode(true)
        .string_from_read(html.as_bytes(), WIDTH)
        .map_err(|_| "the html can't be laid out as text; write a body.txt.hbs")
}
