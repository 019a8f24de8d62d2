//! A mail as either API hands it over.

use bytes::Bytes;

#[derive(Debug, Default)]
pub(crate) struct Email {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) cc: Vec<String>,
    pub(crate) bcc: Vec<String>,
    pub(crate) reply_to: Vec<String>,
    pub(crate) subject: String,
    /// Empty for none, as is `text`.
    pub(crate) html: String,
    pub(crate) text: String,
    pub(crate) headers: Vec<(String, String)>,
    /// SES's tags, Mailgun's variables: what events say of the mail.
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) attachments: Vec<Attachment>,
    /// What else the call said, for people and tests to read: name and value.
    pub(crate) options: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) file_name: String,
    pub(crate) media_type: String,
    /// Present for an inline part that the html may refer to.
    pub(crate) content_id: Option<String>,
    pub(crate) inline: bool,
    pub(crate) content: Bytes,
}

impl Attachment {
    /// True if the html may show it by its content id.
    pub(crate) fn is_inline(&self) -> bool {
        self.inline && self.content_id.is_some()
    }
}

impl Email {
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &str> + Clone {
        self.to
            .iter()
            .chain(&self.cc)
            .chain(&self.bcc)
            .map(String::as_str)
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        find(&self.tags, name)
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        find(&self.options, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}
