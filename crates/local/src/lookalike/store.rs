//! What was taken, and what was asked: a bounded memory of mails, a log of requests, and counters.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Provider;
use super::email::Email;

/// Duplicate ids that are kept by name; the counter goes on.
const DUPLICATES_NAMED_MAX: usize = 100;
/// The peak is taken over a second that starts at any of these steps.
const STEP: Duration = Duration::from_millis(100);
const STEPS_PER_SECOND: u128 = 10;

/// One mail that was taken.
#[derive(Debug)]
pub struct Mail {
    /// Counts from 1 since the start or the last reset.
    pub sequence: u64,
    /// The look-alike's own id, which it answered.
    pub id: String,
    pub received_at: Timestamp,
    pub provider: Provider,
    /// The `traceparent` of the API call.
    pub traceparent: Option<String>,
    pub(crate) email: Email,
}

/// A mail as `GET /inbox.json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct MailSummary {
    pub sequence: u64,
    pub id: String,
    pub provider: Provider,
    pub to: Vec<String>,
    pub from: String,
    pub reply_to: Vec<String>,
    pub subject: String,
    pub tags: std::collections::BTreeMap<String, String>,
    pub headers: std::collections::BTreeMap<String, String>,
    pub configuration_set: Option<String>,
    pub tenant_name: Option<String>,
    /// Mailgun's sending domain and `o:` parameters, in the order of the call; SES's overrides of tracking.
    pub options: Vec<(String, String)>,
    pub attachments: Vec<AttachmentSummary>,
    pub received_at: String,
    pub traceparent: Option<String>,
}

/// What there is to know of an attachment, but for its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct AttachmentSummary {
    pub file_name: String,
    pub content_type: String,
    pub inline: bool,
    pub bytes: usize,
}

impl Mail {
    #[must_use]
    pub fn summary(&self) -> MailSummary {
        let email = &self.email;
        let option = |name| email.option(name).map(str::to_owned);
        MailSummary {
            sequence: self.sequence,
            id: self.id.clone(),
            provider: self.provider,
            to: email.recipients().map(str::to_owned).collect(),
            from: email.from.clone(),
            reply_to: email.reply_to.clone(),
            subject: email.subject.clone(),
            tags: email.tags.iter().cloned().collect(),
            headers: email.headers.iter().cloned().collect(),
            configuration_set: option("configuration_set"),
            tenant_name: option("tenant_name"),
            options: email
                .options
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "configuration_set" | "tenant_name"))
                .cloned()
                .collect(),
            attachments: email
                .attachments
                .iter()
                .map(|part| AttachmentSummary {
                    file_name: part.file_name.clone(),
                    content_type: part.media_type.clone(),
                    inline: part.inline,
                    bytes: part.content.len(),
                })
                .collect(),
            received_at: self.received_at.to_string(),
            traceparent: self.traceparent.clone(),
        }
    }
}

/// One request to send, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LogEntry {
    /// Counts from 1 since the start or the last reset.
    pub sequence: u64,
    pub provider: Provider,
    pub received_at: String,
    pub to: Vec<String>,
    pub paceline_id: Option<String>,
    pub attempt: Option<String>,
    /// The mail's id, if it was taken.
    pub accepted: Option<String>,
    /// The status of the answer; absent if there was none that is HTTP.
    pub status: Option<u16>,
    /// The error's code, or what the fault did.
    pub note: Option<String>,
}

/// The counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Stats {
    /// Requests to send that were read in full.
    pub requests: u64,
    pub accepted: u64,
    /// Different values of the tag `paceline_id` among the accepted.
    pub distinct_ids: u64,
    /// Accepted mails whose `paceline_id` had been accepted before.
    pub duplicates: u64,
    /// The first such ids.
    pub duplicate_ids: Vec<String>,
    /// Accepted mails without the tag.
    pub without_id: u64,
    pub throttled: u64,
    /// Refused otherwise, by a check or by a fault.
    pub refused: u64,
    /// Connections that were reset before anything was read.
    pub connections_reset: u64,
    /// The most mails accepted within one second.
    pub peak_per_second: u64,
    /// Mails whose content is still kept.
    pub kept: u64,
    /// True once ids are no longer remembered; `distinct_ids` and `duplicates` are then lower bounds.
    pub ids_full: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    keep_max: usize,
    ids_max: usize,
    /// Makes ids of one run differ from those of another.
    run: String,
    mails: VecDeque<Arc<Mail>>,
    log: VecDeque<LogEntry>,
    ids: HashSet<Box<str>>,
    stats: Stats,
    recent: VecDeque<(u128, u64)>,
}

impl Store {
    pub(crate) fn new(keep_max: usize, ids_max: usize, started_at: Timestamp) -> Self {
        Self {
            keep_max,
            ids_max,
            run: format!("{:012x}", started_at.as_millisecond()),
            mails: VecDeque::new(),
            log: VecDeque::new(),
            ids: HashSet::new(),
            stats: Stats::default(),
            recent: VecDeque::new(),
        }
    }

    /// Forgets everything. Ids stay unique: `now` is part of those to come.
    pub(crate) fn reset(&mut self, now: Timestamp) {
        *self = Self::new(self.keep_max, self.ids_max, now);
    }

