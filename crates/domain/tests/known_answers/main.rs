//! Ids computed a second time by `generate.py`, which shares nothing with the crate. `vectors.json` is its output.

use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::HEXLOWER;
use paceline_domain::address::Mailbox;
use paceline_domain::canonical::{Data, parse_data};
use paceline_domain::identity::{
    AttachmentRef, Content, Digests, IdentityFields, content_id, digests, keyed_id,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    content: Vec<ContentVector>,
    keyed: Vec<KeyedVector>,
    digests: Vec<DigestsVector>,
}

#[derive(Deserialize)]
struct ContentVector {
    name: String,
    request: Request,
    envelope: String,
    id: String,
}

#[derive(Deserialize)]
struct KeyedVector {
    name: String,
    request: KeyedRequest,
    id: String,
}

#[derive(Deserialize)]
struct KeyedRequest {
    tenant: String,
    user_id: String,
    key: String,
}

#[derive(Deserialize)]
struct DigestsVector {
    name: String,
    request: Request,
    secret: String,
    digests: String,
}

#[derive(Deserialize)]
struct Request {
    tenant: String,
    user_id: String,
    template: String,
    recipient: (String, String),
    from: Option<(String, String)>,
    reply_to: Option<(String, String)>,
    headers: Vec<(String, String)>,
    attachments: Vec<Attachment>,
    fields: Fields,
    data: String,
}

#[derive(Deserialize)]
struct Attachment {
    file_name: String,
    content_type: String,
    content_id: String,
    sha256: String,
}

#[derive(Deserialize)]
struct Fields {
    allow: Option<Vec<String>>,
    volatile: Vec<String>,
}

fn mailbox(pair: &(String, String)) -> Mailbox {
    Mailbox::parse(&pair.0, &pair.1).expect("a valid mailbox")
}

fn attachment(attachment: &Attachment) -> AttachmentRef<'_> {
    let digest = HEXLOWER.decode(attachment.sha256.as_bytes()).expect("hex");
    AttachmentRef {
        file_name: &attachment.file_name,
        content_type: &attachment.content_type,
        content_id: &attachment.content_id,
        digest: digest.try_into().expect("32 bytes"),
    }
}

impl Request {
    /// The request as the crate takes it.
    fn with_content<T>(&self, then: impl FnOnce(&Content<'_>) -> T) -> T {
        let fields = IdentityFields::new(self.fields.allow.clone(), self.fields.volatile.clone());
        let data: Data = parse_data(self.data.as_bytes()).expect("a valid payload");
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let attachments: Vec<_> = self.attachments.iter().map(attachment).collect();
        then(&Content {
            tenant: &self.tenant,
            user_id: &self.user_id,
            template: &self.template,
            recipient: &mailbox(&self.recipient),
            data: &data,
            identity_fields: &fields,
            from: self.from.as_ref().map(mailbox).as_ref(),
            reply_to: self.reply_to.as_ref().map(mailbox).as_ref(),
            headers: &headers,
            attachments: &attachments,
        })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/known_answers")
}

fn vectors() -> Vectors {
    let text = std::fs::read(folder().join("vectors.json")).expect("the vectors are committed");
    serde_json::from_slice(&text).expect("vectors of the form above")
}

#[test]
fn ids_by_content_are_those_of_the_script() {
    let vectors = vectors().content;
    assert!(vectors.len() >= 40, "only {} vectors", vectors.len());
    for vector in vectors {
        vector.request.with_content(|content| {
            let envelope = String::from_utf8(content.envelope()).expect("JSON is UTF-8");
            assert_eq!(envelope, vector.envelope, "{}", vector.name);
            assert_eq!(content_id(content).to_string(), vector.id, "{}", vector.name);
        });
    }
}

#[test]
fn ids_by_key_are_those_of_the_script() {
    let vectors = vectors().keyed;
    assert!(vectors.len() >= 5, "only {} vectors", vectors.len());
    for KeyedVector { name, request, id } in vectors {
        let got = keyed_id(&request.tenant, &request.user_id, &request.key);
        assert_eq!(got.to_string(), id, "{name}");
    }
}

#[test]
fn digests_are_those_of_the_script() {
    for vector in vectors().digests {
        let bytes = HEXLOWER.decode(vector.digests.as_bytes()).expect("hex");
        let got = vector
            .request
            .with_content(|content| digests(content, vector.secret.as_bytes()));
        assert_eq!(
            HEXLOWER.encode(&got.to_bytes()),
            vector.digests,
            "{}",
            vector.name
        );
        assert_eq!(Digests::from_bytes(&bytes), Ok(got), "{}", vector.name);
    }
}

/// Python is part of what a developer's machine needs: without it the answers would be ours alone.
#[test]
fn the_script_still_computes_these_vectors() {
    let output = Command::new("python3")
        .current_dir(folder())
        .args(["generate.py", "--check", "vectors.json"])
        .output()
        .expect("python3 is installed");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}
