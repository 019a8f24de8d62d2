//! One request to send, whichever API it came by: decides, takes, logs, and answers, or fails to.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::connection::{ConnectionHandle, WireFault};
use super::email::Email;
use super::fault::{Action, Failure, Fault};
use super::limits::Limit;
use super::store::{LogEntry, Store};
use super::{Provider, Shared};

/// How a provider words its answers.
pub(crate) trait Wording {
    const PROVIDER: Provider;
    /// An answer that promises more than it holds.
    const TRUNCATED: &'static [u8];

    /// The answer to a mail that was taken.
    fn taken(&self, id: &str) -> Response;

    fn failure(failure: &Failure) -> Response;

    fn limit(&self, limit: Limit, now: Timestamp) -> Failure;
}

/// A request that could be read, and what the provider's checks say of it.
pub(crate) struct Incoming {
    pub(crate) email: Email,
    pub(crate) checked: Result<(), Failure>,
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Answers a request that was read in full.
pub(crate) async fn answer<W: Wording>(
    wording: &W,
    shared: &Shared,
    connection: &ConnectionHandle,
    incoming: Result<Incoming, Failure>,
    traceparent: Option<String>,
) -> Response {
    let (answer, delay) = decide(wording, shared, incoming, traceparent);
    wait(shared, delay).await;
    match answer {
        Answer::Http(response) => response,
        Answer::Never => {
            shared.stopping.cancelled().await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Answer::Broken(fault) => {
            connection.break_with(fault);
            StatusCode::OK.into_response()
        }
    }
}

enum Answer {
    Http(Response),
    Never,
    Broken(WireFault),
}

async fn wait(shared: &Shared, delay: Duration) {
    let mut held = shared.held.subscribe();
    let may_go = async {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The sender is a part of `shared`.
        let _ = held.wait_for(|held| !held).await;
    };
    tokio::select! {
        () = may_go => {}
        () = shared.stopping.cancelled() => {}
    }
}

/// Decides, takes and logs, all under one lock: what the counters say is what happened.
fn decide<W: Wording>(
    wording: &W,
    shared: &Shared,
    incoming: Result<Incoming, Failure>,
    traceparent: Option<String>,
) -> (Answer, Duration) {
    let (now, uptime) = (Timestamp::now(), shared.uptime());
    let mut state = shared.state();
    let mut entry = LogEntry {
        sequence: state.store.request(),
        provider: W::PROVIDER,
        received_at: now.to_string(),
        to: Vec::new(),
        paceline_id: None,
        attempt: None,
        accepted: None,
        status: None,
        note: None,
    };
    let latency = Duration::from_millis(state.meter(W::PROVIDER).limits().latency_ms);
    let Incoming { email, checked } = match incoming {
        Ok(incoming) => incoming,
        Err(refusal) => return (refuse::<W>(&mut state.store, entry, &refusal), latency),
    };
    entry.to = email.recipients().map(str::to_owned).collect();
    entry.paceline_id = email.tag("paceline_id").map(str::to_owned);
    entry.attempt = email.tag("paceline_attempt").map(str::to_owned);
    let fault = state.faults.for_call(W::PROVIDER, email.recipients());
    let delay = latency + Duration::from_millis(fault.as_ref().map_or(0, |fault| fault.delay_ms));
    if let Some(Fault {
        action: Action::Refuse(refusal),
        ..
    }) = &fault
    {
        return (refuse::<W>(&mut state.store, entry, refusal), delay);
    }
    let recipients = entry.to.len() as u64;
    let limited = |limit| wording.limit(limit, now);
    let meter = state.meter(W::PROVIDER);
    if let Err(refusal) = checked.and_then(|()| meter.take(recipients, uptime).map_err(limited)) {
        return (refuse::<W>(&mut state.store, entry, &refusal), delay);
    }
    let id = state.store.accept(W::PROVIDER, email, traceparent, now, uptime);
    shared.tell_of(&mut state, &id);
    let (answer, status, note) = taken(wording, fault.map(|fault| fault.action), &id);
    entry.accepted = Some(id);
    entry.status = status;
    entry.note = note.map(str::to_owned);
    state.store.record(entry);
    (answer, delay)
}

fn refuse<W: Wording>(store: &mut Store, mut entry: LogEntry, refusal: &Failure) -> Answer {
    entry.status = Some(refusal.status);
    entry.note = refusal.code.clone();
    store.record(entry);
    Answer::Http(W::failure(refusal))
}

/// How a mail that was taken is answered: the answer, its status, and what to note of it.
fn taken<W: Wording>(
    wording: &W,
    action: Option<Action>,
    id: &str,
) -> (Answer, Option<u16>, Option<&'static str>) {
    match action {
        None | Some(Action::Accept | Action::Refuse(_) | Action::ResetBeforeReading) => {
            (Answer::Http(wording.taken(id)), Some(200), None)
        }
        Some(Action::AcceptThenFail(failure)) => {
            let status = failure.status;
            (
                Answer::Http(W::failure(&failure)),
                Some(status),
                Some("taken, then failed"),
            )
        }
        Some(Action::AcceptThenHang) => (Answer::Never, None, Some("taken, then silent")),
        Some(Action::AcceptThenReset) => (Answer::Broken(WireFault::Reset), None, Some("taken, then reset")),
        Some(Action::AcceptThenClose) => (Answer::Broken(WireFault::Close), None, Some("taken, then closed")),
        Some(Action::AcceptThenTruncate) => (
            Answer::Broken(WireFault::Raw(W::TRUNCATED.to_vec())),
            None,
            Some("taken, then truncated"),
        ),
        Some(Action::AcceptThenGarble) => (
            Answer::Http("<html>welcome to the hotel's network</html>".into_response()),
            Some(200),
            Some("taken, then garbled"),
        ),
    }
}
