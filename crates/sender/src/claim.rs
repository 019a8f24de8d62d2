//! Claims what has its token, right before it is sent.
//!
//! A claim whose answer is lost may have been made. Nothing of it is sent; its records are read until they tell, and what turns
//! out to be ours is reported as not written, so that it is not left to doubt.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Nonce, Provider as ProviderName, Record, State};
use paceline_store::{ClaimItem, Claimant, Claimed, Claims, ErrorClass, Run, Verdict};
use tokio::sync::OwnedSemaphorePermit;

use crate::attempt::{self, Claim};
use crate::buffer::Held;
use crate::outcome;
use crate::pacing::Admission;
use crate::provider::Provider;
use crate::results::{self, Finished};
use crate::shared::{Shard, Shared};
use crate::stopped;
use crate::suppressed;

/// The pause between two looks at claims of unknown fate, doubled up to the bound.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a message waits at the least whose own provider can't be used.
const BOUND_WAIT_MIN: Duration = Duration::from_secs(10);

/// An entry with all that it needs to be claimed.
pub(crate) struct Picked {
    pub(crate) held: Held,
    pub(crate) admission: Admission,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Claims the entries in one script for the provider that all of them have a token of, and sends those that are ours.
pub(crate) async fn claim<P: Provider>(
    shared: Arc<Shared<P>>,
    shard: Arc<Shard>,
    provider: ProviderName,
    picked: Vec<Picked>,
) {
    let Some(stops) = shared.stops.current() else {
        put_back(&shard, picked);
        return;
    };
    let picked = stopped::part(&shared, &shard, &stops, picked, |picked| &picked.held).await;
    let (picked, verdicts, unknown) = suppressed::part(&shared, picked).await;
    if !unknown.is_empty() {
        put_back(&shard, unknown);
        suppressed::pause(&shard);
    }
    if picked.is_empty() {
        return;
    }
    let nonce = Nonce(rand::random());
    let asked_at = shared.clock.boot();
    let both = picked.iter().zip(&verdicts);
    let items: Vec<ClaimItem> = both
        .map(|(picked, verdict)| item(&picked.held, *verdict))
        .collect();
    let lease = shared.limits.claim_lease;
    let run = shard.standing.run();
    let claimant = Claimant {
        nonce,
        lease,
        provider,
        run: run.as_ref(),
    };
    let answers = match shared.store.claim(shard.number, claimant, items).await {
        Ok(Claims::Made(answers)) => answers,
        Ok(Claims::Held(_)) => {
            shared.metrics.claim("held");
            shard.standing.refused(run.as_ref());
            shard.replaced.notify_one();
            put_back(&shard, picked);
            return;
        }
        Err(error) => {
            shared.metrics.store_error("claim");
            tracing::warn!(shard = shard.number, entries = picked.len(), %error, "claim failed");
            if error.class() != ErrorClass::Refused {
                settle(&shared, &shard, nonce, picked).await;
            }
            // What was refused is nobody's: it is pending still, and is reclaimed.
            return;
        }
    };
    for ((picked, verdict), answer) in picked.into_iter().zip(verdicts).zip(answers) {
        shared.metrics.claim(name(&answer));
        match answer {
            Claimed::Sending(record) => {
                start(&shared, &shard, (asked_at, lease), run.as_ref(), picked, record).await;
            }
            Claimed::Corrupt => {
                tracing::error!(message_id = %picked.held.id, "record can't be read, it stands among the dead letters");
            }
            // Left pending for a sender of its release.
            Claimed::Newer => tracing::debug!(message_id = %picked.held.id, "record of a newer release"),
            Claimed::Suppressed => shared
                .metrics
                .suppressed(verdict.suppression().unwrap_or_default()),
            Claimed::Dropped | Claimed::Expired => {}
        }
    }
    shard.ready.notify_one();
}

/// Sends what was claimed, unless the claim can't be stood by or the record is bound to a provider that has no token.
async fn start<P: Provider>(
    shared: &Arc<Shared<P>>,
    shard: &Arc<Shard>,
    (asked_at, lease): (Duration, Duration),
    run: Option<&Run>,
    mut picked: Picked,
    record: Record,
) {
    let entry = (picked.held.id, &record);
    if !shard.standing.enter(run, entry, asked_at, lease) {
        give_up(shared, shard, picked, &record, Duration::ZERO).await;
        return;
    }
    if let Err(wait) = turn_to(shared, &mut picked, &record) {
        let delay = outcome::until_usable(wait.max(BOUND_WAIT_MIN), rand::random());
        give_up(shared, shard, picked, &record, delay).await;
        return;
    }
    let claim = Claim::new(record, picked, (asked_at, lease), shard.open.enter());
    tokio::spawn(attempt::run(Arc::clone(shared), Arc::clone(shard), claim));
}

/// What may have been sent by one provider is never sent by another, nor as another identity than its own: its claim keeps the provider
/// of then, and it goes with that one's token or not at all.
fn turn_to<P>(shared: &Shared<P>, picked: &mut Picked, record: &Record) -> Result<(), Duration> {
    let is_foreign = |by| by != picked.admission.by() || picked.admission.via().is_some();
    match record.bound_to() {
        Some(provider) if is_foreign(provider) => {
            picked.admission = shared.pacing.admit_bound(
                (&record.identity, picked.held.stream.lane),
                provider,
                picked.held.id,
            )?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Nothing was claimed, and everything may be once the hold is over.
fn put_back(shard: &Shard, picked: Vec<Picked>) {
    let mut buffer = shard.buffer();
    for picked in picked {
        buffer.push(picked.held);
    }
}

/// Finds out which of the entries were claimed under `nonce`, and gives those up.
async fn settle<P>(shared: &Shared<P>, shard: &Shard, nonce: Nonce, picked: Vec<Picked>) {
    let unsettled = shard.unsettled.enter();
    let ids: Vec<MessageId> = picked.iter().map(|picked| picked.held.id).collect();
    let mut pause = PAUSE_MIN;
    let records = loop {
        tokio::time::sleep(pause).await;
        match shared.store.get_readable(shard.number, &ids).await {
            Ok(records) => break records,
            Err(error) => {
                tracing::debug!(shard = shard.number, %error, "claims of unknown fate can't be looked at");
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    };
    for (picked, record) in picked.into_iter().zip(records) {
        let Some(record) = record.filter(|record| record.state == State::Sending && record.nonce == nonce)
        else {
            continue;
        };
        give_up(shared, shard, picked, &record, Duration::ZERO).await;
    }
    drop(unsettled);
    shard.ready.notify_one();
}

/// Reports a claim of which nothing was sent.
async fn give_up<P>(shared: &Shared<P>, shard: &Shard, picked: Picked, record: &Record, delay: Duration) {
    let outcome = Outcome::Deferred {
        reason: Reason::NotWritten,
        delay,
    };
    shared.metrics.not_written(Reason::NotWritten);
    let Picked {
        held,
        admission,
        permit,
    } = picked;
    // Others may have its place while the result waits for Redis.
    drop(admission);
    let finished = Finished::new(held.id, record.fence(), outcome, permit);
    results::hand_over(shard, finished).await;
}

fn item(held: &Held, verdict: Verdict) -> ClaimItem {
    ClaimItem {
        stream: held.stream.clone(),
        entry_id: held.entry_id.clone(),
        id: held.id,
        ticket: held.ticket,
        verdict,
        rendered_at: held.rendered_at,
    }
}

const fn name(claimed: &Claimed) -> &'static str {
    match claimed {
        Claimed::Sending(_) => "sending",
        Claimed::Dropped => "dropped",
        Claimed::Expired => "expired",
        Claimed::Suppressed => "suppressed",
        Claimed::Newer => "newer",
        Claimed::Corrupt => "corrupt",
    }
}
