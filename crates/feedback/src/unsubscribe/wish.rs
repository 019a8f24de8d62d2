//! What a POST of a link asks for: mailbox providers by the body of RFC 8058, people by the page's buttons.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Multipart};
use axum::http::{Request, header};
use form_urlencoded::parse;
use http_body_util::Limited;

/// A wish is a few words; a form of several parts has their headers, too.
const BODY_BYTES_MAX: usize = 8 << 10;
/// Fields that are looked at.
const FIELDS_MAX: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// By a machine, for a person who pressed its button: `List-Unsubscribe=One-Click`.
    OneClick,
    Unsubscribe,
    Resubscribe,
}

impl Wish {
    /// The name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::OneClick => "one_click",
            Self::Unsubscribe => "unsubscribed",
            Self::Resubscribe => "resubscribed",
        }
    }

    fn of(name: &str, value: &str) -> Option<Self> {
        match (name, value) {
            ("List-Unsubscribe", "One-Click") => Some(Self::OneClick),
            ("action", "unsubscribe") => Some(Self::Unsubscribe),
            ("action", "resubscribe") => Some(Self::Resubscribe),
            _ => None,
        }
    }

    /// The wish of a request, in either form that RFC 8058 allows; `None` if it says none, or can't be read.
    pub(super) async fn read(request: Request<Body>) -> Option<Self> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if content_type
            .to_ascii_lowercase()
            .starts_with("multipart/form-data")
        {
            return Self::of_parts(request).await;
        }
        let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await.ok()?;
        parse(&body)
            .take(FIELDS_MAX)
            .find_map(|(name, value)| Self::of(&name, &value))
    }

    async fn of_parts(request: Request<Body>) -> Option<Self> {
        let request = request.map(|body| Body::new(Limited::new(body, BODY_BYTES_MAX)));
        let mut parts = Multipart::from_request(request, &()).await.ok()?;
        for _ in 0..FIELDS_MAX {
            let part = parts.next_field().await.ok()??;
            let name = part.name().unwrap_or_default().to_owned();
            if let Some(wish) = Self::of(&name, &part.text().await.ok()?) {
                return Some(wish);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::{BODY_BYTES_MAX, Wish};

    async fn wish(content_type: &str, body: impl Into<String>) -> Option<Wish> {
        let request = Request::post("/").header("content-type", content_type);
        Wish::read(request.body(Body::from(body.into())).expect("a request")).await
    }

    const FORM: &str = "application/x-www-form-urlencoded";
    const PARTS: &str = "multipart/form-data; boundary=xx";

    #[tokio::test]
    async fn both_forms_of_one_click_are_read() {
        assert_eq!(
            wish(FORM, "List-Unsubscribe=One-Click").await,
            Some(Wish::OneClick)
        );
        assert_eq!(
            wish("", "List-Unsubscribe=One%2DClick").await,
            Some(Wish::OneClick)
        );
        let parts = "--xx\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--xx--\r\n";
        assert_eq!(wish(PARTS, parts).await, Some(Wish::OneClick));
        assert_eq!(
            wish("Multipart/Form-Data; boundary=xx", parts).await,
            Some(Wish::OneClick)
        );
    }

    #[tokio::test]
    async fn the_buttons_are_told_apart() {
        assert_eq!(wish(FORM, "action=unsubscribe").await, Some(Wish::Unsubscribe));
        assert_eq!(
            wish(FORM, "x=1&action=resubscribe").await,
            Some(Wish::Resubscribe)
        );
    }

    #[tokio::test]
    async fn what_says_nothing_is_no_wish() {
        let long = format!("{}List-Unsubscribe=One-Click", "x=1&".repeat(BODY_BYTES_MAX));
        let cut = "--xx\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Cl";
        let big = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{}\r\n--xx\r\nContent-Disposition: form-data; \
             name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--xx--\r\n",
            "x".repeat(BODY_BYTES_MAX)
        );
        for (content_type, body) in [
            (FORM, ""),
            (FORM, "List-Unsubscribe"),
            (FORM, "List-Unsubscribe=no"),
            (FORM, "action=delete"),
            (FORM, long.as_str()),
            (PARTS, cut),
            (PARTS, &big),
            (PARTS, "--xx--\r\n"),
            ("multipart/form-data", "List-Unsubscribe=One-Click"),
        ] {
            assert_eq!(
                wish(content_type, body).await,
                None,
                "{content_type} {}",
                body.len()
            );
        }
    }
}
