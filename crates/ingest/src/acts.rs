//! What people do to dead letters and doubts: which ones, who says so and why, and the count of what came of it.

use bytes::Bytes;
use paceline_domain::stop::Said;
use paceline_domain::time::Millis;
use paceline_kit::access::Caller;
use paceline_kit::said::said;
use paceline_store::{Change, Store};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::{convert, v1};
use prost::Message as _;

use crate::deed::{Deed, Seen};
use crate::error;
use crate::walk::{self, Cursor, Filter, Found};

/// Messages that one call looks for at most, and messages of one script.
const WANT: usize = 1_024;
const BATCH: usize = 64;

/// An act as it was asked for.
pub(crate) struct Act {
    filter: Filter,
    said: Said,
    dry_run: bool,
    from: Cursor,
}

impl Act {
    /// # Errors
    /// What is wrong with it, or that it is not for this caller.
    pub(crate) fn read(
        mut wrong: InvalidFields,
        caller: &Caller,
        act: Option<&v1::MessageAct>,
        now: Millis,
        shards: u16,
    ) -> Result<Self, RpcError> {
        let act = act.cloned().unwrap_or_default();
        let read = Self {
            filter: Filter::read(&mut wrong, act.filter.as_ref(), &act.message_id),
            said: said(&mut wrong, caller, &act.who, &act.why, now),
            dry_run: act.dry_run,
            from: Cursor::read(&mut wrong, &act.page_token, shards),
        };
        wrong.into_result().map_err(RpcError::from)?;
        read.filter.check(caller)?;
        Ok(read)
    }

    /// Looks for what fits and does it, a script's worth at a time.
    ///
    /// # Errors
    /// If the store fails: then some of it may be done, and the same call again does the rest.
    pub(crate) async fn perform(&self, store: &Store, deed: &Deed) -> Result<v1::MessageActDone, RpcError> {
        let of_store = |failure| error::of_store(&failure);
        let walked = walk::next(store, deed.set(), &self.filter, self.from, WANT).await;
        let (found, next) = walked.map_err(of_store)?;
        let seen: Vec<Seen> = found
            .into_iter()
            .filter_map(|Found { id, record, .. }| Some((id, record?)))
            .collect();
        let mut done = v1::MessageActDone {
            matched: seen.len() as u64,
            maybe_sent: seen.iter().filter(|(_, record)| record.maybe_sent).count() as u64,
            ..v1::MessageActDone::default()
        };
        let shard_of = |(id, _): &Seen| id.shard(store.shards());
        if !self.dry_run {
            for of_shard in seen.chunk_by(|one, other| shard_of(one) == shard_of(other)) {
                for batch in of_shard.chunks(BATCH) {
                    let logged = self.logged(deed.name(), batch);
                    let changes = deed.perform(store, shard_of(&batch[0]), batch, logged).await;
                    let changes = changes.map_err(of_store)?;
                    let moved = changes.iter().filter(|change| matches!(change, Change::Moved(_)));
                    done.changed += moved.count() as u64;
                }
            }
        }
        let next = next.map(|next| if done.changed > 0 { next.rewound() } else { next });
        done.next_page_token = walk::token(next);
        if done.changed > 0 {
            tracing::warn!(
                act = deed.name(),
                who = self.said.who,
                changed = done.changed,
                "done by hand"
            );
        }
        Ok(done)
    }

    /// What the log says of a batch. Of a batch of several tenants it names none.
    fn logged(&self, name: &str, batch: &[Seen]) -> Bytes {
        let mut tenants = batch.iter().map(|(_, record)| &record.tenant);
        let first = tenants.next();
        let one = first.filter(|first| tenants.all(|tenant| tenant == *first));
        v1::LoggedAct {
            at: Some(convert::timestamp(self.said.at)),
            act: name.to_owned(),
            who: self.said.who.clone(),
            why: self.said.why.clone(),
            tenant: one.cloned().unwrap_or_default(),
            message_ids: batch
                .iter()
                .map(|(id, _)| Bytes::copy_from_slice(&id.0))
                .collect(),
        }
        .encode_to_vec()
        .into()
    }
}
