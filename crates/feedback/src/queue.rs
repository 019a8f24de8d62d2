//! SES's events from a queue of SQS, instead of a public webhook.
//!
//! A message is deleted once its event's effects are durable, or if it has none; what fails comes again when its visibility timeout is
//! over, and so does what was being stored when a process died: everything is idempotent by the event. What is no event of SES is
//! left where it is, for the queue's own redrive policy to put aside, and a metric tells. Nothing of a message is verified: who may
//! write to the queue is its own policy's business, and SQS hands it to nobody but us.

use std::time::Duration;

use futures_util::future::join_all;
use paceline_domain::record::Provider;
use paceline_kit::Shutdown;
use paceline_providers::events::ses;
use paceline_providers::sqs::{QueueMessage, SqsQueue};

use crate::event_metrics::Metrics;
use crate::intake::Intake;
use crate::sns::Envelope;

/// Effects that take longer are waited for no more: their message comes again. Below the least visibility timeout.
const EFFECT_MAX: Duration = Duration::from_secs(20);
/// Between two calls that failed, at first and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One of those that read a queue; each holds at most ten messages.
#[derive(Clone)]
pub(crate) struct QueueReader {
    pub(crate) queue: SqsQueue,
    pub(crate) intake: Intake,
    pub(crate) metrics: Metrics,
}

impl QueueReader {
    /// Reads until `stop`, and ends what it holds then.
    pub(crate) async fn run(self, stop: Shutdown) {
        let mut failures = 0;
        while !stop.is_requested() {
            let received = tokio::select! {
                received = self.queue.receive() => received,
                // What SQS may have handed out meanwhile comes again.
                () = stop.requested() => return,
            };
            match received {
                Ok(messages) => {
                    failures = 0;
                    self.take(messages).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the queue of events can't be read");
                    self.metrics.queue_failed("receive");
                    failures += 1;
                    // Ends the pause at a shutdown.
                    let _ = tokio::time::timeout(pause(failures, rand::random()), stop.requested()).await;
                }
            }
        }
    }

    async fn take(&self, messages: Vec<QueueMessage>) {
        let taken = join_all(messages.iter().map(|message| self.is_done_with(&message.body))).await;
        let done = messages.into_iter().zip(taken).filter(|(_, is_done)| *is_done);
        let receipts: Vec<String> = done.map(|(message, _)| message.receipt).collect();
        if receipts.is_empty() {
            return;
        }
        match self.queue.delete(receipts).await {
            Ok(0) => {}
            Ok(left) => {
                tracing::warn!(left, "messages of the queue are not deleted, and come again");
                self.metrics.queue_failed("delete");
            }
            Err(error) => {
                tracing::warn!(%error, "messages of the queue may not be deleted, and come again");
                self.metrics.queue_failed("delete");
            }
        }
    }

    /// True if the message may go.
    async fn is_done_with(&self, body: &str) -> bool {
        let event = event_of(body);
        if ses::is_greeting(&event) {
            return true;
        }
        let refused = |reason| {
            self.metrics.refused(Provider::Ses, reason);
            false
        };
        let event = match ses::parse(event.as_bytes()) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "what the queue brought is no event of SES");
                return refused("malformed");
            }
        };
        match tokio::time::timeout(EFFECT_MAX, self.intake.take(event)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "event not stored");
                refused("not_stored")
            }
            Err(_) => refused("not_stored"),
        }
    }
}

/// What SES published: within SNS's envelope, or alone where the subscription says raw delivery (or SES itself writes to the queue).
fn event_of(body: &str) -> String {
    Envelope::published(body.as_bytes()).unwrap_or_else(|| body.to_owned())
}

/// `random` is any number from 0 to 1.
fn pause(failures: u32, random: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << failures.min(10));
    doubled.min(PAUSE_MAX).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PAUSE_MAX, event_of, pause};

    #[test]
    fn an_event_stands_in_an_envelope_or_alone() {
        let event = json!({"eventType": "Delivery"}).to_string();
        let envelope = json!({
            "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:events",
            "Message": event, "Timestamp": "2026-11-30T00:00:00Z", "SignatureVersion": "1", "Signature": "eA==",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
        });
        assert_eq!(event_of(&envelope.to_string()), event);
        assert_eq!(event_of(&event), event);
        for other in [
            "",
            "no JSON",
            "[]",
            r#"{"Type": "Notification"}"#,
            r#"{"Type": "Other", "Message": "m"}"#,
        ] {
            assert_eq!(event_of(other), other);
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        let whole: Vec<u128> = (1..9).map(|failures| pause(failures, 1.0).as_millis()).collect();
        assert_eq!(
            whole,
            [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(pause(u32::MAX, 0.0), PAUSE_MAX / 2);
    }
}
