//! What is kept of a key from leader to leader: its journal and its lease table, in one write with whose they are.
//!
//! The journal is a stream of snapshots of the whole state and of what happened since, by `rev`: entry `<rev>-1` has events, entry
//! `<rev>-2` the state after them. Both are text of the coordinator's; `format` says how it is to be read, and a state of a newer format is
//! left alone. The state's hash says with `snapshot` where the last snapshot stands, and with `kept` up to which `rev` the journal goes:
//! a coordinator of before journals writes `rev` alone.

use fred::interfaces::{HashesInterface as _, StreamsInterface as _};
use fred::types::{Key, Value};

use super::cuts::{CHANNEL, Cut};
use super::{Fenced, RateKey, Term, fields, integer};
use crate::batch::number;
use crate::script::{THROTTLE_ADOPT, THROTTLE_COMMIT};
use crate::{Store, StoreError};

/// Entries of a journal in one answer: each is at most a snapshot.
const PAGE: u64 = 64;
/// The field of a lease table that is no sender.
const REV: &str = "rev";

/// A key's state, as the leader made it its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// To be passed to the first [`Store::commit_rate`].
    pub rev: u64,
    /// The rate and the version that were saved last; `None` for a new key.
    pub saved: Option<(f64, u64)>,
    /// True if the journal tells all until then.
    pub whole: bool,
    /// True if the lease table has every lease that can be alive.
    pub table: bool,
    /// True if Redis has lost what the caller wrote last itself.
    pub lost: bool,
    /// Where the last snapshot stands in the journal.
    pub snapshot: Option<u64>,
    /// How large the journal was after that snapshot, as its writer reckoned.
    pub journal_bytes: usize,
}

/// Why a state can't be made one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdopted {
    Fenced(Fenced),
    /// Written in a format that the caller does not know. It is left as it is.
    NewerFormat(u32),
}

/// What the caller knows of a key beyond what Redis says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The largest epoch in which somebody led before.
    pub epoch: u64,
    /// Epoch and rev that the caller wrote last itself.
    pub written: (u64, u64),
}

/// One write of a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    pub rate: f64,
    pub version: u64,
    pub format: u32,
    /// What happened since the write before, as text; empty for nothing.
    pub events: String,
    pub snapshot: Option<Snapshot>,
    /// True if the table knows every lease that can be alive.
    pub complete: bool,
    /// Sender and lease of each that changed; `None` is struck out.
    pub leases: Vec<(String, Option<String>)>,
    pub cuts: Vec<Cut>,
}

/// The state after the events of its write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub state: String,
    /// The journal is cut off before the snapshot of this rev.
    pub first_kept: Option<u64>,
    /// How large the journal is then.
    pub journal_bytes: usize,
}

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub rev: u64,
    pub epoch: u64,
    pub format: u32,
    pub body: PartBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartBody {
    Events(String),
    Opened(String),
}

/// What one leader leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last snapshot, and what came after it.
    pub journal: Vec<Part>,
    pub leases: Vec<(String, String)>,
}

impl Store {
    /// Makes a key's state the leader's own: nothing of an older epoch is written to it from here on.
    ///
    /// # Errors
    /// If Redis does not answer. Repeating is safe.
    pub async fn adopt_rate(
        &self,
        key: &RateKey,
        term: &Term,
        format: u32,
        known: Known,
    ) -> Result<Result<Adopted, NotAdopted>, StoreError> {
        let args = vec![
            number(term.epoch),
            Value::from(term.nonce.as_str()),
            number(format.into()),
            number(known.epoch),
            number(known.written.0),
            number(known.written.1),
        ];
        let answer = fields(self.run(&THROTTLE_ADOPT, keys(key), args).await?)?;
        let second = integer(answer.get(1))?;
        match integer(answer.first())? {
            1 => {}
            2 => {
                let format = u32::try_from(second).unwrap_or(u32::MAX);
                return Ok(Err(NotAdopted::NewerFormat(format)));
            }
            _ => return Ok(Err(NotAdopted::Fenced(Fenced { epoch: second }))),
        }
        let rate = answer.get(2).and_then(Value::as_string);
        let flag = |index: usize| integer(answer.get(index)).is_ok_and(|flag| flag == 1);
        Ok(Ok(Adopted {
            rev: second,
            saved: rate.and_then(|rate| Some((rate.parse().ok()?, integer(answer.get(3)).ok()?))),
            whole: flag(4),
            table: flag(5),
            lost: flag(6),
            snapshot: integer(answer.get(7)).ok(),
            journal_bytes: integer(answer.get(8))
                .map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        }))
    }

