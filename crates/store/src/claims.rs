//! Claims of rendered messages, and what came of them.

use std::time::Duration;

use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::time::Millis;

use bytes::Bytes;

use crate::batch::{Batch, Item, bytes, number, record};
use crate::packed::{Unreadable, millis};
use crate::runs;
use crate::script;
use crate::{Change, ClaimItem, Claimant, Claimed, Claims, Durability, Report, Store, StoreError};

/// Stands for no run: servers have forty hexadecimal digits.
const NO_RUN: &str = "none";

impl Store {
    /// Takes rendered messages of one shard for sending; the answers are in order, and come once the claims are kept.
    ///
    /// # Errors
    /// If Redis refuses the batch (then nothing of it is claimed), or does not answer or keep it in time: then anything may be claimed under this
    /// nonce, and nothing may be sent.
    pub async fn claim(
        &self,
        shard: u16,
        claimant: Claimant<'_>,
        items: Vec<ClaimItem>,
    ) -> Result<Claims, StoreError> {
        let Claimant {
            nonce,
            lease,
            provider,
            run,
        } = claimant;
        let mut batch = Batch::default();
        batch.own(bytes(Bytes::copy_from_slice(&nonce.0)));
        batch.own(number((Millis(0) + lease).0));
        batch.own(number(provider.code().into()));
        if self.may_lose_claims() {
            batch.own(run.map_or(NO_RUN, |run| &run.0).to_owned());
            batch.last_key(self.keys.run(shard));
        } else {
            batch.own("");
        }
        for item in items {
            let stream = batch.stream(&item.stream)?;
            let suppression = item.verdict.suppression().unwrap_or(Reason::None);
            let bytes = Item::new(item.id)
                .bytes(&millis(item.ticket.accepted_at))
                .u32(item.ticket.generation)
                .u16(suppression.code())
                .u16(stream)
                .bytes(&millis(item.rendered_at))
                .text(&item.entry_id)?;
            batch.push(item.id, bytes);
        }
        let answers = self
            .keep_batch(&script::CLAIM, shard, batch, Durability::Local)
            .await?;
        match answers.first() {
            Some((word, hold)) if word == "held" => Ok(Claims::Held(runs::hold_of(hold)?)),
            _ => Ok(Claims::Made(
                answers.into_iter().map(claimed).collect::<Result<_, _>>()?,
            )),
        }
    }

    /// Writes what came of claims of one shard; the answers are in order, and come once the results are kept.
    ///
    /// # Errors
    /// If Redis refuses, does not answer or does not keep them in time: the results must be kept here and written again.
    pub async fn finish(&self, shard: u16, items: Vec<Report>) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        for Report { id, fence, outcome } in items {
            let (letter, reason, delay, provider_id) = match &outcome {
                Outcome::Accepted { provider_id } => {
                    (b'A', Reason::None, Duration::ZERO, provider_id.as_str())
                }
                Outcome::Refused { reason } => (b'R', *reason, Duration::ZERO, ""),
                Outcome::Failed { reason, delay } => (b'F', *reason, *delay, ""),
                Outcome::Deferred { reason, delay } => (b'D', *reason, *delay, ""),
                Outcome::Unknown { reason } => (b'U', *reason, Duration::ZERO, ""),
            };
            let bytes = Item::new(id)
                .u32(fence.attempt)
                .bytes(&fence.nonce.0)
                .u8(letter)
                .u16(reason.code())
                .bytes(&millis(Millis(0) + delay))
                .text(provider_id)?;
            batch.push(id, bytes);
        }
        self.keep_changes(&script::FINISH, shard, batch).await
    }
}

fn claimed((word, packed): (String, Bytes)) -> Result<Claimed, StoreError> {
    match word.as_str() {
        "sending" => Ok(match record(&packed) {
            Ok(record) => Claimed::Sending(record),
            Err(Unreadable::Newer) => Claimed::Newer,
            Err(Unreadable::Corrupt) => Claimed::Corrupt,
        }),
        "dropped" => Ok(Claimed::Dropped),
        "expired" => Ok(Claimed::Expired),
        "suppressed" => Ok(Claimed::Suppressed),
        "newer" => Ok(Claimed::Newer),
        "corrupt" => Ok(Claimed::Corrupt),
        _ => Err(StoreError::bug(format!("claim answered {word}"))),
    }
}
