//! A process's copy of the stops, read every second and good for two: who has none that young claims and promotes nothing.
//!
//! The age counts from before Redis was asked, on the boot-time clock, so that neither a slow answer nor a process that was frozen
//! makes an old copy look young. A stop that this release can't read is as good as no copy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_domain::stop::{Said, Stop, StopMode, StopSet, Subject};
use paceline_store::{Stopped, Store, StoreError};
use paceline_wire::{stops, v1};
use prost::Message as _;

use crate::Shutdown;
use crate::clock::Clock;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long a copy is good for.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// The copy. Clones are the same one.
#[derive(Clone)]
pub struct Stops {
    copy: Arc<Mutex<Option<Taken>>>,
    clock: Arc<dyn Clock>,
}

struct Taken {
    stops: Arc<StopSet>,
    asked_at: Duration,
}

/// A look that failed.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("redis does not tell the stops")]
    Store(#[from] StoreError),
    #[error("stop {id} can't be read: it is of a newer release, or damaged")]
    Unreadable { id: String },
}

impl Stops {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            copy: Arc::default(),
            clock,
        }
    }

    /// All stops; `None` while there is no copy that is young enough. The same value until something changes.
    #[must_use]
    pub fn current(&self) -> Option<Arc<StopSet>> {
        let now = self.clock.boot();
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let young = copy
            .as_ref()
            .filter(|copy| now.saturating_sub(copy.asked_at) < GOOD_FOR);
        young.map(|copy| Arc::clone(&copy.stops))
    }

    /// True if it is known that no stop meets the message.
    #[must_use]
    pub fn let_go(&self, subject: &Subject<'_>) -> bool {
        self.current()
            .is_some_and(|stops| stops.verdict(subject).is_none())
    }

    /// Keeps the copy young until `stop`.
    pub async fn watch(self, store: Store, stop: Shutdown) {
        let mut failed = false;
        while !stop.is_requested() {
            let asked_at = self.clock.boot();
            match read(&store).await {
                Ok(stops) => {
                    let stops = stops.into_iter().map(|(stop, _)| stop).collect();
                    self.learn(StopSet::new(stops), asked_at);
                    failed = false;
                }
                Err(error) => {
                    if !failed {
                        tracing::error!(%error, "without the stops nothing is claimed");
                    }
                    failed = true;
                }
            }
            // Either way the pause is over.
            let _ = tokio::time::timeout(EVERY, stop.requested()).await;
        }
    }

    fn learn(&self, stops: StopSet, asked_at: Duration) {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let same = copy.as_ref().filter(|copy| *copy.stops == stops);
        let stops = same.map_or_else(|| Arc::new(stops), |copy| Arc::clone(&copy.stops));
        *copy = Some(Taken { stops, asked_at });
    }
}

/// All stops, the oldest first, each with its stored form.
///
/// # Errors
/// If Redis does not answer, or one can't be read.
pub async fn read(store: &Store) -> Result<Vec<(Stop, Bytes)>, LookError> {
    let stored = store.stops().await?;
    let stop = |(id, stored): (String, Bytes)| match stops::unpack(&id, &stored) {
        Ok(stop) => Ok((stop, stored)),
        Err(_) => Err(LookError::Unreadable { id }),
    };
    let mut all = stored.into_iter().map(stop).collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|(one, _), (other, _)| (one.said.at, &one.id).cmp(&(other.said.at, &other.id)));
    Ok(all)
}

/// Entries that stops have met, by the stop, so that the log tells of each whose word it was.
#[derive(Debug, Default)]
pub struct Met(Vec<Group>);

#[derive(Debug)]
struct Group {
    stop_id: String,
    mode: StopMode,
    said: Said,
    items: Vec<Stopped>,
}

impl Met {
    /// Notes an entry that `stop` has met.
    pub fn add(&mut self, stop: &Stop, item: Stopped) {
        let mode = stops::mode(item.cancel);
        let same = |group: &&mut Group| group.mode == mode && group.stop_id == stop.id;
        match self.0.iter_mut().find(same) {
            Some(group) => group.items.push(item),
            None => self.0.push(Group {
                stop_id: stop.id.clone(),
                mode,
                said: stop.word().clone(),
                items: vec![item],
            }),
        }
    }

    /// At most `batch_max` entries of one stop at a time, each with the `LoggedAct` that tells of them.
    pub fn batches(&self, batch_max: usize) -> impl Iterator<Item = (&[Stopped], Bytes)> {
        self.0.iter().flat_map(move |group| {
            let name = match group.mode {
                StopMode::Hold => "stop",
                StopMode::Cancel => "cancel",
            };
            group.items.chunks(batch_max.max(1)).map(move |items| {
                let ids = items.iter().map(|item| item.id);
                (items, stops::act(name, &group.said, ids))
            })
        })
    }
}

/// A stored message as stops look at it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: MessageId,
    pub record: Record,
    request: Option<v1::StoredRequest>,
}

impl Stored {
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        let Record {
            lane, accepted_at, ..
        } = self.record;
        let of_request = |request| stops::subject_of_request(request, lane, accepted_at);
        Subject {
            tenant: &self.record.tenant,
            template: &self.record.template,
            lane,
            accepted_at,
            tags: self
                .request
                .as_ref()
                .map(of_request)
                .map(|subject| subject.tags)
                .unwrap_or_default(),
        }
    }
}

/// The messages of one shard that can be read, with their tags where they are asked for.
///
/// # Errors
/// If Redis does not answer.
pub async fn stored(
    store: &Store,
    shard: u16,
    ids: &[MessageId],
    with_tags: bool,
) -> Result<Vec<Stored>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let records = store.get_readable(shard, ids).await?;
    let requests = if with_tags {
        store.requests(shard, ids).await?
    } else {
        vec![None; ids.len()]
    };
    let all = ids.iter().zip(records).zip(requests);
    Ok(all
        .filter_map(|((&id, record), request)| {
            Some(Stored {
                id,
                record: record?,
                request: request.and_then(|request| v1::StoredRequest::decode(request).ok()),
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use paceline_domain::stop::StopSet;
    use paceline_domain::time::Millis;

    use super::Stops;
    use crate::clock::Clock;

    /// Seconds since the machine started.
    struct Moved(Arc<AtomicU64>);

    impl Clock for Moved {
        fn wall(&self) -> Millis {
            Millis(0)
        }

        fn boot(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_copy_is_good_for_two_seconds_from_when_it_was_asked_for() {
        let now = Arc::new(AtomicU64::new(100));
        let stops = Stops::new(Arc::new(Moved(Arc::clone(&now))));
        assert!(stops.current().is_none(), "nothing was read yet");
        stops.learn(StopSet::default(), Duration::from_secs(99));
        let first = stops.current().expect("one second old");
        now.store(101, Ordering::SeqCst);
        assert!(stops.current().is_none(), "two seconds old");
        stops.learn(StopSet::default(), Duration::from_secs(101));
        let second = stops.current().expect("young again");
        assert!(Arc::ptr_eq(&first, &second), "nothing has changed");
    }
}
