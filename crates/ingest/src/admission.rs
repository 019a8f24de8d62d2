//! From a request to a message that may be stored: every field checked, the id made.
//!
//! All that is wrong is found in one pass and named by path, limit and size, never by value: a caller mends its request in one
//! go, and nothing personal enters an error. What passes here renders and sends: the template, its schema and the
//! provider's limits are checked now, while somebody is there to be told. Nothing here does I/O.

mod attachments;
mod headers;
mod identity;
mod logged;
mod subject;
pub(crate) mod text;
mod times;

use std::sync::Arc;

use bytes::Bytes;
use paceline_domain::address::{AddressError, Mailbox};
use paceline_domain::canonical::{Data, parse_data};
use paceline_domain::identity::{AttachmentRef, Content, content_id, digests, keyed_id};
use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Nonce, Record, State};
use paceline_domain::time::Millis;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::Clock;
use paceline_kit::identity::{IdentitySettings, is_name};
use paceline_kit::object_url::UrlPrefixes;
use paceline_kit::secret::Secret;
use paceline_store::{Durability, NewMessage};
use paceline_templates::{Catalog, LiveCatalog, Template};
use paceline_wire::status::{InvalidFields, Violation};
use paceline_wire::{convert, requests, v1};
use sha2::{Digest, Sha256};

use crate::answer::Asked;
use text::{breaks_a_line, line_problem, word_problem};
use times::Times;

/// What [`is_name`] takes.
const NAME_CHARS_MAX: usize = 64;
const USER_ID_CHARS_MAX: usize = 128;
const KEY_CHARS_MAX: usize = 256;

/// Checks requests against the templates and identities of this process.
pub(crate) struct Admission {
    pub(crate) catalog: Arc<LiveCatalog>,
    pub(crate) identities: Vec<IdentitySettings>,
    /// True if mail that has a category gets a link to unsubscribe; where it can't, it is refused.
    pub(crate) makes_links: bool,
    /// Below which attachments may be fetched.
    pub(crate) url_prefixes: UrlPrefixes,
    pub(crate) digest_key: Secret,
    /// Of the hashes by which the ledger knows people; `None` where there is no ledger.
    pub(crate) address_key: Option<AddressKey>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A request that may be stored.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) asked: Asked,
    pub(crate) message: NewMessage,
    /// A time that has passed: only a message that is there already may have it.
    pub(crate) passed: Option<Violation>,
}

/// The parts of a request that passed their checks.
struct Parts<'a> {
    /// As it stood when the template was found in it.
    catalog: Arc<Catalog>,
    template: Arc<Template>,
    identity: &'a IdentitySettings,
    recipient: Mailbox,
    from: Option<Mailbox>,
    reply_to: Option<Mailbox>,
    data: Data,
    lane: Lane,
    durability: Durability,
    times: Times,
}

impl Admission {
    /// True if the template of a request is not here and may come: nothing can be said of the request until then.
    pub(crate) fn awaits_template(&self, request: &v1::EnqueueRequest) -> bool {
        self.catalog.awaits(&request.template, asked_version(request))
    }

    /// # Errors
    /// All the fields that are wrong.
    pub(crate) fn admit(
        &self,
        request: v1::EnqueueRequest,
        traceparent: String,
    ) -> Result<Admitted, InvalidFields> {
        let parts = self.check(&request)?;
        Ok(self.build(request, parts, traceparent))
    }

