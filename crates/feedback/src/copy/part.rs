//! A part of a log as the ledger takes it, in one transaction.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::time::Millis;
use paceline_ledger::{Act, Kept, LoggedMessage, Move};
use paceline_store::{LogBody, LogEntry, Logged, Transition};
use paceline_wire::{convert, v1};
use prost::Message as _;
use prost_types::Timestamp;

use super::metrics::CopyMetrics;

/// Transitions of one transaction, unless a single entry has more: an entry has at most a thousand.
const MOVES_MAX: usize = 2_000;

/// What goes into the ledger together.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The log's entries.
    pub(super) ids: Vec<String>,
    pub(super) messages: Vec<LoggedMessage>,
    pub(super) moves: Vec<Move>,
    pub(super) acts: Vec<Act>,
    pub(super) kept: Vec<Kept>,
    /// For each entry, where its rows end: messages, moves, acts, kept.
    ends: Vec<[usize; 4]>,
}

impl Part {
    /// Entries in the order of the log. Those of a newer release are left out, as is what can't be read.
    pub(super) fn of(shard: u16, entries: Vec<LogEntry>, metrics: &CopyMetrics) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        let (mut newer, mut corrupt) = (0, 0);
        for LogEntry { id, body } in entries {
            let LogBody::Logged(logged) = body else {
                newer += 1;
                continue;
            };
            let has_room = |part: &&mut Self| part.moves.len() + logged.transitions.len() <= MOVES_MAX;
            let part = match parts.last_mut().filter(has_room) {
                Some(part) => part,
                None => {
                    parts.push(Self::default());
                    parts.last_mut().expect("one was just pushed")
                }
            };
            corrupt += u64::from(!part.add(shard, id, &logged));
        }
        if newer > 0 {
            metrics.newer(newer);
            tracing::error!(
                entries = newer,
                "the log has entries of a newer release, which alone can copy them: they stay"
            );
        }
        if corrupt > 0 {
            metrics.corrupt(corrupt);
            tracing::error!(entries = corrupt, "the log has entries that nobody can read");
        }
        parts
    }

    pub(super) fn entries(&self) -> usize {
        self.ids.len()
    }

    /// False if some of the entry can't be read.
    fn add(&mut self, shard: u16, id: String, logged: &Logged) -> bool {
        let accepted: HashMap<MessageId, Millis> =
            logged.transitions.iter().map(|t| (t.id, t.accepted_at)).collect();
        let mut whole = !logged.corrupt;
        match v1::LoggedMessages::decode(logged.messages.clone()) {
            Ok(list) => {
                for message in list.messages {
                    self.kept.extend(payload_of(&message, &accepted));
                    let message = message_of(message, &accepted);
                    whole &= message.is_some();
                    self.messages.extend(message);
                }
            }
            Err(_) => whole = false,
        }
        self.moves.extend(logged.transitions.iter().map(move_of));
        if !logged.act.is_empty() {
            let act = act_of(format!("{shard}:{id}"), logged.act.clone());
            whole &= act.is_some();
            self.acts.extend(act);
        }
        if !logged.kept.is_empty() {
            let kept = parts_of(logged.kept.clone());
            whole &= kept.is_some();
            self.kept.extend(kept);
        }
        self.ids.push(id);
        self.ends.push([
            self.messages.len(),
            self.moves.len(),
            self.acts.len(),
            self.kept.len(),
        ]);
        whole
    }

    /// The first half of its entries, and the rest.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let half = self.ids.len() / 2;
        let at = self.ends[..half].last().copied().unwrap_or_default();
        let rest = Self {
            ids: self.ids.split_off(half),
            messages: self.messages.split_off(at[0]),
            moves: self.moves.split_off(at[1]),
            acts: self.acts.split_off(at[2]),
            kept: self.kept.split_off(at[3]),
            ends: self
                .ends
                .split_off(half)
                .into_iter()
                .map(|end| std::array::from_fn(|part| end[part] - at[part]))
                .collect(),
        };
        (self, rest)
    }

    /// The same entries without any text.
    pub(super) fn moves_alone(&self) -> Self {
        Self {
            ids: self.ids.clone(),
            moves: self.moves.clone(),
            ..Self::default()
        }
    }
}

fn move_of(transition: &Transition) -> Move {
    let &Transition {
        id,
        accepted_at,
        revision,
        state,
        reason,
        attempt,
        at,
        rendered_at,
    } = transition;
    Move {
        id,
        accepted_at,
        revision,
        state,
        reason,
        attempt,
        at,
        rendered_at,
    }
}

/// `None` for what is no message, or none that the same entry accepts.
fn message_of(message: v1::LoggedMessage, accepted: &HashMap<MessageId, Millis>) -> Option<LoggedMessage> {
    let id = MessageId(message.message_id.as_ref().try_into().ok()?);
    let accepted_at = *accepted.get(&id)?;
    let tags: Vec<[&str; 2]> = message
        .tags
        .iter()
        .map(|tag| [tag.name.as_str(), tag.value.as_str()])
        .collect();
    Some(LoggedMessage {
        id,
        accepted_at,
        tags: serde_json::to_string(&tags).ok()?,
        bundle_hash: message.bundle_hash.to_vec(),
        lane: convert::lane(message.lane)
            .ok()
            .flatten()
            .unwrap_or(Lane::Transactional),
        recipient: message.recipient_hash.to_vec(),
        user_hash: message.user_hash.to_vec(),
        send_at: time(message.send_at.as_ref()),
        expires_at: time(message.expires_at.as_ref()),
        digests: message.digests.to_vec(),
        tenant: message.tenant,
        template: message.template,
        identity: message.identity,
    })
}

/// The payload, where the template keeps it.
fn payload_of(message: &v1::LoggedMessage, accepted: &HashMap<MessageId, Millis>) -> Option<Kept> {
    let id = MessageId(message.message_id.as_ref().try_into().ok()?);
    let accepted_at = *accepted.get(&id)?;
    (message.keep_s > 0).then(|| Kept {
        id,
        accepted_at,
        generation: 0,
        until: accepted_at + Duration::from_secs(message.keep_s.into()),
        content: message.data.to_vec(),
    })
}

/// What a renderer made.
fn parts_of(kept: Bytes) -> Option<Kept> {
    let kept = v1::KeptParts::decode(kept).ok()?;
    let accepted_at = time(kept.accepted_at.as_ref());
    Some(Kept {
        id: MessageId(kept.message_id.as_ref().try_into().ok()?),
        accepted_at,
        generation: kept.generation,
        until: accepted_at + Duration::from_secs(kept.keep_s.into()),
        content: kept.rendered.to_vec(),
    })
}

/// The act is named by the entry that has it.
fn act_of(id: String, act: Bytes) -> Option<Act> {
    let act = v1::LoggedAct::decode(act).ok()?;
    let messages: Option<Vec<MessageId>> = act
        .message_ids
        .iter()
        .map(|id| Some(MessageId(id.as_ref().try_into().ok()?)))
        .collect();
    Some(Act {
        id,
        at: time(act.at.as_ref()),
        act: act.act,
        who: act.who,
        why: act.why,
        tenant: act.tenant,
        messages: messages?,
    })
}

/// What is not set, or can't be, is zero.
fn time(at: Option<&Timestamp>) -> Millis {
    at.and_then(|at| convert::millis(at).ok()).unwrap_or_default()
}
