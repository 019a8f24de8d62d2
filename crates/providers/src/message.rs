//! What is handed to a provider: borrowed from the rendered message.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;

/// One message for one recipient, and the attempt that this is.
#[derive(Clone, Debug)]
pub struct OutgoingMessage<'a> {
    pub message_id: MessageId,
    /// With the id it names one acceptance: the provider's events are matched by both.
    pub accepted_at: Millis,
    pub attempt: u32,
    pub tenant: &'a str,
    pub template: &'a str,
    pub from: Mailbox<'a>,
    pub reply_to: Option<Mailbox<'a>>,
    pub to: Mailbox<'a>,
    pub subject: &'a str,
    /// Empty for a message without an html part.
    pub html: &'a str,
    /// Empty for a message without a text part.
    pub text: &'a str,
    /// Name and value, in UTF-8; encoded here.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Name and value, of the characters that SES allows.
    pub tags: Vec<(&'a str, &'a str)>,
    pub attachments: Vec<Attachment<'a>>,
    /// Whether the provider may count opens and clicks. `None`, of a renderer that did not know, leaves it to SES's configuration
    /// set, and is off at Mailgun.
    pub tracking: Option<bool>,
    /// Without a configuration set no event of SES carries our tags.
    pub configuration_set: &'a str,
    /// The SES tenant, where the account uses tenants.
    pub tenant_name: Option<&'a str>,
    /// The identity that it goes as, where that is not its own; else empty. Events repeat it.
    pub via: &'a str,
    /// W3C `traceparent`, sent as a header of the API call; empty without a trace.
    pub traceparent: &'a str,
    /// Asked right before the request is written.
    pub gate: WriteGate,
}

/// Whether a request may still be written: asked after credentials and signature, right before the request goes to a
/// connection. Making the connection, which comes after it, is bounded by its own timeout.
#[derive(Clone, Default)]
pub struct WriteGate(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl WriteGate {
    /// Open while `may_write` says so. The default is open always.
    #[must_use]
    pub fn new(may_write: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(may_write)))
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.as_ref().is_none_or(|may_write| may_write())
    }
}

impl fmt::Debug for WriteGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteGate")
    }
}

/// A normalised address and the name to show, both still unencoded.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox<'a> {
    /// ASCII; the domain in punycode.
    pub address: &'a str,
    /// UTF-8; empty for none.
    pub display_name: &'a str,
}

#[derive(Clone, Debug)]
pub struct Attachment<'a> {
    pub file_name: &'a str,
    pub content_type: &'a str,
    pub content: Bytes,
    /// Present for an inline part that the html refers to as `cid:...`; empty for an attachment proper.
    pub content_id: &'a str,
}
