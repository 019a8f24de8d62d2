//! A queue of Amazon SQS that SES's events are pulled from.
//!
//! SQS gives a message at least once: what is not deleted comes again when its visibility timeout is over, and what keeps coming
//! goes where the queue's own redrive policy says. So a call that failed is simply made again by the caller, later, and the SDK's
//! own retries are off. One [`SqsQueue`] is one queue; clones share its connections.

mod settings;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Builder, Credentials as StaticCredentials, Region};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;

use crate::http_client::http_client;
use crate::settings::{Credentials, InvalidSetting};

pub use settings::SqsSettings;

/// SQS gives and deletes so many messages with one call.
pub const BATCH_MAX: usize = 10;
/// What a call may take beyond the time that SQS waits for a message.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Idle connections that are kept open.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// A queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
    wait_s: i32,
    visibility_s: i32,
}

/// A message of a queue. Its text may have personal data.
#[derive(Clone)]
pub struct QueueMessage {
    pub body: String,
    /// By which it is deleted.
    pub receipt: String,
}

/// The queue did not do as it was asked; it may later.
#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    /// SQS refused; its code.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer in time, or none that says anything.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

impl SqsQueue {
    /// Sets the client up. Opens no connection and fetches no credentials: both happen with the first call.
    ///
    /// # Errors
    /// If the settings don't fit together.
    pub async fn connect(settings: &SqsSettings) -> Result<Self, InvalidSetting> {
        settings.validate()?;
        let region = Region::new(settings.region.clone());
        let mut config = match settings.credentials {
            Credentials::Chain => {
                let defaults = aws_config::defaults(BehaviorVersion::latest());
                Builder::from(&defaults.region(region).load().await)
            }
            Credentials::LookAlike => {
                let made_up = StaticCredentials::new("look-alike", "look-alike", None, None, "look_alike");
                let config = Builder::new().behavior_version(BehaviorVersion::latest());
                config.region(region).credentials_provider(made_up)
            }
        };
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        let config = config
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.connect_timeout)
                    .operation_attempt_timeout(settings.wait + CALL_MAX)
                    .build(),
            )
            .http_client(http_client(IDLE_CONNECTIONS_MAX, settings.endpoint_is_loopback()))
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            url: settings.queue_url.clone(),
            wait_s: seconds(settings.wait),
            visibility_s: seconds(settings.visibility_timeout),
        })
    }

    /// Waits for messages; the answer has up to [`BATCH_MAX`], and nobody else gets them before the visibility timeout is over. A
    /// call that is given up may have taken some, which then come again.
    ///
    /// # Errors
    /// If SQS refuses or does not answer.
    pub async fn receive(&self) -> Result<Vec<QueueMessage>, SqsError> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(BATCH_MAX).unwrap_or(i32::MAX))
            .wait_time_seconds(self.wait_s)
            .visibility_timeout(self.visibility_s);
        let answer = call.send().await.map_err(|error| failed(&error))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        // SQS gives each a receipt; without one nothing could be done about it.
        let message = |it: aws_sdk_sqs::types::Message| {
            Some(QueueMessage {
                body: it.body.unwrap_or_default(),
                receipt: it.receipt_handle?,
            })
        };
        Ok(messages.filter_map(message).collect())
    }

    /// Deletes up to [`BATCH_MAX`] messages; the answer is how many are not. What is deleted already counts as deleted.
    ///
    /// # Errors
    /// If SQS refuses all of them or does not answer: any of them may be deleted.
    pub async fn delete(&self, receipts: Vec<String>) -> Result<usize, SqsError> {
        let mut entries = Vec::with_capacity(receipts.len());
        for (number, receipt) in receipts.into_iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder();
            let entry = entry.id(number.to_string()).receipt_handle(receipt).build();
            entries.push(entry.map_err(|error| SqsError::Refused(error.to_string()))?);
        }
        let call = self.client.delete_message_batch().queue_url(&self.url);
        let answer = call.set_entries(Some(entries)).send().await;
        Ok(answer.map_err(|error| failed(&error))?.failed.len())
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

fn failed<E, R>(error: &SdkError<E, R>) -> SqsError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("without a code");
            SqsError::Refused(code.to_owned())
        }
        other => SqsError::NoAnswer(DisplayErrorContext(other).to_string()),
    }
}
