//! The log as the ledger's copiers read it: as a group, so that each entry is some copier's, and cut off only behind all of them.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::StreamsInterface;
use fred::types::Value;

use crate::batch::{bytes, number};
use crate::packed::{self, Transition, Unreadable};
use crate::script;
use crate::store::is_code;
use crate::streams::{self, RawEntry, list};
use crate::{Store, StoreError};

/// The consumer group of the copiers.
const GROUP: &str = "ledger";
/// Entries in one call of a script.
const ACKNOWLEDGED_MAX: usize = 1_000;

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub id: String,
    pub body: LogBody,
}

/// What an entry of a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogBody {
    Logged(Logged),
    /// Of a newer release, which alone can read all of it: leave it pending.
    Newer,
}

/// What one script wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    pub transitions: Vec<Transition>,
    /// `LoggedMessages`: what was accepted. Empty if nothing was.
    pub messages: Bytes,
    /// `LoggedAct`: what a person did. Empty if nobody did anything.
    pub act: Bytes,
    /// `KeptParts`: what a renderer made. Empty but in an entry of its own.
    pub kept: Bytes,
    /// True if some of it can't be read by anybody; the rest is here.
    pub corrupt: bool,
}

/// What was taken over from copiers that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaimed {
    pub entries: Vec<LogEntry>,
    /// Where to go on; "0-0" at the end.
    pub next: String,
}

/// How much of a log is there, the newest entries included, which stay for a while when they are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBacklog {
    pub entries: u64,
    /// As Redis estimates them from some entries.
    pub bytes: u64,
    /// For how long the oldest entry that is not copied has waited; zero if there is none.
    pub age: Duration,
}

impl Store {
    /// Delivers up to `count` new entries of a log to this copier; never waits for one. They are its own until they are copied or
    /// reclaimed. They are kept at the deployment's level: what a failover takes back would be done anew, and in the ledger a revision
    /// would have two contents. The group is made where it is missing, from the first entry.
    ///
    /// # Errors
    /// If Redis does not answer, or does not keep them; entries may then have been delivered, and are reclaimed later.
    pub async fn read_log(&self, shard: u16, copier: &str, count: u64) -> Result<Vec<LogEntry>, StoreError> {
        self.check_safe()?;
        let place = self.place(shard).await?;
        let client = self.reader.client();
        let read = || {
            let log = self.keys.log(shard);
            client.xreadgroup::<Value, _, _, _, _>(GROUP, copier, Some(count), None, false, log, ">")
        };
        let answer = match self.reader.ask(read()).await {
            Err(error) if is_code(&error, "NOGROUP") => {
                let keys = vec![self.keys.log(shard)];
                self.run(&script::LOG_GROUP, keys, vec![Value::from_static_str(GROUP)])
                    .await?;
                self.reader.ask(read()).await?
            }
            answer => answer?,
        };
        let raw = streams::by_stream(answer)?.into_iter().flat_map(|(_, raw)| raw);
        let entries: Vec<LogEntry> = raw.map(entry).collect();
        self.kept(shard, place, entries.is_empty()).await?;
        Ok(entries)
    }

    /// Delivers up to `count` entries to this copier that another has held for `min_idle`, from `next` on. They are kept, as those of
    /// [`Store::read_log`].
    ///
    /// # Errors
    /// If Redis does not answer, or does not keep them.
    pub async fn reclaim_log(
        &self,
        shard: u16,
        copier: &str,
        min_idle: Duration,
        next: &str,
        count: u64,
    ) -> Result<Reclaimed, StoreError> {
        self.check_safe()?;
        let place = self.place(shard).await?;
        let idle = u64::try_from(min_idle.as_millis()).unwrap_or(u64::MAX);
        let (client, log) = (self.reader.client(), self.keys.log(shard));
        let claim =
            client.xautoclaim::<Value, _, _, _, _>(log, GROUP, copier, idle, next, Some(count), false);
        let end = || "0-0".to_owned();
        let answer = match self.reader.ask(claim).await {
            Err(error) if is_code(&error, "NOGROUP") => Value::Null,
            answer => answer?,
        };
        let mut parts = list(answer)?.into_iter();
        let next = parts.next().and_then(Value::into_string).unwrap_or_else(end);
        let raw = streams::entries(parts.next().unwrap_or(Value::Null))?;
        let entries: Vec<LogEntry> = raw.into_iter().map(entry).collect();
        self.kept(shard, place, entries.is_empty()).await?;
        Ok(Reclaimed { entries, next })
    }

    /// Waits until what a log holds now is kept.
    ///
    /// # Errors
    /// If Redis does not answer, or does not keep it.
    pub async fn log_is_kept(&self, shard: u16) -> Result<(), StoreError> {
        let place = self.place(shard).await?;
        self.kept(shard, place, false).await
    }

