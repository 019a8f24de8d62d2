//! Trace context (W3C `traceparent`) across gRPC, the streams and the provider's API.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of `span`; empty if it is part of no trace.
#[must_use]
pub fn traceparent_of(span: &Span) -> String {
    let mut fields = HashMap::with_capacity(2);
    TraceContextPropagator::new().inject_context(&span.context(), &mut fields);
    fields.remove(TRACEPARENT).unwrap_or_default()
}

/// Makes `span` a child of a remote span. Must come before the span is first entered. A text that is no `traceparent` is
/// ignored: a caller's broken header must not cost its message.
pub fn set_parent(span: &Span, traceparent: &str) {
    if traceparent.is_empty() {
        return;
    }
    let fields = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    adopt(span, TraceContextPropagator::new().extract(&fields));
}

/// The same, by the metadata of a gRPC call.
pub fn set_parent_from_metadata(span: &Span, metadata: &MetadataMap) {
    adopt(
        span,
        TraceContextPropagator::new().extract(&MetadataFields(metadata)),
    );
}

/// Adds an attribute to `span` in its trace. Logs do not show it: they would have to write the span's fields anew.
pub fn set(span: &Span, name: &'static str, value: &'static str) {
    span.set_attribute(name, value);
}

/// Puts the context of `span` into the metadata of an outgoing call.
pub fn inject(span: &Span, metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut MetadataFieldsMut(metadata));
}

fn adopt(span: &Span, context: Context) {
    // Fails only where no OpenTelemetry layer is installed or the span is filtered out: then there is nothing to link.
    let _ = span.set_parent(context);
}

struct MetadataFields<'a>(&'a MetadataMap);

impl Extractor for MetadataFields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct MetadataFieldsMut<'a>(&'a mut MetadataMap);

impl Injector for MetadataFieldsMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator also sets an empty `tracestate`.
        if key == TRACEPARENT
            && let Ok(value) = MetadataValue::try_from(value)
        {
            self.0.insert(TRACEPARENT, value);
        }
    }
}
