//! All that stands in a Redis, as text that two runs of the same steps write alike, and that can be put back.
//!
//! What differs from run to run is left out: ids that Redis made of its clock are `*`, its run and its history are named `RUN` and `HISTORY`, and times to live are
//! whole minutes. What a consumer had read and not ended is not kept: others take that over in any case.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use paceline_testkit::TestRedis;
use paceline_testkit::resp::Reply;
use serde::{Deserialize, Serialize};

/// An id from here on is one of Redis's clock.
const CLOCK_FROM: u64 = 1_000_000_000_000;
const MINUTE_MS: i64 = 60_000;
/// What stands for the names of Redis's run and history.
const RUN: &str = "RUN";
const HISTORY: &str = "HISTORY";

/// Keys in their order.
pub(crate) type Dump = BTreeMap<String, Kept>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// In minutes; `None` for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lives: Option<i64>,
    #[serde(flatten)]
    pub(crate) value: Value,
}

/// Bytes stand as text where they are printable ASCII, else after `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    String(String),
    Hash(BTreeMap<String, String>),
    Set(Vec<String>),
    Zset(Vec<(String, String)>),
    Stream {
        groups: Vec<String>,
        entries: Vec<(String, Vec<String>)>,
    },
}

/// The names by which Redis knows its run and its history, which differ each time.
struct Names {
    run: String,
    history: String,
}

impl Names {
    async fn of(redis: &TestRedis) -> anyhow::Result<Self> {
        let info = redis.command(&["INFO", "server", "replication"]).await.bytes();
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            Ok::<_, anyhow::Error>(line.context("redis does not say who it is")?.trim().to_owned())
        };
        Ok(Self {
            run: field("run_id:")?,
            history: field("master_replid:")?,
        })
    }

    fn text(&self, bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("0x") && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
                text.replace(&self.run, RUN).replace(&self.history, HISTORY)
            }
            _ => format!("0x{}", hex::encode(bytes)),
        }
    }

    fn bytes(&self, text: &str) -> anyhow::Result<Vec<u8>> {
        match text.strip_prefix("0x") {
            Some(digits) => Ok(hex::decode(digits)?),
            None => Ok(text
                .replace(RUN, &self.run)
                .replace(HISTORY, &self.history)
                .into_bytes()),
        }
    }
}

/// Takes everything down.
///
/// # Errors
/// If there is a value of a type that nothing of ours has.
pub(crate) async fn take(redis: &TestRedis) -> anyhow::Result<Dump> {
    let names = Names::of(redis).await?;
    let mut dump = Dump::new();
    for key in redis.command(&["KEYS", "*"]).await.array() {
        let key = String::from_utf8(key.bytes().to_vec())?;
        // Of a wait, and gone in a second.
        if key.ends_with(":wait") {
            continue;
        }
        let ttl = redis.command(&["PTTL", &key]).await.integer();
        let lives = (ttl >= 0).then(|| (ttl + MINUTE_MS - 1) / MINUTE_MS);
        let value = value(redis, &key, &names).await?;
        dump.insert(key, Kept { lives, value });
    }
    Ok(dump)
}

async fn value(redis: &TestRedis, key: &str, names: &Names) -> anyhow::Result<Value> {
    let ask = async |words: &[&str]| redis.command(words).await;
    let pairs = |reply: Reply| {
        let texts: Vec<String> = reply.array().iter().map(|it| names.text(&it.bytes())).collect();
        let pairs = texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        pairs.collect::<Vec<_>>()
    };
    let kind = String::from_utf8_lossy(&ask(&["TYPE", key]).await.bytes()).into_owned();
    Ok(match kind.as_str() {
        "string" => Value::String(names.text(&ask(&["GET", key]).await.bytes())),
        "hash" => Value::Hash(pairs(ask(&["HGETALL", key]).await).into_iter().collect()),
        "zset" => Value::Zset(pairs(ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).await)),
        "set" => {
            let members = ask(&["SMEMBERS", key]).await;
            let mut members: Vec<String> = members.array().iter().map(|it| names.text(&it.bytes())).collect();
            members.sort();
            Value::Set(members)
        }
        "stream" => {
            let entry = |entry: &Reply| {
                let parts = entry.array();
                let id = String::from_utf8_lossy(&parts[0].bytes()).into_owned();
                let ms = id.split('-').next().and_then(|ms| ms.parse::<u64>().ok());
                let id = if ms.is_some_and(|ms| ms >= CLOCK_FROM) {
                    "*".to_owned()
                } else {
                    id
                };
                let fields = parts[1]
                    .array()
                    .iter()
                    .map(|it| names.text(&it.bytes()))
                    .collect();
                (id, fields)
            };
            let groups = ask(&["XINFO", "GROUPS", key]).await;
            Value::Stream {
                groups: groups
                    .array()
                    .iter()
                    .map(|it| names.text(&it.array()[1].bytes()))
                    .collect(),
                entries: ask(&["XRANGE", key, "-", "+"])
                    .await
                    .array()
                    .iter()
                    .map(entry)
                    .collect(),
            }
        }
        other => bail!("{key} is a {other}"),
    })
}

/// Puts everything into an empty Redis.
///
/// # Errors
/// If Redis refuses something of it.
pub(crate) async fn put(redis: &TestRedis, dump: &Dump) -> anyhow::Result<()> {
    let names = Names::of(redis).await?;
    for (key, kept) in dump {
        for words in commands(key, &kept.value, &names)? {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = redis.command(&words).await;
            anyhow::ensure!(!matches!(reply, Reply::Error(_)), "{key}: {reply:?}");
        }
        if let Some(minutes) = kept.lives {
            let lives = (minutes * MINUTE_MS).to_string();
            redis.command(&["PEXPIRE", key, &lives]).await;
        }
    }
    Ok(())
}

/// The commands that make a value.
fn commands(key: &str, value: &Value, names: &Names) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let command = |name: &str, texts: &[&String]| {
        let mut words = vec![name.as_bytes().to_vec(), key.as_bytes().to_vec()];
        for text in texts {
            words.push(names.bytes(text)?);
        }
        anyhow::Ok(words)
    };
    match value {
        Value::String(text) => Ok(vec![command("SET", &[text])?]),
        Value::Hash(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| command("HSET", &[name, value]))
                .collect()
        }
        Value::Set(members) => members.iter().map(|member| command("SADD", &[member])).collect(),
        Value::Zset(members) => {
            let members = members.iter();
            members
                .map(|(member, score)| command("ZADD", &[score, member]))
                .collect()
        }
        Value::Stream { groups, entries } => {
            let mut all = Vec::new();
            for (id, fields) in entries {
                let mut words = vec![id];
                words.extend(fields);
                all.push(command("XADD", &words)?);
            }
            let group = |group: &String| {
                ["XGROUP", "CREATE", key, group, "0", "MKSTREAM"].map(|word| word.as_bytes().to_vec())
            };
            all.extend(groups.iter().map(|it| group(it).to_vec()));
            Ok(all)
        }
    }
}