    /// Acknowledges entries that are in the ledger, and cuts off what all copiers are done with, but not what is younger than
    /// `tail`.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; what was not acknowledged is delivered again.
    pub async fn log_copied(&self, shard: u16, ids: &[String], tail: Duration) -> Result<(), StoreError> {
        let tail = u64::try_from(tail.as_millis()).unwrap_or(u64::MAX);
        let mut rest = ids;
        loop {
            let (now, later) = rest.split_at(rest.len().min(ACKNOWLEDGED_MAX));
            let mut args = vec![self.now(), Value::from_static_str(GROUP), number(tail)];
            args.extend(now.iter().map(|id| bytes(id.clone())));
            self.run(&script::LOG_COPIED, vec![self.keys.log(shard)], args)
                .await?;
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    /// How much of a log waits for the ledger.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn log_backlog(&self, shard: u16) -> Result<LogBacklog, StoreError> {
        let args = vec![self.now(), Value::from_static_str(GROUP)];
        let answer = self.run(&script::LOG_BACKLOG, vec![self.keys.log(shard)], args);
        let numbers: Option<Vec<u64>> = list(answer.await?)?.iter().map(Value::as_u64).collect();
        let Some(&[entries, bytes, age]) = numbers.as_deref() else {
            return Err(StoreError::bug("log_backlog answered with no three numbers"));
        };
        Ok(LogBacklog {
            entries,
            bytes,
            age: Duration::from_millis(age),
        })
    }

    /// Deletes copiers of a log that did nothing for `min_idle` and hold nothing; returns how many.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn remove_idle_copiers(&self, shard: u16, min_idle: Duration) -> Result<u64, StoreError> {
        let idle = u64::try_from(min_idle.as_millis()).unwrap_or(u64::MAX);
        let args = vec![Value::from_static_str(GROUP), number(idle)];
        let reaped = self.run(&script::REAP, vec![self.keys.log(shard)], args).await?;
        Ok(reaped.as_u64().unwrap_or(0))
    }
}

/// A newer release marks entries of a newer format by another first field: `e2` and so on.
fn entry((id, fields): RawEntry) -> LogEntry {
    let mut logged = Logged::default();
    let (mut transitions, mut rendered, mut newer) = (None, Bytes::new(), false);
    for (name, value) in fields {
        match name.as_str() {
            "e" => transitions = Some(value),
            "r" => rendered = value,
            "n" => logged.messages = value,
            "a" => logged.act = value,
            "k" => logged.kept = value,
            name => newer |= name.strip_prefix('e').is_some_and(|n| n.parse::<u32>().is_ok()),
        }
    }
    if let Some(transitions) = transitions {
        let (transitions, problem) = packed::read_transitions(&transitions, &rendered);
        logged.transitions = transitions;
        newer |= problem == Some(Unreadable::Newer);
        logged.corrupt = problem == Some(Unreadable::Corrupt);
    } else {
        logged.corrupt = logged.kept.is_empty() && logged.act.is_empty();
    }
    let body = if newer {
        LogBody::Newer
    } else {
        LogBody::Logged(logged)
    };
    LogEntry { id, body }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{LogBody, entry};

    fn read(fields: &[(&str, Vec<u8>)]) -> LogBody {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), Bytes::from(value.clone())));
        entry(("1-1".to_owned(), fields.collect())).body
    }

    fn transition(state: u8) -> Vec<u8> {
        let mut bytes = vec![0; 39];
        bytes[26] = state;
        bytes
    }

    #[test]
    fn times_of_rendering_stand_beside_the_transitions_where_they_are_known() {
        let both = [transition(b'q'), transition(b's')].concat();
        let times = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
        for (fields, expected) in [
            (vec![("e", both.clone()), ("r", times.clone())], [0, 258]),
            (vec![("r", times), ("e", both.clone())], [0, 258]),
            (vec![("e", both)], [0, 0]),
        ] {
            let LogBody::Logged(logged) = read(&fields) else {
                panic!("a newer entry")
            };
            let told: Vec<_> = logged.transitions.iter().map(|it| it.rendered_at.0).collect();
            assert_eq!((told, logged.corrupt), (expected.to_vec(), false));
        }
    }

    #[test]
    fn an_act_may_stand_alone() {
        let LogBody::Logged(logged) = read(&[("a", vec![7])]) else {
            panic!("a newer entry")
        };
        assert_eq!((logged.act.as_ref(), logged.corrupt), (&[7][..], false));
        assert!(logged.transitions.is_empty());
    }

    #[test]
    fn what_only_a_newer_release_can_read_is_told_from_what_nobody_can() {
        let good = [transition(b'q'), transition(b's')].concat();
        assert!(
            matches!(read(&[("e", good.clone())]), LogBody::Logged(l) if l.transitions.len() == 2 && !l.corrupt)
        );
        assert_eq!(read(&[("e2", Vec::new())]), LogBody::Newer);
        assert_eq!(
            read(&[("e", transition(b'z'))]),
            LogBody::Newer,
            "a state to come"
        );
        for broken in [
            vec![("e", good[..77].to_vec())],
            vec![("e", [good, transition(0)].concat())],
            vec![("x", Vec::new())],
        ] {
            assert!(
                matches!(read(&broken), LogBody::Logged(l) if l.corrupt),
                "{broken:?}"
            );
        }
    }
}