    /// Takes a mail; the answer is its id.
    pub(crate) fn accept(
        &mut self,
        provider: Provider,
        email: Email,
        traceparent: Option<String>,
        now: Timestamp,
        uptime: Duration,
    ) -> String {
        self.stats.accepted += 1;
        let sequence = self.stats.accepted;
        match email.tag("paceline_id").map(Box::from) {
            None => self.stats.without_id += 1,
            Some(id) => self.count_id(id),
        }
        self.count_rate(uptime);
        let id = format!("look-alike-{}-{sequence:08x}", self.run);
        self.mails.push_back(Arc::new(Mail {
            sequence,
            id: id.clone(),
            received_at: now,
            provider,
            traceparent,
            email,
        }));
        if self.mails.len() > self.keep_max {
            self.mails.pop_front();
        }
        id
    }

    fn count_id(&mut self, id: Box<str>) {
        if self.ids.contains(&id) {
            self.stats.duplicates += 1;
            if self.stats.duplicate_ids.len() < DUPLICATES_NAMED_MAX {
                self.stats.duplicate_ids.push(id.into());
            }
        } else if self.ids.len() < self.ids_max {
            self.ids.insert(id);
            self.stats.distinct_ids += 1;
        } else {
            self.stats.ids_full = true;
        }
    }

    fn count_rate(&mut self, uptime: Duration) {
        let step = uptime.as_millis() / STEP.as_millis();
        match self.recent.back_mut() {
            Some((last, count)) if *last == step => *count += 1,
            _ => self.recent.push_back((step, 1)),
        }
        while self
            .recent
            .front()
            .is_some_and(|(first, _)| first + STEPS_PER_SECOND <= step)
        {
            self.recent.pop_front();
        }
        let second = self.recent.iter().map(|(_, count)| count).sum();
        self.stats.peak_per_second = self.stats.peak_per_second.max(second);
    }

    /// Logs one request and counts its outcome.
    pub(crate) fn record(&mut self, entry: LogEntry) {
        if entry.accepted.is_none() {
            match entry.status {
                Some(429) => self.stats.throttled += 1,
                _ => self.stats.refused += 1,
            }
        }
        self.log.push_back(entry);
        if self.log.len() > self.keep_max {
            self.log.pop_front();
        }
    }

    /// Counts one request; the answer is its number.
    pub(crate) const fn request(&mut self) -> u64 {
        self.stats.requests += 1;
        self.stats.requests
    }

    pub(crate) const fn connection_reset(&mut self) {
        self.stats.connections_reset += 1;
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            kept: self.mails.len() as u64,
            ..self.stats.clone()
        }
    }

    /// Kept mails after `since`, oldest first.
    pub(crate) fn mails_since(&self, since: u64, limit: usize) -> Vec<Arc<Mail>> {
        let start = self.mails.partition_point(|mail| mail.sequence <= since);
        self.mails.range(start..).take(limit).cloned().collect()
    }

    /// Kept mails that `wanted` picks, newest first.
    pub(crate) fn newest(&self, limit: usize, wanted: impl Fn(&Mail) -> bool) -> Vec<Arc<Mail>> {
        let wanted = self.mails.iter().rev().filter(|mail| wanted(mail));
        wanted.take(limit).cloned().collect()
    }

    pub(crate) fn mail(&self, id: &str) -> Option<Arc<Mail>> {
        self.mails.iter().rev().find(|mail| mail.id == id).cloned()
    }

    /// Kept log entries after `since`, oldest first.
    pub(crate) fn log_since(&self, since: u64, limit: usize) -> Vec<LogEntry> {
        let start = self.log.partition_point(|entry| entry.sequence <= since);
        self.log.range(start..).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{Email, Provider, Store};

    fn email(id: &str) -> Email {
        Email {
            tags: vec![("paceline_id".to_owned(), id.to_owned())],
            ..Email::default()
        }
    }

    fn accept(store: &mut Store, id: &str, millis: u64) -> String {
        store.accept(
            Provider::Ses,
            email(id),
            None,
            Timestamp::UNIX_EPOCH,
            Duration::from_millis(millis),
        )
    }

    #[test]
    fn memory_is_bounded_and_counters_go_on() {
        let mut store = Store::new(2, 3, Timestamp::UNIX_EPOCH);
        let ids: Vec<String> = ["a", "b", "a", "c", "d"]
            .iter()
            .map(|id| accept(&mut store, id, 0))
            .collect();
        let stats = store.stats();
        assert_eq!(
            (stats.accepted, stats.distinct_ids, stats.duplicates, stats.kept),
            (5, 3, 1, 2)
        );
        assert!(stats.ids_full, "d is one too many");
        assert_eq!(stats.duplicate_ids, ["a"]);
        assert!(store.mail(&ids[0]).is_none() && store.mail(&ids[4]).is_some());
        let kept: Vec<u64> = store
            .mails_since(0, 10)
            .iter()
            .map(|mail| mail.sequence)
            .collect();
        assert_eq!(kept, [4, 5]);
        assert_eq!(store.mails_since(4, 10).len(), 1);
        assert_eq!(store.newest(1, |_| true)[0].sequence, 5);
    }

    #[test]
    fn the_peak_is_over_any_second() {
        let mut store = Store::new(10, 10, Timestamp::UNIX_EPOCH);
        for millis in [0, 950, 960, 1_020, 1_850, 1_990, 5_000] {
            accept(&mut store, "a", millis);
        }
        assert_eq!(store.stats().peak_per_second, 4, "950 to 1,850");
    }
}
