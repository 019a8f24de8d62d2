//! Every key in Redis, and nothing else makes one.
//!
//! All that belongs to a message stands in one hash slot, by the tag of its shard, so that each transition is one atomic
//! script. `pl1` is the version of the layout. (S: shard, id: 26 characters.)
//!
//! | key | type | holds | written by | read by |
//! |---|---|---|---|---|
//! | `{pl1:S}:m:<id>` | string | the packed record; TTL = dedupe window once at rest, none for `dead` | scripts | all |
//! | `{pl1:S}:q:<id>` | string | the request (protobuf) until at rest; `dead` keeps it | enqueue | renderer |
//! | `{pl1:S}:queued:<lane>:<identity>:<tenant>` | stream, group `renderers` | ids to render | scripts | renderer |
//! | `{pl1:S}:ready:<lane>:<identity>:<tenant>` | stream, group `senders` | rendered mail, and when it was rendered | renderer | sender |
//! | `{pl1:S}:active` | set | keys of the streams above that hold entries | scripts | renderer, sender |
//! | `{pl1:S}:open` | zset: lease deadline | ids in `sending` | scripts | sender |
//! | `{pl1:S}:later` | zset: due ms | ids in `scheduled` and `deferred` | scripts | any worker |
//! | `{pl1:S}:doubt` | zset: end of the window | ids in `in_doubt` | scripts | any worker |
//! | `{pl1:S}:dead` | zset: time | ids in `dead` | scripts | operators |
//! | `{pl1:S}:held` | zset: time | ids in `held` | scripts | operators |
//! | `{pl1:S}:log` | stream, group `ledger` | packed transitions `e`, their times of rendering `r` (six bytes each), what was accepted `n`, what a person did `a`, what a template keeps `k`; bounded, or kept until the group has it | scripts | watchers, feedback |
//! | `{pl1:S}:run` | hash | at `local` only: the `run` of Redis that claims are made on, and `hold_until` (ms) when claims are allowed again, 0 once a sender has waited so long by its own clock | claim, run | claim, run |
//! | `{pl1:S}:wait` | string | nothing, for a second: the write that a wait for durability begins with | waits | nobody |
//! | `{pl1:stop}` | hash: id | stops (a format byte and protobuf) | operators, renderer | renderer, sender, ingest |
//! | `{pl1:stop}:wait` | string | as `wait` above | waits | nobody |
//! | `{pl1:sup:B}` | hash | suppressed addresses by their keyed hash, B its first byte, and the `run` of Redis for which the bucket is complete: see `suppressions.rs` | feedback | sender, feedback |
//! | `{pl1:sup:B}:wait` | string | as `wait` above | waits | nobody |
//! | `{pl1:meta}` | hash | `shards`, `format`, `log`, `address_key`: set once, checked at each start | connect | connect |
//! | `{pl1:tpl}:<sha256>` | string | a template bundle, 400 days after its last use | renderer, ingest | renderer |
//! | `{pl1:tpl}:published` | hash: `name@version` | a format byte, the bundle's hash, its files' hash; `rev`, another text after each change | feedback | ingest, renderer, feedback |
//! | `pl1:hint:<stage>` | channel | "there is something new" | all | renderer, sender |

use std::fmt;
use std::sync::Arc;

use fred::types::Key;
use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::record::Record;

/// Redis Cluster's number of slots.
const SLOTS: u32 = 16_384;

/// The settings that every process must share.
pub(crate) const META: &str = "{pl1:meta}";

/// Where in the way an entry waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Accepted, to be rendered.
    Queued,
    /// Rendered, to be sent.
    Ready,
}

impl Stage {
    pub const ALL: [Self; 2] = [Self::Queued, Self::Ready];

    /// The name in keys, channels and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ready => "ready",
        }
    }

    /// The consumer group of the stage's streams.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Queued => "renderers",
            Self::Ready => "senders",
        }
    }

    pub(crate) const fn channel(self) -> &'static str {
        match self {
            Self::Queued => "pl1:hint:queued",
            Self::Ready => "pl1:hint:ready",
        }
    }

    pub(crate) fn of_channel(channel: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.channel() == channel)
    }
}

