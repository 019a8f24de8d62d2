//! What SNS posts, and the text that it signs.

use data_encoding::BASE64;
use paceline_providers::events::EventError;
use paceline_providers::events::fields::{Field, document};

const WORD_CHARS_MAX: usize = 100;
const URL_CHARS_MAX: usize = 2_048;
/// An ARN has at most 20 + 64 + 256 characters.
const ARN_CHARS_MAX: usize = 512;
/// SNS's bound is 256 KiB.
const MESSAGE_CHARS_MAX: usize = 256 << 10;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

/// The digest under the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureVersion {
    Sha1,
    Sha256,
}

/// One message, its signature not yet checked.
#[derive(Clone)]
pub struct Envelope {
    pub kind: Kind,
    pub topic_arn: String,
    /// What was published; for a confirmation, words for people.
    pub message: String,
    /// Of a confirmation.
    pub(super) subscribe_url: Option<String>,
    pub(super) signing_cert_url: String,
    pub(super) signature_version: SignatureVersion,
    pub(super) signature: Vec<u8>,
    /// Names and values as they are signed.
    pub(super) signed: String,
}

impl Envelope {
    /// Reads the body of a call.
    ///
    /// # Errors
    /// What SNS does not post; names the field.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let document = document(body, "body")?;
        let root = Field::root(&document);
        let kind_field = root.get("Type");
        let kind = match kind_field.text(WORD_CHARS_MAX)? {
            "Notification" => Kind::Notification,
            "SubscriptionConfirmation" => Kind::SubscriptionConfirmation,
            "UnsubscribeConfirmation" => Kind::UnsubscribeConfirmation,
            _ => return Err(kind_field.error("is no type of a message")),
        };
        let version = root.get("SignatureVersion");
        let signature = root.get("Signature");
        let subscribe_url = match kind {
            Kind::Notification => None,
            _ => Some(root.get("SubscribeURL").id(URL_CHARS_MAX)?.to_owned()),
        };
        Ok(Self {
            kind,
            topic_arn: root.get("TopicArn").id(ARN_CHARS_MAX)?.to_owned(),
            message: root.get("Message").text(MESSAGE_CHARS_MAX)?.to_owned(),
            subscribe_url,
            signing_cert_url: root.get("SigningCertURL").id(URL_CHARS_MAX)?.to_owned(),
            signature_version: match version.text(WORD_CHARS_MAX)? {
                "1" => SignatureVersion::Sha1,
                "2" => SignatureVersion::Sha256,
                _ => return Err(version.error("is neither 1 nor 2")),
            },
            signature: BASE64
                .decode(signature.id(URL_CHARS_MAX)?.as_bytes())
                .map_err(|_| signature.error("is no base64"))?,
            signed: signed(&root, kind)?,
        })
    }

    /// What a notification published, its signature and its topic not looked at; `None` for what is no notification.
    #[must_use]
    pub fn published(body: &[u8]) -> Option<String> {
        let document = document(body, "body").ok()?;
        let root = Field::root(&document);
        let kind = root.get("Type");
        if kind.text(WORD_CHARS_MAX).ok()? != Kind::Notification.as_str() {
            return None;
        }
        Some(root.get("Message").text(MESSAGE_CHARS_MAX).ok()?.to_owned())
    }
}

/// The fields that are signed, in the order of their bytes, each as a line of its name and one of its value.
fn signed(root: &Field<'_>, kind: Kind) -> Result<String, EventError> {
    let names: &[&str] = match kind {
        Kind::Notification => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn"],
        _ => &[
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
        ],
    };
    let mut text = String::new();
    for &name in names {
        let field = root.get(name);
        let value = match name {
            "Subject" if !field.is_there() => continue,
            "Subject" => field.optional_text(WORD_CHARS_MAX)?.unwrap_or_default(),
            "Message" => field.text(MESSAGE_CHARS_MAX)?,
            _ => field.text(URL_CHARS_MAX)?,
        };
        text.extend([name, "\n", value, "\n"]);
    }
    text.extend(["Type\n", kind.as_str(), "\n"]);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Envelope, Kind};

    fn notification() -> Value {
        json!({
            "Type": "Notification", "MessageId": "22b80b92", "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
            "Subject": "My First Message", "Message": "Hello\n\"world\"!", "Timestamp": "2012-05-02T00:54:06.655Z",
            "SignatureVersion": "1", "Signature": "RVhBTVBMRQ==",
            "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ec.pem",
            "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
        })
    }

    fn signed(message: &Value) -> String {
        Envelope::parse(message.to_string().as_bytes())
            .expect("documented")
            .signed
    }

    #[test]
    fn what_is_signed_is_what_sns_documents() {
        assert_eq!(
            signed(&notification()),
            "Message\nHello\n\"world\"!\nMessageId\n22b80b92\nSubject\nMy First Message\nTimestamp\n2012-05-02T00:54:06.655Z\n\
             TopicArn\narn:aws:sns:us-west-2:123456789012:MyTopic\nType\nNotification\n"
        );
        let mut without_subject = notification();
        without_subject["Subject"] = Value::Null;
        assert!(signed(&without_subject).contains("22b80b92\nTimestamp\n"));
        let mut confirmation = notification();
        confirmation["Type"] = "SubscriptionConfirmation".into();
        confirmation["Token"] = "2336412f37fb".into();
        confirmation["SubscribeURL"] =
            "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription".into();
        assert_eq!(
            signed(&confirmation),
            "Message\nHello\n\"world\"!\nMessageId\n22b80b92\nSubscribeURL\n\
             https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription\nTimestamp\n2012-05-02T00:54:06.655Z\n\
             Token\n2336412f37fb\nTopicArn\narn:aws:sns:us-west-2:123456789012:MyTopic\nType\nSubscriptionConfirmation\n"
        );
    }

    #[test]
    fn what_sns_does_not_post_is_refused_by_the_field() {
        for (field, value, refusal) in [
            ("Type", json!("Telegram"), "Type is no type of a message"),
            (
                "Type",
                json!("SubscriptionConfirmation"),
                "SubscribeURL is missing",
            ),
            ("TopicArn", json!(7), "TopicArn is a number, not a text"),
            ("Message", Value::Null, "Message is missing"),
            (
                "Message",
                json!({"eventType": "Bounce"}),
                "Message is an object, not a text",
            ),
            (
                "SignatureVersion",
                json!("3"),
                "SignatureVersion is neither 1 nor 2",
            ),
            ("Signature", json!("%%"), "Signature is no base64"),
        ] {
            let mut message = notification();
            message[field] = value;
            let refused = Envelope::parse(message.to_string().as_bytes())
                .err()
                .expect("refused");
            assert_eq!(refused.to_string(), refusal);
        }
        let envelope = Envelope::parse(notification().to_string().as_bytes()).expect("documented");
        assert_eq!(envelope.kind, Kind::Notification);
    }
}
