//! The layer before all services of a listener.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use paceline_wire::status::{RpcError, reason};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::connection::Served;

use super::keys::{Caller, Keys};
use super::rules::{Refusal, Rule};

pub(crate) const REFUSED: &str = "access.refused";

/// Lets a call pass or answers it. Clones are the same layer.
#[derive(Clone, Debug)]
pub struct AccessLayer(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    /// `None`: every caller may do everything.
    keys: Option<Arc<Keys>>,
    anyone: Caller,
    refused: Counter<u64>,
}

impl AccessLayer {
    pub(crate) fn new(keys: Option<Arc<Keys>>, meter: &Meter) -> Self {
        let refused = meter
            .u64_counter(REFUSED)
            .with_description("Calls that were refused for their key, by reason")
            .build();
        Self(Arc::new(Gate {
            keys,
            anyone: Caller::anyone(),
            refused,
        }))
    }
}

impl Gate {
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Caller, RpcError> {
        let admitted = self.judge(path, headers);
        if let Err(error) = &admitted {
            self.refused
                .add(1, &[KeyValue::new("reason", error.reason.to_string())]);
        }
        admitted
    }

    fn judge(&self, path: &str, headers: &HeaderMap) -> Result<Caller, RpcError> {
        let Some(keys) = &self.keys else {
            return Ok(self.anyone.clone());
        };
        let rule = Rule::of(path);
        if rule == Some(Rule::Open) {
            return Ok(Caller::nobody());
        }
        let key = bearer(headers).ok_or_else(|| {
            unauthenticated(
                reason::KEY_MISSING,
                "the call has no \"authorization: Bearer KEY\"",
            )
        })?;
        let caller = keys
            .caller(key)
            .ok_or_else(|| unauthenticated(reason::KEY_UNKNOWN, "the key is not known here"))?;
        let rule = rule.ok_or_else(|| {
            RpcError::new(
                Code::Unimplemented,
                reason::METHOD_UNKNOWN,
                "there is no such method",
            )
        })?;
        let Some(refusal) = rule.refusal(caller) else {
            return Ok(caller.clone());
        };
        tracing::debug!(key = caller.name(), path, "a key is not good for this call");
        Err(match refusal {
            Refusal::Scope(scope) => RpcError::new(
                Code::PermissionDenied,
                reason::SCOPE_MISSING,
                format!("the key is without the scope {}", scope.as_str()),
            ),
            Refusal::Tenant => RpcError::new(
                Code::PermissionDenied,
                reason::TENANT_REFUSED,
                "the call concerns all tenants, and the key is for one",
            ),
        })
    }
}

fn unauthenticated(reason: &'static str, text: &str) -> RpcError {
    RpcError::new(Code::Unauthenticated, reason, text)
}

/// The key of `authorization: Bearer KEY`; the scheme's name is told in any case (RFC 9110, 11.1). `None` where there are two
/// such headers: they may say two things to two readers.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, key) = value.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !key.is_empty()).then_some(key)
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access {
            inner,
            gate: Arc::clone(&self.0),
        }
    }
}

/// A service behind an [`AccessLayer`].
#[derive(Clone, Debug)]
pub struct Access<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, B, R> Service<Request<B>> for Access<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.gate.admit(request.uri().path(), request.headers()) {
            Ok(caller) => {
                if let Some(served) = request.extensions().get::<Served>()
                    && Rule::of(request.uri().path()) != Some(Rule::Open)
                {
                    served.know();
                }
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => Either::Right(ready(Ok(Status::from(refusal).into_http()))),
        }
    }
}
