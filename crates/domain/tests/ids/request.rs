//! A request that owns its parts, and requests at random.

use paceline_domain::address::Mailbox;
use paceline_domain::canonical::parse_data;
use paceline_domain::id::MessageId;
use paceline_domain::identity::{AttachmentRef, Content, IdentityFields, content_id};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::form::Normal;

/// File name, content type, content id, digest.
pub(crate) type Attachment = (String, String, String, [u8; 32]);

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) tenant: String,
    pub(crate) user_id: String,
    pub(crate) template: String,
    pub(crate) recipient: (String, String),
    pub(crate) from: Option<(String, String)>,
    pub(crate) reply_to: Option<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) identity_fields: IdentityFields,
    pub(crate) data: Value,
}

impl Request {
    pub(crate) fn plain(data: Value) -> Self {
        Self {
            tenant: "shop".to_owned(),
            user_id: "42".to_owned(),
            template: "receipt".to_owned(),
            recipient: ("ada@example.com".to_owned(), "Ada".to_owned()),
            from: None,
            reply_to: None,
            headers: Vec::new(),
            attachments: Vec::new(),
            identity_fields: IdentityFields::default(),
            data,
        }
    }

    pub(crate) fn id(&self) -> MessageId {
        self.id_of(&self.data.to_string())
    }

    /// The id with this text as payload.
    pub(crate) fn id_of(&self, data: &str) -> MessageId {
        let mailbox = |(address, name): &(String, String)| Mailbox::parse(address, name).expect("valid");
        let data = parse_data(data.as_bytes()).expect("a valid payload");
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let attachments: Vec<_> = self
            .attachments
            .iter()
            .map(|(file_name, content_type, content_id, digest)| AttachmentRef {
                file_name,
                content_type,
                content_id,
                digest: *digest,
            })
            .collect();
        content_id(&Content {
            tenant: &self.tenant,
            user_id: &self.user_id,
            template: &self.template,
            recipient: &mailbox(&self.recipient),
            data: &data,
            identity_fields: &self.identity_fields,
            from: self.from.as_ref().map(mailbox).as_ref(),
            reply_to: self.reply_to.as_ref().map(mailbox).as_ref(),
            headers: &headers,
            attachments: &attachments,
        })
    }

    pub(crate) fn set_field(&mut self, name: &str, value: Value) {
        self.data
            .as_object_mut()
            .expect("an object")
            .insert(name.to_owned(), value);
    }

    /// The same request with every text in one normal form.
    pub(crate) fn in_form(&self, normal: Normal) -> Self {
        let text = |text: &String| normal.of(text);
        let pair = |(a, b): &(String, String)| (text(a), text(b));
        // The local part of an address is ASCII in any form.
        Self {
            tenant: text(&self.tenant),
            user_id: text(&self.user_id),
            template: text(&self.template),
            recipient: pair(&self.recipient),
            from: self.from.as_ref().map(pair),
            reply_to: self.reply_to.as_ref().map(pair),
            headers: self.headers.iter().map(pair).collect(),
            attachments: self
                .attachments
                .iter()
                .map(|(name, kind, id, digest)| (text(name), text(kind), text(id), *digest))
                .collect(),
            identity_fields: self.identity_fields.clone(),
            data: normal.of_value(&self.data),
        }
    }
}

/// Texts with what may go wrong: quotes, controls, marks in any order, Hangul, singletons, what lies beyond 16 bits.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c\"\\\\/\u{0}-\u{1f}]{0,6}",
        "[aoe\u{e9}\u{f6}\u{212b}\u{2126}\u{301}\u{308}\u{323}\u{30a}\u{1112}\u{1161}\u{ac00}\u{1f600}]{0,8}",
        "\\PC{0,8}",
    ]
}

/// Names that no normal form makes equal, and none that is volatile or reserved.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-f]{1,3}",
        "[\u{e9}\u{f6}\u{fb33}\u{1f600}\u{20ac}]{1,2}",
        "x[\"\\\\\n ]"
    ]
}

fn number() -> impl Strategy<Value = Value> {
    const MAX: i64 = (1 << 53) - 1;
    prop_oneof![
        (-MAX..=MAX).prop_map(|number| json!(number)),
        (-100_i64..=100).prop_map(|number| json!(number)),
        (-1e15..1e15_f64).prop_map(|number| json!(number)),
        (-1.0..1.0_f64).prop_map(|number| json!(number)),
        (-300_i32..10).prop_map(|exponent| json!(1.5 * 10_f64.powi(exponent))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number(),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            btree_map(name(), inner, 0..5).prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// A payload.
pub(crate) fn object() -> impl Strategy<Value = Value> {
    btree_map(name(), value(), 0..6).prop_map(|map| map.into_iter().collect::<Value>())
}

fn mailbox() -> impl Strategy<Value = (String, String)> {
    let domain = "([a-z]{1,5}|b\u{fc}[a-z]{1,3}|\u{4f8b}\u{3048})\\.example";
    let address = ("[a-z]{1,5}", domain).prop_map(|(local, domain)| format!("{local}@{domain}"));
    (address, "[A-Za-z \u{e9}\u{f6}\u{212b}]{0,6}")
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (text(), "image/[a-z]{3}", "[a-z]{0,4}", any::<[u8; 32]>())
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let who = ("[a-z0-9_-]{1,8}", text(), "[a-z-]{1,8}");
    let people = (mailbox(), option::of(mailbox()), option::of(mailbox()));
    // Each name once: of one name the order has a meaning.
    let headers = btree_map("x-[a-z]{1,4}", text(), 0..4);
    (who, people, headers, vec(attachment(), 0..3), object()).prop_map(
        |((tenant, user_id, template), (recipient, from, reply_to), headers, attachments, data)| Request {
            tenant,
            user_id,
            template,
            recipient,
            from,
            reply_to,
            headers: headers.into_iter().collect(),
            attachments,
            identity_fields: IdentityFields::default(),
            data,
        },
    )
}
