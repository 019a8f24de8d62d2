//! A row of a file, whatever its format, and the request that it becomes with the command line's defaults.

use std::time::SystemTime;

use paceline_domain::lane::Lane;
use paceline_wire::v1::{EnqueueRequest, Mailbox, Tag};
use serde_json::value::RawValue;

use super::lane;
use super::members::Members;
use crate::client;

/// A field that can't be taken. Says what is wrong with it, never what it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Empty where the row as a whole is wrong.
    pub(super) field: String,
    pub(super) reason: String,
}

impl Wrong {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The row as a whole is wrong.
    pub(super) fn row(reason: impl Into<String>) -> Self {
        Self::new("", reason)
    }
}

/// What a row says. An empty text is one that it does not give.
#[derive(Debug, Default)]
pub(super) struct Row {
    template: String,
    template_version: String,
    pub(super) recipient: String,
    display_name: String,
    user_id: String,
    key: String,
    lane: String,
    send_at: String,
    expires_at: String,
    from: String,
    reply_to: String,
    pub(super) tags: Vec<(String, String)>,
    pub(super) data: Members,
}

impl Row {
    /// The place of the text field `name`, if there is one.
    pub(super) fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "template" => &mut self.template,
            "template_version" => &mut self.template_version,
            "recipient" => &mut self.recipient,
            "display_name" => &mut self.display_name,
            "user_id" => &mut self.user_id,
            "key" => &mut self.key,
            "lane" => &mut self.lane,
            "send_at" => &mut self.send_at,
            "expires_at" => &mut self.expires_at,
            "from" => &mut self.from,
            "reply_to" => &mut self.reply_to,
            _ => return None,
        })
    }
}

/// What holds for each row that says nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    /// Tenant, template, key, lane, times, From and `resubmit`; its data is empty.
    pub(super) request: EnqueueRequest,
    /// The members of `--data`.
    pub(super) data: Members,
}

impl Defaults {
    /// # Errors
    /// The first field that is missing or not of its form. The rest is ingest's to judge.
    pub(super) fn request(&self, row: Row) -> Result<EnqueueRequest, Wrong> {
        for (field, text) in [("recipient", &row.recipient), ("user_id", &row.user_id)] {
            if text.is_empty() {
                return Err(Wrong::new(field, "is missing"));
            }
        }
        let default = &self.request;
        let or = |text: String, default: &String| if text.is_empty() { default.clone() } else { text };
        let lane = match row.lane.as_str() {
            "" => default.lane,
            name => {
                let known = name.parse::<Lane>();
                lane(Some(known.map_err(|_| {
                    Wrong::new("lane", "is neither transactional nor bulk")
                })?))
                .into()
            }
        };
        let send_at = time("send_at", &row.send_at)?;
        let expires_at = time("expires_at", &row.expires_at)?;
        Ok(EnqueueRequest {
            template: or(row.template, &default.template),
            template_version: or(row.template_version, &default.template_version),
            recipient: Some(Mailbox {
                address: row.recipient,
                display_name: row.display_name,
            }),
            user_id: row.user_id,
            data: row.data.over(&self.data).into(),
            idempotency_key: or(row.key, &default.idempotency_key),
            lane,
            send_at: send_at.or(default.send_at),
            expires_at: expires_at.or(default.expires_at),
            from: mailbox(row.from).or_else(|| default.from.clone()),
            reply_to: mailbox(row.reply_to),
            tags: row
                .tags
                .into_iter()
                .map(|(name, value)| Tag { name, value })
                .collect(),
            ..default.clone()
        })
    }
}

fn mailbox(address: String) -> Option<Mailbox> {
    (!address.is_empty()).then(|| Mailbox {
        address,
        ..Mailbox::default()
    })
}

fn time(field: &str, text: &str) -> Result<Option<prost_types::Timestamp>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    let time: SystemTime = humantime::parse_rfc3339(text)
        .map_err(|_| Wrong::new(field, "is no time such as 2030-01-31T08:00:00Z (RFC 3339)"))?;
    Ok(Some(client::to_timestamp(time)))
}

/// The kind of a JSON value, for a sentence: "is a list".
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
