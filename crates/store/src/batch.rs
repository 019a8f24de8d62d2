//! A batch for a script that moves records: its keys, its arguments, and the answers. `lua/record.lua` describes the order.

use std::ops::Range;

use bytes::Bytes;
use fred::types::{Key, Value};
use paceline_domain::id::MessageId;
use paceline_domain::record::Record;

use crate::keys::{Keys, StreamKey, Waiting};
use crate::packed::{self, Unreadable};
use crate::waits::Origin;
use crate::{Change, StoreError};

/// The most messages in one script: what Redis does without a pause, and below the limits of Lua's stack.
pub(crate) const BATCH_MAX: usize = 1_000;

/// What a script is to do.
#[derive(Default)]
pub(crate) struct Batch {
    streams: Vec<StreamKey>,
    ids: Vec<MessageId>,
    /// A key after all others.
    last: Option<Key>,
    own: Vec<Value>,
    /// What a person did, for the log.
    act: Bytes,
    items: Vec<Value>,
}

/// The bytes of one item, as `struct.unpack` reads them.
pub(crate) struct Item(Vec<u8>);

impl Item {
    pub(crate) fn new(id: MessageId) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&id.0);
        Self(bytes)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(self, number: u8) -> Self {
        self.bytes(&[number])
    }

    pub(crate) fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// A text of up to 255 bytes, after its length.
    pub(crate) fn text(self, text: &str) -> Result<Self, StoreError> {
        let length = u8::try_from(text.len())
            .map_err(|_| StoreError::bug("a text for a script is longer than 255 bytes"))?;
        Ok(self.u8(length).bytes(text.as_bytes()))
    }
}

impl Batch {
    /// An argument before those of the items.
    pub(crate) fn own(&mut self, value: impl Into<Value>) {
        self.own.push(value.into());
    }

    /// Notes in the log, beside the transitions that come of the batch, what a person did: a `LoggedAct`.
    pub(crate) fn act(&mut self, act: Bytes) {
        self.act = act;
    }

    /// A key after all others, of the batch's shard.
    pub(crate) fn last_key(&mut self, key: Key) {
        self.last = Some(key);
    }

    /// The number of a stream within the batch.
    pub(crate) fn stream(&mut self, stream: &StreamKey) -> Result<u16, StoreError> {
        let known = self.streams.iter().position(|known| known == stream);
        let index = known.unwrap_or_else(|| {
            self.streams.push(stream.clone());
            self.streams.len() - 1
        });
        u16::try_from(index + 1).map_err(|_| StoreError::bug("too many streams in one batch"))
    }

    /// As [`Batch::stream`], and 0 for none: what has no record to read needs no stream, and the script sees why.
    pub(crate) fn stream_or_none(&mut self, stream: Option<&StreamKey>) -> Result<u16, StoreError> {
        stream.map_or(Ok(0), |stream| self.stream(stream))
    }

    pub(crate) fn push(&mut self, id: MessageId, item: Item) {
        self.ids.push(id);
        self.items.push(bytes(item.0));
    }

