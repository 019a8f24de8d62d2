//! Attachments that are handed over as a url: fetched, checked by their digest, and put in place before the message is rendered.
//!
//! What a store does harms no other mail: such messages are fetched beside the batches, a few at a time and of one store at most half of these,
//! in a bounded time that counts their waiting, and not at all for some seconds after a store failed several times in a row.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_kit::object_url::{UrlPrefixes, UrlProblem};
use paceline_wire::v1::{Attachment, StoredRequest};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::AttachmentSettings;
use crate::object_store::{NoFile, ObjectStore};

/// Of all attachments of a message, as ingest takes them by content.
const BYTES_MAX: usize = 7 << 20;
/// Failures in a row after which a store is left alone ...
const FAILURES: u32 = 3;
/// ... for this time.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Messages that wait for each one that is being fetched.
const WAITING_OF_EACH: usize = 4;

/// Why an attachment is not there. Says its number, and never where it was to be.
#[derive(Debug)]
pub(crate) struct Unfetched {
    index: usize,
    why: Trouble,
}

impl fmt::Display for Unfetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attachments[{}]: {}", self.index, self.why)
    }
}

impl Error for Unfetched {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.source()
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("its url {0}")]
    NotAllowed(UrlProblem),
    #[error(transparent)]
    NoFile(#[from] NoFile),
    #[error("is empty")]
    Empty,
    #[error("what is at its url has another SHA-256")]
    Changed,
    #[error("the answer of its store may have broken off")]
    Unended,
    #[error("no whole answer of its store in time")]
    Timeout,
    #[error("its store has failed just now")]
    LeftAlone,
    #[error("too many others are being fetched")]
    NoRoom,
    #[error("redis is too full for it")]
    StoreFull,
}

/// What may become of a message without its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The store would say the same again.
    Hopeless,
    /// The store, or another renderer's settings, may do better.
    MayPass,
    /// The store is not to blame.
    NotAsked,
}

impl Unfetched {
    /// Of a request's first attachment that is to be fetched.
    fn first(request: &StoredRequest, why: Trouble) -> Self {
        let index = request.attachments.iter().position(Attachment::is_remote);
        let index = index.unwrap_or_default();
        Self { index, why }
    }

    /// The request is not asked for, since Redis has no room for what would come.
    pub(crate) fn store_full(request: &StoredRequest) -> Self {
        Self::first(request, Trouble::StoreFull)
    }

    pub(crate) const fn reason(&self) -> Reason {
        match self.why {
            Trouble::NotAllowed(_)
            | Trouble::Empty
            | Trouble::NoFile(NoFile::Refused(_) | NoFile::Redirect(_) | NoFile::TooLarge(_)) => {
                Reason::AttachmentRefused
            }
            Trouble::Changed => Reason::AttachmentChanged,
            Trouble::NoFile(NoFile::Busy(_) | NoFile::Connection(_) | NoFile::Broken(_))
            | Trouble::Unended
            | Trouble::Timeout
            | Trouble::LeftAlone
            | Trouble::NoRoom => Reason::AttachmentUnavailable,
            Trouble::StoreFull => Reason::StoreFull,
        }
    }

    pub(crate) fn outlook(&self) -> Outlook {
        match self.why {
            Trouble::NoRoom | Trouble::StoreFull => Outlook::NotAsked,
            Trouble::NotAllowed(UrlProblem::NotAllowed | UrlProblem::NoneAllowed) => Outlook::MayPass,
            _ if self.reason() == Reason::AttachmentUnavailable => Outlook::MayPass,
            _ => Outlook::Hopeless,
        }
    }

    /// For metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self.why {
            Trouble::NotAllowed(_) => "not_allowed",
            Trouble::Empty
            | Trouble::NoFile(NoFile::Refused(_) | NoFile::Redirect(_) | NoFile::TooLarge(_)) => "refused",
            Trouble::Changed => "changed",
            Trouble::NoFile(NoFile::Busy(_)) => "busy",
            Trouble::NoFile(NoFile::Connection(_) | NoFile::Broken(_)) | Trouble::Unended => "broken",
            Trouble::Timeout => "timeout",
            Trouble::LeftAlone => "left_alone",
            Trouble::NoRoom => "no_room",
            Trouble::StoreFull => "store_full",
        }
    }
}

