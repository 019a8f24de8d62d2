//! The look-alike of the providers: one server that speaks the APIs of SES and of Mailgun.
//!
//! It takes mail and keeps the newest of it in memory ([`store`]); people read it on the inbox page, tests through
//! [`Lookalike`] or the JSON addresses (`control`). Faults ([`fault`]) make it behave like a provider, or a network, on
//! a bad day. A mail counts as taken before it is answered, so a call whose answer is lost has still sent its email: that
//! is the case Paceline must never get wrong.

mod connection;
mod control;
pub(crate) mod email;
pub mod events;
pub(crate) mod exchange;
pub mod fault;
pub mod limits;
pub(crate) mod mailbox;
pub(crate) mod mime;
pub mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ses::AccountAnswer;
use connection::FaultyListener;
use events::{Call, Courier, EventFault, EventKind, EventStats, Events, Webhooks};
use fault::{Fault, FaultBook};
use limits::{Limits, Meter};
use store::{LogEntry, MailSummary, Stats, Store};

pub(crate) use connection::ConnectionHandle;

/// How long open requests may take to end at a stop.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Whose API was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    #[default]
    Ses,
    Mailgun,
}

impl Provider {
    /// The name that people read.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ses => "SES",
            Self::Mailgun => "Mailgun",
        }
    }
}

/// How the look-alike starts.
#[derive(Clone, Debug)]
pub struct LookalikeOptions {
    /// Of the SES account.
    pub limits: Limits,
    pub mailgun: MailgunAccount,
    /// The newest so many mails are kept with their content, and so many log entries.
    pub keep_max: usize,
    /// So many ids are remembered to tell duplicates.
    pub ids_max: usize,
}

impl Default for LookalikeOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            mailgun: MailgunAccount::default(),
            keep_max: 10_000,
            ids_max: 1_000_000,
        }
    }
}

/// What the look-alike knows as its Mailgun account.
#[derive(Clone, Debug, Default)]
pub struct MailgunAccount {
    /// The one API key; absent for any.
    pub key: Option<String>,
    /// The sending domains; absent for any.
    pub domains: Option<Vec<String>>,
    pub limits: Limits,
}

/// Why it can't start.
#[derive(Debug, thiserror::Error)]
pub enum LookalikeError {
    #[error("{0} is not a loopback address: the look-alike shows mail to whoever asks")]
    NotLoopback(SocketAddr),
    #[error("can't listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// A running look-alike. Dropped, it stops without waiting for open requests.
#[derive(Debug)]
pub struct Lookalike {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

/// What handlers and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) mailgun_key: Option<String>,
    pub(crate) mailgun_domains: Option<Vec<String>>,
    started_at: Instant,
    courier: Courier,
    /// Where the look-alike answers.
    pub(crate) base_url: String,
    /// True while no answer to a send may go.
    pub(crate) held: watch::Sender<bool>,
    pub(crate) stopping: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) faults: FaultBook,
    pub(crate) ses: Meter,
    pub(crate) mailgun: Meter,
    pub(crate) account: AccountAnswer,
    /// Calls of `GetAccount`, whatever came of them.
    pub(crate) looks: u64,
    events: Events,
}

