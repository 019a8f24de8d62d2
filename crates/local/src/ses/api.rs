//! The JSON of the API: what `SendEmail` is sent, and how errors are answered.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::lookalike::email::{Attachment, Email};
use crate::lookalike::fault::Failure;

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
    #[serde(default)]
    pub(crate) configuration_overrides: Overrides,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Overrides {
    pub(crate) tracking: Tracking,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Tracking {
    pub(crate) open_tracking_enabled: Option<String>,
    pub(crate) click_tracking_enabled: Option<String>,
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

    /// The content, which a mail that passes the checks always has.
    pub(crate) fn simple(&self) -> Option<&SimpleContent> {
        self.content.simple.as_ref()
    }

    /// What is kept of it. What is missing is empty: such a mail does not pass the checks.
    pub(crate) fn into_email(self) -> Email {
        let options = [
            ("configuration_set", self.configuration_set_name),
            ("tenant_name", self.tenant_name),
            (
                "open_tracking",
                self.configuration_overrides.tracking.open_tracking_enabled,
            ),
            (
                "click_tracking",
                self.configuration_overrides.tracking.click_tracking_enabled,
            ),
        ];
        let mut email = Email {
            from: self.from_email_address,
            to: self.destination.to_addresses,
            cc: self.destination.cc_addresses,
            bcc: self.destination.bcc_addresses,
            reply_to: self.reply_to_addresses,
            tags: pairs(self.email_tags),
            options: options
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
            ..Email::default()
        };
        if let Some(simple) = self.content.simple {
            email.subject = simple.subject.data;
            email.html = simple.body.html.map(|text| text.data).unwrap_or_default();
            email.text = simple.body.text.map(|text| text.data).unwrap_or_default();
            email.headers = pairs(simple.headers);
            email.attachments = simple.attachments.into_iter().map(Attachment::from).collect();
        }
        email
    }
}

fn pairs(pairs: Vec<Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

impl From<SentAttachment> for Attachment {
    fn from(sent: SentAttachment) -> Self {
        let content = sent.bytes().unwrap_or_default().into();
        Self {
            file_name: sent.file_name,
            media_type: sent
                .content_type
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            content_id: sent.content_id,
            inline: sent.content_disposition.as_deref() == Some("INLINE"),
            content,
        }
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
