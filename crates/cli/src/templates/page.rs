//! Pages that show an email: always in a frame without scripts, as mail clients do.

use paceline_templates::Rendered;

/// Where [`framed`] says how high the email is, as `data-height="..."` of the page's element.
pub(super) const HEIGHT: &str = "data-height=\"";

/// The email's html at a width, alone, as high as it is.
pub(super) fn framed(html: &str, width: u32) -> String {
    let frame = frame(html, width);
    format!(
        "<!doctype html><meta charset=\"utf-8\"><body style=\"margin:0\">{frame}\n\
         <script>onload = () => {{\n\
         const mail = document.querySelector('iframe'), height = mail.contentDocument.documentElement.scrollHeight;\n\
         mail.style.height = height + 'px';\n\
         document.documentElement.dataset.height = height;\n\
         }}</script>\n"
    )
}

/// Subject, the html at each width, and the plain text, on one page.
pub(super) fn preview(rendered: &Rendered, widths: &[(&str, u32)]) -> String {
    let frames: Vec<_> = widths
        .iter()
        .map(|(name, width)| {
            format!(
                "<figure><figcaption>{name}</figcaption>{}</figure>",
                frame(&rendered.html, *width)
            )
        })
        .collect();
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{subject}</title>\n\
         <style>body {{ font-family: sans-serif; margin: 24px }} div {{ display: flex; gap: 24px; align-items: start }}\n\
         figure {{ margin: 0 }} iframe {{ height: 900px; outline: 1px solid #bbb }} pre {{ white-space: pre-wrap }}</style>\n\
         <h1>{subject}</h1><div>{frames}</div><h2>plain text</h2><pre>{text}</pre>\n",
        subject = escape(&rendered.subject),
        frames = frames.concat(),
        text = escape(&rendered.text),
    )
}

/// The frame shares its origin, so that its height can be measured, and runs nothing.
fn frame(html: &str, width: u32) -> String {
    format!(
        "<iframe sandbox=\"allow-same-origin\" style=\"border:0;display:block;width:{width}px\" srcdoc=\"{}\"></iframe>",
        escape(html)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
