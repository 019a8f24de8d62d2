//! Brings events to the webhooks, and again where they are not taken.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use super::super::{Provider, Shared};
use super::Call;

/// Events that wait; a further one is lost.
const WAITING_MAX: usize = 100_000;
/// Calls under way at one time.
const CALLS_MAX: usize = 32;
/// SNS repeats after 20 s, Mailgun after minutes; here nobody wants to wait so long.
const REPEAT_AFTER: Duration = Duration::from_millis(300);
const REPEATS_MAX: u32 = 200;
const ANSWER_MAX: Duration = Duration::from_secs(15);

type Http = Client<HttpConnector, Full<Bytes>>;

/// Where calls are handed in.
#[derive(Debug)]
pub(in super::super) struct Courier(mpsc::Sender<Call>);

impl Courier {
    pub(in super::super) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (sender, calls) = mpsc::channel(WAITING_MAX);
        (Self(sender), calls)
    }

    /// False if there is no room.
    pub(in super::super) fn bring(&self, call: Call) -> bool {
        self.0.try_send(call).is_ok()
    }
}

/// Makes the calls, in their order as far as they don't wait, until the look-alike stops.
pub(in super::super) async fn run(shared: Arc<Shared>, mut calls: mpsc::Receiver<Call>) {
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let under_way = Arc::new(tokio::sync::Semaphore::new(CALLS_MAX));
    loop {
        let call = tokio::select! {
            call = calls.recv() => call,
            () = shared.stopping.cancelled() => None,
        };
        let Some(call) = call else {
            return;
        };
        // What waits for its time holds up no others.
        let room = match call.delay_ms {
            0 => Arc::clone(&under_way).acquire_owned().await.ok(),
            _ => None,
        };
        let (shared, client) = (Arc::clone(&shared), client.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = bring(&shared, &client, &call) => {}
                () = shared.stopping.cancelled() => {}
            }
            drop(room);
        });
    }
}

async fn bring(shared: &Shared, client: &Http, call: &Call) {
    if call.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(call.delay_ms)).await;
    }
    for _ in 0..REPEATS_MAX {
        let status = ask(client, call).await;
        if count(shared, call, status) {
            return;
        }
        tokio::time::sleep(REPEAT_AFTER).await;
    }
    shared.state().events.stats.lost += 1;
}

/// Counts an answer. True if the call is over.
fn count(shared: &Shared, call: &Call, status: Option<u16>) -> bool {
    let stats = &mut shared.state().events.stats;
    match status {
        Some(200..=299) => stats.taken += 1,
        Some(status) if call.forged || is_final(call.provider, status) => stats.refused += 1,
        _ => {
            stats.failed += 1;
            return false;
        }
    }
    true
}

/// SNS takes every 4xx for delivered, Mailgun a 406 alone.
const fn is_final(provider: Provider, status: u16) -> bool {
    match provider {
        Provider::Ses => status < 500,
        Provider::Mailgun => status == 406,
    }
}

async fn ask(client: &Http, call: &Call) -> Option<u16> {
    let kind = match call.provider {
        Provider::Ses => "text/plain; charset=UTF-8",
        Provider::Mailgun => "application/json",
    };
    let request = Request::post(&call.url)
        .header("content-type", kind)
        .body(Full::from(call.body.clone()))
        .ok()?;
    let answer = tokio::time::timeout(ANSWER_MAX, client.request(request)).await;
    Some(answer.ok()?.ok()?.status().as_u16())
}
