//! What of one key Redis does not have yet, put together as the key's next write.
//!
//! The journal in Redis is the state: the last snapshot in it, and what happened since. Snapshots are repeated, so that what stands
//! before them can go: it is bounded in bytes, each entry with an overhead, and thereby in entries.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use paceline_domain::controller::journal::{Entry, FORMAT};
use paceline_domain::controller::{Controller, Event};
use paceline_domain::lease::{Books, HolderId};
use paceline_store::throttle::{Adopted, Commit, Cut, Part, PartBody, RateKey, Snapshot, Term};

use super::table::{self, Counted};

/// What a journal takes in Redis, in bytes, with an entry more at times; some 30 minutes of two senders.
pub(crate) const JOURNAL_BYTES_MAX: usize = 2 << 20;
/// A state is smaller: it has at most a line for each of [`super::key::SENDERS_MAX`] senders, and for as many that have lapsed.
pub(crate) const STATE_BYTES_MAX: usize = 1 << 20;
/// What Redis adds to an entry.
const ENTRY_BYTES: usize = 64;
/// A snapshot stands after so many bytes of events: four times its own size within these bounds.
const SEGMENT_BYTES: (usize, usize) = (64 << 10, 512 << 10);
/// Events that wait for Redis. A call that finds so many is refused.
const EVENTS_MAX: usize = 10_000;
/// Senders' lines that wait for Redis, but for those that end meanwhile. A call that finds so many is refused.
const CHANGED_MAX: usize = 10_000;
/// How long what nobody waits for may wait for company; and where nobody has a lease.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_IDLE: Duration = Duration::from_secs(10);

/// One key's next write.
pub(super) struct Log {
    rev: u64,
    /// JSON, without the brackets of the list.
    events: String,
    count: usize,
    /// Of the oldest event that waits.
    since: Option<Duration>,
    /// True if somebody waits for it.
    is_urgent: bool,
    changed: BTreeSet<HolderId>,
    cuts: Vec<(u64, f64, f64)>,
    /// From one snapshot to the next, oldest first.
    segments: VecDeque<Segment>,
    wants_snapshot: bool,
}

struct Segment {
    rev: u64,
    bytes: usize,
    snapshot_bytes: usize,
}

impl Log {
    /// The log of a key whose state stands in Redis as it was adopted.
    pub(super) fn new(adopted: &Adopted, journal: &[Part]) -> Self {
        let size = |part: &Part| match &part.body {
            PartBody::Events(text) => text.len() + ENTRY_BYTES,
            // Counted by its writer.
            PartBody::Opened(_) => 0,
        };
        let before = adopted.snapshot.map(|rev| Segment {
            rev,
            bytes: adopted.journal_bytes + journal.iter().map(size).sum::<usize>(),
            snapshot_bytes: 0,
        });
        Self {
            rev: adopted.rev,
            events: String::new(),
            count: 0,
            since: None,
            is_urgent: false,
            changed: BTreeSet::new(),
            cuts: Vec::new(),
            segments: before.into_iter().collect(),
            wants_snapshot: true,
        }
    }

    /// The rev that Redis has.
    pub(super) const fn rev(&self) -> u64 {
        self.rev
    }

    pub(super) const fn written(&mut self, rev: u64) {
        self.rev = rev;
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= EVENTS_MAX || self.changed.len() >= CHANGED_MAX
    }