    fn check(&self, request: &v1::EnqueueRequest) -> Result<Parts<'_>, InvalidFields> {
        let mut wrong = InvalidFields::new();
        check_names(request, &mut wrong);
        let recipient = required_mailbox("recipient", request.recipient.as_ref(), &mut wrong);
        let from = mailbox("from", request.from.as_ref(), &mut wrong);
        let reply_to = mailbox("reply_to", request.reply_to.as_ref(), &mut wrong);
        let catalog = self.catalog.current();
        let template = find_template(&catalog, request, &mut wrong);
        let data = read_data(&request.data, &mut wrong);
        if let (Some(template), Some(data)) = (&template, &data) {
            check_data(template, data, &mut wrong);
        }
        let lane = self.lane(request, template.as_deref(), &mut wrong);
        let durability = durability(request.durability, &mut wrong);
        let now = self.clock.wall();
        let times = times::read(
            request.send_at.as_ref(),
            request.expires_at.as_ref(),
            now,
            &mut wrong,
        );
        let has_link = self.has_link(template.as_deref(), lane, &mut wrong);
        headers::check_headers(&request.headers, template.as_deref(), has_link, &mut wrong);
        headers::check_tags(&request.tags, &mut wrong);
        attachments::check(&request.attachments, &self.url_prefixes, &mut wrong);
        let identity = template
            .as_ref()
            .filter(|_| is_name(&request.tenant) && (from.is_some() || request.from.is_none()))
            .and_then(|template| self.identity(&request.tenant, template, from.as_ref(), &mut wrong));
        match (template, identity, recipient, data, lane, durability) {
            (Some(template), Some(identity), Some(recipient), Some(data), Some(lane), Some(durability))
                if wrong.is_empty() =>
            {
                Ok(Parts {
                    catalog,
                    template,
                    identity,
                    recipient,
                    from,
                    reply_to,
                    data,
                    lane,
                    durability,
                    times,
                })
            }
            _ => Err(wrong),
        }
    }

    /// The lane that the request asks for, else the template's.
    fn lane(
        &self,
        request: &v1::EnqueueRequest,
        template: Option<&Template>,
        wrong: &mut InvalidFields,
    ) -> Option<Lane> {
        match convert::lane(request.lane) {
            Ok(lane) => lane.or_else(|| template.map(|template| template.manifest().lane)),
            Err(_) => {
                wrong.add("lane", "is no lane of this release");
                None
            }
        }
    }

    /// Whether the renderer writes a link to unsubscribe. Mail that must have one is not taken where none is made.
    fn has_link(&self, template: Option<&Template>, lane: Option<Lane>, wrong: &mut InvalidFields) -> bool {
        let Some((manifest, lane)) = template.map(Template::manifest).zip(lane) else {
            return false;
        };
        let has_link = manifest.category_in(lane).is_some();
        if has_link && !self.makes_links {
            let (field, why) = match manifest.category {
                Some(_) => ("template", "has a category"),
                None => ("lane", "is bulk"),
            };
            let problem = "and there is no link to unsubscribe: ingest's unsubscribe.base_url is not set";
            wrong.add(field, format!("{why}, {problem}"));
        }
        has_link
    }

    /// The identity that sends for this From and tenant.
    fn identity(
        &self,
        tenant: &str,
        template: &Template,
        from: Option<&Mailbox>,
        wrong: &mut InvalidFields,
    ) -> Option<&IdentitySettings> {
        let (field, from) = match (from, &template.manifest().from) {
            (Some(from), _) => ("from.address", from),
            (None, Some(from)) => ("tenant", from),
            (None, None) => {
                wrong.add("from", "is missing, and the template names none");
                return None;
            }
        };
        let found = identity::of(&self.identities, tenant, from.address().domain());
        if found.is_none() {
            let problem = if field == "tenant" {
                "may not use the domain of the template's From"
            } else {
                "has a domain that this tenant may not use"
            };
            wrong.add(field, problem);
        }
        found
    }

    fn build(&self, request: v1::EnqueueRequest, parts: Parts<'_>, traceparent: String) -> Admitted {
        let (id, digests, of_content) = {
            let headers: Vec<_> = request
                .headers
                .iter()
                .map(|header| (header.name.as_str(), header.value.as_str()))
                .collect();
            let attachments: Vec<_> = request.attachments.iter().map(attachment_ref).collect();
            let content = Content {
                tenant: &request.tenant,
                user_id: &request.user_id,
                template: &request.template,
                recipient: &parts.recipient,
                data: &parts.data,
                identity_fields: &parts.template.manifest().identity_fields,
                from: parts.from.as_ref(),
                reply_to: parts.reply_to.as_ref(),
                headers: &headers,
                attachments: &attachments,
            };
            let digests = || digests(&content, self.digest_key.expose().as_bytes());
            if request.idempotency_key.is_empty() {
                let of_content = self.address_key.as_ref().map(|_| digests().to_bytes());
                (content_id(&content), None, of_content)
            } else {
                let id = keyed_id(&request.tenant, &request.user_id, &request.idempotency_key);
                (id, Some(digests()), None)
            }
        };
        let logged = self
            .address_key
            .as_ref()
            .map(|key| logged::encode(key, id, &request, &parts, of_content.unwrap_or_default()));
        let fallbacks = parts.catalog.fallback_hashes(&parts.template);
        let packed = digests
            .as_ref()
            .map(|digests| digests.to_bytes())
            .unwrap_or_default();
        Admitted {
            asked: Asked {
                id,
                digests,
                send_at: parts.times.send_at,
            },
            passed: parts.times.passed.clone(),
            message: NewMessage {
                id,
                record: record(&request, &parts, packed),
                ttl: parts.template.manifest().time_to_live,
                resubmit: request.resubmit,
                durability: parts.durability,
                logged: logged.unwrap_or_default(),
                request: stored(request, &parts, fallbacks, traceparent),
            },
        }
    }
}

/// The level that the request asks for; without a wish the least, since the deployment's own holds anyway.
fn durability(number: i32, wrong: &mut InvalidFields) -> Option<Durability> {
    match v1::Durability::try_from(number) {
        Ok(v1::Durability::Unspecified | v1::Durability::Local) => Some(Durability::Local),
        Ok(v1::Durability::Fsync) => Some(Durability::Fsync),
        Ok(v1::Durability::Replicated) => Some(Durability::Replicated),
        Err(_) => {
            wrong.add("durability", "is no durability of this release");
            None
        }
    }
}

fn asked_version(request: &v1::EnqueueRequest) -> Option<&str> {
    Some(request.template_version.as_str()).filter(|version| !version.is_empty())
}