    /// What the leaders before have left of a key that was adopted.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn load_rate(&self, key: &RateKey, adopted: &Adopted) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        if let Some(snapshot) = adopted.snapshot {
            let mut from = format!("{snapshot}-2");
            loop {
                let (parts, next) = self.journal_page(key, &from).await?;
                kept.journal.extend(parts);
                let Some(next) = next else { break };
                from = next;
            }
        }
        if adopted.table {
            let client = self.commands.client();
            let read = client.hgetall::<Vec<(String, String)>, _>(key.part("lease"));
            kept.leases = self.commands.ask(read).await?;
            kept.leases.retain(|(sender, _)| sender != REV);
        }
        Ok(kept)
    }

    /// Some entries of a key's journal from `from` on (`-` is its beginning), and where the next page begins, if there is one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn journal_page(
        &self,
        key: &RateKey,
        from: &str,
    ) -> Result<(Vec<Part>, Option<String>), StoreError> {
        type Entry = (String, Vec<(String, String)>);
        let client = self.commands.client();
        let read = client.xrange::<Vec<Entry>, _, _, _>(key.part("journal"), from, "+", Some(PAGE));
        let entries = self.commands.ask(read).await?;
        let is_full = entries.len() as u64 >= PAGE;
        let next = entries.last().filter(|_| is_full).map(|(id, _)| format!("({id}"));
        let parts = entries.into_iter().map(|(id, fields)| part(&id, fields));
        Ok((parts.collect::<Result<_, _>>()?, next))
    }

    /// Writes what became of a key, if the state is still at `rev` of this term; then it is at `rev + 1`.
    ///
    /// # Errors
    /// If Redis does not answer: the write is done or not. Repeating the same one with the same `rev` is safe.
    pub async fn commit_rate(
        &self,
        key: &RateKey,
        term: &Term,
        rev: u64,
        commit: &Commit,
    ) -> Result<Result<u64, Fenced>, StoreError> {
        let (written, struck): (Vec<_>, Vec<_>) =
            commit.leases.iter().partition(|(_, lease)| lease.is_some());
        let snapshot = commit.snapshot.as_ref();
        let first_kept = snapshot.and_then(|it| it.first_kept);
        let mut args = vec![
            number(term.epoch),
            Value::from(term.nonce.as_str()),
            number(rev),
            Value::from(format!("{:.6}", commit.rate)),
            number(commit.version),
            number(commit.format.into()),
            Value::from(commit.events.as_str()),
            Value::from(snapshot.map_or("", |it| it.state.as_str())),
            Value::from(first_kept.map(|rev| rev.to_string()).unwrap_or_default()),
            number(commit.complete.into()),
            number(snapshot.map_or(0, |it| it.journal_bytes as u64)),
            Value::from(CHANNEL),
            number(written.len() as u64),
            number(struck.len() as u64),
        ];
        for (sender, lease) in written {
            args.push(Value::from(sender.as_str()));
            args.push(Value::from(lease.as_deref().unwrap_or_default()));
        }
        args.extend(struck.iter().map(|(sender, _)| Value::from(sender.as_str())));
        args.extend(commit.cuts.iter().map(|cut| Value::from(cut.to_string())));
        let answer = self.run(&THROTTLE_COMMIT, keys(key), args).await?;
        Ok(match integer(Some(&answer))? {
            1 => Ok(rev + 1),
            _ => Err(Fenced { epoch: term.epoch }),
        })
    }
}

fn keys(key: &RateKey) -> Vec<Key> {
    ["state", "lease", "journal"].map(|part| key.part(part)).to_vec()
}

fn part(id: &str, fields: Vec<(String, String)>) -> Result<Part, StoreError> {
    let unreadable = || StoreError::bug("an entry of a journal is not one");
    let mut part = Part {
        rev: id
            .split('-')
            .next()
            .and_then(|rev| rev.parse().ok())
            .ok_or_else(unreadable)?,
        epoch: 0,
        format: 0,
        body: PartBody::Events(String::new()),
    };
    for (name, value) in fields {
        match name.as_str() {
            "f" => part.format = value.parse().map_err(|_| unreadable())?,
            "e" => part.epoch = value.parse().map_err(|_| unreadable())?,
            "events" => part.body = PartBody::Events(value),
            "opened" => part.body = PartBody::Opened(value),
            _ => {}
        }
    }
    Ok(part)
}
