//! What the ledger is to know of a message and its record does not say: written into the log by the step that accepts it.
//!
//! People are in it by keyed hashes alone, and what was asked for by keyed digests, unless the template says that the data is kept.

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::user_hash;
use paceline_kit::address_key::AddressKey;
use paceline_wire::convert::timestamp_if_set;
use paceline_wire::v1;
use prost::Message as _;

use super::Parts;

/// A `LoggedMessages` with this one: the script puts those of a batch one after the other. `digests` are those of what enters the id.
pub(super) fn encode(
    address_key: &AddressKey,
    id: MessageId,
    request: &v1::EnqueueRequest,
    parts: &Parts<'_>,
    digests: Vec<u8>,
) -> Bytes {
    let keep_s = u32::try_from(parts.template.manifest().keep.as_secs()).unwrap_or(u32::MAX);
    let message = v1::LoggedMessage {
        message_id: Bytes::copy_from_slice(&id.0),
        accepted_at: None,
        tenant: request.tenant.clone(),
        template: request.template.clone(),
        bundle_hash: Bytes::copy_from_slice(&parts.template.hash().0),
        lane: v1::Lane::from(parts.lane).into(),
        identity: parts.identity.name.clone(),
        recipient_hash: Bytes::copy_from_slice(&address_key.hash(parts.recipient.address()).0),
        user_hash: Bytes::copy_from_slice(
            &user_hash(address_key.bytes(), &request.tenant, &request.user_id).0,
        ),
        send_at: timestamp_if_set(parts.times.send_at),
        expires_at: timestamp_if_set(parts.times.expires_at),
        tags: request.tags.clone(),
        digests: digests.into(),
        data: if keep_s > 0 {
            request.data.clone()
        } else {
            Bytes::new()
        },
        keep_s,
    };
    let messages = v1::LoggedMessages {
        messages: vec![message],
    };
    messages.encode_to_vec().into()
}