fn find_template(
    catalog: &Catalog,
    request: &v1::EnqueueRequest,
    wrong: &mut InvalidFields,
) -> Option<Arc<Template>> {
    let version = asked_version(request);
    let found = catalog.get(&request.template, version);
    if found.is_none() && version.is_some() && catalog.get(&request.template, None).is_some() {
        wrong.add("template_version", "is no version of this template here");
    } else if found.is_none() {
        wrong.add("template", "is no template here");
    }
    found
}

fn check_names(request: &v1::EnqueueRequest, wrong: &mut InvalidFields) {
    let problems = [
        (
            "tenant",
            word_problem(&request.tenant, NAME_CHARS_MAX, "[a-z0-9_-]", is_name),
        ),
        ("user_id", line_problem(&request.user_id, 1, USER_ID_CHARS_MAX)),
        (
            "idempotency_key",
            line_problem(&request.idempotency_key, 0, KEY_CHARS_MAX),
        ),
    ];
    for (field, problem) in problems {
        if let Some(problem) = problem {
            wrong.add(field, problem);
        }
    }
}

fn required_mailbox(field: &str, given: Option<&v1::Mailbox>, wrong: &mut InvalidFields) -> Option<Mailbox> {
    if given.is_none() {
        wrong.add(field, "is missing");
    }
    mailbox(field, given, wrong)
}

fn mailbox(field: &str, given: Option<&v1::Mailbox>, wrong: &mut InvalidFields) -> Option<Mailbox> {
    let given = given?;
    match convert::mailbox(given) {
        Ok(_) if breaks_a_line(&given.display_name) => {
            wrong.add(format!("{field}.display_name"), "has a line separator");
            None
        }
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            let part = match error {
                AddressError::NameControlCharacter | AddressError::NameTooLong { .. } => "display_name",
                _ => "address",
            };
            wrong.add(format!("{field}.{part}"), error.to_string());
            None
        }
    }
}

fn read_data(bytes: &[u8], wrong: &mut InvalidFields) -> Option<Data> {
    match parse_data(bytes) {
        Ok(data) => Some(data),
        Err(error) => {
            let path = match error.path.as_str() {
                "" => "data".to_owned(),
                path => format!("data.{path}"),
            };
            wrong.add(path, error.fault.to_string());
            None
        }
    }
}

fn check_data(template: &Template, data: &Data, wrong: &mut InvalidFields) {
    match template.validate(data) {
        Ok(()) => subject::check(template, data, wrong),
        Err(violations) => {
            for violation in violations {
                wrong.add(violation.path, violation.description);
            }
        }
    }
}

fn attachment_ref(attachment: &v1::Attachment) -> AttachmentRef<'_> {
    AttachmentRef {
        file_name: &attachment.file_name,
        content_type: &attachment.content_type,
        content_id: &attachment.content_id,
        digest: digest_of(attachment),
    }
}

/// By either way the same for the same bytes. That of a url was checked to be one.
fn digest_of(attachment: &v1::Attachment) -> [u8; 32] {
    let said = attachment.sha256.as_ref().try_into().ok();
    said.filter(|_| attachment.is_remote())
        .unwrap_or_else(|| Sha256::digest(&attachment.content).into())
}

/// The record as it is wished for. State, counters and the times of the acceptance are set where it is stored.
fn record(request: &v1::EnqueueRequest, parts: &Parts<'_>, digests: Vec<u8>) -> Record {
    let manifest = parts.template.manifest();
    let seconds = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    Record {
        state: State::Queued,
        reason: Reason::None,
        revision: 0,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 0,
        tries: 0,
        tries_max: manifest.tries_max,
        maybe_sent: false,
        resent: false,
        policy: manifest.in_doubt,
        lane: parts.lane,
        accepted_at: Millis::default(),
        changed_at: Millis::default(),
        send_at: parts.times.send_at,
        expires_at: parts.times.expires_at,
        due_at: Millis::default(),
        doubt_window_s: seconds(manifest.in_doubt_window),
        dedupe_window_s: seconds(manifest.dedupe_window),
        provider: None,
        provider_id: String::new(),
        tenant: request.tenant.clone(),
        template: request.template.clone(),
        identity: parts.identity.name.clone(),
        digests,
    }
}

/// The request as the renderer will read it: addresses in their one spelling, the template pinned.
fn stored(request: v1::EnqueueRequest, parts: &Parts<'_>, fallbacks: Vec<u8>, traceparent: String) -> Bytes {
    requests::write(v1::StoredRequest {
        tenant: request.tenant,
        user_id: request.user_id,
        template: request.template,
        bundle_hash: Bytes::copy_from_slice(&parts.template.hash().0),
        fallback_hashes: (!fallbacks.is_empty()).then(|| fallbacks.into()),
        recipient: Some(v1::Mailbox::from(&parts.recipient)),
        data: request.data,
        from: parts.from.as_ref().map(v1::Mailbox::from),
        reply_to: parts.reply_to.as_ref().map(v1::Mailbox::from),
        headers: request.headers,
        tags: request.tags,
        attachments: request.attachments,
        traceparent,
        lane: v1::Lane::from(parts.lane).into(),
        identity: parts.identity.name.clone(),
        pins: None,
    })
}

#[cfg(test)]
pub(crate) mod tests;
