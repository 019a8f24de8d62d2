//! Reading streams, and what becomes of entries that are not handled.

use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{SetsInterface, StreamsInterface};
use fred::types::{Key, Value};
use futures_util::future::try_join_all;
use paceline_domain::time::Millis;

use crate::batch::{bytes, number};
use crate::keys::{Stage, StreamKey};
use crate::packed;
use crate::script;
use crate::store::is_code;
use crate::suppressions::Addressee;
use crate::{Entry, EntryBody, Store, StoreError};

/// An entry as Redis has it: its id and its fields.
pub(crate) type RawEntry = (String, Vec<(String, Bytes)>);

/// How many times XAUTOCLAIM goes on where it stopped: it looks at ten times the entries that are wanted each time.
const RECLAIM_STEPS_MAX: usize = 16;

impl Store {
    /// The streams of a shard that hold entries, or held some a moment ago.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn active(&self, shard: u16) -> Result<Vec<StreamKey>, StoreError> {
        let client = self.reader.client();
        let members = client.smembers(self.keys.active(shard));
        let members: Vec<String> = self.reader.ask(members).await?;
        Ok(members
            .iter()
            .filter_map(|key| self.keys.parse_stream(shard, key))
            .collect())
    }

    /// Delivers up to `count` new entries of **each** stream to this consumer; never waits for one. They are this
    /// consumer's until they are handled, given back or reclaimed.
    ///
    /// # Errors
    /// If Redis does not answer; entries may then have been delivered, and are reclaimed later.
    pub async fn read(
        &self,
        shard: u16,
        stage: Stage,
        consumer: &str,
        streams: &[StreamKey],
        count: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let streams: Vec<_> = streams.iter().filter(|stream| stream.stage == stage).collect();
        if streams.is_empty() || count == 0 {
            return Ok(Vec::new());
        }
        self.check_safe()?;
        let keys: Vec<Key> = streams
            .iter()
            .map(|stream| self.keys.stream(shard, stream))
            .collect();
        let answers = match self.read_new(stage, consumer, count, keys.clone()).await {
            // One missing group fails the whole command, and nothing was delivered.
            Err(error) if is_code(&error, "NOGROUP") => {
                if self.make_groups(shard, &streams).await? {
                    vec![self.read_new(stage, consumer, count, keys).await?]
                } else {
                    self.read_with_group(stage, consumer, count, keys).await?
                }
            }
            answer => vec![answer?],
        };
        let mut read = Vec::new();
        for answer in answers {
            read.extend(by_stream(answer)?);
        }
        let mut entries = Vec::new();
        for (key, raw) in read {
            let stream = self
                .keys
                .parse_stream(shard, &key)
                .ok_or_else(|| StoreError::bug("an entry of a stream that was not read"))?;
            entries.extend(raw.into_iter().map(|raw| entry(&stream, raw, 1)));
        }
        Ok(entries)
    }

    async fn read_new(
        &self,
        stage: Stage,
        consumer: &str,
        count: u32,
        keys: Vec<Key>,
    ) -> Result<Value, Error> {
        let news = vec![">"; keys.len()];
        let (client, count) = (self.reader.client(), Some(u64::from(count)));
        let read =
            client.xreadgroup::<Value, _, _, _, _>(stage.group(), consumer, count, None, false, keys, news);
        self.reader.ask(read).await
    }

    /// Makes the groups that are missing; false where Redis is too full for that. It then refuses those that are there too,
    /// so that nothing is known of any.
    async fn make_groups(&self, shard: u16, streams: &[&StreamKey]) -> Result<bool, StoreError> {
        for stream in streams {
            match self.create_group(shard, stream).await {
                Err(StoreError::OutOfMemory) => return Ok(false),
                made => made?,
            }
        }
        Ok(true)
    }

    /// Reads each stream for itself and leaves out those without a group: one that can't get its group now must not hold up
    /// the others, whose mail makes room.
    async fn read_with_group(
        &self,
        stage: Stage,
        consumer: &str,
        count: u32,
        keys: Vec<Key>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut answers = Vec::new();
        for key in keys {
            match self.read_new(stage, consumer, count, vec![key]).await {
                Err(error) if is_code(&error, "NOGROUP") => {}
                answer => answers.push(answer?),
            }
        }
        Ok(answers)
    }

    /// Delivers up to `count` entries to this consumer that another has held for `min_idle` without handling them.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn reclaim(
        &self,
        shard: u16,
        stream: &StreamKey,
        consumer: &str,
        min_idle: Duration,
        count: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.check_safe()?;
        let key = self.keys.stream(shard, stream);
        let idle = u64::try_from(min_idle.as_millis()).unwrap_or(u64::MAX);
        let mut from = "0-0".to_owned();
        let mut claimed = Vec::new();
        for _ in 0..RECLAIM_STEPS_MAX {
            let missing = u64::from(count) - claimed.len() as u64;
            let client = self.reader.client();
            let claim = client.xautoclaim::<Value, _, _, _, _>(
                key.clone(),
                stream.stage.group(),
                consumer,
                idle,
                from.as_str(),
                Some(missing),
                false,
            );
            let answer = match self.reader.ask(claim).await {
                Err(error) if is_code(&error, "NOGROUP") => break,
                answer => answer?,
            };
            let mut parts = list(answer)?.into_iter();
            from = parts.next().and_then(Value::into_string).unwrap_or_default();
            claimed.extend(entries(parts.next().unwrap_or(Value::Null))?);
            if from == "0-0" || from.is_empty() || claimed.len() as u64 >= u64::from(count) {
                break;
            }
        }
        let counts = claimed
            .iter()
            .map(|(id, _)| self.deliveries(&key, stream.stage, id));
        let counts = try_join_all(counts).await?;
        Ok(claimed
            .into_iter()
            .zip(counts)
            .map(|(raw, deliveries)| entry(stream, raw, deliveries))
            .collect())
    }

    /// How often a pending entry was delivered.
    async fn deliveries(&self, key: &Key, stage: Stage, id: &str) -> Result<u32, StoreError> {
        let client = self.reader.client();
        let pending = client.xpending::<Value, _, _, _>(key.clone(), stage.group(), (id, id, 1));
        let pending = list(self.reader.ask(pending).await?)?;
        // Id, consumer, idle time, deliveries; nothing if another has taken it meanwhile.
        let deliveries = pending
            .into_iter()
            .next()
            .and_then(|entry| list(entry).ok()?.get(3)?.as_u64())
            .unwrap_or(1);
        Ok(u32::try_from(deliveries).unwrap_or(u32::MAX))
    }

    /// Puts entries that were delivered and not handled at the end of their stream.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; they are reclaimed later.
    pub async fn give_back(
        &self,
        shard: u16,
        stream: &StreamKey,
        entry_ids: &[String],
    ) -> Result<(), StoreError> {
        if entry_ids.is_empty() {
            return Ok(());
        }
        let keys = vec![self.keys.active(shard), self.keys.stream(shard, stream)];
        let mut args = vec![Value::from(stream.stage.group())];
        args.extend(entry_ids.iter().map(|id| bytes(id.clone())));
        self.run(&script::GIVE_BACK, keys, args).await?;
        Ok(())
    }

    /// Acknowledges and deletes entries that need nothing more.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; they are delivered again.
    pub async fn drop_entries(
        &self,
        shard: u16,
        stream: &StreamKey,
        entry_ids: &[String],
    ) -> Result<(), StoreError> {
        let ended = [(stream, entry_ids.to_vec())];
        self.settle(shard, stream.stage, &[], &ended).await
    }

    /// Notes that `noted` hold entries, and acknowledges and deletes `ended`, in one step.
    pub(crate) async fn settle(
        &self,
        shard: u16,
        stage: Stage,
        noted: &[StreamKey],
        ended: &[(&StreamKey, Vec<String>)],
    ) -> Result<(), StoreError> {
        if ended.iter().all(|(_, ids)| ids.is_empty()) {
            return Ok(());
        }
        let mut keys = vec![self.keys.active(shard)];
        keys.extend(noted.iter().map(|stream| self.keys.stream(shard, stream)));
        let mut args = vec![Value::from(stage.group()), number(noted.len() as u64)];
        for (stream, ids) in ended.iter().filter(|(_, ids)| !ids.is_empty()) {
            keys.push(self.keys.stream(shard, stream));
            args.push(number(ids.len() as u64));
            args.extend(ids.iter().map(|id| bytes(id.clone())));
        }
        self.run(&script::SETTLE, keys, args).await?;
        Ok(())
    }

    /// Takes streams without entries from the active ones; returns how many.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn retire(&self, shard: u16, streams: &[StreamKey]) -> Result<u64, StoreError> {
        if streams.is_empty() {
            return Ok(0);
        }
        let mut keys = vec![self.keys.active(shard)];
        keys.extend(streams.iter().map(|stream| self.keys.stream(shard, stream)));
        let retired = self.run(&script::RETIRE, keys, Vec::new()).await?;
        Ok(retired.as_u64().unwrap_or(0))
    }

    /// Deletes consumers that did nothing for `min_idle` and hold nothing; returns how many.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn remove_idle_consumers(
        &self,
        shard: u16,
        stream: &StreamKey,
        min_idle: Duration,
    ) -> Result<u64, StoreError> {
        let idle = u64::try_from(min_idle.as_millis()).unwrap_or(u64::MAX);
        let keys = vec![self.keys.stream(shard, stream)];
        let args = vec![Value::from(stream.stage.group()), number(idle)];
        let reaped = self.run(&script::REAP, keys, args).await?;
        Ok(reaped.as_u64().unwrap_or(0))
    }
}

