//! Upstream services: they enqueue at a bounded rate, repeat what was not answered, and note everything that they were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{bail, ensure};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::messages_service_client::MessagesServiceClient;
use paceline_wire::v1::{CancelRequest, EnqueueRequest, EnqueueResponse, Mailbox};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::calls::{Answer, CALL_MAX, repeated};
use crate::checker::{Policy, Told};
use crate::world::wall_ms;

/// Between two messages.
const PACE: Duration = Duration::from_millis(12);
/// Calls under way at one time.
const CALLS_MAX: usize = 64;
/// A caller that was told nothing for so long gives up, and knows nothing.
const PATIENCE: Duration = Duration::from_secs(150);
/// How far ahead a scheduled message is to be sent.
const AHEAD_MS: i64 = 2_000;

const TENANTS: [&str; 2] = ["acme", "bolt"];

/// What one message is to be, by its number alone, so that a seed gives the same ones again.
#[derive(Clone, Copy, Debug)]
struct Letter {
    number: u64,
}

impl Letter {
    const fn tenant(self) -> &'static str {
        TENANTS[(self.number % 2) as usize]
    }

    const fn template(self) -> (&'static str, Policy) {
        match self.number % 10 {
            0..=5 => ("receipt", Policy::Hold),
            6..=8 => ("news", Policy::Hold),
            _ => ("code", Policy::Resend),
        }
    }

    const fn is_scheduled(self) -> bool {
        self.number % 9 == 4
    }

    const fn is_cancelled(self) -> bool {
        self.number % 13 == 6
    }

    const fn is_repeated(self) -> bool {
        self.number % 7 == 3
    }

    fn address(self) -> String {
        format!("user{}@example.com", self.number)
    }

    fn request(self, send_at: Option<i64>) -> EnqueueRequest {
        let number = self.number;
        EnqueueRequest {
            tenant: self.tenant().to_owned(),
            template: self.template().0.to_owned(),
            recipient: Some(Mailbox {
                address: self.address(),
                ..Mailbox::default()
            }),
            user_id: number.to_string(),
            data: format!("{{\"number\": {number}}}").into(),
            send_at: send_at.map(|ms| prost_types::Timestamp {
                seconds: ms / 1_000,
                nanos: i32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000,
            }),
            ..EnqueueRequest::default()
        }
    }
}

/// What the producers of a world were told, by message id, and in which round.
#[derive(Clone, Debug, Default)]
pub struct Notebook(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    told: BTreeMap<String, (usize, Told)>,
    /// Of whom nothing is known: those whose call was never answered, by the recipient's address.
    unknown: BTreeMap<String, Policy>,
    /// Calls without an answer, of any kind.
    unanswered: usize,
    next: u64,
    round: usize,
}

impl Notebook {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was told.
    #[must_use]
    pub fn told(&self) -> BTreeMap<String, Told> {
        let notes = self.notes();
        notes
            .told
            .iter()
            .map(|(id, (_, told))| (id.clone(), told.clone()))
            .collect()
    }

    /// What was asked for without an answer, by the recipient's address: it may be there.
    #[must_use]
    pub fn unknown(&self) -> BTreeMap<String, Policy> {
        self.notes().unknown.clone()
    }

    /// Calls that were never answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.notes().unanswered
    }

    /// The ids of a round.
    #[must_use]
    pub fn of_round(&self, round: usize) -> Vec<String> {
        let notes = self.notes();
        let of_it = notes.told.iter().filter(|(_, (of, _))| *of == round);
        of_it.map(|(id, _)| id.clone()).collect()
    }

    /// Begins the next round and returns its number.
    pub fn next_round(&self) -> usize {
        let mut notes = self.notes();
        notes.round += 1;
        notes.round
    }

    fn letters(&self, count: u64) -> std::ops::Range<u64> {
        let mut notes = self.notes();
        let first = notes.next;
        notes.next += count;
        first..notes.next
    }

    fn note(&self, id: String, told: Told) {
        let mut notes = self.notes();
        let round = notes.round;
        notes.told.insert(id, (round, told));
    }

    fn cancelled(&self, id: &str) {
        if let Some((_, told)) = self.notes().told.get_mut(id) {
            told.cancelled_at = Some(wall_ms());
        }
    }
}

/// Enqueues so many messages, and returns once their producers were told about each, or have given up.
///
/// # Errors
/// If one is refused for good, or a repeated call gets another id.
pub async fn produce(channel: Channel, notebook: Notebook, count: u64) -> anyhow::Result<()> {
    let mut pace = tokio::time::interval(PACE);
    let mut calls = JoinSet::new();
    for number in notebook.letters(count) {
        pace.tick().await;
        if calls.len() == CALLS_MAX
            && let Some(done) = calls.join_next().await
        {
            done??;
        }
        calls.spawn(post(Letter { number }, channel.clone(), notebook.clone()));
    }
    while let Some(done) = calls.join_next().await {
        done??;
    }
    Ok(())
}

/// One message, from the first call to the last word about it.
async fn post(letter: Letter, channel: Channel, notebook: Notebook) -> anyhow::Result<()> {
    let send_at = letter.is_scheduled().then(|| wall_ms() + AHEAD_MS);
    let request = letter.request(send_at);
    let policy = letter.template().1;
    let Some(answer) = enqueue(&channel, &request).await? else {
        let mut notes = notebook.notes();
        notes.unknown.insert(letter.address(), policy);
        notes.unanswered += 1;
        return Ok(());
    };
    let id = answer.message_id;
    let told = Told {
        tenant: letter.tenant(),
        policy,
        send_at,
        cancelled_at: None,
    };
    notebook.note(id.clone(), told);
    if letter.is_repeated() {
        match enqueue(&channel, &request).await? {
            Some(again) => ensure!(again.message_id == id, "a repeated call got another id"),
            None => notebook.notes().unanswered += 1,
        }
    }
    if letter.is_cancelled() {
        match cancel(&channel, letter.tenant(), &id).await? {
            Some(true) => notebook.cancelled(&id),
            Some(false) => {}
            // It may be cancelled, and it may be sent.
            None => notebook.notes().unanswered += 1,
        }
    }
    Ok(())
}

/// `None`: told nothing.
async fn enqueue(channel: &Channel, request: &EnqueueRequest) -> anyhow::Result<Option<EnqueueResponse>> {
    let answer = repeated(PATIENCE, || {
        let mut call = Request::new(request.clone());
        call.set_timeout(CALL_MAX);
        let mut ingest = IngestServiceClient::new(channel.clone());
        async move { ingest.enqueue(call).await }
    });
    match answer.await {
        Answer::Given(answer) => Ok(Some(answer)),
        Answer::Refused(status) => bail!("Enqueue is refused: {status:?}"),
        Answer::Unknown(_) => Ok(None),
    }
}

/// Whether it is cancelled now. `None`: told nothing.
async fn cancel(channel: &Channel, tenant: &str, id: &str) -> anyhow::Result<Option<bool>> {
    let answer = repeated(PATIENCE, || {
        let mut call = Request::new(CancelRequest {
            tenant: tenant.to_owned(),
            message_id: id.to_owned(),
        });
        call.set_timeout(CALL_MAX);
        let mut messages = MessagesServiceClient::new(channel.clone());
        async move { messages.cancel(call).await }
    });
    match answer.await {
        Answer::Given(_) => Ok(Some(true)),
        // On its way already; or lost, which the checker tells.
        Answer::Refused(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
            Ok(Some(false))
        }
        Answer::Refused(status) => bail!("Cancel is refused: {status:?}"),
        Answer::Unknown(_) => Ok(None),
    }
}
