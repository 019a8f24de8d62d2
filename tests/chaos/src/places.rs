//! What in Redis names a message, beside its record.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use paceline_domain::id::MessageId;
use paceline_local::private_redis::Address;
use paceline_testkit::resp::{self, Reply};

/// The sorted sets of a shard.
const WAITING: [&str; 5] = ["open", "later", "doubt", "dead", "held"];

/// Adds what a server's keys name: for each id "request" and the names of the sorted sets that it is in.
///
/// # Errors
/// If the server can't be asked, or holds what can't be read.
pub async fn read(server: &Address, places: &mut BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<()> {
    let mut add = |id: String, place: &str| places.entry(id).or_default().insert(place.to_owned());
    for key in keys(server, "{pl1:*}:q:*").await? {
        let (_, id) = key.rsplit_once(':').context("a key without a colon")?;
        add(id.to_owned(), "request");
    }
    for waiting in WAITING {
        for key in keys(server, &format!("{{pl1:*}}:{waiting}")).await? {
            let members = ask(server, &["ZRANGE", &key, "0", "-1"]).await?;
            for member in members.array() {
                let id: [u8; 16] = member.bytes()[..].try_into().context("a member that is no id")?;
                add(MessageId(id).to_string(), waiting);
            }
        }
    }
    Ok(())
}

async fn keys(server: &Address, pattern: &str) -> anyhow::Result<Vec<String>> {
    let found = ask(server, &["KEYS", pattern]).await?;
    let text = |key: &Reply| String::from_utf8_lossy(&key.bytes()).into_owned();
    Ok(found.array().iter().map(text).collect())
}

async fn ask(server: &Address, words: &[&str]) -> anyhow::Result<Reply> {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    let reply = resp::command(server, &words).await?;
    if let Reply::Error(error) = &reply {
        anyhow::bail!("redis: {error}");
    }
    Ok(reply)
}
