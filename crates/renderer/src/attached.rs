//! Attachments that are handed over as a url: fetched, checked by their digest, and put in place before the message is rendered.
//!
//! What a store does harms no other mail: such messages are fetched beside the batches, a few at a time, in a bounded time that counts their
//! waiting, and not at all for some seconds after a store failed several times in a row.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::reason::Reason;
use paceline_kit::object_url::{ObjectUrl, UrlPrefixes, UrlProblem};
use paceline_wire::v1::{Attachment, StoredRequest};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
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
#[derive(Debug, thiserror::Error)]
#[error("attachments[{index}]: {why}")]
pub(crate) struct Unfetched {
    index: usize,
    why: Trouble,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("its url {0}")]
    NotAllowed(#[from] UrlProblem),
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
}

impl Unfetched {
    const fn late(index: usize) -> Self {
        let why = Trouble::Timeout;
        Self { index, why }
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
            | Trouble::LeftAlone => Reason::AttachmentUnavailable,
        }
    }

    /// True if the store may do better later.
    pub(crate) fn may_pass(&self) -> bool {
        self.reason() == Reason::AttachmentUnavailable
    }
}

/// A store that failed, under one prefix.
#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    left_alone_until: Option<Instant>,
}

/// What fetches. One for the whole renderer.
pub(crate) struct Attached {
    /// `None` where no url is allowed.
    store: Option<ObjectStore>,
    prefixes: UrlPrefixes,
    health: Mutex<Vec<Health>>,
    /// Messages whose files are being fetched, or in memory until they are handed on.
    places: Semaphore,
    /// These, and those that wait for it.
    room: Arc<Semaphore>,
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
            health: Mutex::new(vec![Health::default(); prefixes.len()]),
            prefixes,
            places: Semaphore::new(places),
            room: Arc::new(Semaphore::new(places * (1 + WAITING_OF_EACH))),
            tasks: TaskTracker::new(),
            settings,
        })
    }

    /// Room to wait for a place in.
    ///
    /// # Errors
    /// If there is none until `by`.
    pub(crate) async fn room(&self, by: Instant) -> Result<OwnedSemaphorePermit, Unfetched> {
        let room = tokio::time::timeout_at(by, Arc::clone(&self.room).acquire_owned()).await;
        // The semaphores are never closed.
        room.ok().and_then(Result::ok).ok_or(Unfetched::late(0))
    }

    /// Fetches what the request lacks, by then. While the permit is held, the files are in memory.
    ///
    /// # Errors
    /// Says of the first attachment that can't be had why.
    pub(crate) async fn fetch(
        &self,
        request: &mut StoredRequest,
        by: Instant,
    ) -> Result<SemaphorePermit<'_>, Unfetched> {
        // What can't be had waits for no place.
        let mut first = None;
        for (index, part) in request.attachments.iter().enumerate() {
            if part.is_remote() {
                self.may(part).map_err(|why| Unfetched { index, why })?;
                first = first.or(Some(index));
            }
        }
        let late = Unfetched::late(first.unwrap_or_default());
        let place = tokio::time::timeout_at(by, self.places.acquire()).await;
        let place = place.ok().and_then(Result::ok).ok_or(late)?;
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
        Ok(place)
    }

    async fn get(&self, part: &Attachment, bytes_max: usize, by: Instant) -> Result<Bytes, Trouble> {
        // A store may have failed while this waited.
        let url = self.may(part)?;
        let store = self.store.as_ref().ok_or(UrlProblem::NoneAllowed)?;
        let file = tokio::time::timeout_at(by, store.get(url.uri().clone(), bytes_max)).await;
        let outcome = match file {
            Err(_) => Err(Trouble::Timeout),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(file)) if part.sha256 == Sha256::digest(&file.bytes)[..] => Ok(file.bytes),
            Ok(Ok(file)) if !file.is_whole => Err(Trouble::Unended),
            Ok(Ok(file)) if file.bytes.is_empty() => Err(Trouble::Empty),
            Ok(Ok(_)) => Err(Trouble::Changed),
        };
        let answered = match &outcome {
            Ok(_) => true,
            Err(why) => !matches!(
                why,
                Trouble::Timeout
                    | Trouble::Unended
                    | Trouble::NoFile(NoFile::Busy(_) | NoFile::Connection(_) | NoFile::Broken(_))
            ),
        };
        self.note(url.prefix(), answered);
        outcome
    }

    /// Where it is, if that may be asked for.
    fn may(&self, part: &Attachment) -> Result<ObjectUrl, Trouble> {
        let url = self.prefixes.check(&part.url)?;
        if self.is_left_alone(url.prefix()) {
            return Err(Trouble::LeftAlone);
        }
        Ok(url)
    }

    fn is_left_alone(&self, prefix: usize) -> bool {
        let until = self.health()[prefix].left_alone_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, prefix: usize, answered: bool) {
        let health = &mut self.health()[prefix];
        if answered {
            *health = Health::default();
            return;
        }
        health.failures = health.failures.saturating_add(1);
        if health.failures >= FAILURES {
            health.left_alone_until = Some(Instant::now() + LEFT_ALONE);
            tracing::warn!(
                url_prefix = prefix + 1,
                failures = health.failures,
                "an object store is left alone for some seconds"
            );
        }
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a message waits that has waited for so long: half as long again, between the bounds.
pub(crate) fn wait(settings: &AttachmentSettings, waited: Duration) -> Duration {
    (waited / 2).clamp(settings.retry_min, settings.retry_max)
}
