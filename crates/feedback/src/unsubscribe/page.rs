//! The page for people: plain html without a script, and the headers of every answer.
//!
//! It names sender and category as the settings call them. It shows no address, and looks the same whether or not anybody is
//! unsubscribed, so that who has the link of a forwarded mail learns nothing.

use std::fmt;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::settings::UnsubscribeSettings;
use paceline_domain::unsubscribe::UnsubscribeLink;

const STYLE: &str = include_str!("style.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 is printable ASCII")
});

/// What a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page<'a> {
    /// Asks; nothing has happened yet.
    Asks(Names<'a>),
    Unsubscribed(Names<'a>),
    Resubscribed(Names<'a>),
    /// The link is none of ours, or was cut.
    NoLink,
    /// What was posted means nothing.
    NoWish,
    /// It was not stored, and may be later.
    Later,
}

/// Sender and category as people know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names<'a> {
    sender: &'a str,
    category: &'a str,
}

impl<'a> Names<'a> {
    pub(super) fn of(link: &'a UnsubscribeLink, settings: &'a UnsubscribeSettings) -> Self {
        Self {
            sender: settings.sender(&link.tenant),
            category: settings.category(&link.category),
        }
    }
}

impl Page<'_> {
    const fn status(self) -> StatusCode {
        match self {
            Self::Asks(_) | Self::Unsubscribed(_) | Self::Resubscribed(_) => StatusCode::OK,
            Self::NoLink => StatusCode::FORBIDDEN,
            Self::NoWish => StatusCode::BAD_REQUEST,
            Self::Later => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Asks(_) => "Unsubscribe",
            Self::Unsubscribed(_) => "You are unsubscribed",
            Self::Resubscribed(_) => "You are subscribed again",
            Self::NoLink => "This link does not work",
            Self::NoWish => "Nothing was changed",
            Self::Later => "Please try again",
        }
    }

    fn body(self) -> String {
        const UNSUBSCRIBE: &str = "<button name=\"action\" value=\"unsubscribe\">Unsubscribe</button>";
        const SUBSCRIBE: &str =
            "<button name=\"action\" value=\"resubscribe\" class=\"quiet\">Subscribe again</button>";
        // Without an action a form posts to the page's own address, whatever stands before this service.
        let form = |buttons: &str| format!("<form method=\"post\">{buttons}</form>");
        match self {
            Self::Asks(names) => format!(
                "<p>Do you want no more emails {names}?</p>{}<p class=\"note\">Other emails, such as receipts and password \
                 resets, still come.</p><p class=\"note\">If you unsubscribed by mistake, you can undo it here:</p>{}",
                form(UNSUBSCRIBE),
                form(SUBSCRIBE)
            ),
            Self::Unsubscribed(names) => format!(
                "<p role=\"status\">You will get no more emails {names}. One that is on its way already may still \
                 come.</p><p class=\"note\">If that was a mistake, you can undo it here:</p>{}",
                form(SUBSCRIBE)
            ),
            Self::Resubscribed(names) => format!(
                "<p role=\"status\">You will get emails {names} again.</p>{}",
                form(UNSUBSCRIBE)
            ),
            Self::NoLink => "<p>Please use the link in the email once more, and copy all of it if you copy it.</p>".to_owned(),
            Self::NoWish => "<p>Please open the link in the email once more and use the button there.</p>".to_owned(),
            Self::Later => "<p>We could not store your wish just now, so nothing was changed. Please try again in a minute.</p>"
                .to_owned(),
        }
    }
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let (title, body) = (self.title(), self.body());
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n\
             </body>\n</html>\n"
        );
        (self.status(), headers(), Html(html)).into_response()
    }
}

/// Of every answer: nothing is loaded, framed, kept or told on.
pub(super) fn headers() -> HeaderMap {
    let fixed = [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    let fixed = fixed.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let policy = (header::CONTENT_SECURITY_POLICY, POLICY.clone());
    fixed.into_iter().chain([policy]).collect()
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about <strong>{}</strong> from <strong>{}</strong>",
            Escaped(self.category),
            Escaped(self.sender)
        )
    }
}

/// Text as an element shows it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => write!(f, "{c}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Page};

    #[test]
    fn names_stay_text() {
        let names = Names {
            sender: "A & B <i>",
            category: "\"news\"",
        };
        let body = Page::Asks(names).body();
        assert!(
            body.contains("A &amp; B &lt;i&gt;") && body.contains("&quot;news&quot;"),
            "{body}"
        );
    }

    #[test]
    fn only_a_page_that_can_be_acted_on_has_buttons() {
        let names = Names {
            sender: "Shop",
            category: "news",
        };
        let buttons = |page: Page<'_>| {
            let body = page.body();
            (body.contains("\"unsubscribe\""), body.contains("\"resubscribe\""))
        };
        assert_eq!(buttons(Page::Asks(names)), (true, true));
        assert_eq!(buttons(Page::Unsubscribed(names)), (false, true));
        assert_eq!(buttons(Page::Resubscribed(names)), (true, false));
        for page in [Page::NoLink, Page::NoWish, Page::Later] {
            assert_eq!(buttons(page), (false, false));
        }
    }
}