    /// Notes what happened, `at` the time since the Unix epoch.
    pub(super) fn happened(&mut self, event: &Event, at: Duration, now: Duration) {
        let entry = Entry::Happened {
            at,
            event: event.clone(),
        };
        if self.count > 0 {
            self.events.push(',');
        }
        self.events.push_str(&json(&entry));
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// Notes that a sender's line is another.
    pub(super) fn changed(&mut self, holder: HolderId) {
        self.changed.insert(holder);
    }

    /// Notes that what may be leased fell.
    pub(super) fn cut(&mut self, version: u64, rate: f64, ratio: f64) {
        self.cuts.push((version, rate, ratio));
        self.is_urgent = true;
    }

    /// Somebody waits for what is noted.
    pub(super) const fn urge(&mut self) {
        self.is_urgent = true;
    }

    /// The next write ends with a snapshot.
    pub(super) const fn want_snapshot(&mut self) {
        self.wants_snapshot = true;
        self.is_urgent = true;
    }

    /// True if there is something to write that need not wait for more; with `all` whatever there is.
    pub(super) fn is_due(&self, is_idle: bool, all: bool, now: Duration) -> bool {
        let linger = if is_idle { LINGER_IDLE } else { LINGER };
        let is_old = self
            .since
            .is_some_and(|since| all || now.saturating_sub(since) >= linger);
        self.is_urgent || is_old
    }

    /// Puts the write together, but for its snapshot ([`Self::takes_snapshot`]); what is noted from here on goes with the next one.
    pub(super) fn depart(
        &mut self,
        (key, term): (&RateKey, &Term),
        controller: &Controller,
        (books, counted): (&Books, impl Fn(HolderId) -> Option<Counted>),
        at: Duration,
        now: Duration,
    ) -> Commit {
        let saved = controller.saved();
        let events = std::mem::take(&mut self.events);
        let events = if events.is_empty() {
            events
        } else {
            format!("[{events}]")
        };
        if !events.is_empty()
            && let Some(segment) = self.segments.back_mut()
        {
            segment.bytes += events.len() + ENTRY_BYTES;
        }
        let line = |holder: HolderId| {
            let line = books.line(holder);
            (
                holder.to_string(),
                line.map(|line| table::write(&line, counted(holder).as_ref(), saved.version, at)),
            )
        };
        let cut = |(version, rate, ratio)| Cut {
            key: key.clone(),
            epoch: term.epoch,
            version,
            rate,
            ratio,
        };
        (self.count, self.since, self.is_urgent) = (0, None, false);
        Commit {
            rate: saved.rate,
            version: saved.version,
            format: FORMAT,
            snapshot: None,
            events,
            complete: !books.is_learning(now),
            leases: std::mem::take(&mut self.changed).into_iter().map(line).collect(),
            cuts: std::mem::take(&mut self.cuts).into_iter().map(cut).collect(),
        }
    }

    /// True if the write that departs now ends with a snapshot, which is then to be made.
    pub(super) fn takes_snapshot(&mut self) -> bool {
        let is_long = self.segments.back().is_none_or(|segment| {
            let own = segment.snapshot_bytes;
            segment.bytes.saturating_sub(own) >= (4 * own).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1)
        });
        std::mem::take(&mut self.wants_snapshot) || is_long
    }

    /// Notes the snapshot of the write that has departed last: the next segment begins with it.
    pub(super) fn snapshot(&mut self, state: String) -> Snapshot {
        self.segments.push_back(Segment {
            rev: self.rev + 1,
            bytes: state.len() + ENTRY_BYTES,
            snapshot_bytes: state.len(),
        });
        let mut first_kept = None;
        let mut bytes: usize = self.segments.iter().map(|segment| segment.bytes).sum();
        while bytes > JOURNAL_BYTES_MAX && self.segments.len() > 1 {
            bytes -= self.segments.pop_front().map_or(0, |segment| segment.bytes);
            first_kept = self.segments.front().map(|segment| segment.rev);
        }
        Snapshot {
            state,
            first_kept,
            journal_bytes: bytes,
        }
    }
}

/// A state as the journal has it. It takes its time, a millisecond for 200 senders: not for a lock.
pub(super) fn state_text(state: Controller) -> String {
    let text = json(&Entry::Opened(Box::new(state)));
    debug_assert!(text.len() <= STATE_BYTES_MAX, "a state of {} bytes", text.len());
    text
}

/// Numbers, texts and lists: that is always possible.
fn json(entry: &Entry) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}
