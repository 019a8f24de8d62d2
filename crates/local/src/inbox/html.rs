//! Escaping, and the frame of every page.

use std::fmt;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

/// Text as html shows it: in an element or in a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(index) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..index])?;
            f.write_str(match rest.as_bytes()[index] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[index + 1..];
        }
        f.write_str(rest)
    }
}

/// What a page may load and run. Nothing of it is ever from elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Policy {
    /// Our own script and style.
    List,
    /// Our own style; no script at all.
    Mail,
    /// The same, and the inline styles of the mail in the frame, which inherits the page's policy.
    MailFrame,
}

impl Policy {
    const fn content(self) -> &'static str {
        match self {
            Self::List => {
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                 base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
            }
            Self::Mail => {
                "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            }
            Self::MailFrame => {
                "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            }
        }
    }
}

/// A whole page. `head` and `body` are html.
pub(super) fn page(title: &str, policy: Policy, head: &str, body: &str) -> Response {
    let title = Escaped(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/assets/style.css\">\n{head}</head>\n<body>\n{body}</body>\n</html>\n"
    );
    let policy = [(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy.content()),
    )];
    (policy, Html(html)).into_response()
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn nothing_leaves_its_element_or_attribute() {
        assert_eq!(
            Escaped("a<b> & \"c\" 'd' ü").to_string(),
            "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39; ü"
        );
        assert_eq!(Escaped("").to_string(), "");
    }
}