impl State {
    pub(crate) const fn meter(&mut self, provider: Provider) -> &mut Meter {
        match provider {
            Provider::Ses => &mut self.ses,
            Provider::Mailgun => &mut self.mailgun,
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Tells of a mail that was just taken.
    pub(crate) fn tell_of(&self, state: &mut State, id: &str) {
        if let Some(mail) = state.store.mail(id) {
            let calls = state.events.of_mail(&mail, &self.base_url);
            self.bring(state, calls);
        }
    }

    /// Tells of one event of a kept mail. False if it is not kept.
    pub(crate) fn tell(&self, id: &str, kind: EventKind) -> bool {
        let mut state = self.state();
        let Some(mail) = state.store.mail(id) else {
            return false;
        };
        let calls = state.events.of(&mail, kind, &self.base_url);
        self.bring(&mut state, calls);
        true
    }

    fn bring(&self, state: &mut State, calls: Vec<Call>) {
        for call in calls {
            state.events.stats.told += 1;
            if !self.courier.bring(call) {
                state.events.stats.lost += 1;
            }
        }
    }

    pub(crate) fn reset_connection(&self) -> bool {
        let mut state = self.state();
        let reset = state.faults.for_connection();
        if reset {
            state.store.connection_reset();
        }
        reset
    }

    pub(crate) fn set_limits(&self, provider: Provider, limits: Limits) {
        let meter = Meter::new(limits, self.uptime());
        *self.state().meter(provider) = meter;
    }

    /// Forgets mails, log, counters and faults. The limits stay.
    pub(crate) fn reset(&self) {
        let uptime = self.uptime();
        let mut state = self.state();
        state.store.reset(Timestamp::now());
        state.faults.clear();
        state.events.clear_faults();
        for provider in [Provider::Ses, Provider::Mailgun] {
            let meter = state.meter(provider);
            *meter = Meter::new(meter.limits().clone(), uptime);
        }
    }
}

impl Lookalike {
    /// Starts to listen on `address`, whose port may be 0.
    ///
    /// # Errors
    /// If `address` is not on loopback or can't be listened on.
    pub async fn start(address: SocketAddr, options: LookalikeOptions) -> Result<Self, LookalikeError> {
        if !address.ip().is_loopback() {
            return Err(LookalikeError::NotLoopback(address));
        }
        let failed = |source| LookalikeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (courier, calls) = Courier::new();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                store: Store::new(options.keep_max, options.ids_max, Timestamp::now()),
                faults: FaultBook::default(),
                ses: Meter::new(options.limits, Duration::ZERO),
                mailgun: Meter::new(options.mailgun.limits, Duration::ZERO),
                account: AccountAnswer::default(),
                looks: 0,
                events: Events::default(),
            }),
            courier,
            base_url: format!("http://{address}"),
            mailgun_key: options.mailgun.key,
            mailgun_domains: options.mailgun.domains,
            started_at: Instant::now(),
            held: watch::Sender::new(false),
            stopping: CancellationToken::new(),
        });
        tokio::spawn(events::run(Arc::clone(&shared), calls));
        let service =
            control::router(Arc::clone(&shared)).into_make_service_with_connect_info::<ConnectionHandle>();
        let stopping = shared.stopping.clone();
        let listener = FaultyListener::new(listener, Arc::clone(&shared));
        let server = tokio::spawn(async move {
            let serve = axum::serve(listener, service).with_graceful_shutdown(stopping.cancelled_owned());
            if let Err(error) = serve.await {
                tracing::error!(%error, "the look-alike stopped");
            }
        });
        Ok(Self {
            address,
            shared,
            server: Some(server),
        })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint of both APIs.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where people look.
    #[must_use]
    pub fn inbox_url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Adds a fault behind those in force.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.state().faults.add([fault]);
    }

    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// From here on these are told what becomes of mail.
    pub fn set_webhooks(&self, webhooks: Webhooks) {
        self.shared.state().events.webhooks = webhooks;
    }

    /// The topic by which SES's events come: its ARN, and the CA of its signatures, PEM.
    #[must_use]
    pub fn topic(&self) -> (String, String) {
        let topic = self.shared.state().events.topic();
        (topic.arn().to_owned(), topic.ca().to_owned())
    }

    /// Adds a fault of events behind those in force. False if that would be too many.
    pub fn add_event_fault(&self, fault: EventFault) -> bool {
        self.shared.state().events.add_fault(fault)
    }

    /// Tells of one event of a kept mail. False if it is not kept.
    #[must_use]
    pub fn tell(&self, mail_id: &str, kind: EventKind) -> bool {
        self.shared.tell(mail_id, kind)
    }

    /// How the calls of webhooks went.
    #[must_use]
    pub fn event_stats(&self) -> EventStats {
        self.shared.state().events.stats
    }

    /// Replaces the limits of the SES account; the bucket starts full, the day anew.
    pub fn set_limits(&self, limits: Limits) {
        self.set_limits_of(Provider::Ses, limits);
    }

    /// The same for the account at either provider.
    pub fn set_limits_of(&self, provider: Provider, limits: Limits) {
        self.shared.set_limits(provider, limits);
    }

    /// From here on `GetAccount` is answered so.
    pub fn set_account(&self, answer: AccountAnswer) {
        self.shared.state().account = answer;
    }

    /// How often `GetAccount` was called.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.shared.state().looks
    }

    /// Holds every answer to a send from now on. What is taken, is taken before.
    pub fn hold_answers(&self) {
        self.shared.held.send_replace(true);
    }

    /// Lets the answers go that are held, and all after them.
    pub fn release_answers(&self) {
        self.shared.held.send_replace(false);
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.state().store.stats()
    }

    /// Kept mails with a sequence above `since`, oldest first.
    #[must_use]
    pub fn inbox(&self, since: u64, limit: usize) -> Vec<MailSummary> {
        let mails = self.shared.state().store.mails_since(since, limit);
        mails.iter().map(|mail| mail.summary()).collect()
    }

    /// The bytes of an attachment of a kept mail.
    #[must_use]
    pub fn attachment(&self, mail_id: &str, index: usize) -> Option<Bytes> {
        let mail = self.shared.state().store.mail(mail_id)?;
        Some(mail.email.attachments.get(index)?.content.clone())
    }

    /// Kept log entries with a sequence above `since`, oldest first.
    #[must_use]
    pub fn log(&self, since: u64, limit: usize) -> Vec<LogEntry> {
        self.shared.state().store.log_since(since, limit)
    }

    /// Forgets mails, log, counters and faults. The limits stay.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Answers what is open, for at most two seconds, and stops.
    pub async fn stop(mut self) {
        self.shared.stopping.cancel();
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(STOP_MAX, &mut server).await.is_err()
        {
            server.abort();
        }
    }
}

impl Drop for Lookalike {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}