/// A store that failed, under one prefix.
#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    left_alone_until: Option<Instant>,
}

impl Health {
    /// True if it may be asked now. After it was left alone one asks how it is, and the others wait for what that one hears, or for `time`.
    fn admits(&mut self, now: Instant, time: Duration) -> bool {
        if self.is_left_alone(now) {
            return false;
        }
        if self.failures >= FAILURES {
            self.left_alone_until = Some(now + time);
        }
        true
    }

    fn is_left_alone(&self, now: Instant) -> bool {
        self.left_alone_until.is_some_and(|until| now < until)
    }
}

/// The prefixes of one message's urls.
type Prefixes = BTreeSet<usize>;
type Permits = Vec<OwnedSemaphorePermit>;

/// A bound for the messages of all stores, and one for those of each: no store keeps the mail of all others waiting.
struct Bound {
    all: Arc<Semaphore>,
    of_each: Vec<Arc<Semaphore>>,
}

impl Bound {
    fn new(all: usize, prefixes: usize) -> Self {
        let of_each = if prefixes > 1 { all.div_ceil(2) } else { all };
        Self {
            all: Arc::new(Semaphore::new(all)),
            of_each: (0..prefixes).map(|_| Arc::new(Semaphore::new(of_each))).collect(),
        }
    }

    /// In an order that is the same for everybody.
    fn of(&self, prefixes: &Prefixes) -> impl Iterator<Item = Arc<Semaphore>> {
        let own = prefixes.iter().map(|&prefix| &self.of_each[prefix]);
        own.chain(iter::once(&self.all)).map(Arc::clone)
    }
}

/// Room of a message in which it waits for its place.
pub(crate) struct Room {
    prefixes: Prefixes,
    _permits: Permits,
}

/// What fetches. One for the whole renderer.
pub(crate) struct Attached {
    /// `None` where no url is allowed.
    store: Option<ObjectStore>,
    prefixes: UrlPrefixes,
    health: Vec<Mutex<Health>>,
    /// Messages whose files are being fetched, or in memory until they are handed on.
    places: Bound,
    /// These, and those that wait for it.
    room: Bound,
    pub(crate) tasks: TaskTracker,
    pub(crate) settings: AttachmentSettings,
}

impl Attached {
    /// # Errors
    /// If the prefixes don't fit, or the system's CAs can't be read.
    pub(crate) fn new(settings: AttachmentSettings) -> anyhow::Result<Self> {
        let prefixes = UrlPrefixes::read(&settings.url_prefixes)?;
        let store = (!prefixes.is_empty()).then(|| ObjectStore::new(settings.connect_timeout));
        let places = settings.fetches_max.get();
        Ok(Self {
            store: store.transpose()?,
            health: (0..prefixes.len()).map(|_| Mutex::default()).collect(),
            places: Bound::new(places, prefixes.len()),
            room: Bound::new(places * (1 + WAITING_OF_EACH), prefixes.len()),
            prefixes,
            tasks: TaskTracker::new(),
            settings,
        })
    }

    /// Room to wait for a place in.
    ///
    /// # Errors
    /// If there is none, or an attachment may not be asked for now.
    pub(crate) fn room(&self, request: &StoredRequest) -> Result<Room, Unfetched> {
        let mut prefixes = Prefixes::new();
        for (index, part) in request.attachments.iter().enumerate() {
            if part.is_remote() {
                let prefix = self.may(part).map_err(|why| Unfetched { index, why })?;
                prefixes.insert(prefix);
            }
        }
        let permits = self.room.of(&prefixes).map(Semaphore::try_acquire_owned);
        let permits = permits.collect::<Result<_, _>>();
        let _permits = permits.map_err(|_| Unfetched::first(request, Trouble::NoRoom))?;
        Ok(Room { prefixes, _permits })
    }