    /// A further argument of the item pushed last.
    pub(crate) fn also(&mut self, argument: impl Into<Bytes>) {
        self.items.push(bytes(argument));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn streams(&self) -> &[StreamKey] {
        &self.streams
    }

    /// The script's keys and arguments.
    pub(crate) fn finish(
        self,
        keys: &Keys,
        shard: u16,
        now: Value,
        log_bound: Value,
        origin: bool,
    ) -> Result<(Vec<Key>, Vec<Value>), StoreError> {
        if self.ids.len() > BATCH_MAX {
            return Err(StoreError::bug("too many messages in one batch"));
        }
        if self.ids.iter().any(|id| id.shard(keys.shards()) != shard) {
            return Err(StoreError::bug("a message of another shard in a batch"));
        }
        let mut all = Vec::with_capacity(8 + self.streams.len() + 2 * self.ids.len());
        all.extend([keys.log(shard), keys.active(shard)]);
        all.extend(Waiting::ALL.map(|waiting| keys.waiting(shard, waiting)));
        all.extend(self.streams.iter().map(|stream| keys.stream(shard, stream)));
        all.extend(self.ids.iter().map(|&id| keys.record(shard, id)));
        all.extend(self.ids.iter().map(|&id| keys.request(shard, id)));
        all.extend(self.last);
        let mut args = Vec::with_capacity(6 + self.own.len() + self.items.len());
        args.extend([now, log_bound]);
        args.extend([number(self.streams.len() as u64), number(self.ids.len() as u64)]);
        args.extend(self.own);
        args.extend(self.items);
        args.push(bytes(self.act));
        args.push(Value::from_static_str(if origin { "origin" } else { "" }));
        Ok((all, args))
    }
}

/// A number as Redis reads one.
pub(crate) fn number(number: u64) -> Value {
    Value::from(number.to_string())
}

pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Value {
    Value::Bytes(bytes.into())
}

/// What a script says of one item: a word and a packed record.
pub(crate) type Answer = (String, Bytes);

/// The answers of a script for each item, and where it was done if it was asked.
pub(crate) fn answers(value: Value, expected: usize) -> Result<(Vec<Answer>, Option<Origin>), StoreError> {
    let Value::Array(mut parts) = value else {
        return Err(StoreError::bug("a script answered with no list"));
    };
    let origin = match parts.len().checked_sub(2 * expected) {
        Some(0) => None,
        Some(2) => {
            let mut origin = parts.split_off(2 * expected).into_iter().map(Value::into_string);
            match (origin.next().flatten(), origin.next().flatten()) {
                (Some(run), Some(history)) => Some(Origin { run, history }),
                _ => return Err(StoreError::bug("a script answered with no place")),
            }
        }
        _ => {
            return Err(StoreError::bug(
                "a script answered for another number of messages",
            ));
        }
    };
    let mut parts = parts.into_iter();
    let mut answers = Vec::with_capacity(expected);
    while let (Some(word), Some(record)) = (parts.next(), parts.next()) {
        let word = word
            .into_string()
            .ok_or_else(|| StoreError::bug("a script answered without a word"))?;
        answers.push((word, record.into_bytes().unwrap_or_default()));
    }
    Ok((answers, origin))
}

/// The answers of a script that was done twice: what the first run did, the second finds done. If the second finds anything
/// else, the first was lost with its server, and only the second counts.
pub(crate) fn repeated(first: Vec<Answer>, second: Vec<Answer>) -> Vec<Answer> {
    let answers = first.into_iter().zip(second);
    let merged = answers.map(|((did, left), (found, record))| {
        let same = |part: Range<usize>| {
            left.get(part.clone())
                .is_some_and(|left| record.get(part) == Some(left))
        };
        let stands = match (did.as_str(), found.as_str()) {
            ("new", "duplicate") => same(packed::ACCEPTED_AT),
            ("resubmitted", "duplicate") => same(packed::ACCEPTED_AT) && same(packed::GENERATION),
            ("moved", "unchanged") => same(packed::STATE) && same(packed::REVISION),
            _ => false,
        };
        (if stands { did } else { found }, record)
    });
    merged.collect()
}

/// A script's answer for one item, its record read.
pub(crate) fn change((word, record): (String, Bytes)) -> Result<Change, StoreError> {
    let change = match word.as_str() {
        "moved" => Change::Moved,
        "unchanged" => Change::Unchanged,
        "missing" => return Ok(Change::Missing),
        "newer" => return Ok(Change::Newer),
        "corrupt" => return Ok(Change::Corrupt),
        _ => return Err(StoreError::bug(format!("a script answered {word}"))),
    };
    Ok(match packed::unpack(&record) {
        Ok(record) => change(record),
        Err(Unreadable::Newer) => Change::Newer,
        Err(Unreadable::Corrupt) => Change::Corrupt,
    })
}

/// As [`change`], for answers of a script's own that always bring a record.
pub(crate) fn record(record: &Bytes) -> Result<Record, Unreadable> {
    packed::unpack(record)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Answer, repeated};

    /// An answer whose record has this state, revision, generation and time of acceptance.
    fn answer(word: &str, state: u8, revision: u8, generation: u8, accepted_at: u8) -> Answer {
        let mut record = vec![0; 70];
        (record[1], record[7], record[15], record[25]) = (state, revision, generation, accepted_at);
        (word.to_owned(), Bytes::from(record))
    }

    #[test]
    fn of_two_runs_the_first_is_told_only_where_the_second_finds_its_work() {
        let check = |first: Answer, second: Answer, word: &str| {
            let record = second.1.clone();
            assert_eq!(repeated(vec![first], vec![second]), [(word.to_owned(), record)]);
        };
        check(
            answer("new", b'q', 1, 1, 7),
            answer("duplicate", b'q', 1, 1, 7),
            "new",
        );
        check(
            answer("new", b'q', 1, 1, 7),
            answer("duplicate", b's', 2, 1, 7),
            "new",
        );
        check(
            answer("new", b'q', 1, 1, 7),
            answer("duplicate", b'q', 1, 1, 8),
            "duplicate",
        );
        check(answer("new", b'q', 1, 1, 7), answer("new", b'q', 1, 1, 9), "new");
        let resubmitted = || answer("resubmitted", b'q', 5, 3, 7);
        check(resubmitted(), answer("duplicate", b'q', 5, 3, 7), "resubmitted");
        check(resubmitted(), answer("duplicate", b'd', 4, 2, 7), "duplicate");
        // A cancellation that was lost, and its message claimed since.
        let cancelled = || answer("moved", b'n', 3, 1, 7);
        check(cancelled(), answer("unchanged", b'n', 3, 1, 7), "moved");
        check(cancelled(), answer("unchanged", b's', 3, 1, 7), "unchanged");
        check(
            answer("sending", b's', 2, 1, 7),
            answer("dropped", b'a', 3, 1, 7),
            "dropped",
        );
    }
}