/// A stream: one per stage, lane, identity and tenant, so that nobody's flood stands before another's password reset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    pub stage: Stage,
    pub lane: Lane,
    /// Without a colon: see `kit::identity`.
    pub identity: String,
    pub tenant: String,
}

impl StreamKey {
    /// The stream of a message at `stage`.
    #[must_use]
    pub fn of(record: &Record, stage: Stage) -> Self {
        Self {
            stage,
            lane: record.lane,
            identity: record.identity.clone(),
            tenant: record.tenant.clone(),
        }
    }

    /// The same lane, identity and tenant at another stage.
    #[must_use]
    pub fn at(&self, stage: Stage) -> Self {
        Self {
            stage,
            ..self.clone()
        }
    }
}

impl fmt::Display for StreamKey {
    /// The key without its hash tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, lane) = (self.stage.as_str(), self.lane.as_str());
        write!(f, "{stage}:{lane}:{}:{}", self.identity, self.tenant)
    }
}

/// The sorted sets of a shard: where ids wait for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Open,
    Later,
    Doubt,
    Dead,
    Held,
}

impl Waiting {
    pub(crate) const ALL: [Self; 5] = [Self::Open, Self::Later, Self::Doubt, Self::Dead, Self::Held];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Later => "later",
            Self::Doubt => "doubt",
            Self::Dead => "dead",
            Self::Held => "held",
        }
    }
}

/// The keys of all shards.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// `{pl1:...}` of each shard.
    tags: Arc<[String]>,
}

impl Keys {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            tags: (0..shards).map(|shard| tag(shard, shards)).collect(),
        }
    }

    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.tags.len()).expect("made from a u16")
    }

    fn key(&self, shard: u16, rest: impl fmt::Display) -> Key {
        format!("{}:{rest}", self.tags[usize::from(shard)]).into()
    }

    pub(crate) fn record(&self, shard: u16, id: MessageId) -> Key {
        self.key(shard, format_args!("m:{id}"))
    }

    pub(crate) fn request(&self, shard: u16, id: MessageId) -> Key {
        self.key(shard, format_args!("q:{id}"))
    }

    /// What the keys of all requests of a shard begin with.
    pub(crate) fn request_prefix(&self, shard: u16) -> String {
        format!("{}:q:", self.tags[usize::from(shard)])
    }

    pub(crate) fn stream(&self, shard: u16, stream: &StreamKey) -> Key {
        self.key(shard, stream)
    }

    pub(crate) fn active(&self, shard: u16) -> Key {
        self.key(shard, "active")
    }

    pub(crate) fn log(&self, shard: u16) -> Key {
        self.key(shard, "log")
    }

    pub(crate) fn waiting(&self, shard: u16, waiting: Waiting) -> Key {
        self.key(shard, waiting.as_str())
    }

    /// Which run of Redis claims are made on.
    pub(crate) fn run(&self, shard: u16) -> Key {
        self.key(shard, "run")
    }

    /// What each wait for durability writes first. Nobody reads it, and it is gone after a second.
    pub(crate) fn wait(&self, shard: u16) -> Key {
        self.key(shard, "wait")
    }

    /// The hash slot of all keys of a shard.
    pub(crate) fn slot(&self, shard: u16) -> u16 {
        let tag = &self.tags[usize::from(shard)];
        slot(tag.trim_matches(['{', '}']).as_bytes())
    }

    /// The stream of a key, as `active` holds it; `None` for what is no stream of this shard.
    pub(crate) fn parse_stream(&self, shard: u16, key: &str) -> Option<StreamKey> {
        let rest = key.strip_prefix(self.tags[usize::from(shard)].as_str())?;
        let mut parts = rest.strip_prefix(':')?.splitn(4, ':');
        let stage = match parts.next()? {
            "queued" => Stage::Queued,
            "ready" => Stage::Ready,
            _ => return None,
        };
        Some(StreamKey {
            stage,
            lane: parts.next()?.parse().ok()?,
            identity: parts.next()?.to_owned(),
            tenant: parts.next()?.to_owned(),
        })
    }
}