    /// A place, with half of the time left to use it. While the permits are held, the files are in memory.
    ///
    /// # Errors
    /// If there is none in time.
    pub(crate) async fn place(
        &self,
        request: &StoredRequest,
        room: &Room,
        by: Instant,
    ) -> Result<Permits, Unfetched> {
        let take = async {
            let mut permits = Permits::new();
            for semaphore in self.places.of(&room.prefixes) {
                // It is never closed.
                permits.extend(semaphore.acquire_owned().await.ok());
            }
            permits
        };
        let place = tokio::time::timeout_at(by - self.settings.timeout / 2, take).await;
        place.map_err(|_| Unfetched::first(request, Trouble::NoRoom))
    }

    /// Fetches what the request lacks, by then.
    ///
    /// # Errors
    /// Says of the first attachment that can't be had why.
    pub(crate) async fn fetch(&self, request: &mut StoredRequest, by: Instant) -> Result<(), Unfetched> {
        let content = request.attachments.iter().map(|part| part.content.len());
        let mut left = BYTES_MAX.saturating_sub(content.sum());
        for (index, part) in request.attachments.iter_mut().enumerate() {
            if part.is_remote() {
                let bytes = self.get(part, left, by).await;
                let bytes = bytes.map_err(|why| Unfetched { index, why })?;
                left -= bytes.len();
                // The url may open more than this file: it goes no further.
                (part.url, part.sha256, part.content) = (String::new(), Bytes::new(), bytes);
            }
        }
        Ok(())
    }

