//! The JSON of the API: what `SendEmail` is sent, and how errors are answered.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::fault::Failure;

/// The body of `SendEmail`. Members that the look-alike has no use for are ignored, as SES ignores unknown ones.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SentEmail {
    #[serde(default)]
    pub(crate) from_email_address: String,
    #[serde(default)]
    pub(crate) destination: Destination,
    #[serde(default)]
    pub(crate) reply_to_addresses: Vec<String>,
    pub(crate) content: EmailContent,
    #[serde(default)]
    pub(crate) email_tags: Vec<Pair>,
    #[serde(default)]
    pub(crate) configuration_set_name: Option<String>,
    #[serde(default)]
    pub(crate) tenant_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Destination {
    pub(crate) to_addresses: Vec<String>,
    pub(crate) cc_addresses: Vec<String>,
    pub(crate) bcc_addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EmailContent {
    pub(crate) simple: Option<SimpleContent>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SimpleContent {
    pub(crate) subject: Text,
    pub(crate) body: Body,
    #[serde(default)]
    pub(crate) headers: Vec<Pair>,
    #[serde(default)]
    pub(crate) attachments: Vec<SentAttachment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Body {
    pub(crate) html: Option<Text>,
    pub(crate) text: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Text {
    pub(crate) data: String,
    #[serde(default)]
    pub(crate) charset: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SentAttachment {
    pub(crate) file_name: String,
    #[serde(default)]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) content_id: Option<String>,
    #[serde(default)]
    pub(crate) content_disposition: Option<String>,
    /// Base64.
    pub(crate) raw_content: String,
}

impl SentAttachment {
    /// The bytes; `None` if they are not base64.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        data_encoding::BASE64.decode(self.raw_content.as_bytes()).ok()
    }

    pub(crate) fn inline(&self) -> bool {
        self.content_disposition.as_deref() == Some("INLINE")
    }

    pub(crate) fn media_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or("application/octet-stream")
    }
}

impl SentEmail {
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &str> + Clone {
        let Destination {
            to_addresses,
            cc_addresses,
            bcc_addresses,
        } = &self.destination;
        to_addresses
            .iter()
            .chain(cc_addresses)
            .chain(bcc_addresses)
            .map(String::as_str)
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        self.email_tags
            .iter()
            .find(|tag| tag.name == name)
            .map(|tag| tag.value.as_str())
    }

    /// The content, which a mail that was taken always has.
    pub(crate) fn simple(&self) -> Option<&SimpleContent> {
        self.content.simple.as_ref()
    }

    pub(crate) fn subject(&self) -> &str {
        self.simple().map_or("", |simple| &simple.subject.data)
    }

    pub(crate) fn html(&self) -> &str {
        self.part(|body| body.html.as_ref())
    }

    pub(crate) fn text(&self) -> &str {
        self.part(|body| body.text.as_ref())
    }

    fn part(&self, of: impl Fn(&Body) -> Option<&Text>) -> &str {
        self.simple()
            .and_then(|simple| of(&simple.body))
            .map_or("", |text| &text.data)
    }
}

/// An error as rest-json has it: the code in a header. Without a code: as a proxy would answer, in html.
pub(crate) fn failure(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = failure
        .code
        .as_deref()
        .and_then(|code| HeaderValue::from_str(code).ok());
    match code {
        Some(code) => (
            status,
            [("x-amzn-errortype", code)],
            Json(json!({ "message": failure.message })),
        )
            .into_response(),
        None if failure.message.is_empty() => (
            status,
            axum::response::Html("<html><body>no answer</body></html>"),
        )
            .into_response(),
        None => (status, Json(json!({ "message": failure.message }))).into_response(),
    }
}
