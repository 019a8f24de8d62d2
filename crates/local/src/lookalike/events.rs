//! What the providers tell of mail that they took: webhooks, signed as theirs are.
//!
//! The recipient decides what is told, as at SES's mailbox simulator: `bounce@`, `complaint@`, `suppressionlist@`, `ooto@`; every other
//! address gets its mail. Opens and clicks are told when somebody asks for them. Faults make events go lost, doubled, late, in
//! another order, or come from somebody else.

mod courier;
mod payload;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Provider;
use super::store::Mail;
use crate::sns::{TOPIC, Topic};
pub(super) use courier::{Courier, run};

/// At most this many faults of events are scripted at a time.
const FAULTS_MAX: usize = 1_000;

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Called with SES's events as SNS brings them; absent: nobody.
    pub sns: Option<String>,
    /// Called with Mailgun's; absent: nobody.
    pub mailgun: Option<String>,
    /// What Mailgun's calls are signed with.
    pub mailgun_key: String,
}

/// One scripted fault. The first one that matches an event is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventFault {
    /// For so many matching events; absent for every one until the faults are cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Only for events of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKind>,
    pub action: EventAction,
}

/// What goes wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventAction {
    /// Nobody is told.
    Lose,
    /// Told twice.
    Double,
    /// Told after the next event.
    Swap,
    /// Told so many milliseconds later.
    Delay(u64),
    /// Told with a signature that does not hold, and by that alone.
    Forge,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Send,
    Delivery,
    Bounce,
    Complaint,
    Open,
    Click,
}

/// How the calls went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EventStats {
    pub told: u64,
    /// Answered 200.
    pub taken: u64,
    /// Answered so that it is not told again.
    pub refused: u64,
    /// Calls without an answer or with a 5xx, each of which is repeated.
    pub failed: u64,
    /// Given up, or never told for want of room.
    pub lost: u64,
}

impl EventStats {
    /// Whether no call is under way or waits: each ended in one way. (One that was kept back to be swapped does not count.)
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.told == self.taken + self.refused + self.lost
    }
}

/// The events' side of the look-alike's state.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) webhooks: Webhooks,
    faults: Vec<EventFault>,
    /// Waits for the next event.
    swapped: Option<Call>,
    topic: Option<Arc<Topic>>,
    told: u64,
    pub(super) stats: EventStats,
}

/// One call of a webhook.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) provider: Provider,
    pub(super) url: String,
    pub(super) body: String,
    pub(super) delay_ms: u64,
    /// Told once: whoever forges does not wait for an answer.
    pub(super) forged: bool,
}

impl Events {
    /// The topic, made when it is first needed.
    pub(super) fn topic(&mut self) -> Arc<Topic> {
        Arc::clone(self.topic.get_or_insert_with(|| Arc::new(Topic::new(TOPIC))))
    }

    /// Adds a fault behind those in force. False if that would be too many.
    pub(super) fn add_fault(&mut self, fault: EventFault) -> bool {
        let fits = self.faults.len() < FAULTS_MAX;
        if fits {
            self.faults.push(fault);
        }
        fits
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The calls that tell what becomes of a mail that was just taken.
    pub(super) fn of_mail(&mut self, mail: &Mail, base: &str) -> Vec<Call> {
        let kinds = payload::fate(mail);
        kinds.iter().flat_map(|&kind| self.of(mail, kind, base)).collect()
    }

    /// The calls of one event: none, one, or more by the faults.
    pub(super) fn of(&mut self, mail: &Mail, kind: EventKind, base: &str) -> Vec<Call> {
        let url = match mail.provider {
            Provider::Ses => self.webhooks.sns.clone(),
            Provider::Mailgun => self.webhooks.mailgun.clone(),
        };
        let Some(url) = url else {
            return Vec::new();
        };
        let action = self.fault_of(kind);
        self.told += 1;
        let body = self.body(mail, kind, base, action == Some(EventAction::Forge));
        let call = Call {
            provider: mail.provider,
            url,
            body: body.to_string(),
            delay_ms: 0,
            forged: action == Some(EventAction::Forge),
        };
        let mut calls = match action {
            Some(EventAction::Lose) => Vec::new(),
            Some(EventAction::Swap) => {
                let before = self.swapped.replace(call);
                return before.into_iter().collect();
            }
            Some(EventAction::Double) => vec![call.clone(), call],
            Some(EventAction::Delay(delay_ms)) => vec![Call { delay_ms, ..call }],
            Some(EventAction::Forge) | None => vec![call],
        };
        calls.extend(self.swapped.take());
        calls
    }

    fn body(&mut self, mail: &Mail, kind: EventKind, base: &str, forged: bool) -> Value {
        let number = self.told;
        let at = Timestamp::now();
        match mail.provider {
            Provider::Ses => {
                let event = payload::ses(mail, kind, number, at).to_string();
                let url = format!("{base}/sns/certificate.pem");
                let id = format!("look-alike-{number}");
                let mut message = self.topic().notification(&id, &event, &url);
                if forged {
                    message["MessageId"] = "forged".into();
                }
                message
            }
            Provider::Mailgun => {
                let key = if forged {
                    "forged"
                } else {
                    &self.webhooks.mailgun_key
                };
                payload::mailgun(mail, kind, number, at, key)
            }
        }
    }

    fn fault_of(&mut self, kind: EventKind) -> Option<EventAction> {
        let index = self
            .faults
            .iter()
            .position(|fault| fault.kind.is_none_or(|wanted| wanted == kind))?;
        let action = self.faults[index].action;
        if let Some(events) = &mut self.faults[index].events {
            *events = events.saturating_sub(1);
            if *events == 0 {
                self.faults.remove(index);
            }
        }
        Some(action)
    }
}
