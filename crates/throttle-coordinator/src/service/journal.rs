//! A key's journal as a stream, with the state now at its end.

use std::pin::Pin;

use futures_util::Stream;
use paceline_kit::clock::Clock;
use paceline_kit::grpc::REQUEST_TIME_MAX;
use paceline_kit::identity::is_name;
use paceline_store::Store;
use paceline_store::throttle::{Part, PartBody, RateKey};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{Throttle, WRITE_MAX, refused, unavailable};

/// Entries that the reader may be behind.
const UNREAD_MAX: usize = 4;

pub(super) type JournalStream = Pin<Box<dyn Stream<Item = Result<v1::JournalResponse, Status>> + Send>>;

impl<C: Clock> Throttle<C> {
    /// Has what happened written, and the state unless that was so a moment ago, and then reads all.
    pub(super) async fn journal_of(&self, key: Option<v1::ThrottleKey>) -> Result<JournalStream, RpcError> {
        let key = key.filter(|key| is_name(&key.provider) && is_name(&key.identity));
        let key = key.ok_or_else(|| {
            InvalidFields::one("key", "provider and identity must be 1 to 64 of [a-z0-9_-]")
        })?;
        let key = RateKey {
            provider: key.provider,
            identity: key.identity,
        };
        let mut boarded = self.desk.snapshot(&key, self.clock.boot());
        if boarded.is_none() {
            // Nobody has asked this leader for the key yet, but one before may have kept something.
            let known = self.store.granted_rate(&key).await;
            if known.map_err(|error| unavailable(&error))?.is_none() {
                return Err(not_found());
            }
            self.open(std::iter::once(&key)).await?;
            boarded = self.desk.snapshot(&key, self.clock.boot());
        }
        if let Some(boarded) = boarded {
            boarded.landed(WRITE_MAX).await.map_err(refused)?;
        }
        let (parts, taken) = mpsc::channel(UNREAD_MAX);
        tokio::spawn(read(self.store.clone(), key, parts));
        Ok(Box::pin(ReceiverStream::new(taken)))
    }
}

/// Reads until the end, or until nobody listens: who takes nothing for the time of a call is gone, too.
async fn read(store: Store, key: RateKey, parts: mpsc::Sender<Result<v1::JournalResponse, Status>>) {
    let mut from = "-".to_owned();
    loop {
        let (page, next) = match store.journal_page(&key, &from).await {
            Ok(page) => page,
            Err(error) => {
                // Whoever listens no more does not miss it.
                let _ = parts.send(Err(unavailable(&error).into())).await;
                return;
            }
        };
        for part in page {
            let taken = parts.send_timeout(Ok(wire_part(part)), REQUEST_TIME_MAX).await;
            if taken.is_err() {
                return;
            }
        }
        let Some(next) = next else { return };
        from = next;
    }
}

fn wire_part(part: Part) -> v1::JournalResponse {
    v1::JournalResponse {
        rev: part.rev,
        epoch: part.epoch,
        format: part.format,
        body: Some(match part.body {
            PartBody::Events(text) => v1::journal_response::Body::Events(text),
            PartBody::Opened(text) => v1::journal_response::Body::Opened(text),
        }),
    }
}

fn not_found() -> RpcError {
    RpcError::new(
        Code::NotFound,
        reason::NOT_FOUND,
        "no coordinator has paced this key",
    )
}
