//! Messages that are nearly the same: a sign that a volatile field enters the id, and each of a caller's tries is a message of its own.
//!
//! Two messages of one user, template and recipient, accepted within an hour, that differ in one field or two are a pair. A pair
//! need not be a mistake (two orders in an hour); a field that makes many of them is worth a look. Digests alone are compared, so
//! nothing is told but names of fields.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Digests;
use crate::id::MessageId;
use crate::time::Millis;

/// Between the acceptances of a pair.
pub const NEAR_WITHIN: Duration = Duration::from_secs(3_600);
/// Fields in which a pair may differ.
pub const DIFFERENCES_MAX: usize = 2;
/// Earlier messages that one is compared with, the latest first: a flood to one user costs no more.
const COMPARED_MAX: usize = 16;

/// An accepted message, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: MessageId,
    pub at: Millis,
    pub template: String,
    /// Keyed hashes: who asked for it, and to whom.
    pub user: Vec<u8>,
    pub recipient: Vec<u8>,
    pub digests: Digests,
}

/// Pairs of one template that differ in the same fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearDuplicates {
    pub template: String,
    /// One or two, such as `data.request_ts`.
    pub fields: Vec<String>,
    pub pairs: u64,
    /// The latest pair, the earlier message first.
    pub example: (MessageId, MessageId),
}

/// Messages of a template, and how many of them had an earlier one nearby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearCount {
    pub messages: u64,
    pub near: u64,
}

/// What was found among messages of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NearFindings {
    /// The most pairs first.
    pub findings: Vec<NearDuplicates>,
    pub templates: BTreeMap<String, NearCount>,
}

/// Finds the pairs among messages of one tenant, in whatever order they come. A message is the later half of one pair at most: with
/// the message that it differs least from.
#[must_use]
pub fn near_duplicates(mut messages: Vec<Accepted>) -> NearFindings {
    messages.sort_by(|a, b| key(a).cmp(&key(b)));
    let mut templates: BTreeMap<String, NearCount> = BTreeMap::new();
    let mut found: BTreeMap<(&str, Vec<String>), Pairs> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        let count = templates.entry(message.template.clone()).or_default();
        count.messages += 1;
        let Some((earlier, fields)) = nearest(message, &messages[..index]) else {
            continue;
        };
        count.near += 1;
        let pair = (earlier.id, message.id);
        let (pairs, at, example) = found
            .entry((message.template.as_str(), fields))
            .or_insert((0, message.at, pair));
        *pairs += 1;
        if message.at > *at {
            (*at, *example) = (message.at, pair);
        }
    }
    let mut findings: Vec<_> = found
        .into_iter()
        .map(|((template, fields), (pairs, _, example))| NearDuplicates {
            template: template.to_owned(),
            fields,
            pairs,
            example,
        })
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.pairs));
    NearFindings { findings, templates }
}

/// How many, when the latest was, and which.
type Pairs = (u64, Millis, (MessageId, MessageId));

type Key<'a> = (&'a str, &'a [u8], &'a [u8], Millis, MessageId);

/// Those that are compared stand beside each other, by rising time.
fn key(message: &Accepted) -> Key<'_> {
    (
        &message.template,
        &message.user,
        &message.recipient,
        message.at,
        message.id,
    )
}

/// The one among `earlier`, in the order of [`key`], from which `message` differs least, and in what.
fn nearest<'a>(message: &Accepted, earlier: &'a [Accepted]) -> Option<(&'a Accepted, Vec<String>)> {
    let (template, user, recipient, ..) = key(message);
    let comparable = |other: &&Accepted| {
        let (of_template, of_user, to, ..) = key(other);
        (of_template, of_user, to) == (template, user, recipient) && message.at.since(other.at) <= NEAR_WITHIN
    };
    let pairs = earlier.iter().rev().take_while(comparable).take(COMPARED_MAX);
    pairs
        .map(|other| (other, other.digests.differences(&message.digests)))
        .filter(|(_, fields)| (1..=DIFFERENCES_MAX).contains(&fields.len()))
        .min_by_key(|(_, fields)| fields.len())
}

#[cfg(test)]
mod tests;