/// All stops, in a slot of their own: they concern every shard.
pub(crate) const STOPS: &str = "{pl1:stop}";

/// What each wait for the durability of a stop writes first.
pub(crate) const STOPS_WAIT: &str = "{pl1:stop}:wait";

/// The hash slot of the stops.
pub(crate) fn stops_slot() -> u16 {
    slot(b"pl1:stop")
}

/// The key of a template bundle. Bundles have a slot of their own: they belong to no shard.
pub(crate) fn bundle(hash: &[u8; 32]) -> Key {
    use std::fmt::Write as _;
    let mut key = String::from("{pl1:tpl}:");
    for byte in hash {
        let _ = write!(key, "{byte:02x}");
    }
    key.into()
}

/// The templates that are published, in the slot of their bundles.
pub(crate) const PUBLISHED: &str = "{pl1:tpl}:published";

/// The suppressed addresses whose hash begins with this byte.
pub(crate) fn suppressions(bucket: u8) -> Key {
    format!("{{pl1:sup:{bucket}}}").into()
}

/// What each wait for the durability of a bucket writes first.
pub(crate) fn suppression_wait(bucket: u8) -> Key {
    format!("{{pl1:sup:{bucket}}}:wait").into()
}

/// The hash slot of a bucket.
pub(crate) fn suppression_slot(bucket: u8) -> u16 {
    slot(format!("pl1:sup:{bucket}").as_bytes())
}

/// The hash tag of a shard. Plain numbers put half of 8 shards on one of three nodes; so each takes the first suffix whose
/// slot lies in its own n-th of the slots.
fn tag(shard: u16, shards: u16) -> String {
    if shards == 1 {
        return "{pl1:0}".to_owned();
    }
    let bound = |shard: u32| shard * SLOTS / u32::from(shards);
    let share = bound(u32::from(shard))..bound(u32::from(shard) + 1);
    (0_u32..)
        .map(|suffix| format!("pl1:{shard}.{suffix}"))
        .find(|tag| share.contains(&u32::from(slot(tag.as_bytes()))))
        .map(|tag| format!("{{{tag}}}"))
        .expect("every share of at least one slot is hit by some suffix")
}

/// CRC16/XMODEM modulo the number of slots, as Redis Cluster hashes a tag.
fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;

    use super::{Keys, SLOTS, Stage, StreamKey, slot, tag};

    #[test]
    fn slots_are_those_of_redis() {
        // From the Redis Cluster specification, and `CLUSTER KEYSLOT`.
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"s0"), 11_097);
    }

    #[test]
    fn each_shard_has_a_tag_within_its_share_of_the_slots() {
        assert_eq!(tag(0, 1), "{pl1:0}");
        for shards in [2_u16, 3, 16, 256] {
            for shard in 0..shards {
                let tag = tag(shard, shards);
                let inner = tag.trim_matches(['{', '}']);
                let share = u32::from(slot(inner.as_bytes())) * u32::from(shards);
                let (low, high) = (u32::from(shard) * SLOTS, (u32::from(shard) + 1) * SLOTS);
                assert!(share >= low.saturating_sub(SLOTS / 4) && share < high, "{tag}");
            }
        }
    }

    #[test]
    fn a_stream_reads_back_from_its_key() {
        let keys = Keys::new(16);
        let stream = StreamKey {
            stage: Stage::Ready,
            lane: Lane::Bulk,
            identity: "acme-news".to_owned(),
            tenant: "a:b".to_owned(),
        };
        let key = keys.stream(7, &stream);
        let key = key.as_str().expect("text");
        assert_eq!(keys.parse_stream(7, key), Some(stream));
        assert_eq!(keys.parse_stream(6, key), None);
        assert_eq!(keys.parse_stream(7, "other"), None);
    }
}
