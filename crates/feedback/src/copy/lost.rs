//! After Redis was replaced, at level `local`: the messages that the ledger knows as under way are looked for in it.

use std::error::Error;

use paceline_domain::record::Record;
use paceline_domain::time::Millis;
use paceline_ledger::{Ledger, OpenMessage};
use paceline_store::{Looked, Store};

/// Messages of one page.
const PAGE: u32 = 500;

/// Marks what the Redis of a shard lacks if it is another run than the one before; answers how many. It waits for the end of the
/// run's hold, until which senders stand by their claims.
pub(super) async fn find(
    shard: u16,
    store: &Store,
    ledger: &Ledger,
    now: Millis,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let hold = store.hold(shard).await?;
    let known = ledger.redis_run(shard).await?;
    if known.as_deref() == Some(hold.run.as_str()) || !hold.left.is_zero() {
        return Ok(0);
    }
    let mut lost = 0;
    let mut last = None;
    loop {
        let page = ledger.open_messages(last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last = Some(*end);
        let here = |message: &OpenMessage| message.id.shard(store.shards()) == shard;
        let open: Vec<OpenMessage> = page.into_iter().filter(here).collect();
        let ids: Vec<_> = open.iter().map(|message| message.id).collect();
        let looked = store.inspect(shard, &ids).await?;
        let gone = open
            .into_iter()
            .zip(looked)
            .filter(|(message, looked)| is_lost(message, looked));
        let gone: Vec<OpenMessage> = gone.map(|(message, _)| message).collect();
        lost += ledger.mark_lost(&gone, now).await?;
    }
    ledger.set_redis_run(shard, hold.run.as_str()).await?;
    Ok(lost)
}

/// What can't be read is there: it is shown among the dead letters.
fn is_lost(message: &OpenMessage, looked: &Looked) -> bool {
    match looked {
        Looked::Missing => true,
        Looked::Record(record) => is_older(message, record),
        Looked::Newer | Looked::Corrupt => false,
    }
}

/// True of a record that has not come as far as the ledger knows, or of another acceptance.
fn is_older(message: &OpenMessage, record: &Record) -> bool {
    record.accepted_at != message.accepted_at || record.revision < message.revision
}