pub(crate) fn entry(stream: &StreamKey, (entry_id, fields): RawEntry, deliveries: u32) -> Entry {
    Entry {
        stream: stream.clone(),
        entry_id,
        deliveries,
        body: body(fields),
    }
}

/// A newer release marks entries of a newer format by another first field: `e2` and so on.
fn body(fields: Vec<(String, Bytes)>) -> EntryBody {
    let mut ticket = None;
    let mut rendered = None;
    let mut to = None;
    let mut rendered_at = Millis::default();
    let mut newer = false;
    for (name, value) in fields {
        match name.as_str() {
            "e" => ticket = packed::unpack_ticket(&value),
            "z" => rendered = Some(value),
            "s" => to = Addressee::unpack(&value),
            "t" => rendered_at = packed::unpack_millis(&value).unwrap_or_default(),
            name => newer |= name.strip_prefix('e').is_some_and(|n| n.parse::<u32>().is_ok()),
        }
    }
    match ticket {
        Some((id, ticket)) => EntryBody::Message {
            id,
            ticket,
            rendered,
            to,
            rendered_at,
        },
        None if newer => EntryBody::Newer,
        None => EntryBody::Corrupt,
    }
}

/// The entries of several streams, as XREAD and XREADGROUP answer; nothing is nil.
pub(crate) fn by_stream(value: Value) -> Result<Vec<(String, Vec<RawEntry>)>, StoreError> {
    let mut streams = Vec::new();
    for stream in list(value)? {
        let mut parts = list(stream)?.into_iter();
        let key = parts
            .next()
            .and_then(Value::into_string)
            .ok_or_else(|| StoreError::bug("a stream without its key"))?;
        streams.push((key, entries(parts.next().unwrap_or(Value::Null))?));
    }
    Ok(streams)
}

/// The entries of one stream.
pub(crate) fn entries(value: Value) -> Result<Vec<RawEntry>, StoreError> {
    let mut entries = Vec::new();
    for entry in list(value)? {
        let mut parts = list(entry)?.into_iter();
        let id = parts
            .next()
            .and_then(Value::into_string)
            .ok_or_else(|| StoreError::bug("an entry without its id"))?;
        let mut fields = Vec::new();
        let mut words = list(parts.next().unwrap_or(Value::Null))?.into_iter();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            // A name that is no text is none of ours.
            let name = name.into_string().unwrap_or_default();
            fields.push((name, value.into_bytes().unwrap_or_default()));
        }
        entries.push((id, fields));
    }
    Ok(entries)
}

pub(crate) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(parts) => Ok(parts),
        Value::Null => Ok(Vec::new()),
        _ => Err(StoreError::bug(
            "an answer that is no list where one was expected",
        )),
    }
}
