//! Watches one call on its way out: did anything reach the connection?
//!
//! The SDK fails in the same ways before and after it has begun to write (a timeout while credentials are fetched looks
//! like a timeout of the answer). Whether the request was handed to the connection at all separates what is provably unsent
//! from what is in doubt. Right before that, the caller's gate is asked: fetching credentials takes time, and a process may
//! be frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_sesv2::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sesv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sesv2::error::BoxError;
use http::HeaderValue;

use crate::message::WriteGate;

#[derive(Clone, Debug)]
pub(super) struct Transmission {
    started: Arc<AtomicBool>,
    traceparent: Option<HeaderValue>,
    gate: WriteGate,
}

/// The caller no longer wants the request written.
#[derive(Debug, thiserror::Error)]
#[error("the time to write is over")]
struct TooLate;

impl Transmission {
    pub(super) fn new(traceparent: &str, gate: WriteGate) -> Self {
        let traceparent = HeaderValue::from_str(traceparent)
            .ok()
            .filter(|value| !value.is_empty());
        Self {
            started: Arc::default(),
            traceparent,
            gate,
        }
    }

    /// False proves that no byte of the request was written.
    pub(super) fn started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }
}

impl Intercept for Transmission {
    fn name(&self) -> &'static str {
        "Transmission"
    }

    /// The last thing before the connection. After signing, so that a proxy may rewrite `traceparent`.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(traceparent) = &self.traceparent {
            context
                .request_mut()
                .headers_mut()
                .try_insert("traceparent", traceparent.clone())?;
        }
        if !self.gate.is_open() {
            return Err(TooLate.into());
        }
        self.started.store(true, Ordering::SeqCst);
        Ok(())
    }
}