    async fn get(&self, part: &Attachment, bytes_max: usize, by: Instant) -> Result<Bytes, Trouble> {
        let url = self.prefixes.check(&part.url).map_err(Trouble::NotAllowed)?;
        let store = self.store.as_ref();
        let store = store.ok_or(Trouble::NotAllowed(UrlProblem::NoneAllowed))?;
        let (began, prefix) = (Instant::now(), url.prefix());
        // It may have failed while this waited.
        let admits = self.with_health(prefix, |health| health.admits(began, self.settings.timeout));
        if !admits {
            return Err(Trouble::LeftAlone);
        }
        let file = tokio::time::timeout_at(by, store.get(url.uri().clone(), bytes_max)).await;
        let outcome = match file {
            Err(_) => Err(Trouble::Timeout),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(file)) if part.sha256 == Sha256::digest(&file.bytes)[..] => Ok(file.bytes),
            Ok(Ok(file)) if !file.is_whole => Err(Trouble::Unended),
            Ok(Ok(file)) if file.bytes.is_empty() => Err(Trouble::Empty),
            Ok(Ok(_)) => Err(Trouble::Changed),
        };
        match &outcome {
            // What other files have left of the time may be too short for a good store.
            Err(Trouble::Timeout) if began.elapsed() < self.settings.timeout / 2 => {}
            Err(
                Trouble::Timeout
                | Trouble::Unended
                | Trouble::NoFile(NoFile::Busy(_) | NoFile::Connection(_) | NoFile::Broken(_)),
            ) => self.note_failure(prefix),
            _ => self.with_health(prefix, |health| *health = Health::default()),
        }
        outcome
    }

    /// Below which prefix it is, if it may be asked for.
    fn may(&self, part: &Attachment) -> Result<usize, Trouble> {
        let prefix = self
            .prefixes
            .check(&part.url)
            .map_err(Trouble::NotAllowed)?
            .prefix();
        if self.with_health(prefix, |health| health.is_left_alone(Instant::now())) {
            return Err(Trouble::LeftAlone);
        }
        Ok(prefix)
    }

    fn note_failure(&self, prefix: usize) {
        let failures = self.with_health(prefix, |health| {
            health.failures = health.failures.saturating_add(1);
            if health.failures >= FAILURES {
                health.left_alone_until = Some(Instant::now() + LEFT_ALONE);
            }
            health.failures
        });
        if failures >= FAILURES {
            let url_prefix = prefix + 1;
            tracing::warn!(
                url_prefix,
                failures,
                "an object store is left alone for some seconds"
            );
        }
    }

    fn with_health<T>(&self, prefix: usize, act: impl FnOnce(&mut Health) -> T) -> T {
        act(&mut self.health[prefix].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long a message waits that has waited for so long: half as long again to as long again, so that not all come back at once, between the bounds.
pub(crate) fn wait(settings: &AttachmentSettings, waited: Duration) -> Duration {
    let least = (waited / 2).clamp(settings.retry_min, settings.retry_max);
    least.mul_f64(1.0 + rand::random::<f64>()).min(settings.retry_max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_kit::settings::load;
    use paceline_wire::v1::{Attachment, StoredRequest};
    use tokio::time::Instant;

    use super::{Attached, FAILURES, Health, LEFT_ALONE, wait};
    use crate::config::{AttachmentSettings, Config, DEFAULTS};

    fn settings(prefixes: &[&str]) -> AttachmentSettings {
        let config: Config = load("renderer", DEFAULTS, None).expect("complete");
        let url_prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        AttachmentSettings {
            url_prefixes,
            ..config.attachments
        }
    }

    fn asks(url: &str) -> StoredRequest {
        StoredRequest {
            attachments: ["", url]
                .map(|url| Attachment {
                    url: url.to_owned(),
                    ..Attachment::default()
                })
                .to_vec(),
            ..StoredRequest::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_stores_none_has_all_the_room_and_half_of_the_time_is_left_to_it() {
        let attached = Attached::new(settings(&["https://a.example/", "https://b.example/"]));
        let attached = attached.expect("good");
        let (a, b) = (asks("https://a.example/x"), asks("https://b.example/x"));
        let by = Instant::now() + attached.settings.timeout;
        let rooms: Vec<_> = std::iter::from_fn(|| attached.room(&a).ok()).collect();
        assert_eq!(
            rooms.len(),
            20,
            "half of eight places, and of four times as many to wait"
        );
        let mut places = Vec::new();
        for room in &rooms[..4] {
            places.push(attached.place(&a, room, by).await.expect("there is one"));
        }
        let room = attached.room(&b).expect("there is some");
        attached.place(&b, &room, by).await.expect("there is one");
        let refused = attached.place(&a, &rooms[4], by).await.expect_err("none is left");
        assert_eq!(
            refused.to_string(),
            "attachments[1]: too many others are being fetched"
        );
        assert_eq!(by - Instant::now(), attached.settings.timeout / 2);
        places.pop();
        let by = Instant::now() + attached.settings.timeout;
        attached
            .place(&a, &rooms[4], by)
            .await
            .expect("there is one again");
    }

    #[test]
    fn waits_grow_with_the_age_and_do_not_end_all_at_once() {
        let settings = settings(&[]);
        for (waited, least, most) in [(0, 5, 10), (60, 30, 60), (100_000, 600, 600)] {
            let waits: Vec<_> = (0..50)
                .map(|_| wait(&settings, Duration::from_secs(waited)))
                .collect();
            let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
            assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
            assert!(least == most || waits.iter().any(|wait| *wait != waits[0]));
        }
    }

    #[test]
    fn after_a_store_was_left_alone_one_asks_and_the_others_wait_for_what_it_hears() {
        let (now, time) = (Instant::now(), Duration::from_secs(10));
        let mut health = Health {
            failures: FAILURES,
            left_alone_until: Some(now + LEFT_ALONE),
        };
        assert!(!health.admits(now, time));
        let then = now + LEFT_ALONE;
        assert!(health.admits(then, time), "one asks");
        assert!(!health.admits(then, time));
        assert!(
            health.admits(then + time, time),
            "nothing was heard from the first one"
        );
        health = Health::default();
        assert!(health.admits(then, time) && health.admits(then, time));
    }
}
